"""What a request may ask of the fake vendor, in its field `script`."""

from typing import Any

import msgspec


class Script(msgspec.Struct, forbid_unknown_fields=True):
    """One behaviour. Unknown fields of a call are carried by the gateway, so any client can send it."""

    #: Wait before the head.
    delay_s: float = 0.0
    #: Close the connection without a byte of answer.
    hang_up: bool = False
    status: int = 200
    headers: dict[str, str] = {}
    #: Body of an error answer; a plain text goes out as it is.
    error: dict[str, Any] | str | None = None
    text: str = ""
    reasoning: str = ""
    #: Streamed pieces, in place of `text` cut at spaces.
    chunks: int = 0
    gap_s: float = 0.0
    #: Close the connection after so many bytes of body.
    cut_at: int = -1
    #: Send the body one byte at a time, this far apart.
    drip_s: float = -1.0
    broken_json: bool = False
    no_usage: bool = False
    no_done: bool = False
    #: Number of parallel tool calls.
    tool_calls: int = 0
    #: Calls of tools by name: [name, arguments as JSON].
    calls: list[tuple[str, str]] = []
    #: Behaviours for the rounds that follow, each time tools have answered; `{tool}` and `{user}` in a text stand for what they said.
    then: list["Script"] = []
    #: Say what images were sent.
    vision_echo: bool = False
    #: After so many pieces, a moderation error event.
    moderate_after: int = -1
    #: Answer with this text in every piece, and in the id.
    echo_id: str = ""
    cache_creation: int = 0
    cached_tokens: int = 0
    content_type: str = ""
    usage: dict[str, Any] | None = None
    #: Behaviours one after another for calls with the same `sequence_id`; the last one stays.
    sequence: list["Script"] = []
    sequence_id: str = ""
