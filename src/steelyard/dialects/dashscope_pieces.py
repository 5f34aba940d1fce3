"""Native streams: passed through, read as pieces, and written from pieces. Source: dashscope.md 4, 5 and 16.

There is no end mark: a stream ends with its connection. So the frame that ends a choice is held back until the upstream has
ended, and nothing that looks finished leaves before it is recorded.
"""

import re
from typing import Any

import msgspec

from steelyard.base.errors import Fault, fault
from steelyard.base.jsondoor import encode
from steelyard.canon.answer import ARGUED, CALLED, ENDED, SAID, STOP, THOUGHT, Piece
from steelyard.canon.counting import estimate_prompt_tokens
from steelyard.canon.usage import Usage
from steelyard.dialects.dashscope_codec import content_of, show_id, tells_message, text_of, usage_from, usage_object
from steelyard.dialects.dashscope_errors import fault_in_event, render_event
from steelyard.dialects.dialect import Showing
from steelyard.dialects.sse import MAX_LINE_BYTES, DataLines

_FRAME_END = re.compile(rb"\r?\n\r?\n")
#: What the wire says of a choice that goes on.
GOES_ON = "null"


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Message(msgspec.Struct):
    content: str | list[dict[str, Any]] | None = None
    reasoning_content: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    message: _Message | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class _Output(msgspec.Struct):
    text: str | None = None
    finish_reason: str | None = None
    choices: list[_Choice] | None = None


class _Frame(msgspec.Struct):
    output: _Output | None = None
    usage: dict[str, Any] | None = None
    code: str | None = None


_decode = msgspec.json.Decoder(_Frame).decode


def _ends(output: _Output) -> bool:
    reasons = [output.finish_reason, *(choice.finish_reason for choice in output.choices or ())]
    return any(reason not in (None, "", GOES_ON) for reason in reasons)


class NativeTap:
    """Implements `StreamTap`: native in, native out, unknown fields and all."""

    __slots__ = ("_held", "_request_id", "_tail", "error", "is_done", "pieces", "usage")

    def __init__(self, showing: Showing) -> None:
        self._request_id = showing.request_id
        self._tail = b""
        #: From the first frame that ends a choice on.
        self._held: list[bytes] = []
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
        return b"".join(self._frame(frame) for frame in frames if frame.strip())

    def _frame(self, frame: bytes) -> bytes:
        data = next((line[5:].strip() for line in frame.splitlines() if line.startswith(b"data:")), b"")
        shown = show_id(frame, self._request_id) + b"\n\n"
        if not data:
            return shown
        try:
            read = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise fault("stream_broken") from exc
        if read.output is None:
            self.error, self.is_done = fault_in_event(msgspec.json.decode(data)), True
            return shown
        self.pieces += 1
        if read.usage:
            self.usage = usage_from(read.usage)
        if self._held or _ends(read.output):
            self._held.append(shown)
            return b""
        return shown

    def flush(self) -> bytes:
        """See `StreamTap`."""
        rest, self._tail = self._tail, b""
        out = self._frame(rest) if rest.strip() else b""
        self.is_done = self.is_done or bool(self._held)
        return b"".join(self._held) + out

    def fail(self, failure: Fault) -> bytes:
        """See `StreamTap`."""
        return render_event(failure, self._request_id, self.pieces + 1)


class NativeReader:
    """Implements `StreamReader`."""

    __slots__ = ("_has_ended", "_lines", "_opened", "error", "is_done", "usage")

    def __init__(self) -> None:
        self._lines = DataLines()
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
        """See `StreamReader`."""
        pieces = self._read(self._lines.flush())
        self.is_done = self._has_ended
        return pieces

    def _read(self, lines: list[bytes]) -> list[Piece]:
        pieces: list[Piece] = []
        for data in lines:
            try:
                frame = _decode(data)
            except (msgspec.DecodeError, UnicodeDecodeError) as exc:
                raise fault("stream_broken") from exc
            output = frame.output
            if output is None:
                self.error = fault_in_event(msgspec.json.decode(data))
                break
            if frame.usage:
                self.usage = usage_from(frame.usage)
            if output.choices is None:
                message = _Message(content=output.text)
                self._take(_Choice(message=message, finish_reason=output.finish_reason), pieces)
            for choice in output.choices or ():
                self._take(choice, pieces)
        return pieces

    def _take(self, choice: _Choice, pieces: list[Piece]) -> None:
        index, message = choice.index, choice.message
        if message is not None:
            if message.reasoning_content:
                pieces.append(Piece(THOUGHT, message.reasoning_content, index))
            said = text_of(message.content)
            if said or choice.logprobs:
                pieces.append(Piece(SAID, said, index, logprobs=choice.logprobs))
            for call in message.tool_calls or ():
                self._take_call(index, call, pieces)
        if choice.finish_reason and choice.finish_reason != GOES_ON:
            self._has_ended = True
            pieces.append(Piece(ENDED, choice.finish_reason, index))

    def _take_call(self, index: int, call: _Call, pieces: list[Piece]) -> None:
        function = call.function or _Function()
        if (index, call.index) not in self._opened:
            self._opened.add((index, call.index))
            pieces.append(Piece(CALLED, function.name or "", index, call.index, call.id or f"call_{call.index}"))
        if function.arguments:
            pieces.append(Piece(ARGUED, function.arguments, index, call.index))


