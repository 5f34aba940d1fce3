"""Every wire operation that this server has."""

from steelyard.dialects import (
    anthropic_count,
    anthropic_messages,
    app_host,
    dashscope_apps,
    dashscope_embeddings,
    dashscope_generation,
    dashscope_images,
    dashscope_rerank,
    dashscope_speech,
    dashscope_tokenizer,
    dashscope_videos,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_images,
    openai_rerank,
    openai_responses,
    openai_tokenize,
    openai_videos,
)
from steelyard.dialects.dialect import Dialect, TaskOperation

#: Operations that become tasks.
TASK_OPERATIONS: tuple[TaskOperation, ...] = (
    *dashscope_images.OPERATIONS,
    *dashscope_videos.OPERATIONS,
    dashscope_speech.TRANSCRIPTIONS,
    dashscope_speech.SYNTHESIS,
    *openai_images.OPERATIONS,
    *openai_videos.OPERATIONS,
)

DIALECTS: tuple[Dialect, ...] = (
    openai_chat.DIALECT,
    openai_completions.DIALECT,
    openai_embeddings.DIALECT,
    openai_rerank.DIALECT,
    openai_tokenize.DIALECT,
    openai_responses.DIALECT,
    dashscope_generation.TEXT,
    dashscope_generation.MULTIMODAL,
    dashscope_embeddings.TEXT,
    dashscope_embeddings.MULTIMODAL,
    dashscope_rerank.DIALECT,
    dashscope_tokenizer.DIALECT,
    dashscope_apps.DIALECT,
    anthropic_messages.DIALECT,
    anthropic_count.DIALECT,
)

#: Wires to targets that callers have no API for.
INNER: tuple[Dialect, ...] = (app_host.CHAT, app_host.APPS)
