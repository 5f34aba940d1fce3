"""The vendor's answer shapes, from pieces. Pure. Source: openai-compatible.md 3.3, 3.4, 4."""

from collections.abc import Iterable
from typing import Any

from steelyard.base.jsondoor import encode
from steelyard.canon.usage import Usage
from steelyard.engines.generation import Piece

DONE = b"data: [DONE]\n\n"


def usage_object(usage: Usage) -> dict[str, Any]:
    """`usage`, with exactly the vendor's fields."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def add_usage(left: Usage | None, right: Usage) -> Usage:
    """Several choices share one prompt: it counts once, their answers add up."""
    if left is None:
        return right
    return Usage(
        prompt_tokens=left.prompt_tokens,
        completion_tokens=left.completion_tokens + right.completion_tokens,
        cached_tokens=left.cached_tokens,
    )


class ChatShape:
    """chat.completion and chat.completion.chunk."""

    prefix = "chatcmpl-"
    whole_object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def __init__(self, request_id: str, created: int, model: str, *, with_logprobs: bool) -> None:
        self._head = {"id": self.prefix + request_id, "created": created, "model": model, "system_fingerprint": None}
        self._with_logprobs = with_logprobs

    def whole(self, pieces: Iterable[Piece]) -> bytes:
        """One answer of all pieces."""
        choices: dict[int, dict[str, Any]] = {}
        usage: Usage | None = None
        for piece in pieces:
            if piece.usage is not None:
                usage = add_usage(usage, piece.usage)
            choice = choices.setdefault(piece.index, self._empty_choice(piece.index))
            self._grow(choice, piece)
        ordered = [choices[index] for index in sorted(choices)]
        body = {**self._head, "object": self.whole_object, "choices": ordered, "usage": usage_object(usage or Usage())}
        return encode(body)

    def _empty_choice(self, index: int) -> dict[str, Any]:
        message = {"role": "assistant", "content": ""}
        return {"index": index, "finish_reason": None, "logprobs": None, "message": message}

    def _grow(self, choice: dict[str, Any], piece: Piece) -> None:
        choice["message"]["content"] += piece.text
        if piece.tool_calls:
            choice["message"]["tool_calls"] = piece.tool_calls
        self._grow_ends(choice, piece)

    def _grow_ends(self, choice: dict[str, Any], piece: Piece) -> None:
        if self._with_logprobs and piece.logprobs:
            choice["logprobs"] = choice["logprobs"] or {"content": []}
            choice["logprobs"]["content"] += piece.logprobs
        choice["finish_reason"] = piece.finish_reason or choice["finish_reason"]

    def opening(self, index: int) -> bytes:
        """The first frame of a choice."""
        return self._frame(index, {"role": "assistant", "content": ""})

    def frames(self, piece: Piece) -> bytes:
        """The frames of one piece."""
        out = b""
        logprobs = {"content": piece.logprobs} if self._with_logprobs and piece.logprobs else None
        if piece.text:
            out += self._frame(piece.index, self._delta(piece.text), logprobs=logprobs)
        for call in piece.tool_calls:
            out += self._call_frames(piece.index, call)
        if piece.finish_reason is not None:
            out += self._frame(piece.index, self._delta(""), finish_reason=piece.finish_reason)
        return out

    def _delta(self, text: str) -> dict[str, Any]:
        return {"content": text}

    def _call_frames(self, index: int, call: dict[str, Any]) -> bytes:
        # the id and the name stand in the first frame alone: clients concatenate what is repeated
        first = {**call, "function": {"name": call["function"]["name"], "arguments": ""}}
        rest = {"index": call["index"], "function": {"arguments": call["function"]["arguments"]}}
        return b"".join(self._frame(index, {"content": None, "tool_calls": [part]}) for part in (first, rest))

    def _frame(
        self,
        index: int,
        delta: dict[str, Any],
        *,
        logprobs: dict[str, Any] | None = None,
        finish_reason: str | None = None,
    ) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return self._data({"choices": [choice], "usage": None})

    def usage_frame(self, usage: Usage) -> bytes:
        """The last frame before the end mark."""
        return self._data({"choices": [], "usage": usage_object(usage)})

    def _data(self, body: dict[str, Any]) -> bytes:
        return b"data: " + encode({**self._head, "object": self.chunk_object, **body}) + b"\n\n"


class CompletionShape(ChatShape):
    """text_completion, whole and in pieces."""

    prefix = "cmpl-"
    whole_object = "text_completion"
    chunk_object = "text_completion"

    def _empty_choice(self, index: int) -> dict[str, Any]:
        return {"index": index, "text": "", "finish_reason": None, "logprobs": None}

    def _grow(self, choice: dict[str, Any], piece: Piece) -> None:
        choice["text"] += piece.text
        self._grow_ends(choice, piece)

    def opening(self, index: int) -> bytes:
        """A completion has no opening frame."""
        return b""

    def _frame(
        self,
        index: int,
        delta: dict[str, Any],
        *,
        logprobs: dict[str, Any] | None = None,
        finish_reason: str | None = None,
    ) -> bytes:
        text = delta.get("content") or ""
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}
        return self._data({"choices": [choice]})
