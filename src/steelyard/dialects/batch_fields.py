"""Batches as the OpenAI API shows them. Source: openai-compatible.md 7."""

import re
from typing import Any

from steelyard.base.errors import fault
from steelyard.base.units import MICROS
from steelyard.canon.task import BATCH, CANCELED, FAILED, PENDING, SUCCEEDED, Task, TaskAsk

ENDPOINTS = ("/v1/chat/completions", "/v1/embeddings", "/v1/completions", "/v1/responses")
_WINDOW = re.compile(r"(\d{1,3})([hd])")
MIN_HOURS, MAX_HOURS = 24, 336
MAX_METADATA = 16
#: Batches are told for this long after their end.
KEPT_S = 30 * 86_400
#: name -> the most characters
_BOUNDED = {"ds_name": 100, "ds_description": 200}
CALLBACK = "ds_batch_finish_callback"


def read_new(body: dict[str, Any], now_s: int) -> TaskAsk:
    """What a batch is to do.

    Raises:
        Fault: naming the field.
    """
    for name in ("input_file_id", "endpoint", "completion_window"):
        if type(body.get(name)) is not str or not body[name]:
            raise fault("field_missing", field=name, param=name)
    if body["endpoint"] not in ENDPOINTS:
        detail = f"endpoint must be one of {', '.join(ENDPOINTS)}."
        raise fault("parameter_invalid", detail=detail, param="endpoint")
    hours = _hours(body["completion_window"])
    metadata = _metadata(body.get("metadata"))
    callback = metadata.get(CALLBACK, "")
    return TaskAsk(
        kind=BATCH,
        model="",
        api="openai",
        service="batch",
        files=(body["input_file_id"],),
        settings={
            "endpoint": body["endpoint"],
            "completion_window": body["completion_window"],
            "expires_at": now_s + hours * 3600,
            "metadata": metadata,
        },
        ttl_s=KEPT_S,
        webhook=callback if callback.startswith(("http://", "https://")) else "",
    )


def _hours(text: str) -> int:
    found = _WINDOW.fullmatch(text)
    hours = int(found[1]) * (24 if found[2] == "d" else 1) if found else 0
    if not MIN_HOURS <= hours <= MAX_HOURS:
        detail = f"completion_window must lie in {MIN_HOURS}h to {MAX_HOURS}h, in hours (h) or days (d)."
        raise fault("parameter_invalid", detail=detail, param="completion_window")
    return hours


def _metadata(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if type(value) is not dict or len(value) > MAX_METADATA or not all(type(one) is str for one in value.values()):
        detail = f"metadata must be an object of at most {MAX_METADATA} texts."
        raise fault("parameter_invalid", detail=detail, param="metadata")
    for name, text in value.items():
        if len(text) > _BOUNDED.get(name, 512):
            detail = f"metadata.{name[:50]} is longer than {_BOUNDED.get(name, 512)} characters."
            raise fault("parameter_invalid", detail=detail, param="metadata")
    return value


def show(task: Task, notes: dict[str, Any], is_cancelling: bool) -> dict[str, Any]:
    """A batch.

    Args:
        notes: what its runner has noted so far; after the end the outcome says it.
    """
    settings = task.ask.settings
    known = notes if task.outcome is None else task.outcome.extra
    status = _status(task, known, is_cancelling)
    ended_at = None if task.ended_us is None else task.ended_us // MICROS
    errors = None
    if task.failure is not None:
        listed = task.failure.detail.get("errors")
        errors = {
            "object": "list",
            "data": listed
            or [{"code": task.failure.code, "message": task.failure.message, "param": None, "line": None}],
        }
    done, failed = known.get("done", 0), known.get("failed", 0)
    return {
        "id": task.id,
        "object": "batch",
        "endpoint": settings["endpoint"],
        "errors": errors,
        "input_file_id": task.ask.files[0],
        "completion_window": settings["completion_window"],
        "status": status,
        "output_file_id": known.get("batch_output_file_id"),
        "error_file_id": known.get("batch_error_file_id"),
        "created_at": task.created_us // MICROS,
        "in_progress_at": known.get("in_progress_at"),
        "expires_at": settings["expires_at"],
        "finalizing_at": known.get("finalizing_at"),
        "completed_at": ended_at if status == "completed" else None,
        "failed_at": ended_at if status == "failed" else None,
        "expired_at": ended_at if status == "expired" else None,
        "cancelling_at": ended_at if status == "cancelled" else None,
        "cancelled_at": ended_at if status == "cancelled" else None,
        "request_counts": {"total": known.get("total", 0), "completed": done - failed, "failed": failed},
        "metadata": settings["metadata"] or None,
    }


def _status(task: Task, known: dict[str, Any], is_cancelling: bool) -> str:
    if task.status == CANCELED:
        return "expired" if known.get("expired") else "cancelled"
    if task.status == SUCCEEDED:
        return "completed"
    if task.status == FAILED:
        return "failed"
    if is_cancelling:
        return "cancelling"
    if task.status == PENDING or "in_progress_at" not in known:
        return "validating"
    return "finalizing" if "finalizing_at" in known else "in_progress"
