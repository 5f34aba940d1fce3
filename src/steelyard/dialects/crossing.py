"""From any client dialect to any upstream dialect, through canon: one pair of codecs a dialect, never a translator a pair."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from steelyard.base.errors import Fault
from steelyard.canon.answer import ARGUED, ENDED, RAN, SAID, THOUGHT, Piece
from steelyard.canon.conversation import SETTINGS
from steelyard.canon.counting import estimate_prompt_tokens
from steelyard.canon.request import ModelRequest
from steelyard.canon.usage import Usage
from steelyard.dialects.codec import Codec, StreamReader, StreamWriter
from steelyard.dialects.dialect import Cutter, Dialect, Reply, Showing, Wire

#: Pieces with content, about one token each.
_COUNTED = frozenset({SAID, THOUGHT, ARGUED})


class Crossing:
    """Implements `Wire`: a call of one dialect, carried to a target of another."""

    __slots__ = ("_client", "_passes", "_upstream", "upstream_path")

    def __init__(self, client: Dialect, upstream: Dialect, *, passes: bool) -> None:
        self._client = client
        self._upstream = upstream
        #: Whether fields without a place on the other wire go along under their own names.
        self._passes = passes
        self.upstream_path = upstream.upstream_path

    def __repr__(self) -> str:
        return f"<Crossing from {self._client.api} to {self._upstream.api} {self._upstream.operation}>"

    @property
    def _codecs(self) -> tuple[Codec, Codec]:
        client, upstream = self._client.codec, self._upstream.codec
        assert client is not None
        assert upstream is not None
        return client, upstream

    def encode(self, request: ModelRequest, model: str, cap_tokens: int | None) -> bytes:
        """See `Wire`."""
        client, upstream = self._codecs
        ask = client.read_request(request)
        if not self._passes:
            ask = ask.within(upstream.carries, upstream.lacks)
        if request.errand is not None:
            ask = msgspec.structs.replace(ask, errand=request.errand)
        cap = request.output_cap_tokens if cap_tokens is None else cap_tokens
        return upstream.write_request(ask, model, cap, request.is_stream)

    def dropped(self, request: ModelRequest) -> list[str]:
        """The fields that are left out on the way, by name."""
        return [] if self._passes else uncarried(self._codecs[1], request)

    def read_reply(self, body: bytes) -> Reply:
        """See `Wire`."""
        return self._upstream.read_reply(body)

    def show_reply(self, body: bytes, showing: Showing) -> bytes:
        """See `Wire`."""
        client, upstream = self._codecs
        return client.write_answer(upstream.read_answer(body), showing)

    def open_tap(self, showing: Showing) -> CrossingTap:
        """See `Wire`."""
        return open_crossing_tap(self._upstream, self._client, showing)

    def read_refusal(self, status: int, headers: dict[bytes, bytes], body: Any, provider: str) -> Fault:
        """See `Wire`."""
        return self._upstream.read_refusal(status, headers, body, provider)


def uncarried(codec: Codec, request: ModelRequest) -> list[str]:
    """The settings of a call that have no place on a wire."""
    return [
        name
        for name, value in request.settings.items()
        # what says "no" is left out without loss, and more than one answer is refused, not left out
        if name in SETTINGS and name not in codec.carries and name != "n" and value not in (None, False)
    ]


def open_crossing_tap(upstream: Dialect, client: Dialect, showing: Showing) -> CrossingTap:
    """Reads one dialect's stream and writes another's; or the same one's, where its texts must be looked at."""
    assert upstream.codec is not None
    assert upstream.codec.open_reader is not None
    assert client.codec is not None
    assert client.codec.open_writer is not None
    writer = client.codec.open_writer(showing)
    return CrossingTap(upstream.codec.open_reader(), writer, showing, tells_steps=client.codec.tells_steps)


