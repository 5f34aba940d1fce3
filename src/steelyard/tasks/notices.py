"""What webhooks are told of tasks."""

import base64

from steelyard.base.clock import MICROS
from steelyard.base.jsondoor import encode
from steelyard.base.secrets import derive
from steelyard.base.webhook_signature import SECRET_PREFIX
from steelyard.canon.task import Task


def encode_notice(task: Task) -> bytes:
    """The body: that a task is over. Its results are fetched by whoever is told, with a key."""
    data = {
        "task_id": task.id,
        "task_status": task.status,
        "kind": task.kind,
        "model": task.model,
        "request_id": task.request_id,
    }
    if task.failure is not None:
        data |= {"code": task.failure.code, "message": task.failure.message}
    ended_us = task.ended_us or 0
    return encode({"type": f"task.{task.status.lower()}", "timestamp": ended_us // MICROS, "data": data})


def get_secret(master_key: bytes, workspace: str) -> str:
    """The secret that a workspace's notices are signed with."""
    return SECRET_PREFIX + base64.b64encode(derive(master_key, f"webhooks:{workspace}")).decode()
