"""How a webhook's body is signed. Source: Standard Webhooks 1.0 (webhook-id, webhook-timestamp, webhook-signature)."""

import base64
import hmac
from hashlib import sha256

SECRET_PREFIX = "whsec_"  # noqa: S105


def sign(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """The value of `webhook-signature`.

    Raises:
        ValueError: the secret is no base64.
    """
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    text = f"{message_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, text, sha256).digest()).decode()
