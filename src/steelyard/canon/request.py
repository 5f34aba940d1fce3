"""A model call as policy sees it, whatever dialect it came in."""

from typing import Any

import msgspec
from msgspec.structs import force_setattr

from steelyard.base.jsondoor import decode_object
from steelyard.canon.apps import Errand, RemoteServer
from steelyard.canon.knowledge import FoundPassages

#: A media part may cost up to this many prompt tokens (the vendor's high-resolution cap).
MEDIA_TOKENS = 16_384
#: Template tokens around one message, from above.
MESSAGE_TOKENS = 16


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One call. `raw` are the bytes that it came from."""

    operation: str
    model: str
    raw: bytes
    #: See `body`; None as long as nobody has asked for it.
    decoded: dict[str, Any] | None = None
    #: The API that it came by; empty for what becomes a task, which any target takes that can do it.
    api: str = "openai"
    #: Where its settings stand in a part of the body.
    own_settings: dict[str, Any] | None = None
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
    def body(self) -> dict[str, Any]:
        """The decoded object with every unknown field. What is passed on as it came is mostly never decoded."""
        if self.decoded is None:
            force_setattr(self, "decoded", decode_object(self.raw))
        assert self.decoded is not None
        return self.decoded

    @property
    def settings(self) -> dict[str, Any]:
        """Where its settings stand."""
        return self.body if self.own_settings is None else self.own_settings

    @property
    def text_bytes(self) -> int:
        """Of the call, what a model may read as text."""
        return len(self.raw) - self.inline_bytes

    def prompt_bound_tokens(self) -> int:
        """An upper bound of the prompt: no tokenizer makes more tokens than there are bytes."""
        text_bytes = len(self.raw) - self.inline_bytes
        return text_bytes + self.message_count * MESSAGE_TOKENS + self.media_count * MEDIA_TOKENS
