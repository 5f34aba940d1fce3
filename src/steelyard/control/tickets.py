"""One-time links and the short sessions behind them: signed with a key derived from the master key."""

import hmac
import secrets
from hashlib import sha256

from steelyard.base.clock import now_s
from steelyard.base.secrets import derive, same

TICKET_S = 900
SESSION_S = 12 * 3600


class Tickets:
    """Signs and checks. Redeemed tickets are remembered until they would have expired anyway."""

    def __init__(self, master_key: bytes) -> None:
        self._key = derive(master_key, "console-tickets")
        self._redeemed: dict[str, int] = {}

    def issue(self) -> str:
        """A ticket for one login."""
        return self._sign("ticket", now_s() + TICKET_S)

    def redeem(self, ticket: str) -> bool:
        """Whether the ticket is good; it is not a second time."""
        expires = self._check("ticket", ticket)
        now = now_s()
        self._redeemed = {one: until for one, until in self._redeemed.items() if until > now}
        if expires is None or ticket in self._redeemed:
            return False
        self._redeemed[ticket] = expires
        return True

    def open_session(self) -> str:
        """A session's cookie."""
        return self._sign("session", now_s() + SESSION_S)

    def is_session(self, cookie: str) -> bool:
        """Whether the cookie is one of ours and still good."""
        return self._check("session", cookie) is not None

    def _sign(self, purpose: str, expires: int) -> str:
        text = f"{expires}.{secrets.token_hex(12)}"
        return f"{text}.{self._mac(purpose, text)}"

    def _check(self, purpose: str, signed: str) -> int | None:
        text, _, mac = signed.rpartition(".")
        if not text or not mac.isascii() or not same(mac, self._mac(purpose, text)):
            return None
        expires = int(text.partition(".")[0])
        return expires if expires > now_s() else None

    def _mac(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}:{text}".encode(), sha256).hexdigest()[:40]
