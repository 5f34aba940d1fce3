"""Signatures of access keys, checked where the secret can be unsealed. Source: bailian-openapi.md 3."""

import hmac
from hashlib import sha256

from steelyard.base.clock import now_us
from steelyard.base.errors import fault
from steelyard.base.sealing import Sealer
from steelyard.base.secrets import same
from steelyard.canon.grant import Grant
from steelyard.store import keys, replay
from steelyard.store.database import Database

NONCE_SCOPE = "nonce:"


class AccessKeys:
    """Tells whose signature one is."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    async def identify(self, access_key_id: str, signed: str, signature: str, nonce: str) -> Grant:
        """The grant of the access key that signed a text.

        Args:
            signed: the string to sign, as the server has computed it.
            nonce: taken once, however many processes see it.

        Raises:
            Fault: `access_key_not_found`, `api_key_invalid`, `signature_mismatch`, `signature_nonce_used`.
        """
        async with self._database.read() as connection:
            record = await keys.find_by_id(connection, access_key_id)
        if record is None or record.sealed_secret is None:
            raise fault("access_key_not_found")
        secret = self._sealer.unseal(record.sealed_secret, f"access key {access_key_id}")
        expected = hmac.new(secret.encode(), signed.encode(), sha256).hexdigest()
        if not same(expected, signature):
            raise fault("signature_mismatch", signed=signed)
        grant = record.grant
        if grant.is_disabled or (grant.expires_us is not None and grant.expires_us <= now_us()):
            raise fault("api_key_invalid", detail="The access key is disabled or has expired.")
        # after the signature: nobody but the key's holder can use a nonce up
        scope = NONCE_SCOPE + access_key_id
        async with self._database.write() as connection:
            is_new = await replay.claim(connection, scope, nonce, "", "", now_us())
            # kept for a day, as answers are: a signature is good for minutes
            await replay.finish(connection, scope, nonce, None)
        if not is_new:
            raise fault("signature_nonce_used")
        return grant
