"""Minting and revoking temporary tokens. A token is worth what its parent key is worth, narrowed, for at most half an hour."""

from typing import Any

import msgspec

from steelyard.base import ids
from steelyard.base.clock import MICROS, now_s, now_us
from steelyard.base.errors import fault
from steelyard.base.tokens import Signer
from steelyard.canon.claims import Claims, encode_claims
from steelyard.canon.grant import Grant
from steelyard.canon.limits import TOKENS, Budget
from steelyard.control.keys import OPERATIONS, get_key
from steelyard.control.limits import check_limits
from steelyard.store import audit, changes, revocations
from steelyard.store.database import Database

DEFAULT_S = 60
MAX_S = 1800
MAX_LIST = 50
MAX_CALLS = 1_000_000


class Narrowing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a caller may ask of a token beyond a shorter life; nothing narrows nothing."""

    models: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    #: The one path that it is good for, such as /v1/chat/completions.
    resource: str = ""
    #: The page that may use it, such as https://app.example.com.
    origin: str = ""
    calls: int | None = None
    once: bool = False
    spend: Budget | None = None


class NewToken(msgspec.Struct, frozen=True):
    """A token just minted, and what it says of itself."""

    token: str
    claims: Claims


def parse_lifetime_s(text: str | None) -> int:
    """`expire_in_seconds` as sent.

    Raises:
        Fault: no whole number, or out of range.
    """
    if text is None or text == "":
        return DEFAULT_S
    seconds = int(text) if text.isascii() and text.removeprefix("-").isdigit() and len(text) < 10 else 0
    if not 1 <= seconds <= MAX_S:
        raise fault("token_lifetime_range", param="expire_in_seconds", limit=MAX_S)
    return seconds


async def mint_token(
    database: Database, signer: Signer, grant: Grant, lifetime_s: int, narrowing: Narrowing
) -> NewToken:
    """Mints a token of a key.

    Raises:
        Fault: the caller has only a token itself, or asks for more than the key allows.
    """
    if grant.token_id:
        raise fault("token_cannot_mint")
    _check(grant, narrowing)
    record = await get_key(database, grant.key_id)
    issued_s = now_s()
    spend = narrowing.spend
    claims = Claims(
        token_id=ids.new_id("token"),
        parent=record.digest,
        expires_s=issued_s + lifetime_s,
        models=narrowing.models,
        operations=narrowing.operations,
        resource=narrowing.resource.rstrip("/"),
        origin=narrowing.origin,
        calls=1 if narrowing.once else narrowing.calls,
        spend=None if spend is None else spend.amount,
        spend_unit=TOKENS if spend is None else spend.unit,
    )
    return NewToken(signer.sign(encode_claims(claims), issued_s), claims)


def _check(grant: Grant, narrowing: Narrowing) -> None:
    """A token narrows; it never widens."""
    wider = [one for one in narrowing.models if grant.models and one not in grant.models]
    if wider:
        raise fault("model_not_granted", model=wider[0], param="models")
    for operation in narrowing.operations:
        if operation not in OPERATIONS:
            known = ", ".join(OPERATIONS)
            detail = f"unknown operation {operation!r}; known: {known}."
            raise fault("parameter_invalid", detail=detail, param="operations")
        if grant.operations and operation not in grant.operations:
            raise fault("operation_not_allowed", operation=operation)
    if len(narrowing.models) > MAX_LIST or len(narrowing.resource) + len(narrowing.origin) > 500:
        raise fault("parameter_invalid", detail=f"A token names at most {MAX_LIST} models, and short texts.")
    if narrowing.resource and not narrowing.resource.startswith("/"):
        raise fault("parameter_invalid", detail="resource is a path such as /v1/chat/completions.", param="resource")
    if narrowing.calls is not None and not 1 <= narrowing.calls <= MAX_CALLS:
        raise fault("parameter_invalid", detail=f"calls must lie in 1 to {MAX_CALLS}.", param="calls")
    if narrowing.spend is not None:
        check_limits(msgspec.structs.replace(grant.limits, budget=narrowing.spend))


def show_token(made: NewToken) -> dict[str, Any]:
    """As the vendor answers, with our own id beside it for a revocation."""
    return {"token": made.token, "expires_at": made.claims.expires_s, "id": made.claims.token_id}


async def revoke_token(database: Database, token_id: str, *, actor: str) -> None:
    """Ends a token before its time; every process follows within two seconds.

    Raises:
        Fault: `parameter_invalid`; that is no token's id.
    """
    if not token_id.startswith("token_") or not token_id.isascii() or len(token_id) > 40:
        raise fault("parameter_invalid", detail="That is no token's id; minting shows it as `id`.", param="token_id")
    now = now_us()
    async with database.write() as connection:
        await revocations.forget_before(connection, now)
        await revocations.insert_revocation(connection, token_id, now + (MAX_S + 60) * MICROS)
        await changes.append(connection, changes.TOKEN, token_id, now)
        await audit.append(connection, actor=actor, action="tokens.revoke", subject=token_id, now_us=now)
