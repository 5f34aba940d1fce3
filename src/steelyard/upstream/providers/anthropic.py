"""Anthropic, and Model Studio's Anthropic-compatible path. Source: openai-compatible.md 11."""

from steelyard.upstream.providers.kind import Forward, Kind

PROVIDER = Kind(
    api="anthropic",
    operations=("chat", "tokenize"),
    key_header="x-api-key",
    key_prefix="",
    forwards=(
        Forward(b"anthropic-version", b"anthropic-version", default=b"2023-06-01"),
        Forward(b"anthropic-beta", b"anthropic-beta"),
    ),
    models_path="/v1/models?limit=1000",
    default_output_tokens=4096,
)
