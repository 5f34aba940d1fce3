"""DashScope by its native API. Source: dashscope.md 2 and 12."""

from steelyard.upstream.providers.kind import Forward, Kind
from steelyard.upstream.providers.openai import DASHSCOPE_HEADERS

PROVIDER = Kind(
    api="dashscope",
    operations=("chat", "embeddings", "rerank", "tokenize", "images", "videos"),
    stream_lines=("X-DashScope-SSE: enable",),
    forwards=(*DASHSCOPE_HEADERS, Forward(b"x-dashscope-plugin", b"X-DashScope-Plugin")),
    models_path="/models?page_no=1&page_size=100",
    models_at=("output", "models"),
    model_member="model",
)
