"""A chat call whatever dialect it came in: what a crossing from one API to another is made of."""

from typing import Any

import msgspec

from steelyard.canon.apps import Errand

SYSTEM, USER, ASSISTANT, TOOL = "system", "user", "assistant", "tool"
TEXT, IMAGE, AUDIO, VIDEO, FILE = "text", "image", "audio", "video", "file"
#: tool_choice: the model decides, must not call, must call; a forced tool stands in `forced_tool`.
AUTO, NONE, REQUIRED = "auto", "none", "required"

#: Fields of a call that change how a model answers, under their OpenAI names. What a wire has no place for is told to the
#: caller when it is left out; other fields (`user`, `metadata` …) are for the first API alone and go without a word.
SETTINGS = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "repetition_penalty",
        "logit_bias",
        "n",
        "logprobs",
        "top_logprobs",
        "parallel_tool_calls",
        "enable_thinking",
        "thinking_budget",
        "reasoning_effort",
        "preserve_thinking",
        "enable_search",
        "search_options",
        "translation_options",
        "vl_high_resolution_images",
        "enable_code_interpreter",
        "tool_stream",
        "modalities",
        "audio",
        "stop",
        "response_format",
    }
)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a message's content."""

    kind: str = TEXT
    text: str = ""
    #: `http(s)://`, `data:` or `oss://`; of a video also its frames, in order.
    urls: tuple[str, ...] = ()
    #: "min_pixels", "max_pixels", "fps", "detail", "format", "cache_control"
    hints: dict[str, Any] = {}


class ToolCall(msgspec.Struct, frozen=True):
    """A call that the model asks for."""

    id: str
    name: str
    #: JSON text, as the model wrote it
    arguments: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn."""

    role: str
    parts: tuple[Part, ...] = ()
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    #: Of a tool message: which call it answers.
    call_id: str = ""
    #: The answer goes on from here.
    is_partial: bool = False

    @property
    def text(self) -> str:
        """Its texts together."""
        return "\n".join(part.text for part in self.parts if part.kind == TEXT)

    @property
    def is_plain(self) -> bool:
        """Whether it is text and nothing else."""
        return all(part.kind == TEXT and not part.hints for part in self.parts)


class Tool(msgspec.Struct, frozen=True):
    """A function that the model may call."""

    name: str
    description: str = ""
    parameters: dict[str, Any] | None = None


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A chat call. `settings` has the fields that have no place of their own here, under the names of the OpenAI wire."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str = AUTO
    forced_tool: str = ""
    #: "text", "json_object" or "json_schema" as on the OpenAI wire
    response_format: dict[str, Any] | None = None
    stop: tuple[Any, ...] = ()
    settings: dict[str, Any] = {}
    #: Of a call that is made of calls.
    errand: Errand | None = None

    def within(self, carries: frozenset[str], lacks: frozenset[str]) -> "Conversation":
        """The same call without what a wire has no place for."""
        response_format = self.response_format
        if response_format is not None and response_format.get("type") in lacks:
            response_format = None
        kept = {name: value for name, value in self.settings.items() if name in carries}
        return msgspec.structs.replace(self, settings=kept, response_format=response_format)
