"""POST /images/generations and /images/edits: a task whose end is waited for. Source: openai-compatible.md 10 and the openai SDK."""

from typing import Any

import msgspec

from steelyard.base.errors import fault
from steelyard.base.jsondoor import encode
from steelyard.base.units import MICROS
from steelyard.canon.request import ModelRequest
from steelyard.canon.task import IMAGE, SUCCEEDED, Task, TaskAsk
from steelyard.dialects import openai_errors
from steelyard.dialects.dashscope_media import IMAGE_FIELDS, check_link, read_size, wishes_of
from steelyard.dialects.dialect import Links, Rewrite, TaskOperation
from steelyard.dialects.forms import read_fields
from steelyard.dialects.openai_fields import check_fields, get_model

B64, URL = "b64_json", "url"
FORMATS = ("png", "jpeg", "webp")
MAX_PROMPT_CHARS = 4000
_WHOLE = ("n", "seed")


def _decode(raw: bytes, headers: dict[bytes, bytes]) -> ModelRequest:
    body = read_fields(raw, headers, files=("image", "mask"), whole=_WHOLE)
    model = get_model(body)
    if body.get("size") == "auto":
        del body["size"]
    check_fields(body, IMAGE_FIELDS)
    if type(body.get("prompt")) is not str or not body["prompt"]:
        raise fault("field_missing", field="prompt", param="prompt")
    if body.get("response_format") not in (None, B64, URL):
        raise fault("parameter_invalid", detail=f"response_format must be {URL} or {B64}.", param="response_format")
    if body.get("output_format") not in (None, *FORMATS):
        detail = f"output_format must be one of {', '.join(FORMATS)}."
        raise fault("parameter_invalid", detail=detail, param="output_format")
    if body.get("stream"):
        raise fault("parameter_invalid", detail="Images are not streamed here: leave 'stream' out.", param="stream")
    for link in _images(body):
        check_link(link, "image")
    return ModelRequest(operation="images", model=model, raw=b"", decoded=body, api="", n=0)


def _images(body: dict[str, Any]) -> tuple[Any, ...]:
    value = body.get("image")
    return tuple(value) if type(value) is list else (value,) if value else ()


def _ask(request: ModelRequest, headers: dict[bytes, bytes]) -> TaskAsk:
    body = request.body
    made = TaskAsk(
        kind=IMAGE,
        model=request.model,
        api="openai",
        service="images",
        prompt=body["prompt"][:MAX_PROMPT_CHARS],
        n=int(body.get("n") or 1),
        size=read_size(body.get("size")),
        seed=body.get("seed"),
        images=_images(body),
        image_format=body.get("output_format") or "png",
        settings={"response_format": body.get("response_format") or URL},
    )
    return msgspec.structs.replace(made, **wishes_of(headers))


def _show(task: Task, links: Links) -> tuple[int, bytes]:
    if task.status != SUCCEEDED or task.outcome is None:
        return show_failure(task)
    data: list[dict[str, Any]] = []
    for item in task.outcome.items:
        if not item.object_id:
            continue
        link = links(item.object_id)
        # where bytes are wanted, they come in the link's place
        shown = {B64: link.partition(",")[2]} if link.startswith("data:") else {URL: link}
        data.append(shown | ({"revised_prompt": item.actual_prompt} if item.actual_prompt else {}))
    return 200, encode({"created": (task.ended_us or task.created_us) // MICROS, "data": data})


def show_failure(task: Task) -> tuple[int, bytes]:
    """The answer of a call whose task has failed."""
    failure = task.failure
    code = task.status if failure is None else failure.code
    message = f"The task is {task.status}." if failure is None else failure.message
    is_ours = code.startswith(("Internal", "Service", "System", "ModelService"))
    kind = "server_error" if is_ours else "invalid_request_error"
    error = {"message": message, "type": kind, "param": None, "code": code}
    return 500 if is_ours else 400, encode({"error": error, "request_id": task.request_id})


def _rewrite(request: ModelRequest, change: Rewrite) -> ModelRequest:
    prompt = change(request.body["prompt"])
    return (
        request
        if prompt == request.body["prompt"]
        else msgspec.structs.replace(request, decoded={**request.body, "prompt": prompt})
    )


OPERATIONS = (
    TaskOperation(
        api="openai",
        operation="images",
        paths=tuple(f"{p}/images/{one}" for p in ("/v1", "/compatible-mode/v1") for one in ("generations", "edits")),
        decode=_decode,
        rewrite_request=_rewrite,
        render_error=openai_errors.render,
        takes_forms=True,
        ask=_ask,
        is_async=lambda _headers: False,
        show=_show,
    ),
)
