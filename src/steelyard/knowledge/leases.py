"""Leases to upload one file: a signed address that needs no key, good for some hours. Values in, values out. Source: bailian-openapi.md 5."""

import base64
import hmac
import os
from hashlib import sha256

import msgspec

from steelyard.base.clock import MICROS
from steelyard.base.errors import fault
from steelyard.base.secrets import derive, same

PREFIX = "/leases/"
LEASE_S = 6 * 3600
#: What lies under a lease and was not made a document of is forgotten after this long.
KEEP_S = 24 * 3600
_MAC_BYTES = 20
#: Under which keys uploads by lease are kept.
UPLOAD_PREFIX = "lease/"


class Lease(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Leave to upload one file. `expires_us` in microseconds since 1970."""

    id: str
    workspace: str
    name: str
    expires_us: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Lease).decode


class Leases:
    """Makes addresses, and checks them."""

    def __init__(self, master_key: bytes, origin: str) -> None:
        self._key = derive(master_key, "leases")
        self._origin = origin.rstrip("/")

    def make(self, workspace: str, name: str, now_us: int) -> tuple[Lease, str]:
        """A lease, and its address."""
        lease = Lease(
            id=f"{os.urandom(16).hex()}.{now_us // 1000}", workspace=workspace, name=name,
            expires_us=now_us + LEASE_S * MICROS,
        )  # fmt: skip
        payload = _encode(lease)
        return lease, f"{self._origin}{PREFIX}{_text(payload)}.{_text(self._mac(payload))}"

    def _mac(self, payload: bytes) -> bytes:
        return hmac.new(self._key, payload, sha256).digest()[:_MAC_BYTES]

    def read(self, token: str, now_us: int) -> Lease:
        """The lease of an address.

        Raises:
            Fault: `link_not_valid`.
        """
        payload, _, mac = token.partition(".")
        try:
            data, given = _bytes(payload), _bytes(mac)
        except ValueError:
            raise fault("link_not_valid", reason="forged") from None
        if not same(given, self._mac(data)):
            raise fault("link_not_valid", reason="forged")
        lease = _decode(data)
        if lease.expires_us < now_us:
            raise fault("link_not_valid", reason="expired")
        return lease


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
