"""Every wire operation that this server has."""

from steelyard.dialects import anthropic_messages, dashscope_generation, openai_chat, openai_completions
from steelyard.dialects.dialect import Dialect

DIALECTS: tuple[Dialect, ...] = (
    openai_chat.DIALECT,
    openai_completions.DIALECT,
    dashscope_generation.TEXT,
    dashscope_generation.MULTIMODAL,
    anthropic_messages.DIALECT,
)
