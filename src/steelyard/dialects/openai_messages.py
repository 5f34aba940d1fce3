"""The checks of `messages`. Source: openai-compatible.md 3.2, errors.md 2.1."""

from collections.abc import Callable
from typing import Any

import msgspec

from steelyard.base.errors import fault

ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
MAX_DATA_URI_BYTES = 10_485_760
_MEDIA = {"image_url": "image", "video_url": "video", "video": "video", "input_audio": "audio", "file": "file"}
#: (part, where it stands, the kinds of media found so far)
PartCheck = Callable[[Any, str, list[str]], None]
_SCHEMES = ("http://", "https://", "data:", "oss://", "fileid://")


def check_messages(messages: Any, check_part: PartCheck | None = None) -> tuple[int, frozenset[str]]:
    """Checks a conversation.

    Args:
        check_part: another API's form of content parts.

    Returns:
        how many media parts it has, and what they need of a target.

    Raises:
        Fault: naming the first message at fault.
    """
    if type(messages) is not list:
        raise fault("parameter_type", param="messages", field="messages", type="Array")
    if not messages:
        raise fault("messages_empty", param="messages")
    media: list[str] = []
    open_calls: set[str] = set()
    has_user = False
    for index, message in enumerate(messages):
        if type(message) is not dict:
            raise fault("message_invalid", param=f"messages[{index}]", detail=f" (messages[{index}])")
        role = message.get("role")
        if type(role) is not str or role not in ROLES:
            raise fault("role_invalid", param=f"messages[{index}].role")
        has_user = has_user or role == "user"
        open_calls = _follow_calls(message, role, open_calls, index)
        _check_content(message, role, index, media, check_part or _check_part)
    if not has_user:
        raise fault("user_message_missing", param="messages")
    last = messages[-1]
    if last["role"] == "assistant" and last.get("partial") is not True:
        raise fault("last_message_not_user", param="messages")
    return len(media), frozenset(media)


def _follow_calls(message: dict[str, Any], role: str, open_calls: set[str], index: int) -> set[str]:
    """The tool calls that may be answered after this message."""
    if role == "tool":
        call_id = message.get("tool_call_id")
        if type(call_id) is not str or call_id not in open_calls:
            raise fault("tool_message_orphan", param=f"messages[{index}].tool_call_id")
        return open_calls
    if role == "assistant":
        if type(message.get("reasoning_content") or "") is not str:
            where = f"messages[{index}].reasoning_content"
            raise fault("message_invalid", param=where, detail=f" ({where}: a text)")
        return _call_ids(message, index)
    return set()


def _call_ids(message: dict[str, Any], index: int) -> set[str]:
    calls = message.get("tool_calls")
    if not calls:
        return set()
    where = f"messages[{index}].tool_calls"
    if type(calls) is not list:
        raise fault("message_invalid", param=where, detail=f" ({where})")
    for call in calls:
        function = call.get("function") if type(call) is dict else None
        if type(function) is not dict or type(function.get("name")) is not str or type(call.get("id")) is not str:
            raise fault("message_invalid", param=where, detail=f" ({where})")
        try:
            msgspec.json.decode(function.get("arguments", "{}"))
        except (msgspec.DecodeError, TypeError, RecursionError):
            raise fault("tool_arguments_invalid", param=f"{where}.function.arguments") from None
    return {call["id"] for call in calls}


def _check_content(message: dict[str, Any], role: str, index: int, media: list[str], check_part: PartCheck) -> None:
    content = message.get("content")
    if type(content) is str:
        return
    where = f"messages[{index}].content"
    if content is None:
        if role == "assistant" and message.get("tool_calls"):
            return
        raise fault("content_missing", param=where)
    if type(content) is not list:
        raise fault("content_not_text", param=where)
    for part in content:
        check_part(part, where, media)


def _check_part(part: Any, where: str, media: list[str]) -> None:
    kind = part.get("type") if type(part) is dict else None
    if kind == "text":
        if type(part.get("text")) is not str:
            raise fault("message_invalid", param=where, detail=f" ({where}: a text part needs a text)")
        return
    need = _MEDIA.get(kind) if type(kind) is str else None
    if need is None:
        raise fault("message_invalid", param=where, detail=f" ({where}: unknown part type)")
    media.append(need)
    value = part.get(kind)
    if kind in ("image_url", "video_url"):
        check_link(value, where)
    elif kind == "video":
        if type(value) is not list or not value:
            raise fault("message_invalid", param=where, detail=f" ({where}: video is a list of frames)")
        for frame in value:
            check_link(frame, where)
    elif type(value) is not dict or (kind == "input_audio" and type(value.get("data")) is not str):
        raise fault("message_invalid", param=where, detail=f" ({where}: {kind} is an object with its data)")


def check_link(link: Any, where: str) -> None:
    """A link to media.

    Raises:
        Fault: `media_url_invalid`, or `media_too_large` for data within the call.
    """
    url = link.get("url") if type(link) is dict else link
    if type(url) is not str or not url.startswith(_SCHEMES):
        raise fault("media_url_invalid", param=where)
    if url.startswith("data:") and len(url) > MAX_DATA_URI_BYTES:
        raise fault("media_too_large", param=where)


def mentions_json(messages: list[dict[str, Any]]) -> bool:
    """Whether any message says "json", as JSON mode demands."""
    for message in messages:
        content = message.get("content")
        texts = [content] if type(content) is str else [part.get("text", "") for part in content or []]
        if any("json" in text.lower() for text in texts):
            return True
    return False
