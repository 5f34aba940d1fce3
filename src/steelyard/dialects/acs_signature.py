"""The signature of Alibaba Cloud's management APIs, ACS3-HMAC-SHA256: what was signed, computed again. Source: bailian-openapi.md 3.

Values in, values out: whether the secret is right is somebody else's to say.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import parse_qsl, quote

from steelyard.base.errors import fault

ALGORITHM = "ACS3-HMAC-SHA256"
#: A signature is good for so long before and after its date.
DRIFT_S = 900
MAX_NONCE_CHARS = 128
BEARER_HEADER = b"x-acs-bearer-token"
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} +Credential=([^,\s]+), *SignedHeaders=([a-z0-9;_-]+), *Signature=([0-9a-f]{{64}})"
)
_EMPTY = sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Signed:
    """A request's signature, and the text that it must be the signature of."""

    access_key_id: str
    text: str
    signature: str
    nonce: str
    #: SHA-256 of the body, as the signer has said.
    body_digest: str


def read_signature(method: str, raw_path: str, query: str, headers: dict[bytes, bytes], now_s: int) -> Signed:
    """What a request says of its signer.

    Args:
        raw_path: as it came, percent-encoded.

    Raises:
        Fault: `signature_incomplete`, `signature_expired`.
    """
    values = {name.decode("latin-1"): value.decode("utf-8", "replace").strip() for name, value in headers.items()}
    found = _AUTHORIZATION.fullmatch(values.get("authorization", ""))
    if found is None:
        raise _incomplete(f"Authorization must be `{ALGORITHM} Credential=…,SignedHeaders=…,Signature=…`.")
    if values.get("x-acs-security-token"):
        raise _incomplete("temporary STS credentials are not issued here; leave x-acs-security-token out.")
    names = found[2].split(";")
    must = {"host", *(name for name in values if name.startswith("x-acs-"))}
    if names != sorted(set(names)) or not must <= set(names) <= values.keys():
        lacking = ", ".join(sorted(must - set(names))) or "only headers that were sent, in their order, each once"
        raise _incomplete(f"SignedHeaders must name {lacking}.")
    nonce = values.get("x-acs-signature-nonce", "")
    if not 1 <= len(nonce) <= MAX_NONCE_CHARS:
        raise _incomplete(f"x-acs-signature-nonce must have 1 to {MAX_NONCE_CHARS} characters.")
    _check_date(values.get("x-acs-date", ""), now_s)
    digest = values.get("x-acs-content-sha256", _EMPTY)
    head = "".join(f"{name}:{values[name]}\n" for name in names)
    canonical = "\n".join((method, raw_path, _canonical_query(query), head, found[2], digest))
    text = f"{ALGORITHM}\n{sha256(canonical.encode()).hexdigest()}"
    return Signed(found[1], text, found[3], nonce, digest)


def _incomplete(detail: str) -> Exception:
    return fault("signature_incomplete", detail=detail)


def _check_date(text: str, now_s: int) -> None:
    try:
        date = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise _incomplete("x-acs-date must be a UTC time such as 2026-01-31T08:00:00Z.") from None
    if abs(date.timestamp() - now_s) > DRIFT_S:
        now = datetime.fromtimestamp(now_s, UTC)
        raise fault("signature_expired", date=text, now=f"{now:%Y-%m-%dT%H:%M:%SZ}")


def _canonical_query(query: str) -> str:
    """Parameters by name, their values encoded anew: a blank came as `+` and was signed as `%20`."""
    pairs = sorted(parse_qsl(query, keep_blank_values=True))
    return "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs)
