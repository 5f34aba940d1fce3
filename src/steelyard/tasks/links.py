"""Public links to objects: signed, with an end or for ever, void once their object's epoch is raised. Values in, values out."""

import base64
import hmac
from hashlib import sha256
from urllib.parse import parse_qs, quote, unquote, urlsplit

from steelyard.base.errors import fault
from steelyard.base.secrets import derive, same
from steelyard.base.units import MICROS
from steelyard.canon.files import StoredObject

PREFIX = "/o/"
FOREVER = "forever"
_MAC_BYTES = 20


class Links:
    """Makes links below one origin, and checks them."""

    def __init__(self, master_key: bytes, origin: str) -> None:
        self._key = derive(master_key, "links")
        self.origin = origin.rstrip("/")

    def sign(self, stored: StoredObject, until_us: int | None) -> str:
        """The link to an object until a time, None for ever."""
        expires = FOREVER if until_us is None else str(-(-until_us // MICROS))
        path = f"{PREFIX}{stored.id}/{quote(stored.name)}"
        signature = self._signature(stored.id, stored.name, expires, stored.link_epoch)
        return f"{self.origin}{path}?Expires={expires}&Signature={signature}"

    def check(self, stored: StoredObject, name: str, expires: str, signature: str, now_us: int) -> None:
        """Whether a link is good.

        Raises:
            Fault: `link_not_valid`.
        """
        expected = self._signature(stored.id, name, expires, stored.link_epoch)
        if not same(signature.encode("utf-8", "replace"), expected.encode()):
            # what was signed under an earlier epoch was revoked; which of the two it is need not be told
            raise fault("link_not_valid", reason="forged, or it was revoked")
        if expires != FOREVER and int(expires) * MICROS < now_us:
            raise fault("link_not_valid", reason="expired")

    def _signature(self, object_id: str, name: str, expires: str, epoch: int) -> str:
        text = f"GET\n{object_id}\n{name}\n{expires}\n{epoch}".encode()
        mac = hmac.new(self._key, text, sha256).digest()[:_MAC_BYTES]
        return base64.urlsafe_b64encode(mac).decode().rstrip("=")

    def parse_own(self, url: str) -> tuple[str, str, str, str] | None:
        """(object id, name, expires, signature) of a link of ours; None for any other."""
        if not url.startswith(self.origin + PREFIX):
            return None
        parts = urlsplit(url)
        object_id, _, name = parts.path[len(urlsplit(self.origin).path) + len(PREFIX) :].partition("/")
        query = parse_qs(parts.query)
        return object_id, unquote(name), query.get("Expires", [""])[0], query.get("Signature", [""])[0]
