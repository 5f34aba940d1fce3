"""Messages streams: passed through, read as pieces, and written from pieces. Source: openai-compatible.md 11."""

import re
from typing import Any

import msgspec

from steelyard.base.errors import Fault, fault
from steelyard.base.jsondoor import encode
from steelyard.canon.answer import ARGUED, CALLED, ENDED, SAID, STOP, THOUGHT, Piece
from steelyard.canon.counting import estimate_prompt_tokens
from steelyard.canon.usage import Usage
from steelyard.dialects.anthropic_codec import message_head, reason_of, stop_reason_of, usage_from, usage_object
from steelyard.dialects.anthropic_errors import fault_in_event, render_event
from steelyard.dialects.dialect import Showing
from steelyard.dialects.sse import MAX_LINE_BYTES, DataLines, frame

_FRAME_END = re.compile(rb"\r?\n\r?\n")
_MODEL = re.compile(rb'"model"\s*:\s*"(?:[^"\\]|\\.)*"')


class _Block(msgspec.Struct):
    type: str = ""
    id: str = ""
    name: str = ""
    text: str | None = None
    thinking: str | None = None


class _Delta(msgspec.Struct):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _Message(msgspec.Struct):
    usage: dict[str, Any] | None = None


class _Event(msgspec.Struct):
    type: str
    index: int = 0
    content_block: _Block | None = None
    delta: _Delta | None = None
    message: _Message | None = None
    usage: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Event).decode


def _read_event(data: bytes) -> _Event:
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise fault("stream_broken") from exc


