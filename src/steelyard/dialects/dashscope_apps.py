"""POST /apps/ID/completion. Source: dashscope.md 11.

An API of callers alone: what stands behind it is the app host.
"""

from typing import Any, NoReturn

import msgspec

from steelyard.base.errors import Fault, fault
from steelyard.base.jsondoor import decode_object, encode
from steelyard.canon.answer import (
    ASKED_MODEL,
    CALLED_TOOL,
    ENDED,
    RAN,
    SAID,
    SEARCHED,
    STOP,
    THOUGHT,
    ChatAnswer,
    Piece,
    Step,
)
from steelyard.canon.apps import APP_PREFIX
from steelyard.canon.request import ModelRequest
from steelyard.canon.usage import Usage
from steelyard.dialects import dashscope_codec, dashscope_errors
from steelyard.dialects.codec import Codec
from steelyard.dialects.dashscope_fields import PARAMETERS, check_input, refuse_async, wants_stream
from steelyard.dialects.dashscope_fields import rewrite_request as rewrite_native
from steelyard.dialects.dialect import Dialect, Rewrite, Showing
from steelyard.dialects.openai_fields import boolean, check_fields, get_output_cap
from steelyard.dialects.passages import INDEXED, SIMPLE, references_of

PREFIX, SUFFIX = "/api/v1/apps/", "/completion"
#: The app's id, put in from the path; a header that a caller sends by this name is overwritten.
HEADER = b"x-steelyard-app"
GOES_ON = "null"
_CHECKS = {
    name: PARAMETERS[name] for name in ("temperature", "top_p", "top_k", "seed", "max_tokens", "enable_thinking")
} | {
    "has_thoughts": boolean("has_thoughts"),
    "incremental_output": boolean("incremental_output"),
}
#: Members of `input` that belong to the app and not to the conversation.
_OF_APP: dict[str, type] = {"session_id": str, "biz_params": dict, "doc_reference_type": str, "doc_tag_codes": list}
_NAMES: dict[type, str] = {str: "String", dict: "Object", list: "Array"}
_NOT_HERE = {
    "memory_id": "long-term memory (`memory_id`)",
    "file_list": "`file_list` (upload documents and put them into a knowledge base)",
}


def app_of(path: str) -> str | None:
    """The app that a path names; None where it is none of these."""
    if not path.startswith(PREFIX) or not path.endswith(SUFFIX):
        return None
    name = path[len(PREFIX) : -len(SUFFIX)]
    return name if name and "/" not in name else None


def decode(raw: bytes, headers: dict[bytes, bytes]) -> ModelRequest:
    """A call of an app.

    Raises:
        Fault: the first thing wrong, with the field.
    """
    refuse_async(headers)
    body = decode_object(raw)
    asked, parameters = body.get("input"), body.get("parameters") or {}
    if asked is None:
        raise fault("input_missing", param="input")
    for name, value in (("input", asked), ("parameters", parameters)):
        if type(value) is not dict:
            raise fault("parameter_type", param=name, field=name, type="Object")
    for name, what in _NOT_HERE.items():
        if asked.get(name):
            raise fault("not_supported", what=what, param=f"input.{name}")
    asked = _with_images(asked)
    media_count, needs, count = check_input(asked)
    check_fields(parameters, _CHECKS)
    model = APP_PREFIX + headers.get(HEADER, b"").decode("latin-1")
    settings = {**parameters, **{name: _checked(name, asked[name]) for name in _OF_APP if asked.get(name) is not None}}
    _check_options(settings.get("rag_options"))
    return ModelRequest(
        operation="apps",
        model=model,
        raw=raw,
        decoded={**body, "input": asked, "model": model},
        api="apps-native",
        own_settings=settings,
        is_stream=wants_stream(headers),
        wants_usage=True,
        output_cap_tokens=get_output_cap(parameters),
        message_count=count,
        media_count=media_count,
        needs=needs,
    )


def _checked(name: str, value: Any) -> Any:
    wanted = _OF_APP[name]
    if type(value) is not wanted or (name == "session_id" and not 0 < len(str(value)) <= 100):
        raise fault("parameter_type", param=f"input.{name}", field=name, type=_NAMES[wanted])
    if name == "doc_reference_type" and value not in (SIMPLE, INDEXED):
        detail = f"doc_reference_type must be {SIMPLE} or {INDEXED}."
        raise fault("parameter_invalid", param=f"input.{name}", detail=detail)
    return value


