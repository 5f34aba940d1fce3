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
    return -(-total // PRICE_UNIT_TOKENS)


def hold_for(request: ModelRequest, targets: Sequence[Target]) -> tuple[int, int]:
    """The most a call may take, whichever of the targets answers: (tokens, micro-units)."""
    prompt_tokens = request.prompt_bound_tokens()
    tokens = micros = 0
    for target in targets:
        cap = request.output_cap_tokens or target.default_output_tokens or target.max_output_tokens
        output_tokens = request.n * (cap or UNCAPPED_OUTPUT_TOKENS)
        price = target.price
        output_price = max(price.output_micros, price.reasoning_micros or 0)
        total = prompt_tokens * price.input_micros + output_tokens * output_price
        tokens = max(tokens, prompt_tokens + output_tokens)
        micros = max(micros, -(-total // PRICE_UNIT_TOKENS))
    return tokens, micros
