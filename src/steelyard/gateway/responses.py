"""Calls that go on from earlier ones: what was said before is fetched, and what is said is kept before its end leaves.

So whoever has a response's end can go on from it, on any gateway.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from steelyard.base.errors import fault
from steelyard.base.jsondoor import decode_object, encode
from steelyard.gateway.call import Call
from steelyard.gateway.exchange import Exchange, Headers
from steelyard.gateway.ports import Responses
from steelyard.gateway.recording import RecordingExchange

log = logging.getLogger("steelyard.gateway")

#: The end of an answer waits this long for its being kept.
KEEP_S = 5.0
#: A longer conversation is not kept: it could not be sent again either.
MAX_KEPT_BYTES = 8 * 1024 * 1024


async def find_context(responses: Responses, workspace: str, body: bytes) -> list[dict[str, Any]] | None:
    """The items that a call goes on from; None where it begins anew.

    Raises:
        Fault: there is no such response.
    """
    previous = decode_object(body).get("previous_response_id")
    if previous is None:
        return None
    if type(previous) is not str:
        raise fault("parameter_type", field="previous_response_id", type="String", param="previous_response_id")
    items = await responses.find_items(workspace, previous)
    if items is None:
        raise fault("response_not_found", id=previous[:100], param="previous_response_id")
    found: list[dict[str, Any]] = msgspec.json.decode(items)
    return found


class KeepingExchange(RecordingExchange):
    """Holds the end of a good answer back until its response is kept."""

    def __init__(
        self,
        inner: Exchange,
        call: Call,
        workspace: str,
        responses: Responses,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        super().__init__(inner, lambda _: None)
        self._call = call
        self._workspace = workspace
        self._responses = responses
        self._spawn = spawn

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        """See `Exchange`."""
        if status == 200:
            self._spawn(self._keep_then(body, lambda: self._inner.send(status, headers, body)))
        else:
            self._inner.send(status, headers, body)

    def end(self, data: bytes = b"") -> None:
        """See `Exchange`. The last event carries the response."""
        last = data.rstrip().rpartition(b"\ndata: ")[2]
        self._spawn(self._keep_then(last, lambda: self._inner.end(data)))

    def write(self, data: bytes) -> None:
        """See `Exchange`; nothing need be remembered of it."""
        self._inner.write(data)

    async def _keep_then(self, data: bytes, go_on: Callable[[], None]) -> None:
        try:
            async with asyncio.timeout(KEEP_S):
                await self._keep(data)
        except Exception as exc:  # noqa: BLE001 - the client waits for the end of it
            # the answer is good all the same; going on from it will be refused in so many words
            log.warning("a response was not kept: %r", exc, extra={"request_id": self._call.request_id})
        go_on()

    async def _keep(self, data: bytes) -> None:
        told = msgspec.json.decode(data)
        response = told.get("response", told)
        if response.get("store") is False:
            return
        asked = self._call.request.body["input"]
        own = [{"type": "message", "role": "user", "content": asked}] if type(asked) is str else asked
        items = encode([*own, *response["output"]])
        if len(items) <= MAX_KEPT_BYTES:
            await self._responses.keep_response(self._workspace, response["id"], encode(response), items)
