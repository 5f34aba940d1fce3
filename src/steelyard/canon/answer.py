"""What a model answers, whole or in pieces, whatever dialect it comes in."""

from typing import Any

import msgspec

from steelyard.canon.conversation import ToolCall
from steelyard.canon.usage import Usage

#: Why a choice ended.
STOP, LENGTH, TOOL_CALLS, FILTERED = "stop", "length", "tool_calls", "content_filter"

#: Kinds of piece: a part of the text, of the reasoning; a tool call opens, a part of its arguments; a choice ends.
SAID, THOUGHT, CALLED, ARGUED, ENDED = "said", "thought", "called", "argued", "ended"


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One of the answers to a call."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    reason: str = STOP
    #: as on the OpenAI wire
    logprobs: dict[str, Any] | None = None


class ChatAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer."""

    choices: tuple[Choice, ...]
    usage: Usage | None = None


class Piece(msgspec.Struct, frozen=True):
    """A part of a streamed answer."""

    kind: str
    #: The text; of CALLED the tool's name, of ENDED the reason.
    text: str = ""
    #: which choice
    index: int = 0
    #: which tool call of the choice
    call: int = 0
    call_id: str = ""
    logprobs: dict[str, Any] | None = None
