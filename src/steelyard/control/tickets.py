"""One-time links: signed with a key derived from the master key."""

import contextlib
import hmac
import secrets
from collections.abc import Iterator
from hashlib import sha256

from steelyard.base.clock import now_s
from steelyard.base.errors import fault
from steelyard.base.secrets import derive, same

TICKET_S = 900


class Tickets:
    """Signs and checks. One process does, and redeemed tickets are remembered until they would have expired anyway."""

    def __init__(self, master_key: bytes) -> None:
        self._key = derive(master_key, "console-tickets")
        self._redeemed: dict[str, int] = {}

    def issue(self) -> str:
        """A ticket for one login."""
        text = f"{now_s() + TICKET_S}.{secrets.token_hex(12)}"
        return f"{text}.{self._mac(text)}"

    def check(self, ticket: str) -> int:
        """When a ticket ends that was not redeemed yet, in Unix seconds.

        Raises:
            Fault: `ticket_invalid`.
        """
        expires = self._read(ticket)
        if expires is None or ticket in self._redeemed:
            raise fault("ticket_invalid")
        return expires

    @contextlib.contextmanager
    def using(self, ticket: str) -> Iterator[None]:
        """Uses a ticket up, unless what it is used for fails. Nobody else can use it meanwhile.

        Raises:
            Fault: `ticket_invalid`: it was used already, or has expired.
        """
        expires, now = self.check(ticket), now_s()
        self._redeemed = {one: until for one, until in self._redeemed.items() if until > now}
        self._redeemed[ticket] = expires
        try:
            yield
        except BaseException:
            del self._redeemed[ticket]
            raise

    def _read(self, ticket: str) -> int | None:
        text, _, mac = ticket.rpartition(".")
        if not text or not mac.isascii() or not same(mac, self._mac(text)):
            return None
        expires = int(text.partition(".")[0])
        return expires if expires > now_s() else None

    def _mac(self, text: str) -> str:
        return hmac.new(self._key, f"ticket:{text}".encode(), sha256).hexdigest()[:40]
