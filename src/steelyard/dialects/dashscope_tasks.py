"""Tasks as the native API tells them. Source: dashscope.md 6, 8, 9 and 10."""

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from steelyard.base.errors import fault
from steelyard.base.jsondoor import encode
from steelyard.base.units import MICROS
from steelyard.canon.task import (
    CANCELED,
    EMBEDDINGS,
    FAILED,
    SPEECH,
    SUCCEEDED,
    TRANSCRIPTION,
    UNKNOWN,
    VIDEO,
    Task,
    TaskItem,
)
from steelyard.dialects.dialect import Links

#: The vendor tells times of Beijing, without saying so.
BEIJING = timezone(timedelta(hours=8))
#: Services that tell results as choices, and those that the caller waits for.
CHOICES = ("image-generation", "multimodal-generation")
MAX_PAGE_SIZE = 100
MAX_SPAN_US = 24 * 3600 * MICROS
_STAMP = "%Y%m%d%H%M%S"


def beijing_time(us: int) -> str:
    return datetime.fromtimestamp(us / MICROS, BEIJING).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def show_submitted(task: Task, links: Links) -> tuple[int, bytes]:
    """The answer to the call that submitted a task: that it waits, or for a caller who waited its end."""
    if not task.is_over:
        return 200, encode({"output": {"task_id": task.id, "task_status": task.status}, "request_id": task.request_id})
    if task.status != SUCCEEDED:
        error = _error(task)
        is_ours = error["code"].startswith(("Internal", "Service", "System", "ModelService"))
        return 500 if is_ours else 400, encode({**error, "request_id": task.request_id})
    output: dict[str, Any] = _output(task, links)
    if task.ask.service == "multimodal-generation":
        output = {"choices": output["choices"], "task_metric": _metrics(task)}
    if task.kind == SPEECH:
        output = {name: output[name] for name in ("finish_reason", "audio")}
    return 200, encode({"output": output, "usage": _usage(task), "request_id": task.request_id})


def show_task(task: Task, links: Links, request_id: str) -> bytes:
    """The answer to a question about a task."""
    shown: dict[str, Any] = {"request_id": request_id, "output": _output(task, links)}
    if task.status == SUCCEEDED:
        shown["usage"] = _usage(task)
    return encode(shown)


def show_unknown(task_id: str, request_id: str) -> bytes:
    """Of a task that is not there, or not any more."""
    return encode({"request_id": request_id, "output": {"task_id": task_id, "task_status": UNKNOWN}})


def show_canceled(task_id: str, request_id: str) -> bytes:
    """Of a task that was cancelled. The SDK's sample code reads the output."""
    return encode({"request_id": request_id, "output": {"task_id": task_id, "task_status": CANCELED}})


def _error(task: Task) -> dict[str, str]:
    failure = task.failure
    if failure is None:
        return {"code": task.status, "message": f"The task is {task.status}."}
    return {"code": failure.code, "message": failure.message}


def _output(task: Task, links: Links) -> dict[str, Any]:
    output: dict[str, Any] = {
        "task_id": task.id,
        "task_status": task.status,
        "submit_time": beijing_time(task.created_us),
    }
    if task.started_us is not None:
        output["scheduled_time"] = beijing_time(task.started_us)
    if task.ended_us is not None:
        output["end_time"] = beijing_time(task.ended_us)
    if task.outcome is not None:
        output |= _results(task, task.outcome.items, links)
        output |= task.outcome.extra
    if task.status in (FAILED, CANCELED) and task.failure is not None:
        output |= _error(task)
        if task.failure.detail:
            # what happened here, beside the documented texts
            output["detail"] = task.failure.detail
    if task.kind != VIDEO and task.status != CANCELED:
        output["task_metrics"] = _metrics(task)
    return output


def _results(task: Task, items: tuple[TaskItem, ...], links: Links) -> dict[str, Any]:
    if task.kind == VIDEO:
        item = items[0]
        shown = {"video_url": links(item.object_id), "orig_prompt": item.orig_prompt}
        return shown | ({"actual_prompt": item.actual_prompt} if item.actual_prompt else {})
    if task.kind == EMBEDDINGS:
        return {"url": links(items[0].object_id)}
    if task.kind == SPEECH:
        item = items[0]
        audio = {"id": f"audio_{task.id}", "url": links(item.object_id), "data": "", **item.extra}
        return {"finish_reason": "stop", "audio": audio}
    if task.kind == TRANSCRIPTION:
        heard = [_transcribed(item, links) for item in items]
        # Qwen's models take one file and tell of one
        return {"result": heard[0]} if "file_url" in task.ask.body.get("input", {}) else {"results": heard}
    if task.ask.service in CHOICES:
        return {"choices": [_choice(task, item, links) for item in items], "finished": True}
    return {"results": [_result(task, item, links) for item in items]}


