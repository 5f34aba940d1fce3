"""Answers kept for calls that are exactly the same: optional, per workspace, at a price of its own.

The same call is the same bytes on the same path, in the same workspace, under the same inspection, with the same targets behind
the model. What is kept is what the first caller was shown; a later one gets it under a request id of its own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from steelyard.base.clock import now_us
from steelyard.base.errors import Fault
from steelyard.base.jsondoor import encode
from steelyard.base.units import MICROS
from steelyard.canon.cache import CachePolicy
from steelyard.canon.grant import Workspace
from steelyard.canon.model import Price, Target
from steelyard.canon.usage import Usage
from steelyard.gateway.call import Call
from steelyard.gateway.exchange import Exchange
from steelyard.gateway.ports import KeptAnswers, StoredAnswer

#: What a caller says to be answered by the model itself; the answer is kept anew with `refresh`.
HEADER = b"x-steelyard-cache"
BYPASS, REFRESH = b"no", b"refresh"
TARGET_HEADER = b"x-steelyard-target"
#: Of the first answer, not of this one.
_OWN_HEADERS = (TARGET_HEADER, b"x-steelyard-attempts", b"x-ratelimit-")
#: The provider that `x-steelyard-target` and receipts name.
PROVIDER = "cache"


class KeptAnswer(msgspec.Struct, frozen=True):
    """An answer and what it took."""

    answer: StoredAnswer
    usage: Usage
    #: The id that stands in it.
    request_id: str
    made_us: int


_decode = msgspec.msgpack.Decoder(KeptAnswer).decode


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a call's answer is kept, if it is."""

    scope: str
    key: str
    policy: CachePolicy
    is_read: bool


def slot_of(call: Call, workspace: Workspace, exchange: Exchange) -> Slot | None:
    """The slot of a call; None where its answer is neither looked for nor kept."""
    policy = workspace.cache
    wish = exchange.headers.get(HEADER, b"").strip().lower()
    if not policy.ttl_s or wish == BYPASS:
        return None
    targets = ",".join(target.label for target in call.model.targets)
    digest = hashlib.sha256(encode([exchange.path, call.request.is_stream, targets, workspace.inspection]))
    digest.update(call.request.raw)
    return Slot(f"cache:{workspace.name}", digest.hexdigest(), policy, wish != REFRESH)


def discounted(target: Target, percent: int) -> Target:
    """What a kept answer is settled at: the target's price, cut."""
    price = target.price

    def part(micros: int | None) -> int | None:
        return None if micros is None else micros * percent // 100

    cut = Price(
        version=f"{price.version} cache {percent}%",
        currency=price.currency,
        input_micros=part(price.input_micros) or 0,
        output_micros=part(price.output_micros) or 0,
        cached_micros=part(price.cached_micros),
        reasoning_micros=part(price.reasoning_micros),
        is_known=price.is_known,
    )
    return msgspec.structs.replace(target, provider=PROVIDER, price=cut)


class AnswerCache:
    """Looks answers up and keeps them."""

    def __init__(self, kept: KeptAnswers) -> None:
        self._kept = kept

    async def find(self, slot: Slot) -> KeptAnswer | None:
        """A kept answer that is still good; None where there is none, or nobody can say."""
        if not slot.is_read:
            return None
        try:
            data = await self._kept.find_kept(slot.scope, slot.key)
        except Fault:
            return None
        found = None if data is None else _decode(data)
        if found is None or now_us() - found.made_us > slot.policy.ttl_s * MICROS:
            return None
        return found

    async def keep(self, slot: Slot, answer: StoredAnswer, usage: Usage, request_id: str) -> None:
        """Keeps a whole answer.

        Raises:
            Fault: it could not be kept.
        """
        await self._kept.keep(
            slot.scope, slot.key, msgspec.msgpack.encode(KeptAnswer(answer, usage, request_id, now_us()))
        )


def replayed(found: KeptAnswer, request_id: str, target: Target) -> StoredAnswer:
    """A kept answer under another request id, with the headers that say what it is."""
    old, new = found.request_id.encode(), request_id.encode()
    age_s = max((now_us() - found.made_us) // MICROS, 0)
    kept = [
        (name, value.replace(old, new)) for name, value in found.answer.headers if not name.startswith(_OWN_HEADERS)
    ]
    headers = [*kept, (TARGET_HEADER, target.label.encode()), (HEADER, b"hit"), (b"age", b"%d" % age_s)]
    return StoredAnswer(found.answer.status, headers, found.answer.body.replace(old, new))
