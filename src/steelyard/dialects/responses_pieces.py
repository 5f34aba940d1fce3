"""Responses streams from pieces. Source: openai-compatible.md 8: which events must come, and in which order."""

from typing import Any

from steelyard.base.errors import Fault
from steelyard.base.jsondoor import encode
from steelyard.canon.answer import ARGUED, CALLED, ENDED, LENGTH, RAN, SAID, STOP, THOUGHT, Piece, Step
from steelyard.canon.conversation import ToolCall
from steelyard.canon.usage import Usage
from steelyard.dialects.dialect import Showing
from steelyard.dialects.responses_codec import (
    call_item,
    message_item,
    reasoning_item,
    response_object,
    search_items,
    step_item,
    text_part,
)
from steelyard.dialects.sse import frame

_DONE_HERE = frozenset({"file_search_call", "mcp_list_tools", "mcp_call"})


class ResponseWriter:
    """Implements `StreamWriter`: one output item after another, calls that come at once waiting for their turn."""

    __slots__ = ("_call", "_item", "_kind", "_number", "_output", "_reason", "_showing", "_text", "_waiting")

    def __init__(self, showing: Showing) -> None:
        self._showing = showing
        self._number = 0
        #: Items that are whole.
        self._output: list[dict[str, Any]] = []
        #: The one that is written now: its kind, its item as it began, and its text so far.
        self._kind = ""
        self._item: dict[str, Any] = {}
        self._text = ""
        self._call = -1
        #: Calls that came while another was written: [id, name, arguments so far].
        self._waiting: dict[int, list[str]] = {}
        self._reason = STOP

    def _event(self, kind: str, **fields: Any) -> bytes:
        data = encode({"type": kind, "sequence_number": self._number, **fields})
        self._number += 1
        return frame(kind.encode(), data)

    def _start(self) -> bytes:
        if self._number:
            return b""
        response = response_object(self._showing, "in_progress", [])
        opening = self._event("response.created", response=response)
        opening += self._event("response.in_progress", response=response)
        return opening + b"".join([self._searched(item) for item in search_items(self._showing)])

    def _searched(self, item: dict[str, Any]) -> bytes:
        """A search that is over when the answer begins."""
        at = {"output_index": len(self._output), "item_id": item["id"]}
        begun = {**item, "status": "in_progress", "queries": [], "results": None}
        told = self._event("response.output_item.added", output_index=len(self._output), item=begun)
        for state in ("in_progress", "searching", "completed"):
            told += self._event(f"response.file_search_call.{state}", **at)
        told += self._event("response.output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)
        return told

    def write(self, pieces: list[Piece]) -> bytes:
        """See `StreamWriter`."""
        return self._start() + b"".join([self._piece(piece) for piece in pieces if piece.index == 0])

    def _piece(self, piece: Piece) -> bytes:
        kind, text = piece.kind, piece.text
        if kind == ENDED:
            self._reason = text
            return b""
        if kind == RAN:
            return self._ran(piece.step) if piece.step is not None else b""
        if kind == CALLED:
            if self._kind == CALLED:
                self._waiting[piece.call] = [piece.call_id, text, ""]
                return b""
            return self._open_call(piece.call, ToolCall(piece.call_id, text, ""))
        if kind == ARGUED and piece.call in self._waiting:
            self._waiting[piece.call][2] += text
            return b""
        if not text:
            return b""
        opening = b""
        if kind != ARGUED and self._kind != kind:
            opening = self._close() + (self._open_message() if kind == SAID else self._open_reasoning())
        self._text += text
        return opening + self._delta(text)

    def _ran(self, step: Step) -> bytes:
        """Something that was done here, and is over."""
        item = step_item(step)
        if item is None:
            return b""
        closing = self._close()
        if item["type"] == "file_search_call":
            return closing + self._searched(item)
        at = {"output_index": len(self._output), "item_id": item["id"]}
        is_call = item["type"] == "mcp_call"
        begun = (
            {**item, "output": None, "error": None, "arguments": "", "status": "in_progress"}
            if is_call
            else {**item, "tools": []}
        )
        told = self._event("response.output_item.added", output_index=len(self._output), item=begun)
        told += self._event(f"response.{item['type']}.in_progress", **at)
        if is_call:
            told += self._event("response.mcp_call_arguments.delta", **at, delta=item["arguments"])
            told += self._event("response.mcp_call_arguments.done", **at, arguments=item["arguments"])
        state = "failed" if step.is_error else "completed"
        told += self._event(f"response.{item['type']}.{state}", **at)
        told += self._event("response.output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)
        return closing + told

    def _delta(self, text: str) -> bytes:
        at = {"item_id": self._item["id"], "output_index": len(self._output), "delta": text}
        if self._kind == SAID:
            return self._event("response.output_text.delta", **at, content_index=0, logprobs=[])
        if self._kind == THOUGHT:
            return self._event("response.reasoning_summary_text.delta", **at, summary_index=0)
        return self._event("response.function_call_arguments.delta", **at)

    def _open(self, kind: str, item: dict[str, Any]) -> bytes:
        self._kind, self._item, self._text = kind, item, ""
        return self._event("response.output_item.added", output_index=len(self._output), item=item)

    def _open_message(self) -> bytes:
        item = message_item(self._showing, None, "in_progress")
        if count := sum(one["type"] == "message" for one in self._output):
            item["id"] += f"_{count}"
        added = self._open(SAID, item)
        at = {"item_id": self._item["id"], "output_index": len(self._output), "content_index": 0}
        return added + self._event("response.content_part.added", **at, part=text_part("", self._showing))

    def _open_reasoning(self) -> bytes:
        added = self._open(THOUGHT, reasoning_item(self._showing, ""))
        at = {"item_id": self._item["id"], "output_index": len(self._output), "summary_index": 0}
        return added + self._event(
            "response.reasoning_summary_part.added", **at, part={"type": "summary_text", "text": ""}
        )

    def _open_call(self, number: int, call: ToolCall) -> bytes:
        closing = self._close()
        self._call = number
        return closing + self._open(CALLED, call_item(self._showing, number, call, "in_progress"))

    def _close(self) -> bytes:
        """Ends the item that is written now."""
        if not self._kind:
            return b""
        at = {"item_id": self._item["id"], "output_index": len(self._output)}
        if self._kind == SAID:
            item = message_item(self._showing, self._text, "completed") | {"id": self._item["id"]}
            out = self._event("response.output_text.done", **at, content_index=0, text=self._text, logprobs=[])
            out += self._event(
                "response.content_part.done", **at, content_index=0, part=text_part(self._text, self._showing)
            )
        elif self._kind == THOUGHT:
            item = reasoning_item(self._showing, self._text)
            part = {"type": "summary_text", "text": self._text}
            out = self._event("response.reasoning_summary_text.done", **at, summary_index=0, text=self._text)
            out += self._event("response.reasoning_summary_part.done", **at, summary_index=0, part=part)
        else:
            item = {**self._item, "arguments": self._text or "{}", "status": "completed"}
            out = self._event("response.function_call_arguments.done", **at, arguments=item["arguments"])
        out += self._event("response.output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)
        self._kind = ""
        return out

    def end(self, usage: Usage) -> bytes:
        """See `StreamWriter`."""
        out = self._start()
        if not self._kind and all(one["type"] in _DONE_HERE for one in self._output):
            out += self._open_message()
        out += self._close()
        for number, (call_id, name, arguments) in self._waiting.items():
            out += self._open_call(number, ToolCall(call_id, name, ""))
            self._text = arguments
            out += self._delta(arguments) if arguments else b""
            out += self._close()
        is_cut = self._reason == LENGTH
        status = "incomplete" if is_cut else "completed"
        response = response_object(self._showing, status, self._output, usage=usage, reason=self._reason)
        return out + self._event(f"response.{status}", response=response)

    def fail(self, failure: Fault) -> bytes:
        """See `StreamWriter`: the run has failed, and SDKs that only look for errors see one."""
        error = {"code": failure.openai_code or failure.slug, "message": failure.message}
        response = response_object(self._showing, "failed", self._output, error=error)
        out = self._start() + self._event("response.failed", response=response)
        return out + self._event("error", **error, param=failure.param)
