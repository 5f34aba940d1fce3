"""What a model answers, whole or in pieces, whatever dialect it comes in."""

from typing import Any

import msgspec

from steelyard.canon.conversation import ToolCall
from steelyard.canon.knowledge import FoundPassages
from steelyard.canon.usage import Usage

#: Why a choice ended.
STOP, LENGTH, TOOL_CALLS, FILTERED = "stop", "length", "tool_calls", "content_filter"

#: Kinds of piece: a part of the text, of the reasoning; a tool call opens, a part of its arguments; a choice ends; a step was made.
SAID, THOUGHT, CALLED, ARGUED, ENDED, RAN = "said", "thought", "called", "argued", "ended", "ran"

#: Kinds of step: a model was asked, a tool called, the tools of a server listed, knowledge bases searched.
ASKED_MODEL, CALLED_TOOL, LISTED_TOOLS, SEARCHED = "model", "tool", "tools", "search"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What was done here on the way to an answer.

    Args:
        name: the model's; the tool's, as its plugin calls it.
        plugin: whose tool it is.
        arguments: JSON, as the model wrote it.
        output: what the tool said; of LISTED_TOOLS the tools, as JSON.
        found: of SEARCHED.
    """

    kind: str
    id: str = ""
    name: str = ""
    plugin: str = ""
    arguments: str = ""
    output: str = ""
    is_error: bool = False
    usage: Usage | None = None
    found: FoundPassages | None = None


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
    steps: tuple[Step, ...] = ()


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
    step: Step | None = None