def _check_options(options: Any) -> None:
    if options is not None and type(options) is not dict:
        raise fault("parameter_type", param="parameters.rag_options", field="rag_options", type="Object")


def _with_images(asked: dict[str, Any]) -> dict[str, Any]:
    """`image_list` belongs to the last thing that was said."""
    images = asked.get("image_list")
    if not images:
        return asked
    if type(images) is not list or not all(type(one) is str for one in images):
        raise fault("parameter_type", param="input.image_list", field="image_list", type="Array")
    parts: list[dict[str, Any]] = [{"image": one} for one in images]
    messages = asked.get("messages")
    if not messages:
        said = [{"role": "user", "content": [*parts, {"text": asked.get("prompt") or ""}]}]
    else:
        last = messages[-1] if type(messages) is list and type(messages[-1]) is dict else {}
        content = last.get("content")
        own = content if type(content) is list else [{"text": content or ""}]
        said = [*messages[:-1], {**last, "content": [*parts, *own]}]
    return {name: value for name, value in asked.items() if name not in ("image_list", "prompt")} | {"messages": said}


def session_of(request: ModelRequest, request_id: str) -> str:
    """The session that a call belongs to: the one it names, else a new one, which has the call's own id."""
    return str(request.settings.get("session_id") or request_id.replace("-", ""))


# answers


def _usage(steps: list[Step]) -> dict[str, Any]:
    """`usage`: what each model took."""
    models: dict[str, list[int]] = {}
    for one in steps:
        if one.kind == ASKED_MODEL and one.usage is not None:
            counts = models.setdefault(one.name, [0, 0])
            counts[0] += one.usage.prompt_tokens
            counts[1] += one.usage.completion_tokens
    return {
        "models": [
            {"model_id": name, "input_tokens": taken, "output_tokens": given} for name, (taken, given) in models.items()
        ]
    }


def _thought_of(step: Step) -> dict[str, Any] | None:
    """A step as a thought; None where it is none."""
    if step.kind == CALLED_TOOL:
        return _thought("api", step.plugin, step.name, step.arguments or "{}", step.output)
    if step.kind == SEARCHED and step.found is not None:
        seen = [{"content": one.text, "score": one.score, "doc_name": one.document_name} for one in step.found.passages]
        asked = encode({"query": step.found.question}).decode()
        return _thought("agentRag", "search", "searchDocument", asked, encode(seen).decode())
    return None


def _thought(kind: str, name: str, action: str, asked: str, observation: str) -> dict[str, Any]:
    try:
        arguments = msgspec.json.decode(asked)
    except msgspec.DecodeError:
        arguments = None
    return {
        "action_type": kind,
        "action_name": name,
        "action": action,
        "action_input_stream": asked,
        "action_input": arguments if isinstance(arguments, dict) else {},
        "observation": observation,
        "thought": "",
        "response": "",
    }


def _reasoned(text: str) -> dict[str, Any]:
    return {**_thought("reasoning", "thinking", "reasoning", "{}", ""), "thought": text}


def _references(steps: list[Step]) -> list[dict[str, Any]]:
    found = [one.found for one in steps if one.kind == SEARCHED and one.found is not None]
    return references_of(found[-1]) if found else []


def _output(text: str, reason: str, session: str) -> dict[str, Any]:
    return {"text": text, "finish_reason": reason, "session_id": session}


def write_answer(answer: ChatAnswer, showing: Showing) -> bytes:
    """A whole answer."""
    choice, steps, request = answer.choices[0], list(answer.steps), showing.request
    output = _output(choice.text, choice.reason, session_of(request, showing.request_id))
    if request.settings.get("has_thoughts") is True:
        told = [_reasoned(choice.reasoning)] if choice.reasoning else []
        output["thoughts"] = told + [one for one in map(_thought_of, steps) if one is not None]
    if references := _references(steps):
        output["doc_references"] = references
    return encode({"output": output, "usage": _usage(steps), "request_id": showing.request_id})


