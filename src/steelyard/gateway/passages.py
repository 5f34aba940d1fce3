"""Passages of knowledge bases, found before a call goes to its model, and told with its answer."""

from collections.abc import Callable
from typing import Any

import msgspec

from steelyard.base.jsondoor import decode_object, encode
from steelyard.canon.grant import Grant
from steelyard.canon.knowledge import FoundPassages
from steelyard.dialects.passages import cite, concerns, put_passages, take_wish
from steelyard.gateway.exchange import Exchange, Headers
from steelyard.gateway.ports import Knowledge
from steelyard.gateway.recording import RecordingExchange
from steelyard.policy.access import check_operation

OPERATION = "knowledge"
#: An event of a stream that is longer is passed on as it is.
MAX_EVENT_BYTES = 1_048_576


class Passages:
    """Puts in what calls ask of knowledge bases."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge

    concerns = staticmethod(concerns)

    async def put_in(self, grant: Grant, api: str, body: bytes) -> tuple[bytes, FoundPassages | None]:
        """A call's body with passages before its conversation, and what was found; the same body where it asks for none.

        Raises:
            Fault: a base is not there, the key may not ask it, or a model refused.
        """
        call = decode_object(body)
        wish = take_wish(api, call)
        if wish is None:
            return body, None
        if grant.operations:
            check_operation(grant, OPERATION)
        found = await self._knowledge.find_passages(grant, wish)
        put_passages(api, call, found.passages, is_han=found.is_han)
        return encode(call), found


class CitingExchange(RecordingExchange):
    """Puts references into the answer: into the whole one, or into the last event of a streamed one."""

    def __init__(self, inner: Exchange, api: str, found: FoundPassages) -> None:
        super().__init__(inner, lambda _: None)
        self._put: Callable[[dict[str, Any]], bool] = cite(api, found)
        self._held = b""

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        """See `Exchange`."""
        self._inner.send(status, headers, self._cited(body) if status == 200 else body)

    def _cited(self, data: bytes) -> bytes:
        try:
            answer = msgspec.json.decode(data)
        except msgspec.DecodeError:
            return data
        return encode(answer) if isinstance(answer, dict) and self._put(answer) else data

    def write(self, data: bytes) -> None:
        """See `Exchange`: whole events go on, the beginning of one is held."""
        whole, mark, rest = (self._held + data).rpartition(b"\n\n")
        self._held = rest
        if len(rest) > MAX_EVENT_BYTES:
            whole, mark, self._held = whole + mark + rest, b"", b""
        if whole:
            self._inner.write(self._events(whole + mark))

    def _events(self, data: bytes) -> bytes:
        if b"finish_reason" not in data:
            return data
        return b"\n".join(
            b"data:" + self._cited(line[5:]) if line.startswith(b"data:") and line[5:6] != b" " else
            b"data: " + self._cited(line[6:]) if line.startswith(b"data: {") else line
            for line in data.split(b"\n")
        )  # fmt: skip

    def end(self, data: bytes = b"") -> None:
        """See `Exchange`."""
        self._inner.end(self._events(self._held + data))

    def break_off(self, data: bytes) -> None:
        """See `Exchange`."""
        self._inner.break_off(self._held + data)
