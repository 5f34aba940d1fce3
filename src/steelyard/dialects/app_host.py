"""What the app host is asked and answers: canon as it is. An upstream role alone: callers come by other APIs.

The app host is a process of this server. To the gateway it is a target like any other, whose answers are made of other calls.
"""

from typing import Any, NoReturn

import msgspec

from steelyard.base.errors import Fault, fault
from steelyard.base.jsondoor import encode
from steelyard.canon.answer import ENDED, ChatAnswer, Piece
from steelyard.canon.conversation import SETTINGS, Conversation
from steelyard.canon.faults import ToldFault
from steelyard.canon.usage import Usage
from steelyard.dialects.codec import Codec
from steelyard.dialects.dialect import Dialect, Reply
from steelyard.dialects.sse import DataLines

API = "apps"
PATH = "/run"
#: What apps take beside what models take.
APP_SETTINGS = frozenset(
    {"session_id", "biz_params", "rag_options", "has_thoughts", "doc_reference_type", "doc_tag_codes"}
)


class AppAsk(msgspec.Struct, frozen=True, kw_only=True):
    """A call for the app host."""

    call: Conversation
    model: str
    cap_tokens: int | None = None
    is_stream: bool = False


class AppEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A part of a streamed answer: a piece, the end with what all of it took, or what went wrong."""

    piece: Piece | None = None
    usage: Usage | None = None
    fault: ToldFault | None = None


class Refusal(msgspec.Struct, frozen=True):
    """What an answer says that is none."""

    fault: ToldFault


def write_request(ask: Conversation, model: str, cap_tokens: int | None, is_stream: bool) -> bytes:
    """The body of a call."""
    return encode(AppAsk(call=ask, model=model, cap_tokens=cap_tokens, is_stream=is_stream))


_read_answer = msgspec.json.Decoder(ChatAnswer).decode
_read_event = msgspec.json.Decoder(AppEvent).decode


def read_reply(body: bytes) -> Reply:
    """What matters of a whole answer."""
    return Reply(_read_answer(body).usage, answer_bytes=len(body))


def read_refusal(status: int, _headers: dict[bytes, bytes], body: Any, _provider: str) -> Fault:
    """What the host refused the call with."""
    try:
        return msgspec.convert(body, Refusal).fault.to_fault()
    except msgspec.ValidationError:
        return fault("app_failed", detail=f"the app host answered {status}.")


def event(**fields: Any) -> bytes:
    """An event as it is sent."""
    return b"data:%b\n\n" % encode(AppEvent(**fields))


class EventReader:
    """Implements `StreamReader`."""

    __slots__ = ("_has_ended", "_lines", "error", "is_done", "usage")

    def __init__(self) -> None:
        self._lines = DataLines()
        self._has_ended = False
        self.usage: Usage | None = None
        self.error: Fault | None = None
        self.is_done = False

    def feed(self, chunk: bytes) -> list[Piece]:
        """See `StreamReader`."""
        pieces: list[Piece] = []
        for line in self._lines.feed(chunk):
            told = _read_event(line)
            if told.fault is not None:
                self.error = told.fault.to_fault()
                break
            if told.usage is not None:
                self.usage, self.is_done = told.usage, self._has_ended
            if told.piece is not None:
                self._has_ended = self._has_ended or told.piece.kind == ENDED
                pieces.append(told.piece)
        return pieces

    def flush(self) -> list[Piece]:
        """See `StreamReader`: what has no end is none."""
        return []


def _never(*_: Any) -> NoReturn:
    """For the client role, which it does not have."""
    raise fault("internal_error")


def _upstream(operation: str) -> Dialect:
    return Dialect(
        api=API,
        operation=operation,
        paths=(),
        upstream_path=PATH,
        decode=_never,
        encode=_never,
        read_reply=read_reply,
        show_reply=_never,
        open_tap=_never,
        read_refusal=read_refusal,
        rewrite_request=_never,
        rewrite_reply=_never,
        render_error=_never,
        codec=Codec(
            read_request=_never,
            write_answer=_never,
            write_request=write_request,
            read_answer=_read_answer,
            open_reader=EventReader,
            carries=SETTINGS | APP_SETTINGS,
        ),
    )


CHAT, APPS = _upstream("chat"), _upstream("apps")
