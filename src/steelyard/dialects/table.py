"""Every wire operation that this server has."""

from steelyard.dialects import (
    anthropic_messages,
    dashscope_embeddings,
    dashscope_generation,
    dashscope_rerank,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_rerank,
)
from steelyard.dialects.dialect import Dialect

DIALECTS: tuple[Dialect, ...] = (
    openai_chat.DIALECT,
    openai_completions.DIALECT,
    openai_embeddings.DIALECT,
    openai_rerank.DIALECT,
    dashscope_generation.TEXT,
    dashscope_generation.MULTIMODAL,
    dashscope_embeddings.TEXT,
    dashscope_embeddings.MULTIMODAL,
    dashscope_rerank.DIALECT,
    anthropic_messages.DIALECT,
)
