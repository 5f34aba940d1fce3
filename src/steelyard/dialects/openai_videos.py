"""/videos as the openai SDK has it: a film is a job that is asked about, and its content is fetched. Source: the SDK's own types."""

from typing import Any

import msgspec

from steelyard.base.errors import fault
from steelyard.base.jsondoor import encode
from steelyard.base.units import MICROS
from steelyard.canon.request import ModelRequest
from steelyard.canon.task import PENDING, RUNNING, SUCCEEDED, VIDEO, Task, TaskAsk
from steelyard.dialects import openai_errors
from steelyard.dialects.dashscope_media import MAX_DURATION_S, check_link, read_size, wishes_of
from steelyard.dialects.dialect import Links, Rewrite, TaskOperation
from steelyard.dialects.forms import read_fields
from steelyard.dialects.openai_fields import get_model

DEFAULT_SECONDS = 4
DEFAULT_SIZE = (1280, 720)
MAX_PROMPT_CHARS = 1500
_STATES = {PENDING: "queued", RUNNING: "in_progress", SUCCEEDED: "completed"}
#: the shorter side in pixels, at most -> resolution
_RESOLUTIONS = ((480, "480P"), (720, "720P"))


def _decode(raw: bytes, headers: dict[bytes, bytes]) -> ModelRequest:
    body = read_fields(raw, headers, files=("input_reference",), whole=("seconds", "seed"))
    model = get_model(body)
    if type(body.get("prompt")) is not str or not body["prompt"]:
        raise fault("field_missing", field="prompt", param="prompt")
    read_size(body.get("size"))
    _seconds(body)
    check_link(_reference(body), "input_reference")
    return ModelRequest(operation="videos", model=model, raw=b"", decoded=body, api="", n=0)


def _seconds(body: dict[str, Any]) -> int:
    text = str(body.get("seconds") or DEFAULT_SECONDS)
    if not text.isdecimal() or not 1 <= int(text) <= MAX_DURATION_S:
        raise fault("parameter_invalid", detail=f"seconds must lie in 1 to {MAX_DURATION_S}.", param="seconds")
    return int(text)


def _reference(body: dict[str, Any]) -> Any:
    value = body.get("input_reference") or ""
    if type(value) is list:
        value = value[0]
    if type(value) is dict:
        value = value.get("image_url") or (f"fileid://{value['file_id']}" if value.get("file_id") else "")
    return value


def _ask(request: ModelRequest, headers: dict[bytes, bytes]) -> TaskAsk:
    body = request.body
    size = read_size(body.get("size")) or DEFAULT_SIZE
    made = TaskAsk(
        kind=VIDEO,
        model=request.model,
        api="openai",
        service="videos",
        prompt=body["prompt"][:MAX_PROMPT_CHARS],
        first_frame=_reference(body),
        size=size,
        resolution=next((name for side, name in _RESOLUTIONS if min(size) <= side), "1080P"),
        duration_s=_seconds(body),
        seed=body.get("seed"),
    )
    return msgspec.structs.replace(made, **wishes_of(headers))


def show(task: Task) -> dict[str, Any]:
    """A video job."""
    width, height = task.ask.size or DEFAULT_SIZE
    error = None
    status = _STATES.get(task.status, "failed")
    if status == "failed":
        failure = task.failure
        code = task.status.lower() if failure is None else failure.code
        error = {"code": code, "message": f"The task is {task.status}." if failure is None else failure.message}
    progress = 100 if status == "completed" else int(100 * task.done_count / max(task.total_count, 1))
    return {
        "id": task.id,
        "object": "video",
        "created_at": task.created_us // MICROS,
        "completed_at": task.ended_us // MICROS if status == "completed" and task.ended_us else None,
        "expires_at": None,
        "model": task.model,
        "prompt": task.ask.prompt,
        "progress": 0 if status in ("queued", "failed") else progress,
        "seconds": str(task.ask.duration_s or DEFAULT_SECONDS),
        "size": f"{width}x{height}",
        "status": status,
        "error": error,
        "remixed_from_video_id": None,
    }


def _show(task: Task, _links: Links) -> tuple[int, bytes]:
    return 200, encode(show(task))


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
        operation="videos",
        paths=("/v1/videos", "/compatible-mode/v1/videos"),
        decode=_decode,
        rewrite_request=_rewrite,
        render_error=openai_errors.render,
        takes_forms=True,
        ask=_ask,
        is_async=lambda _headers: True,
        show=_show,
    ),
)
__all__ = ["OPERATIONS", "show"]
