"""Chat completion streams to pieces and back. Source: openai-compatible.md 3.4."""

from typing import Any

import msgspec

from steelyard.base.errors import Fault, fault
from steelyard.base.jsondoor import encode
from steelyard.canon.answer import ARGUED, CALLED, ENDED, SAID, THOUGHT, Piece
from steelyard.canon.usage import Usage
from steelyard.dialects.dialect import Showing
from steelyard.dialects.openai_codec import usage_object
from steelyard.dialects.openai_errors import fault_in_event, render_event
from steelyard.dialects.openai_stream import usage_from
from steelyard.dialects.sse import DataLines

DONE = b"data: [DONE]\n\n"


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None
    message: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class PieceReader:
    """Implements `StreamReader`."""

    __slots__ = ("_has_ended", "_lines", "_opened", "error", "is_done", "usage")

    def __init__(self) -> None:
        self._lines = DataLines()
        #: Tool calls that have begun: a later frame may repeat an id.
        self._opened: set[tuple[int, int]] = set()
        self._has_ended = False
        self.usage: Usage | None = None
        self.error: Fault | None = None
        self.is_done = False

    def feed(self, chunk: bytes) -> list[Piece]:
        """See `StreamReader`.

        Raises:
            Fault: `stream_broken` where it is no such stream.
        """
        return self._read(self._lines.feed(chunk))

    def flush(self) -> list[Piece]:
        """See `StreamReader`: the end mark may be missing where all the rest has come."""
        pieces = self._read(self._lines.flush())
        self.is_done = self.is_done or (self._has_ended and self.usage is not None)
        return pieces

    def _read(self, lines: list[bytes]) -> list[Piece]:
        pieces: list[Piece] = []
        for data in lines:
            if data == b"[DONE]":
                self.is_done = True
                break
            try:
                chunk = _decode(data)
            except (msgspec.DecodeError, UnicodeDecodeError) as exc:
                raise fault("stream_broken") from exc
            if chunk.error is not None or (chunk.choices is None and chunk.message is not None):
                self.error = fault_in_event(msgspec.json.decode(data))
                break
            if chunk.usage:
                self.usage = usage_from(chunk.usage)
            for choice in chunk.choices or ():
                self._take(choice, pieces)
        return pieces

    def _take(self, choice: _Choice, pieces: list[Piece]) -> None:
        index, delta = choice.index, choice.delta
        if delta is not None:
            thought = delta.reasoning_content or delta.reasoning
            if thought:
                pieces.append(Piece(THOUGHT, thought, index))
            said = delta.content or delta.refusal
            if said or choice.logprobs:
                pieces.append(Piece(SAID, said or "", index, logprobs=choice.logprobs))
            for call in delta.tool_calls or ():
                self._take_call(index, call, pieces)
        if choice.finish_reason:
            self._has_ended = True
            pieces.append(Piece(ENDED, choice.finish_reason, index))

    def _take_call(self, index: int, call: _Call, pieces: list[Piece]) -> None:
        function = call.function or _Function()
        key = (index, call.index)
        if key not in self._opened:
            self._opened.add(key)
            pieces.append(Piece(CALLED, function.name or "", index, call.index, call.id or f"call_{call.index}"))
        if function.arguments:
            pieces.append(Piece(ARGUED, function.arguments, index, call.index))


class PieceWriter:
    """Implements `StreamWriter`: `chat.completion.chunk` frames."""

    __slots__ = ("_head", "_opened", "_showing")

    def __init__(self, showing: Showing) -> None:
        self._showing = showing
        head = {
            "id": f"chatcmpl-{showing.request_id}",
            "object": "chat.completion.chunk",
            "created": showing.created_s,
            "model": showing.request.model,
            "system_fingerprint": None,
        }
        # what every frame begins with, made once
        self._head = b"data: " + encode(head)[:-1]
        self._opened: set[int] = set()

    def write(self, pieces: list[Piece]) -> bytes:
        """See `StreamWriter`."""
        out = []
        for piece in pieces:
            if piece.index not in self._opened:
                self._opened.add(piece.index)
                out.append(self._frame(piece.index, {"role": "assistant", "content": ""}))
            out.append(self._piece(piece))
        return b"".join(out)

    def _piece(self, piece: Piece) -> bytes:
        kind, text, index = piece.kind, piece.text, piece.index
        if kind == SAID:
            return self._frame(index, {"content": text}, logprobs=piece.logprobs)
        if kind == THOUGHT:
            return self._frame(index, {"content": None, "reasoning_content": text})
        if kind == ENDED:
            return self._frame(index, {"content": ""}, reason=text)
        call: dict[str, Any] = {"index": piece.call, "function": {"arguments": text}}
        if kind == CALLED:
            call |= {"id": piece.call_id, "type": "function", "function": {"name": text, "arguments": ""}}
        return self._frame(index, {"content": None, "tool_calls": [call]})

    def _frame(
        self, index: int, delta: dict[str, Any], *, reason: str | None = None, logprobs: dict[str, Any] | None = None
    ) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return b'%b,"choices":[%b],"usage":null}\n\n' % (self._head, encode(choice))

    def end(self, usage: Usage) -> bytes:
        """See `StreamWriter`."""
        if not self._showing.request.wants_usage:
            return DONE
        return b'%b,"choices":[],"usage":%b}\n\n%b' % (self._head, encode(usage_object(usage)), DONE)

    def fail(self, failure: Fault) -> bytes:
        """See `StreamWriter`."""
        return render_event(failure, self._showing.request_id)
