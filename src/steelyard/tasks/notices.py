"""What webhooks are told, and how it is signed. Source: Standard Webhooks 1.0 (webhook-id, webhook-timestamp, webhook-signature)."""

import base64
import hmac
from hashlib import sha256

from steelyard.base.clock import MICROS
from steelyard.base.jsondoor import encode
from steelyard.base.secrets import derive
from steelyard.canon.task import Task

SECRET_PREFIX = "whsec_"  # noqa: S105


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


def sign(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    text = f"{message_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, text, sha256).digest()).decode()