class _Counts:
    """Usage that comes in two parts: the input with the first event, the output with a late one."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        self._told: dict[str, Any] = {}

    def take(self, event: _Event) -> Usage | None:
        """What is known with this event; None where it says nothing of it."""
        counts = event.usage if event.message is None else event.message.usage
        if not counts:
            return None
        self._told |= {name: value for name, value in counts.items() if value is not None}
        return usage_from(self._told)


class MessagesTap:
    """Implements `StreamTap`: Messages in, Messages out, unknown events and all."""

    __slots__ = ("_counts", "_model", "_request_id", "_tail", "error", "is_done", "pieces", "usage")

    def __init__(self, showing: Showing) -> None:
        self._model = None if showing.model is None else b'"model":' + encode(showing.model)
        self._request_id = showing.request_id
        self._counts = _Counts()
        self._tail = b""
        self.usage: Usage | None = None
        self.error: Fault | None = None
        self.pieces = 0
        self.is_done = False

    def feed(self, chunk: bytes) -> bytes:
        """See `StreamTap`.

        Raises:
            Fault: `stream_broken` where it is no such stream.
        """
        *frames, self._tail = _FRAME_END.split(self._tail + chunk)
        if len(self._tail) > MAX_LINE_BYTES:
            raise fault("stream_broken")
        return b"".join(self._frame(one) for one in frames if one.strip())

    def flush(self) -> bytes:
        """See `StreamTap`."""
        rest, self._tail = self._tail, b""
        return self._frame(rest) if rest.strip() else b""

    def fail(self, failure: Fault) -> bytes:
        """See `StreamTap`."""
        return render_event(failure, self._request_id)

    def _frame(self, one: bytes) -> bytes:
        shown = one + b"\n\n"
        if b'"content_block_delta"' in one:
            self.pieces += 1
            return shown
        data = next((line[5:].strip() for line in one.splitlines() if line.startswith(b"data:")), b"")
        if not data:
            return shown
        event = _read_event(data)
        self.usage = self._counts.take(event) or self.usage
        if event.type == "error":
            self.error, self.is_done = fault_in_event(msgspec.json.decode(data)), True
        elif event.type == "message_stop":
            self.is_done = True
        elif event.type == "message_start" and self._model is not None:
            return _MODEL.sub(lambda _: self._model or b"", shown, count=1)
        return shown


class MessagesReader:
    """Implements `StreamReader`."""

    __slots__ = ("_calls", "_counts", "_lines", "error", "is_done", "usage")

    def __init__(self) -> None:
        self._lines = DataLines()
        self._counts = _Counts()
        #: content block -> which tool call it is
        self._calls: dict[int, int] = {}
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
        """See `StreamReader`."""
        return self._read(self._lines.flush())

    def _read(self, lines: list[bytes]) -> list[Piece]:
        pieces: list[Piece] = []
        for data in lines:
            event = _read_event(data)
            if event.type == "error":
                self.error = fault_in_event(msgspec.json.decode(data))
                break
            if event.type == "message_stop":
                self.is_done = True
                break
            self.usage = self._counts.take(event) or self.usage
            piece = self._piece(event)
            if piece is not None:
                pieces.append(piece)
        return pieces

    def _piece(self, event: _Event) -> Piece | None:
        block, delta = event.content_block, event.delta
        if block is not None:
            if block.type == "tool_use":
                call = self._calls[event.index] = len(self._calls)
                return Piece(CALLED, block.name, 0, call, block.id)
            return Piece(SAID, block.text) if block.text else None
        if delta is None:
            return None
        if delta.text:
            return Piece(SAID, delta.text)
        if delta.thinking:
            return Piece(THOUGHT, delta.thinking)
        if delta.partial_json:
            return Piece(ARGUED, delta.partial_json, 0, self._calls.get(event.index, 0))
        return Piece(ENDED, reason_of(delta.stop_reason)) if delta.stop_reason else None


class MessagesWriter:
    """Implements `StreamWriter`: one content block after another, never two at once."""

    __slots__ = ("_block", "_call", "_is_open", "_kind", "_reason", "_showing", "_started", "_waiting")

    def __init__(self, showing: Showing) -> None:
        self._showing = showing
        self._started = False
        #: The block that is written now: its number, its kind and, of a tool call, which one.
        self._block = -1
        self._kind = ""
        self._call = -1
        self._is_open = False
        #: Tool calls that came while another was written: call -> (id, name, arguments so far).
        self._waiting: dict[int, list[str]] = {}
        self._reason = STOP

    def write(self, pieces: list[Piece]) -> bytes:
        """See `StreamWriter`."""
        opening = b"" if self._started else self._start()
        # a message is one choice: there is no place for others
        return opening + b"".join([self._piece(piece) for piece in pieces if piece.index == 0])

    def _start(self) -> bytes:
        self._started = True
        usage = {"input_tokens": estimate_prompt_tokens(self._showing.request.text_bytes), "output_tokens": 0}
        head = message_head(self._showing) | {
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }
        return frame(b"message_start", encode({"type": "message_start", "message": head}))

    def _piece(self, piece: Piece) -> bytes:
        kind, text = piece.kind, piece.text
        if kind == SAID:
            opening = self._into("text", {"type": "text", "text": ""})
            return opening + self._delta({"type": "text_delta", "text": text}) if text else b""
        if kind == THOUGHT:
            opening = self._into("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            return opening + self._delta({"type": "thinking_delta", "thinking": text})
        if kind == CALLED:
            if self._kind == "tool_use" and self._is_open:
                self._waiting[piece.call] = [piece.call_id, text, ""]
                return b""
            return self._open_call(piece.call, piece.call_id, text)
        if kind == ARGUED:
            if piece.call in self._waiting:
                self._waiting[piece.call][2] += text
                return b""
            return self._delta({"type": "input_json_delta", "partial_json": text})
        self._reason = text
        return b""

    def _open_call(self, call: int, call_id: str, name: str) -> bytes:
        closing = self._close()
        self._call = call
        block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
        return closing + self._open("tool_use", block)

    def _into(self, kind: str, block: dict[str, Any]) -> bytes:
        return b"" if self._is_open and self._kind == kind else self._close() + self._open(kind, block)

    def _open(self, kind: str, block: dict[str, Any]) -> bytes:
        self._block += 1
        self._kind, self._is_open = kind, True
        event = {"type": "content_block_start", "index": self._block, "content_block": block}
        return frame(b"content_block_start", encode(event))

    def _delta(self, delta: dict[str, Any]) -> bytes:
        event = {"type": "content_block_delta", "index": self._block, "delta": delta}
        return frame(b"content_block_delta", encode(event))

    def _close(self) -> bytes:
        if not self._is_open:
            return b""
        self._is_open = False
        return frame(b"content_block_stop", encode({"type": "content_block_stop", "index": self._block}))

    def end(self, usage: Usage) -> bytes:
        """See `StreamWriter`."""
        out = [] if self._started else [self._start()]
        out.append(self._close())
        for call, (call_id, name, arguments) in self._waiting.items():
            out.append(self._open_call(call, call_id, name))
            out.append(self._delta({"type": "input_json_delta", "partial_json": arguments}))
            out.append(self._close())
        delta = {"stop_reason": stop_reason_of(self._reason), "stop_sequence": None}
        last = {"type": "message_delta", "delta": delta, "usage": usage_object(usage)}
        out.append(frame(b"message_delta", encode(last)))
        out.append(frame(b"message_stop", encode({"type": "message_stop"})))
        return b"".join(out)

    def fail(self, failure: Fault) -> bytes:
        """See `StreamWriter`."""
        return render_event(failure, self._showing.request_id)
