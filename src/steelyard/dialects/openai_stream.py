"""Reading a chat or completions stream on its way through: usage, errors, the end mark, and nothing else.

The common chunk holds whole events and none that matters; it is passed on as the same bytes object. Only events with
usage, an error or the end mark are looked into.
"""

import re
from typing import Any

import msgspec

from steelyard.base.errors import Fault
from steelyard.base.jsondoor import encode
from steelyard.canon.usage import Usage
from steelyard.dialects.dialect import Showing
from steelyard.dialects.openai_errors import fault_in_event, render_event
from steelyard.dialects.openai_texts import StreamTexts

_EVENT_END = re.compile(rb"\r?\n\r?\n")
_MODEL = re.compile(rb'"model"\s*:\s*"(?:[^"\\]|\\.)*"')
_DONE = b"[DONE]"
#: An unfinished event may not grow beyond this.
MAX_EVENT_BYTES = 8 * 1024 * 1024

_decode = msgspec.json.Decoder().decode


def usage_from(counts: dict[str, Any]) -> Usage:
    """An OpenAI `usage` object as ours; missing parts count 0."""

    return Usage(
        prompt_tokens=_whole(counts, "prompt_tokens"),
        completion_tokens=_whole(counts, "completion_tokens"),
        cached_tokens=_whole(counts.get("prompt_tokens_details"), "cached_tokens"),
        reasoning_tokens=_whole(counts.get("completion_tokens_details"), "reasoning_tokens"),
    )


def _whole(counts: object, name: str) -> int:
    value = counts.get(name) if isinstance(counts, dict) else None
    return value if isinstance(value, int) and value > 0 else 0


class OpenAITap:
    """Implements `StreamTap` for `data:`-only event streams that end with `[DONE]`."""

    __slots__ = (
        "_hide_usage",
        "_model",
        "_passes",
        "_request_id",
        "_tail",
        "_texts",
        "error",
        "is_done",
        "pieces",
        "usage",
    )

    def __init__(self, showing: Showing) -> None:
        cutter, model = showing.cutter, showing.model
        #: Looks at texts, so every event must be decoded.
        self._texts = None if cutter is None else StreamTexts(cutter)
        self._hide_usage = not showing.request.wants_usage
        self._model = None if model is None else b'"model":' + msgspec.json.encode(model)
        #: Whether events of no interest go on as they came.
        self._passes = model is None and cutter is None
        self._request_id = showing.request_id
        self._tail = b""
        self.usage: Usage | None = None
        self.error: Fault | None = None
        self.pieces = 0
        self.is_done = False

    def feed(self, chunk: bytes) -> bytes:
        """Takes upstream bytes, returns downstream bytes."""
        if self._tail:
            chunk = self._tail + chunk
            self._tail = b""
        if not chunk.endswith(b"\n\n"):
            end = max(chunk.rfind(b"\n\n") + 2, chunk.rfind(b"\n\r\n") + 3)
            # rfind gives -1 where nothing was found: nothing is whole yet
            end = end if end >= 3 else 0
            chunk, self._tail = chunk[:end], chunk[end:]
            if len(self._tail) > MAX_EVENT_BYTES:
                raise ValueError("event too large")
            if not chunk:
                return b""
        if self._passes and not (
            b'"usage":{' in chunk
            or b"[DONE]" in chunk
            or b'"choices"' not in chunk
            or b'"usage": {' in chunk
            or b'"error"' in chunk
            or b'"usage" :' in chunk
        ):
            self.pieces += chunk.count(b"data:")
            return chunk
        return self._events(chunk)

    def flush(self) -> bytes:
        """An unterminated last event still counts; a missing end mark is put in where all the rest has come."""
        rest, self._tail = self._tail, b""
        out = self._events(rest + b"\n\n") if rest.strip() else b""
        if self.is_done or self.error is not None or self.usage is None:
            return out
        self.is_done = True
        return out + b"data: [DONE]\n\n"

    def fail(self, failure: Fault) -> bytes:
        """See `StreamTap`."""
        return render_event(failure, self._request_id)

    def _events(self, chunk: bytes) -> bytes:
        kept = [self._event(event) for event in _EVENT_END.split(chunk) if event.strip()]
        return b"".join(event + b"\n\n" for event in kept if event is not None)

    def _event(self, event: bytes) -> bytes | None:
        data = b"\n".join(line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))
        if not data:
            return event
        if data == _DONE:
            self.is_done = True
            return event
        self.pieces += 1
        texts = self._texts
        if texts is not None or b'"usage"' in data or b'"error"' in data or b'"code"' in data:
            try:
                body = _decode(data)
            except (msgspec.DecodeError, UnicodeDecodeError):
                body = None
            if isinstance(body, dict):
                if not self._take(body):
                    return None
                if texts is not None:
                    texts.feed(body)
                    event = b"data: " + encode(body)
        return event if self._model is None else _MODEL.sub(lambda _: self._model or b"", event, count=1)

    def _take(self, body: dict[str, Any]) -> bool:
        """Reads one decoded event; False hides it."""
        if body.get("error") or ("choices" not in body and "message" in body and "code" in body):
            self.error = fault_in_event(body)
        counts = body.get("usage")
        if not isinstance(counts, dict):
            return True
        # usage arrives cumulative where it arrives twice: the last one stands
        self.usage = usage_from(counts)
        is_usage_only = body.get("choices") == []
        if is_usage_only:
            self.pieces -= 1
        return not (is_usage_only and self._hide_usage)
