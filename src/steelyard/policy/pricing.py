"""What a call costs, and what it may cost at most. Rounded up once, at the end."""

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
    return -(-total // PRICE_UNIT_TOKENS)


def hold_for(request: ModelRequest, target: Target) -> tuple[int, int]:
    """The most a call may take: (tokens, micro-units)."""
    cap = request.output_cap_tokens or target.default_output_tokens or target.max_output_tokens
    output_tokens = request.n * (cap or UNCAPPED_OUTPUT_TOKENS)
    prompt_tokens = request.prompt_bound_tokens()
    price = target.price
    total = prompt_tokens * price.input_micros + output_tokens * price.output_micros
    return prompt_tokens + output_tokens, -(-total // PRICE_UNIT_TOKENS)
