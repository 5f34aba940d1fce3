"""A model call as policy sees it, whatever dialect it came in."""

from typing import Any

import msgspec

from steelyard.canon.apps import Errand, RemoteServer
from steelyard.canon.knowledge import FoundPassages

#: A media part may cost up to this many prompt tokens (the vendor's high-resolution cap).
MEDIA_TOKENS = 16_384
#: Template tokens around one message, from above.
MESSAGE_TOKENS = 16


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One call. `body` is the decoded object with every unknown field; `raw` the bytes it came from."""

    operation: str
    model: str
    raw: bytes
    body: dict[str, Any]
    #: The API that it came by; empty for what becomes a task, which any target takes that can do it.
    api: str = "openai"
    #: Where in the body its settings stand.
    settings: dict[str, Any] = {}
    is_stream: bool = False
    wants_usage: bool = False
    #: How many answers; 0 where the answer is no text of a model's.
    n: int = 1
    #: The caller's own cap on the answer, None when there is none.
    output_cap_tokens: int | None = None
    message_count: int = 1
    media_count: int = 0
    #: Of `raw`, how much is pictures and sound within the call.
    inline_bytes: int = 0
    #: What a target must be able to do: "tools", "image", "audio", "video", "search", "thinking" …
    needs: frozenset[str] = frozenset()
    #: What knowledge bases had for it.
    found: FoundPassages | None = None
    #: MCP servers whose tools the caller wants.
    servers: tuple[RemoteServer, ...] = ()
    #: Of a call that is made of calls.
    errand: Errand | None = None

    @property
    def text_bytes(self) -> int:
        """Of the call, what a model may read as text."""
        return len(self.raw) - self.inline_bytes

    def prompt_bound_tokens(self) -> int:
        """An upper bound of the prompt: no tokenizer makes more tokens than there are bytes."""
        text_bytes = len(self.raw) - self.inline_bytes
        return text_bytes + self.message_count * MESSAGE_TOKENS + self.media_count * MEDIA_TOKENS
