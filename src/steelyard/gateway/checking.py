"""Content inspection by somebody else: an endpoint of the operator's that speaks the OpenAI moderations wire.

It is asked for the texts of a call before the call goes on, and for those of the answer before they reach the caller; of a stream
a window at a time. What it says no to is refused like a word on a list.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from steelyard.base.errors import Fault, fault
from steelyard.base.jsondoor import encode
from steelyard.canon.inspection import CheckPolicy
from steelyard.upstream.pool import Pool, PoolError, parse_origin

log = logging.getLogger("steelyard.gateway")

#: Of a stream so many characters are asked about at once, and so many before them again.
WINDOW_CHARS = 400
OVERLAP_CHARS = 100
#: Bytes of a stream that may wait for the endpoint before the upstream is paused.
HIGH_WATER_BYTES = 65_536
RULE = "check"


class Checker:
    """Asks endpoints."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def check(self, policy: CheckPolicy, text: str, part: str) -> None:
        """Lets a text pass.

        Args:
            part: "Input" or "Output", for the refusal.

        Raises:
            Fault: `data_inspection_failed`, or `check_unavailable` where nobody could say and the policy demands it.
        """
        if not text.strip():
            return
        try:
            is_flagged = await self._ask(policy, text)
        except (PoolError, ValueError, KeyError, TypeError, AttributeError) as exc:
            log.warning("the inspection endpoint did not answer: %s", exc)
            if policy.passes_unchecked:
                return
            raise fault("check_unavailable") from None
        if is_flagged:
            failure = fault("data_inspection_failed", part=part)
            failure.inspection_rule = RULE
            raise failure

    async def _ask(self, policy: CheckPolicy, text: str) -> bool:
        origin = parse_origin(policy.url)
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "steelyard"}
        if policy.api_key:
            headers["Authorization"] = f"Bearer {policy.api_key}"
        body: dict[str, Any] = {"input": text}
        if policy.model:
            body["model"] = policy.model
        # the prefix of the address is the whole path: fetch adds what stands behind it
        answer = await self._pool.fetch(
            origin, "POST", "", encode(body), headers, timeout_s=policy.timeout_s, connect_timeout_s=policy.timeout_s
        )
        if answer.status != 200:
            raise ValueError(f"status {answer.status}")
        found = msgspec.json.decode(answer.body)
        return any(bool(one["flagged"]) for one in found.get("results", [found]))


class Passenger(Protocol):
    """A stream that waits at the gate."""

    is_over: bool

    def let_pass(self, data: bytes, *, is_last: bool) -> None:
        """What may reach the caller."""
        ...

    def turn_back(self, failure: Fault) -> None:
        """Nothing more may."""
        ...

    def press(self, is_full: bool) -> None:
        """The upstream is to pause, or to go on."""
        ...


class Gate:
    """Holds a stream's bytes until the texts in them are checked."""

    __slots__ = ("_check", "_held", "_is_last", "_passenger", "_size", "_task", "_text", "_unchecked")

    def __init__(self, passenger: Passenger, check: Callable[[str], Any]) -> None:
        self._passenger = passenger
        self._check = check
        self._held: list[bytes] = []
        self._size = 0
        self._text: list[str] = []
        self._unchecked = 0
        self._is_last = False
        self._task: asyncio.Task[None] | None = None

    def hear(self, text: str) -> None:
        """A text that is in the bytes to come."""
        self._text.append(text)
        self._unchecked += len(text)

    def hold(self, data: bytes, *, is_last: bool) -> None:
        """Bytes of the stream."""
        if data:
            self._held.append(data)
            self._size += len(data)
        self._is_last = self._is_last or is_last
        if self._task is None and (self._is_last or self._unchecked >= WINDOW_CHARS):
            self._task = asyncio.get_running_loop().create_task(self._run())
        if self._size > HIGH_WATER_BYTES:
            self._passenger.press(True)

    def _is_over(self) -> bool:
        return self._passenger.is_over

    async def _run(self) -> None:
        """Checks what is there until too little is left to be worth a question."""
        passenger = self._passenger
        tail = ""
        while not self._is_over():
            batch, self._held, self._size = self._held, [], 0
            text = tail + "".join(self._text)
            self._text, self._unchecked = [], 0
            is_last = self._is_last
            try:
                await self._check(text)
            except Fault as failure:
                if not self._is_over():
                    passenger.turn_back(failure)
                return
            if self._is_over():
                return
            passenger.let_pass(b"".join(batch), is_last=is_last)
            if is_last:
                return
            passenger.press(False)
            tail = text[-OVERLAP_CHARS:]
            if not self._is_last and self._unchecked < WINDOW_CHARS:
                self._text.insert(0, tail)
                self._task = None
                return
