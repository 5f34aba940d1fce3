"""Pictures by targets that speak the OpenAI images API: one call, whose answer is the result. Source: openai-compatible.md 10."""

import base64
import binascii
from typing import Any

import msgspec

from steelyard.base.jsondoor import encode
from steelyard.canon.model import Target
from steelyard.canon.task import IMAGE, Outcome, TaskFailure, TaskItem
from steelyard.dialects import openai_errors
from steelyard.policy.media import extension_of, sniff
from steelyard.tasks.job import Again, Done, Failed, Job
from steelyard.tasks.local import image_usage
from steelyard.tasks.shelf import Shelf
from steelyard.upstream.fetcher import Fetcher, FetchError
from steelyard.upstream.pool import ConnectError, Pool, PoolError, parse_origin

CALL_TIMEOUT_S = 600.0
DEFAULT_SIZE = (1024, 1024)


class OpenaiRunner:
    """Runs tasks as calls of `/images/generations`."""

    def __init__(self, shelf: Shelf, fetcher: Fetcher, pool: Pool) -> None:
        self._shelf = shelf
        self._fetcher = fetcher
        self._pool = pool

    async def run(self, job: Job, target: Target) -> Done:
        """See `job.Runner`."""
        ask = job.ask
        if job.task.kind != IMAGE or ask.images:
            text = f"{target.label} makes pictures from texts alone."
            raise Failed(TaskFailure(code="InvalidParameter", message=text), target.label)
        if "telling_us" in job.notes:
            # such a call has no id to ask for: what it made is lost with the connection, and it is not paid here
            text = "The vendor's answer was lost, and the call was not made again. Nothing is charged; submit it anew."
            raise Failed(TaskFailure(code="InternalError", message=text), target.label)
        answer = await self._call(job, target)
        pictures = [one for one in answer.get("data") or [] if isinstance(one, dict)]
        objects, items = [], []
        for number, one in enumerate(pictures):
            data = await self._bytes_of(one, target)
            kind = sniff(data[:4096])
            stored = await self._shelf.prepare_bytes(
                data, workspace=job.task.workspace, name=f"{job.task.id}-{number}{extension_of(kind)}", ttl_s=job.ttl_s or None
            )  # fmt: skip
            objects.append(stored)
            revised = {"actual_prompt": one["revised_prompt"]} if one.get("revised_prompt") else {}
            items.append(TaskItem(object_id=stored.id, name=stored.name, orig_prompt=ask.prompt, **revised))
        if not items:
            raise Failed(TaskFailure(code="InternalError.Algo", message="The vendor told of no picture."), target.label)
        width, height = ask.size or DEFAULT_SIZE
        usage = image_usage(ask.service, len(items), width, height)
        return Done(Outcome(items=tuple(items), usage=usage, image_count=len(items)), objects, target)

    async def _call(self, job: Job, target: Target) -> dict[str, Any]:
        ask = job.ask
        width, height = ask.size or DEFAULT_SIZE
        body = {"model": target.model, "prompt": ask.prompt, "n": ask.n, "size": f"{width}x{height}"}
        headers = {"Content-Type": "application/json", "User-Agent": "steelyard"}
        if target.api_key:
            headers["Authorization"] = f"Bearer {target.api_key}"
        await job.note(telling_us=1, target=target.label)
        try:
            answer = await self._pool.fetch(
                parse_origin(target.base_url),
                "POST",
                "/images/generations",
                encode(body),
                headers,
                timeout_s=CALL_TIMEOUT_S,
            )
        except ConnectError as exc:
            await self._untell(job)
            raise Again(str(exc)) from None
        except PoolError as exc:
            raise Failed(TaskFailure(code="InternalError", message=f"{target.provider}: {exc}"), target.label) from None
        try:
            told: Any = msgspec.json.decode(answer.body)
        except msgspec.DecodeError:
            told = None
        if answer.status == 200 and isinstance(told, dict):
            return told
        failure = openai_errors.read_refusal(answer.status, answer.headers, told, target.provider)
        await self._untell(job)
        if failure.is_retryable:
            raise Again(failure.message, failure.retry_after_s or 1.0)
        raise Failed(TaskFailure(code=failure.native_code, message=failure.message), target.label)

    @staticmethod
    async def _untell(job: Job) -> None:
        job.notes.pop("telling_us", None)
        await job.note()

    async def _bytes_of(self, one: dict[str, Any], target: Target) -> bytes:
        if one.get("b64_json"):
            try:
                return base64.b64decode(one["b64_json"], validate=True)
            except (binascii.Error, ValueError, TypeError):
                raise Failed(TaskFailure(code="InternalError.Algo", message="The vendor's picture is no base64."), target.label) from None  # fmt: skip
        parts: list[bytes] = []
        try:
            await self._fetcher.fetch(
                str(one.get("url")), parts.append, trusted_hosts=(parse_origin(target.base_url).host,)
            )
        except FetchError as error:
            text = f"The vendor's picture cannot be copied: {error.cause}."
            raise Failed(TaskFailure(code="InternalError.Algo", message=text), target.label) from None
        return b"".join(parts)
