"""Sealing secrets that must be readable again, such as vendors' keys: AES-256-GCM under a key derived from the master key."""

import base64
import os

from steelyard.base.errors import SetupFault
from steelyard.base.secrets import derive

PREFIX = "sealed:"
_NONCE_BYTES = 12


class Sealer:
    """Seals and opens. A sealed text is bound to its place: moved elsewhere it does not open."""

    def __init__(self, master_key: bytes) -> None:
        self._key = derive(master_key, "sealing")

    def seal(self, text: str, place: str) -> str:
        """The sealed text."""
        # imported where it is used: only installations with kept secrets pay for it
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(self._key).encrypt(nonce, text.encode(), place.encode())
        return PREFIX + base64.b64encode(nonce + sealed).decode()

    def unseal(self, sealed: str, place: str) -> str:
        """The text.

        Raises:
            SetupFault: it was sealed under another master key, for another place, or is damaged.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            data = base64.b64decode(sealed.removeprefix(PREFIX), validate=True)
            return AESGCM(self._key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], place.encode()).decode()
        except (ValueError, InvalidTag):
            raise SetupFault(
                f"The secret of {place} cannot be opened: it was sealed under another master key. Restore secret.key, or set it anew."
            ) from None