def _result(task: Task, item: TaskItem, links: Links) -> dict[str, Any]:
    if item.code:
        return {"code": item.code, "message": item.message}
    shown = {"orig_prompt": item.orig_prompt or task.ask.prompt}
    if item.actual_prompt:
        shown["actual_prompt"] = item.actual_prompt
    return {**shown, "url": links(item.object_id)}


def _choice(task: Task, item: TaskItem, links: Links) -> dict[str, Any]:
    if item.code:
        return {
            "finish_reason": "error",
            "message": {"role": "assistant", "content": [{"text": f"{item.code}: {item.message}"}]},
        }
    part = {"image": links(item.object_id)}
    if task.ask.service == "image-generation":
        part = {"type": "image", **part}
    return {"finish_reason": "stop", "message": {"role": "assistant", "content": [part]}}


def _transcribed(item: TaskItem, links: Links) -> dict[str, Any]:
    if item.code:
        return {**item.extra, "subtask_status": FAILED, "code": item.code, "message": item.message}
    return {**item.extra, "transcription_url": links(item.object_id), "subtask_status": SUCCEEDED}


def _metrics(task: Task) -> dict[str, int]:
    if task.outcome is not None:
        failed = sum(1 for item in task.outcome.items if item.code)
        total = len(task.outcome.items)
        return {"TOTAL": total, "SUCCEEDED": total - failed, "FAILED": failed}
    failed = task.total_count if task.status == FAILED else 0
    return {"TOTAL": task.total_count, "SUCCEEDED": 0 if failed else task.done_count, "FAILED": failed}


def _usage(task: Task) -> dict[str, Any]:
    return {} if task.outcome is None else dict(task.outcome.usage)


# lists


def read_page(query: Mapping[str, str], now_us: int) -> dict[str, Any]:
    """A list's filters: `since_us`, `until_us`, `model`, `status`, `key_id`, `ids`, `page_no`, `page_size`.

    Raises:
        Fault: `parameter_invalid`.
    """
    since_us, until_us = _stamp(query, "start_time"), _stamp(query, "end_time")
    if since_us is None:
        since_us = (until_us or now_us) - MAX_SPAN_US
    if until_us is None:
        until_us = min(since_us + MAX_SPAN_US, now_us)
    if not 0 <= until_us - since_us <= MAX_SPAN_US + MICROS:
        raise fault("parameter_invalid", detail="start_time and end_time span at most 24 hours.", param="start_time")
    status = query.get("status")
    if status and status not in ("PENDING", "RUNNING", "SUSPENDED", SUCCEEDED, FAILED, CANCELED, UNKNOWN):
        raise fault("parameter_invalid", detail=f"status {status!r} is none of a task's states.", param="status")
    task_id = query.get("task_id")
    return {
        "since_us": since_us,
        "until_us": until_us,
        "model": query.get("model_name") or None,
        "status": status or None,
        "key_id": query.get("api_key_id") or None,
        "ids": tuple(part for part in task_id.split(",") if part) if task_id else (),
        "page_no": _number(query, "page_no", 1, 1_000_000),
        "page_size": _number(query, "page_size", 10, MAX_PAGE_SIZE),
    }


def _stamp(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if not text:
        return None
    try:
        return int(datetime.strptime(text, _STAMP).replace(tzinfo=BEIJING).timestamp()) * MICROS
    except ValueError:
        raise fault("parameter_invalid", detail=f"{name} is written as YYYYMMDDhhmmss.", param=name) from None


def _number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = query.get(name) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise fault("parameter_invalid", detail=f"Range of {name} should be [1, {most}]", param=name)
    return int(text)


def show_list(tasks: list[Task], total: int, page_no: int, page_size: int, request_id: str) -> bytes:
    """A page of tasks: flat, with names of its own."""
    return encode(
        {
            "request_id": request_id,
            "total": total,
            "total_page": -(-total // page_size),
            "page_no": page_no,
            "page_size": page_size,
            "data": [_row(task) for task in tasks],
        }
    )


def _row(task: Task) -> dict[str, Any]:
    row: dict[str, Any] = {
        "task_id": task.id,
        "status": task.status,
        "model_name": task.model,
        "gmt_create": task.created_us // 1000,
        "region": "local",
        "request_id": task.request_id,
        "api_key_id": task.key_id,
        "caller_uid": task.workspace,
        "caller_parent_id": task.workspace,
        "user_api_unique_key": f"apikey:v1:aigc:{task.ask.service}:{task.kind}:{task.model}",
    }
    if task.started_us is not None:
        row["start_time"] = task.started_us // 1000
    if task.ended_us is not None:
        row["end_time"] = task.ended_us // 1000
    return row
