"""What a call costs, and what it may cost at most. Rounded up once, at the end."""

from collections.abc import Sequence

from steelyard.canon.model import Price, Target
from steelyard.canon.request import ModelRequest
from steelyard.canon.usage import Usage

PRICE_UNIT_TOKENS = 1_000_000
#: Assumed where neither the caller nor the target caps the answer.
UNCAPPED_OUTPUT_TOKENS = 32_768


def cost_micros(price: Price, usage: Usage) -> int:
    """Micro-units for one call's usage."""
    cached_price = price.input_micros if price.cached_micros is None else price.cached_micros
    fresh_tokens = max(usage.prompt_tokens - usage.cached_tokens, 0)
    total = (
        fresh_tokens * price.input_micros
        + usage.cached_tokens * cached_price
        + usage.completion_tokens * price.output_micros
    )
    if price.reasoning_micros is not None:
        total += min(usage.reasoning_tokens, usage.completion_tokens) * (price.reasoning_micros - price.output_micros)
    cost = -(-total // PRICE_UNIT_TOKENS)
    seconds = usage.video_seconds + usage.audio_seconds
    if usage.image_count or seconds:
        cost += usage.image_count * price.image_micros + seconds * second_price(price, usage.resolution)
    return cost


def discounted_micros(price: Price, usage: Usage, *, is_batch: bool) -> int:
    """The same for a call that may belong to a batch."""
    cost = cost_micros(price, usage)
    return -(-cost * price.batch_percent // 100) if is_batch else cost


def second_price(price: Price, resolution: str) -> int:
    """Micro-units for a second of video or sound; where nothing is said of a resolution, the dearest."""
    prices = price.second_micros
    found = prices.get(resolution, prices.get(""))
    return max(prices.values(), default=0) if found is None else found


def hold_for(
    request: ModelRequest, targets: Sequence[Target], *, max_cap: int = UNCAPPED_OUTPUT_TOKENS * 32
) -> tuple[int, int]:
    """The most a call may take, whichever of the targets answers: (tokens, micro-units).

    Args:
        max_cap: the answer is capped at this in any case.
    """
    if targets[0].is_composite:
        return 0, 0
    prompt_tokens = request.prompt_bound_tokens()
    own_cap = request.output_cap_tokens
    tokens = micros = last_cap = 0
    last_price: Price | None = None
    for target in targets:
        price, cap = target.price, own_cap or _cap(target)
        if cap > max_cap:
            cap = max_cap
        # targets of one model mostly cost the same
        if cap == last_cap and (price is last_price or price == last_price):
            continue
        last_cap, last_price = cap, price
        output_tokens = request.n * cap
        total = prompt_tokens * _prompt_price(price) + output_tokens * _output_price(price)
        tokens = max(tokens, prompt_tokens + output_tokens)
        micros = max(micros, -(-total // PRICE_UNIT_TOKENS))
    return tokens, micros


def cap_within(
    request: ModelRequest, targets: Sequence[Target], *, tokens: int | None = None, micros: int | None = None
) -> int:
    """The largest cap on each answer with which a call stays within a hold, whichever of the targets answers."""
    prompt_tokens = request.prompt_bound_tokens()
    caps = []
    for target in targets:
        cap = request.output_cap_tokens or _cap(target)
        if tokens is not None:
            cap = min(cap, (tokens - prompt_tokens) // max(request.n, 1))
        output_price = _output_price(target.price)
        if micros is not None and output_price:
            room = micros * PRICE_UNIT_TOKENS - prompt_tokens * _prompt_price(target.price)
            cap = min(cap, room // (output_price * max(request.n, 1)))
        caps.append(cap)
    return max(min(caps), 1)


def _cap(target: Target) -> int:
    """On an answer whose caller sets none."""
    return target.default_output_tokens or target.max_output_tokens or UNCAPPED_OUTPUT_TOKENS


def _prompt_price(price: Price) -> int:
    cached = price.cached_micros
    return price.input_micros if cached is None else max(price.input_micros, cached)


def _output_price(price: Price) -> int:
    reasoning = price.reasoning_micros
    return price.output_micros if reasoning is None else max(price.output_micros, reasoning)