class AppWriter:
    """Implements `StreamWriter`: text so far, or what is new of it; thoughts as they come; references with the end."""

    __slots__ = (
        "_number",
        "_reason",
        "_reasoning",
        "_repeats",
        "_session",
        "_showing",
        "_steps",
        "_tells",
        "_text",
        "_thoughts",
    )

    def __init__(self, showing: Showing) -> None:
        settings = showing.request.settings
        self._showing = showing
        self._session = session_of(showing.request, showing.request_id)
        self._repeats = settings.get("incremental_output") is not True
        self._tells = settings.get("has_thoughts") is True
        self._number = 0
        self._text = ""
        self._reasoning = ""
        self._steps: list[Step] = []
        self._thoughts: list[dict[str, Any]] = []
        self._reason = STOP

    def write(self, pieces: list[Piece]) -> bytes:
        """See `StreamWriter`."""
        return b"".join([self._piece(piece) for piece in pieces if piece.index == 0])

    def _piece(self, piece: Piece) -> bytes:
        if piece.kind == ENDED:
            self._reason = piece.text
        elif piece.kind == SAID and piece.text:
            self._text += piece.text
            return self._frame(piece.text)
        elif piece.kind == THOUGHT and self._tells and piece.text:
            return self._reason_on(piece.text)
        elif piece.kind == RAN and piece.step is not None:
            self._steps.append(piece.step)
            told = _thought_of(piece.step) if self._tells else None
            if told is not None:
                self._thoughts.append(told)
                return self._frame("", new=told)
        return b""

    def _reason_on(self, text: str) -> bytes:
        self._reasoning += text
        return self._frame("", new=_reasoned(text))

    def _frame(self, new_text: str, *, new: dict[str, Any] | None = None, reason: str = GOES_ON) -> bytes:
        output = _output(self._text if self._repeats else new_text, reason, self._session)
        is_end = reason != GOES_ON
        if self._tells and self._repeats and (new is not None or is_end):
            # all so far, where there is something new: repeated with every word they would outweigh the answer
            reasoned = [_reasoned(self._reasoning)] if self._reasoning else []
            output["thoughts"] = [*reasoned, *self._thoughts]
        elif self._tells and new is not None:
            output["thoughts"] = [new]
        if is_end and (references := _references(self._steps)):
            output["doc_references"] = references
        self._number += 1
        body = {"output": output, "usage": _usage(self._steps), "request_id": self._showing.request_id}
        return b"id:%d\nevent:result\n:HTTP_STATUS/200\ndata:%b\n\n" % (self._number, encode(body))

    def end(self, usage: Usage) -> bytes:  # noqa: ARG002 - what each model took is told with its step
        """See `StreamWriter`."""
        return self._frame("", reason=self._reason)

    def fail(self, failure: Fault) -> bytes:
        """See `StreamWriter`."""
        return dashscope_errors.render_event(failure, self._showing.request_id, self._number + 1)


def rewrite_reply(body: bytes, rewrite: Rewrite) -> bytes:
    """See `Dialect`: what was said, and what tools and documents said."""
    output = msgspec.json.decode(body)["output"]
    before = encode(output)
    output["text"] = rewrite(output["text"])
    for thought in output.get("thoughts") or ():
        thought["observation"], thought["thought"] = rewrite(thought["observation"]), rewrite(thought["thought"])
    for reference in output.get("doc_references") or ():
        reference["text"] = rewrite(reference["text"])
    after = encode(output)
    return body if after == before else body.replace(before, after, 1)


def _never(*_: Any) -> NoReturn:
    """For the upstream role, which it does not have."""
    raise fault("internal_error")


DIALECT = Dialect(
    api="apps-native",
    operation="apps",
    paths=(),
    upstream_path="",
    decode=decode,
    encode=_never,
    read_reply=_never,
    show_reply=_never,
    open_tap=_never,
    read_refusal=_never,
    rewrite_request=rewrite_native,
    rewrite_reply=rewrite_reply,
    render_error=dashscope_errors.render,
    codec=Codec(
        read_request=dashscope_codec.read_request,
        write_answer=write_answer,
        write_request=_never,
        read_answer=_never,
        open_writer=AppWriter,
        tells_steps=True,
    ),
    takes_links=True,
)
