"""What a temporary token says of itself."""

import msgspec

from steelyard.canon.limits import TOKENS


class Claims(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Empty lists and texts narrow nothing. New fields go to the end."""

    token_id: str
    #: SHA-256 of the parent key, in hexadecimal
    parent: str
    expires_s: int
    models: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    #: The one path that it is good for.
    resource: str = ""
    #: The `Origin` that a browser must send.
    origin: str = ""
    calls: int | None = None
    spend: int | None = None
    #: "tokens" or a currency
    spend_unit: str = TOKENS
    #: Minted by a worker for the calls of a task, which may come from anywhere.
    is_task: bool = False
    #: Whether they are charged as calls of a batch.
    is_batch: bool = False
    #: A call that another call is made of: what was admitted already is not admitted again.
    is_inner: bool = False


encode_claims = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Claims).decode


def decode_claims(payload: bytes, now_s: int) -> Claims | None:
    """The claims of a token that has not expired."""
    try:
        claims = _decode(payload)
    except msgspec.DecodeError:
        return None
    return claims if claims.expires_s > now_s else None