class CrossingTap:
    """Implements `StreamTap` over a reader and a writer."""

    __slots__ = ("_cutter", "_reader", "_request", "_tells_steps", "_writer", "error", "is_done", "pieces", "usage")

    def __init__(
        self, reader: StreamReader, writer: StreamWriter, showing: Showing, *, tells_steps: bool = False
    ) -> None:
        self._tells_steps = tells_steps
        self._reader = reader
        self._writer = writer
        self._request = showing.request
        self._cutter = None if showing.cutter is None else PieceCutter(showing.cutter)
        self.usage: Usage | None = None
        self.error: Fault | None = None
        self.pieces = 0
        self.is_done = False

    def feed(self, chunk: bytes) -> bytes:
        """See `StreamTap`."""
        return self._show(self._reader.feed(chunk))

    def flush(self) -> bytes:
        """See `StreamTap`."""
        return self._show(self._reader.flush())

    def fail(self, failure: Fault) -> bytes:
        """See `StreamTap`."""
        return self._writer.fail(failure)

    def _show(self, pieces: list[Piece]) -> bytes:
        reader, writer = self._reader, self._writer
        self.usage = reader.usage
        for piece in pieces:
            self.pieces += piece.kind in _COUNTED
        if not self._tells_steps:
            pieces = [piece for piece in pieces if piece.kind != RAN]
        if self._cutter is not None:
            pieces = self._cutter.cut(pieces)
        out = writer.write(pieces) if pieces else b""
        if reader.error is not None:
            self.error, self.is_done = reader.error, True
            return out + writer.fail(reader.error)
        if reader.is_done:
            self.is_done = True
            return out + writer.end(reader.usage or self._own_count())
        return out

    def _own_count(self) -> Usage:
        prompt_tokens = estimate_prompt_tokens(self._request.text_bytes)
        return Usage(prompt_tokens=prompt_tokens, completion_tokens=self.pieces, is_estimated=True)


class PieceCutter:
    """Passes a stream's texts through a cutter: what it holds back goes out with a later piece, at the latest before the end."""

    def __init__(self, cutter: Cutter) -> None:
        self._cutter = cutter
        #: what is held back, by choice, kind and call
        self._held: dict[tuple[int, str, int], str] = {}

    def cut(self, pieces: Iterable[Piece]) -> list[Piece]:
        """The pieces that may go on.

        Raises:
            Fault: what the cutter refuses.
        """
        out: list[Piece] = []
        for piece in pieces:
            key = (piece.index, piece.kind, piece.call)
            if piece.kind == ARGUED:
                # refused or passed, never held back or masked: half a JSON text cannot be mended
                _, self._held[key] = self._cutter.cut(self._held.get(key, "") + piece.text, is_last=False)
            elif piece.kind in (SAID, THOUGHT):
                self._release(piece.index, piece.kind, out)
                text, held = self._cutter.cut(self._held.pop(key, "") + piece.text, is_last=False)
                if held:
                    self._held[key] = held
                piece = msgspec.structs.replace(piece, text=text)
                if not text and piece.logprobs is None:
                    continue
            elif piece.kind == ENDED:
                self._release(piece.index, ENDED, out)
            elif piece.step is not None and piece.step.output:
                text, _ = self._cutter.cut(piece.step.output, is_last=True)
                piece = msgspec.structs.replace(piece, step=msgspec.structs.replace(piece.step, output=text))
            out.append(piece)
        return out

    def _release(self, index: int, kind: str, out: list[Piece]) -> None:
        """One kind of text ends where another begins."""
        for key in [key for key in self._held if key[0] == index and key[1] != kind]:
            held = self._held.pop(key)
            if key[1] != ARGUED:
                text, _ = self._cutter.cut(held, is_last=True)
                out.append(Piece(key[1], text, index))


class Wires:
    """Which wire carries a call of a dialect to a target."""

    def __init__(self, dialects: Iterable[Dialect]) -> None:
        self._upstreams: dict[tuple[str, str], list[Dialect]] = {}
        for one in dialects:
            if one.upstream_path:
                self._upstreams.setdefault((one.api, one.operation), []).append(one)
        self._crossings: dict[tuple[int, int, bool], Crossing] = {}

    def __repr__(self) -> str:
        return f"<Wires of {len(self._upstreams)} operations>"

    def codec_of(self, api: str, operation: str) -> Codec | None:
        """What an API's wire can carry; None where it has no such operation."""
        found = self._upstreams.get((api, operation))
        return None if found is None else found[0].codec

    def find(self, client: Dialect, request: ModelRequest, api: str, model: str, *, passes: bool) -> Wire:
        """The wire to a target of another API.

        Args:
            model: its name there.
        """
        upstream = next(one for one in self._upstreams[api, client.operation] if one.suits(request, model))
        key = (id(client), id(upstream), passes)
        found = self._crossings.get(key)
        if found is None:
            found = self._crossings[key] = Crossing(client, upstream, passes=passes)
        return found
