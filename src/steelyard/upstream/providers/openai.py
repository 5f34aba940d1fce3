"""Any OpenAI-compatible upstream, an engine host and another steelyard included."""

from steelyard.upstream.providers.kind import Forward, Kind

#: Model Studio takes these on its compatible paths too; others ignore them.
DASHSCOPE_HEADERS = (
    Forward(b"x-dashscope-datainspection", b"X-DashScope-DataInspection"),
    Forward(b"x-dashscope-ossresourceresolve", b"X-DashScope-OssResourceResolve"),
)

PROVIDER = Kind(
    api="openai", operations=("chat", "completions", "embeddings", "rerank", "images"), forwards=DASHSCOPE_HEADERS
)
