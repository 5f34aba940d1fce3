"""The commonest chat calls, known by one look: turns of text and a few settings, each within its range.

What has this form passes every check of `openai_messages` and `openai_fields`, so none of them need be made; anything else is
looked at field by field, and told what is wrong with it.
"""

from typing import Annotated, Literal

import msgspec

from steelyard.base.jsondoor import SMALL_BODY_BYTES

#: Larger ones are counted before they are decoded.
MAX_BYTES = SMALL_BODY_BYTES


class _Turn(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: Literal["system", "developer", "user", "assistant"]
    content: str


class _StreamOptions(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    include_usage: bool | None = None


_Count = Annotated[int, msgspec.Meta(ge=1)]


class PlainChat(msgspec.Struct, forbid_unknown_fields=True):
    """A call of this form. Null means absent, as everywhere."""

    model: str
    messages: list[_Turn]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, lt=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    max_tokens: _Count | None = None
    max_completion_tokens: _Count | None = None

    @property
    def wants_usage(self) -> bool:
        """Whether a stream's usage is to be shown."""
        return self.stream_options is not None and self.stream_options.include_usage is True

    @property
    def output_cap_tokens(self) -> int | None:
        """The caller's cap on the answer; the newer name wins."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


_decode = msgspec.json.Decoder(PlainChat).decode


def read_plain(raw: bytes) -> PlainChat | None:
    """The call, if it has the common form."""
    if len(raw) > MAX_BYTES:
        return None
    try:
        call = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    # who speaks last is looked at closely where it is not the user
    if not call.messages or call.messages[-1].role != "user" or not call.model.strip():
        return None
    return call