class _Told:
    """What a choice has been told so far, for frames that repeat all of it."""

    __slots__ = ("calls", "reason", "reasoning", "text")

    def __init__(self) -> None:
        self.text = ""
        self.reasoning = ""
        self.calls: dict[int, dict[str, Any]] = {}
        self.reason: str | None = None


class NativeWriter:
    """Implements `StreamWriter`: increments or growing texts, as the caller asked."""

    __slots__ = (
        "_count",
        "_is_multimodal",
        "_number",
        "_prompt_tokens",
        "_repeats",
        "_showing",
        "_tail",
        "_tells_message",
        "_told",
    )

    def __init__(self, showing: Showing, *, is_multimodal: bool = False) -> None:
        request = showing.request
        self._showing = showing
        self._is_multimodal = is_multimodal
        self._tells_message = tells_message(request, is_multimodal=is_multimodal)
        self._repeats = request.settings.get("incremental_output") is not True
        self._number = 0
        self._count = 0
        # the upstream may tell its count at the end alone: until then it is ours
        self._prompt_tokens = estimate_prompt_tokens(request.text_bytes)
        self._told: dict[int, _Told] = {}
        self._tail = b',"request_id":"%b"}\n\n' % showing.request_id.encode()

    def write(self, pieces: list[Piece]) -> bytes:
        """See `StreamWriter`. What ends a choice waits for the usage that belongs to it."""
        out = []
        for piece in pieces:
            told = self._told.get(piece.index)
            if told is None:
                told = self._told[piece.index] = _Told()
            if piece.kind == ENDED:
                told.reason = piece.text
                continue
            self._count += 1
            message = self._message(told, piece)
            if message is not None:
                out.append(self._frame(piece.index, message, GOES_ON, piece.logprobs))
        return b"".join(out)

    def _message(self, told: _Told, piece: Piece) -> dict[str, Any] | None:
        """The message of a piece's frame; None where nothing is to be told yet."""
        kind, text = piece.kind, piece.text
        if kind == SAID:
            told.text += text
            return self._whole(told) if self._repeats else self._content(text)
        if kind == THOUGHT:
            told.reasoning += text
            return self._whole(told) if self._repeats else self._content("") | {"reasoning_content": text}
        if kind == CALLED:
            function = {"name": text, "arguments": ""}
            told.calls[piece.call] = {
                "index": piece.call,
                "id": piece.call_id,
                "type": "function",
                "function": function,
            }
            return None if self._repeats else self._content("") | {"tool_calls": [told.calls[piece.call]]}
        told.calls[piece.call]["function"]["arguments"] += text
        if self._repeats:
            return self._whole(told)
        part = {"index": piece.call, "id": "", "type": "function", "function": {"arguments": text}}
        return self._content("") | {"tool_calls": [part]}

    def _content(self, text: str) -> dict[str, Any]:
        return {"role": "assistant", "content": content_of(text, is_multimodal=self._is_multimodal)}

    def _whole(self, told: _Told) -> dict[str, Any]:
        message = self._content(told.text)
        if told.reasoning:
            message["reasoning_content"] = told.reasoning
        if told.calls:
            message["tool_calls"] = list(told.calls.values())
        return message

    def _frame(
        self,
        index: int,
        message: dict[str, Any],
        reason: str,
        logprobs: dict[str, Any] | None = None,
        usage: Usage | None = None,
    ) -> bytes:
        self._number += 1
        if self._tells_message:
            choice: dict[str, Any] = {"index": index, "message": message, "finish_reason": reason}
            if logprobs is not None:
                choice["logprobs"] = logprobs
            output: dict[str, Any] = {"choices": [choice]}
        else:
            output = {"text": text_of(message["content"]), "finish_reason": reason}
        counts = usage or Usage(prompt_tokens=self._prompt_tokens, completion_tokens=self._count)
        return b'id:%d\nevent:result\n:HTTP_STATUS/200\ndata:{"output":%b,"usage":%b%b' % (
            self._number,
            encode(output),
            encode(usage_object(counts)),
            self._tail,
        )

    def end(self, usage: Usage) -> bytes:
        """See `StreamWriter`."""
        told = self._told or {0: _Told()}
        return b"".join(
            self._frame(
                index, self._whole(one) if self._repeats else self._content(""), one.reason or STOP, usage=usage
            )
            for index, one in told.items()
        )

    def fail(self, failure: Fault) -> bytes:
        """See `StreamWriter`."""
        return render_event(failure, self._showing.request_id, self._number + 1)
