"""The master key and what is derived from it. Secrets leave this module only as bytes asked for by purpose."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from steelyard.base.errors import SetupFault

MASTER_KEY_BYTES = 32


def digest(credential: str) -> str:
    """What is stored of a credential. It is random (214 bits), so one SHA-256 is enough."""
    return hashlib.sha256(credential.encode()).hexdigest()


def derive(master_key: bytes, purpose: str) -> bytes:
    """A key of its own for one purpose (HKDF-expand with one block, RFC 5869)."""
    return hmac.new(master_key, purpose.encode() + b"\x01", hashlib.sha256).digest()


def same(left: str | bytes, right: str | bytes) -> bool:
    """Constant-time comparison."""
    as_bytes = [value.encode() if isinstance(value, str) else value for value in (left, right)]
    return hmac.compare_digest(as_bytes[0], as_bytes[1])


def load_master_key(path: Path) -> bytes:
    """Reads `secret.key`, or makes it (0600) on the first start.

    Raises:
        SetupFault: the file has the wrong size.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return parse_master_key(path.read_text().strip(), str(path))
    key = secrets.token_bytes(MASTER_KEY_BYTES)
    with os.fdopen(descriptor, "w") as file:
        file.write(key.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return key


def parse_master_key(text: str, source: str) -> bytes:
    """Hexadecimal text to 32 bytes.

    Raises:
        SetupFault: not 64 hexadecimal digits.
    """
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != MASTER_KEY_BYTES:
        raise SetupFault(f"{source} does not hold a master key (64 hexadecimal digits); restore it from a backup.")
    return key
