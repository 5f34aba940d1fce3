"""Temporary tokens as text: claims signed with a key of the day, so that any gateway can check one without asking anybody.

`st-PAYLOAD MAC CHECK`: the claims and a 128-bit HMAC in base64url, and six characters of a CRC-32 by which a scanner knows a
leaked one. The signing key is derived from the master key and the day, so it changes every day by itself.
"""

import base64
import hmac
from hashlib import sha256

from steelyard.base import ids
from steelyard.base.secrets import derive, same

PREFIX = ids.TOKEN_PREFIX + "-"
MAC_BYTES = 16
_MAC_CHARS = 22
DAY_S = 86_400
_DAY_BYTES = 3
MAX_TOKEN_CHARS = 4096


class Signer:
    """Signs payloads and checks them."""

    def __init__(self, master_key: bytes) -> None:
        self._root = derive(master_key, "tokens")

    def sign(self, payload: bytes, now_s: int) -> str:
        """The token."""
        dated = (now_s // DAY_S).to_bytes(_DAY_BYTES) + payload
        text = _text(dated) + _text(self._mac(dated))
        return PREFIX + text + ids.checksum(PREFIX + text)

    def read(self, token: str) -> bytes | None:
        """The payload of a token of ours; None for any other text."""
        if len(token) > MAX_TOKEN_CHARS or not ids.is_well_formed(token):
            return None
        text = token[len(PREFIX) : -ids.CHECK_CHARS]
        try:
            dated, mac = _bytes(text[:-_MAC_CHARS]), _bytes(text[-_MAC_CHARS:])
        except ValueError:
            return None
        return dated[_DAY_BYTES:] if same(mac, self._mac(dated)) else None

    def _mac(self, dated: bytes) -> bytes:
        key = derive(self._root, f"day:{int.from_bytes(dated[:_DAY_BYTES])}")
        return hmac.new(key, dated, sha256).digest()[:MAC_BYTES]


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    """Strictly: a text has one form, so that a token has one text."""
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _text(data) != text:
        raise ValueError("not canonical")
    return data
