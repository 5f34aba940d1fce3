"""Passwords: hashed with Argon2id in a thread, few at once, and guesses slowed down.

64 MiB and some 0.3 s a look are what keep a stolen table shut; they would also let strangers take the machine's memory and time, so two
looks run at once and a door that was tried too often stays shut for a while.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from steelyard.base.clock import monotonic
from steelyard.base.errors import fault

MIN_CHARS, MAX_CHARS = 10, 200
AT_ONCE = 2
#: Looks that may wait for one of those; more are turned away.
MAX_WAITING = 40
#: Wrong passwords that cost nothing but their time; each one after doubles the wait.
FREE_TRIES = 5
FIRST_WAIT_S, MAX_WAIT_S = 2.0, 900.0
#: A door that nobody tried for this long is forgotten.
FORGET_S = 3600.0
MAX_DOORS = 10_000

#: What a password is compared with where nobody has the name, so that the answer takes as long.
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$l0Xfhcs7g5/UYC/6EwZxGw$n9HD9uUr34NLfdVEiN4HtEg+nJcm2+uwsLWgtAfPtcc"


def check_password(password: str) -> None:
    """Raises `parameter_invalid` where a new password is too short or too long."""
    if not MIN_CHARS <= len(password) <= MAX_CHARS:
        detail = f"A password has {MIN_CHARS} to {MAX_CHARS} characters."
        raise fault("parameter_invalid", detail=detail, param="password")


class Passwords:
    """Hashes and compares."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """What is kept of a password.

        Raises:
            Fault: `overloaded`.
        """
        async with self._slot():
            return await asyncio.to_thread(self._hasher.hash, password)

    @contextlib.asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        if self._waiting >= MAX_WAITING:
            raise fault("overloaded")
        self._waiting += 1
        try:
            async with self._slots:
                yield
        finally:
            self._waiting -= 1

    async def matches(self, kept: str | None, password: str) -> bool:
        """Whether it is the password; None costs the same time and is never it.

        Raises:
            Fault: `overloaded`.
        """
        async with self._slot():
            is_it = await asyncio.to_thread(self._compare, kept or _NOBODY, password[:MAX_CHARS])
        return is_it and kept is not None

    def _compare(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (Argon2Error, InvalidHashError):
            return False


class Doorkeeper:
    """Counts wrong passwords by name and by the caller's address. One process keeps it, and a restart forgets."""

    def __init__(self) -> None:
        #: door -> (wrong tries, when it opens again, when it was tried last)
        self._doors: OrderedDict[str, tuple[int, float, float]] = OrderedDict()

    def check(self, *doors: str) -> None:
        """Raises `sign_in_throttled` where one of the doors is shut for now."""
        now = monotonic()
        wait = max((self._doors.get(door, (0, 0.0, 0.0))[1] - now for door in doors), default=0.0)
        if wait > 0:
            seconds = int(wait) + 1
            raise fault("sign_in_throttled", seconds=seconds, retry_after_s=seconds)

    def tried(self, *doors: str) -> None:
        """A password is tried: it counts as wrong until `passed` says otherwise, so that many at once gain nothing."""
        now = monotonic()
        for door in doors:
            tries, _, last = self._doors.pop(door, (0, 0.0, now))
            tries = 1 if now - last > FORGET_S else tries + 1
            wait = min(FIRST_WAIT_S * 2 ** (tries - FREE_TRIES - 1), MAX_WAIT_S) if tries > FREE_TRIES else 0.0
            self._doors[door] = (tries, now + wait, now)
        while len(self._doors) > MAX_DOORS:
            self._doors.popitem(last=False)

    def passed(self, *doors: str) -> None:
        """The right password: what came before is forgotten."""
        for door in doors:
            self._doors.pop(door, None)
