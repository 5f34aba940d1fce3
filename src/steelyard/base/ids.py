"""Identifiers and credentials as text: how they are minted, checked and masked.

A credential is `PREFIX-BODY CHECK`: 36 random base-62 characters (214 bits) and 6 of a CRC-32, so that a scanner knows a
leaked one from a look-alike without asking anybody.
"""

import os
import random
import re
import secrets
import time
import zlib
from dataclasses import dataclass

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BODY_CHARS = 36
CHECK_CHARS = 6

#: Of a token's claims and signature.
MIN_TOKEN_CHARS = 60

KEY_PREFIX = "sk"
TOKEN_PREFIX = "st"  # noqa: S105
ADMIN_PREFIX = "sk-admin"
#: Of an access key's secret; its id is public and begins with `ACCESS_ID_PREFIX`.
ACCESS_PREFIX = "sk-access"
ACCESS_ID_PREFIX = "AK"

#: A key has random characters, a temporary token signed claims (see `tokens`).
_CREDENTIAL = re.compile(
    rf"\b(?:(sk-admin|sk-access|sk)-([0-9A-Za-z]{{{_BODY_CHARS}}})|(st)-([0-9A-Za-z_-]{{{MIN_TOKEN_CHARS},4096}}))"
    rf"([0-9A-Za-z]{{{CHECK_CHARS}}})(?![0-9A-Za-z])"
)


_source = random.Random(os.urandom(32))
_next_bits = _source.getrandbits
# processes that are forked from one that has imported this must not mint the same ids
os.register_at_fork(after_in_child=lambda: _source.seed(os.urandom(32)))


def new_request_id() -> str:
    """A version-7 UUID: ids that follow each other in time lie side by side in the ledger's index, which halves its cost.

    An id is no secret, so a generator seeded once does; `uuid.uuid4` costs four times as much.
    """
    h = (time.time_ns() // 1_000_000 << 80 | _next_bits(80)).to_bytes(16).hex()
    return f"{h[:8]}-{h[8:12]}-7{h[13:16]}-a{h[17:20]}-{h[20:]}"


def new_id(prefix: str) -> str:
    """A short random id such as `key_8fK2…`, for records that people handle."""
    return f"{prefix}_{''.join(secrets.choice(_ALPHABET) for _ in range(16))}"


def new_access_key_id() -> str:
    """The public half of an access key, in the vendor's alphabet and length."""
    return ACCESS_ID_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(22))


def checksum(text: str) -> str:
    """Six characters by which a credential is told from a look-alike."""
    value = zlib.crc32(text.encode())
    digits = []
    for _ in range(CHECK_CHARS):
        value, rest = divmod(value, len(_ALPHABET))
        digits.append(_ALPHABET[rest])
    return "".join(digits)


def new_credential(prefix: str = KEY_PREFIX) -> str:
    """A fresh secret with its checksum."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_BODY_CHARS))
    return f"{prefix}-{body}{checksum(f'{prefix}-{body}')}"


def is_well_formed(credential: str) -> bool:
    """Whether the text has our shape and its checksum holds."""
    found = _CREDENTIAL.fullmatch(credential)
    return found is not None and _holds(found)


def _holds(found: re.Match[str]) -> bool:
    return checksum(found[0][:-CHECK_CHARS]) == found[5]


def mask(credential: str) -> str:
    """What may be shown of a credential: enough to tell two apart, far too little to use."""
    prefix = next((one for one in (ADMIN_PREFIX, ACCESS_PREFIX) if credential.startswith(one)), credential[:2])
    return f"{prefix}-{credential[len(prefix) + 1 :][:4]}…{credential[-4:]}"


@dataclass(frozen=True, slots=True)
class Sighting:
    """A credential found in a text."""

    line: int
    column: int
    masked: str
    credential: str


def find_credentials(text: str) -> list[Sighting]:
    """Every credential of ours in `text`; the checksum keeps look-alikes out."""
    sightings: list[Sighting] = []
    for number, line in enumerate(text.splitlines(), start=1):
        sightings += [
            Sighting(number, found.start() + 1, mask(found[0]), found[0])
            for found in _CREDENTIAL.finditer(line)
            if _holds(found)
        ]
    return sightings
