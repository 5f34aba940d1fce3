"""The vendor's asynchronous tasks by its native API, as calls: submit, ask, list, upload. Source: dashscope.md 8 and 12.

No state: whoever calls keeps ids and waits.
"""

import secrets
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from steelyard.base.errors import Fault
from steelyard.base.jsondoor import encode
from steelyard.canon.model import Target
from steelyard.dialects import dashscope_errors
from steelyard.upstream.pool import Answer, ConnectError, Origin, Pool, PoolError, parse_origin

SUBMIT_TIMEOUT_S = 60.0
ASK_TIMEOUT_S = 20.0
UPLOAD_TIMEOUT_S = 300.0


#: Behind these a vendor may have taken the call on all the same.
AMBIGUOUS = frozenset({500, 502, 504})


class OutcomeUnknown(Exception):
    """The call may have been acted on, and nobody said so."""


class NotSent(Exception):
    """The call was not acted on; it may be made again."""


class _Output(msgspec.Struct, frozen=True):
    task_id: str = ""
    task_status: str = ""


class _Asked(msgspec.Struct, frozen=True):
    output: _Output = _Output()


_decode_state = msgspec.json.Decoder(_Asked).decode


class TaskApi:
    """Calls one target's tasks."""

    def __init__(self, pool: Pool, target: Target) -> None:
        self._pool = pool
        self._target = target
        self._origin = parse_origin(target.tasks_url)
        self._key = {"Authorization": f"Bearer {target.api_key}"} if target.api_key else {}

    @property
    def host(self) -> str:
        """Where the vendor is: its results may lie there, or near it."""
        return self._origin.host

    async def submit(self, path: str, body: dict[str, Any], *, is_async: bool, resolves_oss: bool) -> dict[str, Any]:
        """Makes a call; its answer.

        Raises:
            NotSent, OutcomeUnknown, Fault: the vendor's refusal.
        """
        headers = {"Content-Type": "application/json", "User-Agent": "steelyard", **self._key}
        if is_async:
            headers["X-DashScope-Async"] = "enable"
        if resolves_oss:
            headers["X-DashScope-OssResourceResolve"] = "enable"
        try:
            answer = await self._pool.fetch(
                self._origin, "POST", path, encode(body), headers,
                timeout_s=SUBMIT_TIMEOUT_S if is_async else self._target.total_timeout_s,
                connect_timeout_s=self._target.connect_timeout_s,
            )  # fmt: skip
        except ConnectError as exc:
            raise NotSent(str(exc)) from exc
        except PoolError as exc:
            raise OutcomeUnknown(str(exc)) from exc
        return self._read(answer)

    def _read(self, answer: Answer) -> dict[str, Any]:
        try:
            body: Any = msgspec.json.decode(answer.body)
        except msgspec.DecodeError:
            body = None
        if answer.status != 200 or not isinstance(body, dict):
            if answer.status == 200:
                raise OutcomeUnknown("the answer is no JSON object")
            if answer.status in AMBIGUOUS:
                raise OutcomeUnknown(f"the vendor answered {answer.status}")
            raise self._refusal(answer, body)
        return body

    def _refusal(self, answer: Answer, body: Any) -> Fault:
        return dashscope_errors.read_refusal(answer.status, answer.headers, body, self._target.provider)

    async def ask(self, task_id: str) -> tuple[str, bytes]:
        """A task's state and the whole answer; the state is empty where the vendor gave no answer to speak of.

        Raises:
            Fault: the vendor refuses to tell.
        """
        try:
            answer = await self._pool.fetch(
                self._origin, "GET", f"/tasks/{task_id}", b"", {"User-Agent": "steelyard", **self._key}, timeout_s=ASK_TIMEOUT_S
            )  # fmt: skip
        except PoolError:
            return "", b""
        if answer.status != 200:
            if answer.status in (408, 429) or answer.status >= 500:
                return "", b""
            raise self._refusal(answer, _json(answer.body))
        try:
            return _decode_state(answer.body).output.task_status, answer.body
        except msgspec.DecodeError:
            return "", b""

    async def cancel(self, task_id: str) -> None:
        """Asks the vendor to cancel; whether it does shows in the task."""
        try:
            await self._pool.fetch(
                self._origin, "POST", f"/tasks/{task_id}/cancel", b"", dict(self._key), timeout_s=ASK_TIMEOUT_S
            )
        except PoolError:
            return

    async def list_since(self, model: str, since: str, until: str) -> list[dict[str, Any]] | None:
        """Tasks of a model that were submitted between two times (`YYYYMMDDhhmmss`); None where the vendor does not tell."""
        query = urlencode({"model_name": model, "start_time": since, "end_time": until, "page_no": 1, "page_size": 100})
        try:
            answer = await self._pool.fetch(
                self._origin, "GET", f"/tasks?{query}", b"", dict(self._key), timeout_s=ASK_TIMEOUT_S
            )
        except PoolError:
            return None
        body = _json(answer.body)
        if answer.status != 200 or not isinstance(body, dict) or not isinstance(body.get("data"), list):
            return None
        return [one for one in body["data"] if isinstance(one, dict)]

    async def upload(self, model: str, name: str, content_type: str, data: bytes) -> str:
        """Carries a file to the vendor; its `oss://` address there.

        Raises:
            Fault: the vendor refuses.
            NotSent: it cannot be reached.
        """
        try:
            asked = await self._pool.fetch(
                self._origin, "GET", f"/uploads?{urlencode({'action': 'getPolicy', 'model': model})}", b"", dict(self._key),
                timeout_s=ASK_TIMEOUT_S,
            )  # fmt: skip
            body = _json(asked.body)
            if asked.status != 200 or not isinstance(body, dict) or "data" not in body:
                raise self._refusal(asked, body)
            policy = body["data"]
            key = f"{policy['upload_dir']}/{secrets.token_hex(8)}-{name}"
            boundary, form = _form(policy, key, content_type, name, data)
            place = parse_origin(policy["upload_host"])
            done = await self._pool.fetch(
                Origin(place.host, place.port, place.is_tls), "POST", urlsplit(policy["upload_host"]).path or "/", form,
                {"Content-Type": f"multipart/form-data; boundary={boundary}"}, timeout_s=UPLOAD_TIMEOUT_S,
            )  # fmt: skip
        except PoolError as exc:
            raise NotSent(str(exc)) from exc
        if done.status != 200:
            raise NotSent(f"the vendor's upload answered {done.status}")
        return f"oss://{key}"


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None


def _form(policy: dict[str, Any], key: str, content_type: str, name: str, data: bytes) -> tuple[str, bytes]:
    """The upload's form, its fields in the documented order."""
    fields = {
        "OSSAccessKeyId": policy["oss_access_key_id"],
        "Signature": policy["signature"],
        "policy": policy["policy"],
        "key": key,
        "x-oss-object-acl": policy["x_oss_object_acl"],
        "x-oss-forbid-overwrite": policy["x_oss_forbid_overwrite"],
        "success_action_status": "200",
        "x-oss-content-type": content_type,
    }
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode()
        for field, value in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: {content_type}\r\n\r\n'
    return boundary, b"".join([*parts, head.encode(), data, f"\r\n--{boundary}--\r\n".encode()])


__all__ = ["NotSent", "OutcomeUnknown", "TaskApi"]
