"""The texts of chat and completions calls: found and replaced in requests, in whole answers and in streams, for inspection."""

from typing import Any

import msgspec

from steelyard.base.jsondoor import encode
from steelyard.canon.request import ModelRequest
from steelyard.dialects.dialect import Cutter, Rewrite

#: Where a choice carries text.
_FIELDS = ("content", "reasoning_content", "text", "refusal")


def rewrite_request(request: ModelRequest, rewrite: Rewrite) -> ModelRequest:
    """The request with every text of it rewritten; the same one where nothing changed."""
    body = request.body
    if "messages" in body:
        messages = [_message(message, rewrite) for message in body["messages"]]
        changed = any(new is not old for new, old in zip(messages, body["messages"], strict=True))
        new_body = {**body, "messages": messages}
    else:
        prompt = rewrite(body["prompt"])
        changed = prompt != body["prompt"]
        new_body = {**body, "prompt": prompt}
    if not changed:
        return request
    return msgspec.structs.replace(request, decoded=new_body, raw=encode(new_body))


def _message(message: dict[str, Any], rewrite: Rewrite) -> dict[str, Any]:
    content = message.get("content")
    if type(content) is str:
        new = rewrite(content)
        return message if new == content else {**message, "content": new}
    if type(content) is list:
        parts = [_part(part, rewrite) for part in content]
        if any(new is not old for new, old in zip(parts, content, strict=True)):
            return {**message, "content": parts}
    return message


def _part(part: dict[str, Any], rewrite: Rewrite) -> dict[str, Any]:
    text = part.get("text")
    if type(text) is not str:
        return part
    new = rewrite(text)
    return part if new == text else {**part, "text": new}


def rewrite_reply(body: bytes, rewrite: Rewrite) -> bytes:
    """A whole answer with every text of it rewritten; the same bytes where nothing changed."""
    answer = msgspec.json.decode(body)
    has_changed = False
    for choice in answer.get("choices") or ():
        for holder in (choice, choice.get("message") or {}):
            has_changed |= _rewrite_fields(holder, rewrite)
        for call in (choice.get("message") or {}).get("tool_calls") or ():
            has_changed |= _rewrite_fields(call.get("function") or {}, rewrite, ("arguments",))
    return encode(answer) if has_changed else body


def _rewrite_fields(holder: dict[str, Any], rewrite: Rewrite, fields: tuple[str, ...] = _FIELDS) -> bool:
    has_changed = False
    for field in fields:
        text = holder.get(field)
        if type(text) is str and text:
            new = rewrite(text)
            if new != text:
                holder[field] = new
                has_changed = True
    return has_changed


class StreamTexts:
    """Passes a stream's texts through a cutter: what it holds back goes out with a later event, at the latest before the end."""

    def __init__(self, cutter: Cutter) -> None:
        self._cutter = cutter
        #: what is held back, by choice and field
        self._held: dict[tuple[int, str], str] = {}

    def feed(self, event: dict[str, Any]) -> None:
        """Rewrites one decoded event in place.

        Raises:
            Fault: what the cutter refuses.
        """
        for choice in event.get("choices") or ():
            index = choice.get("index") or 0
            is_last = choice.get("finish_reason") is not None
            delta = choice.get("delta")
            holder = delta if isinstance(delta, dict) else choice
            if is_last:
                self._release(holder, index)
            for field in _FIELDS:
                text = holder.get(field)
                if type(text) is str and text:
                    holder[field] = self._pass(index, field, text, is_last=is_last)
            for call in holder.get("tool_calls") or ():
                self._look_at(index, call)

    def _pass(self, index: int, field: str, text: str, *, is_last: bool) -> str:
        key = (index, field)
        out, held = self._cutter.cut(self._held.pop(key, "") + text, is_last=is_last)
        if held:
            self._held[key] = held
        return out

    def _release(self, holder: dict[str, Any], index: int) -> None:
        """The last event of a choice takes along what was held back of it."""
        for key in [key for key in self._held if key[0] == index and not key[1].startswith("arguments")]:
            holder[key[1]] = self._held.pop(key) + (holder.get(key[1]) or "")

    def _look_at(self, index: int, call: dict[str, Any]) -> None:
        """Arguments are looked at as they come; they are refused or passed, never held back or masked."""
        piece = (call.get("function") or {}).get("arguments")
        if type(piece) is str and piece:
            key = (index, f"arguments{call.get('index') or 0}")
            _, self._held[key] = self._cutter.cut(self._held.get(key, "") + piece, is_last=False)
