"""The kinds of provider by name."""

from steelyard.upstream.providers import anthropic, apps, dashscope, openai
from steelyard.upstream.providers.kind import Kind

KINDS: dict[str, Kind] = {
    "openai": openai.PROVIDER,
    "steelyard": openai.PROVIDER,
    "dashscope": dashscope.PROVIDER,
    "anthropic": anthropic.PROVIDER,
}
#: By what a target speaks.
BY_API: dict[str, Kind] = {kind.api: kind for kind in (*KINDS.values(), apps.PROVIDER)}
