"""Pictures and films by vendors: a task there for a task here, its results copied once into our own store.

What a vendor was told is noted before and after it is told. So after a crash a task whose id we have is asked about, and one of which
nobody knows whether it was taken on is looked for in the vendor's list; it is never sent again blindly.
"""

import asyncio
import functools
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec

from steelyard.base.clock import MICROS, now_us
from steelyard.base.errors import Fault
from steelyard.canon.files import StoredObject
from steelyard.canon.model import Target
from steelyard.canon.task import (
    IMAGE,
    SPEECH,
    SUCCEEDED,
    TRANSCRIPTION,
    UNKNOWN,
    VENDOR_LANE,
    Outcome,
    TaskAsk,
    TaskFailure,
    TaskItem,
)
from steelyard.dialects import dashscope_tasks
from steelyard.policy.media import extension_of, sniff
from steelyard.store import tasks
from steelyard.tasks.contents import Content, Contents
from steelyard.tasks.desk import OBJECT_SCHEME, move_in
from steelyard.tasks.job import Again, Done, Failed, Job
from steelyard.tasks.local import expiry_of
from steelyard.tasks.poller import Poller
from steelyard.tasks.shelf import Shelf
from steelyard.upstream.fetcher import Fetcher, FetchError
from steelyard.upstream.pool import Pool
from steelyard.upstream.task_api import NotSent, OutcomeUnknown, TaskApi

#: Clocks here and there may differ by this much.
SKEW_S = 90
#: A result that cannot be copied is tried for so long that the vendor's link is still good.
COPY_TRIES = 6
#: Of so many tasks in a vendor's list the prompts are looked at.
MAX_LOOKED_AT = 100
#: Larger than this goes up by the vendor's upload, smaller within the call.
INLINE_BYTES = 2 * 1024 * 1024
#: (kind, service) -> where the vendor is asked, and whether as a task
_PATHS = {
    "text2image": ("/services/aigc/text2image/image-synthesis", True),
    "image2image": ("/services/aigc/image2image/image-synthesis", True),
    "image-generation": ("/services/aigc/image-generation/generation", True),
    "multimodal-generation": ("/services/aigc/multimodal-generation/generation", False),
    "video-generation": ("/services/aigc/video-generation/video-synthesis", True),
    "qwen-tts": ("/services/aigc/multimodal-generation/generation", False),
    "tts": ("/services/audio/tts/SpeechSynthesizer", False),
    "transcription": ("/services/audio/asr/transcription", True),
    "image2video": ("/services/aigc/image2video/video-synthesis", True),
}


class VendorRunner:
    """Runs tasks at targets that speak the native API."""

    def __init__(
        self, shelf: Shelf, contents: Contents, fetcher: Fetcher, pool: Pool, poller: Poller, relay: str
    ) -> None:
        self._shelf = shelf
        self._contents = contents
        self._fetcher = fetcher
        self._pool = pool
        self._poller = poller
        self._relay = relay
        self._finding = asyncio.Lock()

    async def run(self, job: Job, target: Target) -> Done:
        """See `job.Runner`."""
        api = TaskApi(self._pool, target)
        if "there" not in job.notes:
            if "telling_us" in job.notes:
                await self._reconcile(job, api, target)
            else:
                answer = await self._submit(job, api, target)
                if answer is not None:
                    return await self._take(job, api, target, answer)
        state, body = await self._poller.wait(api, job.notes["there"])
        if state != SUCCEEDED:
            raise Failed(_failure(state, body), target.label)
        return await self._take(job, api, target, msgspec.json.decode(body))

    # telling the vendor

    async def _submit(self, job: Job, api: TaskApi, target: Target) -> dict[str, Any] | None:
        """Tells the vendor; the answer where the service answers at once, None where it took a task on."""
        service = service_at(job.ask, target.model)
        path, is_async = _PATHS[service]
        body, has_oss = await self._body(job, api, target, service)
        await job.note(telling_us=now_us(), target=target.label)
        try:
            answer = await api.submit(path, body, is_async=is_async, resolves_oss=has_oss)
        except NotSent as exc:
            job.notes.pop("telling_us")
            await job.note()
            raise Again(str(exc)) from None
        except OutcomeUnknown:
            if not is_async:
                # it made what nobody will ever fetch: told as failed, and not paid by the caller
                raise Failed(_unknown(), target.label) from None
            await self._reconcile(job, api, target)
            return None
        except Fault as failure:
            job.notes.pop("telling_us")
            await job.note()
            if failure.is_retryable:
                raise Again(failure.message, failure.retry_after_s or 1.0) from None
            raise Failed(TaskFailure(code=failure.native_code, message=failure.message), target.label) from None
        if not is_async:
            return answer
        await job.note(there=_task_id(answer))
        return None

    async def _body(self, job: Job, api: TaskApi, target: Target, service: str) -> tuple[dict[str, Any], bool]:
        """The vendor's body, with media that it could not reach carried to it; and whether `oss://` is in it."""
        ask = job.ask
        body = ask.body if ask.api == "dashscope" and service == ask.service else native_body(ask, service)
        moved: dict[str, str] = {}
        for link in ask.links:
            if not self._must_carry(link):
                continue
            content = await self._contents.resolve_for(job.task, link)
            moved[link] = await self._carry(api, target, content)
        has_oss = any(link.startswith("oss://") for link in moved.values())
        return {"model": target.model, "input": {}, "parameters": {}, **move_in(body, moved)}, has_oss

    def _must_carry(self, link: str) -> bool:
        if self._contents.is_own(link):
            return True
        return self._relay == "always" and link.startswith(("http://", "https://"))

    async def _carry(self, api: TaskApi, target: Target, content: Content) -> str:
        data = await self._contents.read(content)
        if len(data) <= INLINE_BYTES and content.content_type.startswith("image/"):
            import base64

            return f"data:{content.content_type};base64,{base64.b64encode(data).decode()}"
        name = f"media{extension_of(content.content_type)}"
        try:
            return await api.upload(target.model, name, content.content_type, data)
        except NotSent as exc:
            raise Again(str(exc)) from None

    async def _reconcile(self, job: Job, api: TaskApi, target: Target) -> None:
        """Nobody knows whether the vendor took the task on: its list tells, of those that are nobody's.

        Raises:
            Again: it does not show yet.
            Failed: none there is ours.
        """
        # one at a time: two must not find the same one
        async with self._finding:
            await self._find_there(job, api, target)

    async def _find_there(self, job: Job, api: TaskApi, target: Target) -> None:
        told_us = job.notes["telling_us"]
        since, until = _stamp(told_us, -SKEW_S), _stamp(told_us, SKEW_S)
        listed = await api.list_since(target.model, since, until)
        if listed is None:
            if job.claimed.attempt < COPY_TRIES:
                raise Again("the vendor does not tell its list", 2.0 * job.claimed.attempt)
            raise Failed(_unknown(), target.label)
        async with self._shelf.database.read() as connection:
            noted = await tasks.list_notes(connection, VENDOR_LANE, told_us - 2 * SKEW_S * MICROS)
        notes = [msgspec.json.decode(one) for one in noted]
        known = {note.get("there") for note in notes}
        rivals = [
            note
            for note in notes
            if "there" not in note
            and note.get("target") == target.label
            and abs(note.get("telling_us", 0) - told_us) <= 2 * SKEW_S * MICROS
        ]
        free = [str(one["task_id"]) for one in listed if one.get("task_id") and one["task_id"] not in known]
        if len(free) == 1 and len(rivals) <= 1:
            await job.note(there=free[0], is_found=True)
            return
        await self._find_by_prompt(job, api, target, free)

    async def _find_by_prompt(self, job: Job, api: TaskApi, target: Target, free: list[str]) -> None:
        """Of several tasks that are nobody's, ours is one with our prompt; vendors tell prompts once a task is over."""
        is_undecided = False
        for task_id in free[:MAX_LOOKED_AT]:
            state, body = await api.ask(task_id)
            if state == SUCCEEDED:
                output = msgspec.json.decode(body).get("output") or {}
                if any(one.get("orig_prompt") == job.ask.prompt for one in _results(output)):
                    await job.note(there=task_id, is_found=True)
                    return
            is_undecided = is_undecided or state in ("", "PENDING", "RUNNING")
        if is_undecided:
            raise Again("which of the vendor's tasks is this one does not show yet", 3.0)
        raise Failed(_unknown(), target.label)

    # taking what came of it

    async def _take(self, job: Job, api: TaskApi, target: Target, answer: dict[str, Any]) -> Done:
        """The results, copied: a vendor's link must not be seen, and its time is not ours."""
        output, usage = answer.get("output") or {}, answer.get("usage") or {}
        results = _results(output)
        if not results:
            raise Failed(TaskFailure(code="InternalError.Algo", message="The vendor told of no result."), target.label)
        if "is_found" in job.notes and any(one.get("orig_prompt") not in (None, job.ask.prompt) for one in results):
            # somebody else submitted with the same key: what was found is not ours
            raise Failed(_unknown(), target.label)
        objects: list[StoredObject] = []
        items: list[TaskItem] = []
        for number, result in enumerate(results):
            url = result.pop("url", "")
            extra = _told_with(job, number)
            if not url:
                code, message = str(result.get("code") or "InternalError"), str(result.get("message") or "")
                items.append(TaskItem(code=code, message=message, extra=extra))
                continue
            suffix = f"-{number}" if len(results) > 1 else ""
            change = None if "file_url" not in extra else functools.partial(_with_link, link=extra["file_url"])
            stored = await self._copy(job, api, url, f"{job.task.id}{suffix}", change)
            objects.append(stored)
            prompts: dict[str, Any] = {
                name: str(result[name]) for name in ("orig_prompt", "actual_prompt") if result.get(name)
            }
            items.append(TaskItem(object_id=stored.id, name=stored.name, extra=extra, **prompts))
            await job.tell_progress(number + 1, len(results))
        if not objects and job.task.kind == TRANSCRIPTION:
            raise Failed(TaskFailure(code=items[0].code, message=items[0].message), target.label)
        return Done(_outcome(job.ask, items, len(objects), usage), objects, target)

    async def _copy(
        self, job: Job, api: TaskApi, url: str, name: str, change: Callable[[bytes], bytes] | None = None
    ) -> StoredObject:
        for attempt in range(COPY_TRIES):
            with self._shelf.blobs.open_spool() as spool:
                try:
                    await self._fetcher.fetch(url, spool.write, trusted_hosts=_hosts_near(api.host, url))
                except FetchError as error:
                    if attempt == COPY_TRIES - 1:
                        raise Again(f"the vendor's result cannot be copied: {error.cause}", 10.0) from None
                    await asyncio.sleep(0.3 * 2**attempt)
                    continue
                workspace, ttl_s = job.task.workspace, job.ttl_s or None
                if change is not None:
                    data = await asyncio.to_thread(lambda: change(spool.finish().read_bytes()))
                    return await self._shelf.prepare_bytes(data, workspace=workspace, name=f"{name}.json", ttl_s=ttl_s)
                kind = sniff(spool.head, name)
                return await self._shelf.prepare(
                    spool, workspace=workspace, name=name + extension_of(kind), ttl_s=ttl_s
                )
        raise AssertionError("unreachable")


def _hosts_near(vendor: str, url: str) -> tuple[str, ...]:
    """A vendor in a private network has its results there too; one in the open does not lead us inside."""
    host = urlsplit(url).hostname or ""
    return (host,) if host == vendor else ()


def _results(output: dict[str, Any]) -> list[dict[str, Any]]:
    """The results of any of the native forms, each with its `url` or its error."""
    if output.get("video_url"):
        return [{**{k: output.get(k) for k in ("orig_prompt", "actual_prompt")}, "url": output["video_url"]}]
    if isinstance(output.get("audio"), dict):
        return [{"url": output["audio"].get("url") or ""}]
    found = output.get("results")
    if isinstance(output.get("result"), dict):
        found = [output["result"]]
    if isinstance(found, list):
        # a transcription's link has a name of its own
        return [
            {**one, "url": one.get("url") or one.get("transcription_url", "")} for one in found if isinstance(one, dict)
        ]
    return [
        {"url": part["image"]}
        for choice in output.get("choices") or []
        for part in (choice.get("message") or {}).get("content") or []
        if isinstance(part, dict) and part.get("image")
    ]


def _outcome(ask: TaskAsk, items: list[TaskItem], made: int, usage: dict[str, Any]) -> Outcome:
    """What came of it, counted in what it is paid by."""
    counts: dict[str, Any] = {}
    if ask.kind == IMAGE:
        counts["image_count"] = made
    elif ask.kind == SPEECH:
        # by characters or by tokens, as its vendor counts
        told = usage.get("characters") or usage.get("input_tokens") or len(ask.prompt)
        counts = {"prompt_tokens": told, "completion_tokens": usage.get("output_tokens") or 0}
    elif ask.kind == TRANSCRIPTION:
        counts["audio_seconds"] = _heard_seconds(usage)
    else:
        counts["video_seconds"] = seconds_of(usage, ask)
    return Outcome(items=tuple(items), usage=usage, **counts)


def _told_with(job: Job, number: int) -> dict[str, Any]:
    """What is told of a result beside its link."""
    if job.task.kind == TRANSCRIPTION:
        return {"file_url": asked_link(job.ask, number)}
    return {"expires_at": expiry_of(job.ttl_s)} if job.task.kind == SPEECH else {}


def asked_link(ask: TaskAsk, number: int) -> str:
    """The link that a file was asked by: what the vendor tells may be where it was carried to."""
    link = ask.files[number] if number < len(ask.files) else ""
    return "" if link.startswith(OBJECT_SCHEME) else link


def _with_link(data: bytes, link: str) -> bytes:
    """A transcription under the link that was asked: the vendor names the place that the file was carried to."""
    try:
        told = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return data
    return msgspec.json.encode({**told, "file_url": link} if isinstance(told, dict) else told)


def _heard_seconds(usage: dict[str, Any]) -> int:
    """How much was listened to, by what the vendor says."""
    told = (usage.get(name) for name in ("duration", "seconds"))
    return next((int(-(-value // 1)) for value in told if isinstance(value, int | float) and value > 0), 0)


def seconds_of(usage: dict[str, Any], ask: TaskAsk) -> int:
    """How long a film is, by what the vendor says, else by what was asked."""
    for name in ("output_video_duration", "video_duration", "duration"):
        value = usage.get(name)
        if isinstance(value, int | float) and value > 0:
            return int(-(-value // 1))
    return ask.duration_s or 5


def service_at(ask: TaskAsk, model: str) -> str:
    """The vendor's service for a model; a caller of the same API has chosen it."""
    if ask.api == "dashscope":
        return ask.service
    low = model.lower()
    if ask.kind != IMAGE:
        return "image2video" if "kf2v" in low else "video-generation"
    if low.startswith(("qwen-image", "wan2.6")):
        return "multimodal-generation"
    return "image2image" if ask.images else "text2image"


def native_body(ask: TaskAsk, service: str) -> dict[str, Any]:
    """What is asked in the native form."""
    parameters: dict[str, Any] = dict(ask.settings)
    if ask.size is not None:
        parameters["size"] = f"{ask.size[0]}*{ask.size[1]}"
    if ask.seed is not None:
        parameters["seed"] = ask.seed
    asked: dict[str, Any] = {"prompt": ask.prompt}
    if ask.negative_prompt:
        asked["negative_prompt"] = ask.negative_prompt
    if ask.kind == IMAGE:
        parameters["n"] = ask.n
        if ask.images:
            asked["images"] = list(ask.images)
        if service == "multimodal-generation":
            parameters |= {"negative_prompt": asked.pop("negative_prompt")} if ask.negative_prompt else {}
            content = [*({"image": link} for link in ask.images), {"text": ask.prompt}]
            asked = {"messages": [{"role": "user", "content": content}]}
    else:
        for name, value in (("img_url", ask.first_frame), ("last_frame_url", ask.last_frame)):
            if value:
                asked[name] = value
        if ask.last_frame and ask.first_frame:
            asked["first_frame_url"] = asked.pop("img_url")
        if ask.duration_s is not None:
            parameters["duration"] = ask.duration_s
        if ask.resolution:
            parameters["resolution"] = ask.resolution
    return {"input": asked, "parameters": parameters}


def _task_id(answer: dict[str, Any]) -> str:
    task_id = (answer.get("output") or {}).get("task_id")
    if not isinstance(task_id, str) or not task_id or not all(one.isalnum() or one in "-_." for one in task_id):
        raise Failed(TaskFailure(code="InternalError.Algo", message="The vendor took the task on without an id."))
    return task_id


def _failure(state: str, body: bytes) -> TaskFailure:
    if state == UNKNOWN:
        return TaskFailure(code="InternalError", message="The vendor does not know the task any more.")
    output = msgspec.json.decode(body).get("output") or {}
    return TaskFailure(
        code=str(output.get("code") or "InternalError"),
        message=str(output.get("message") or f"The vendor's task is {state}."),
    )


def _unknown() -> TaskFailure:
    return TaskFailure(
        code="InternalError",
        message="Whether the vendor took the task on is not known, so it was not sent again. Nothing is charged; submit it anew.",
    )


def _stamp(us: int, shift_s: int) -> str:
    moment = datetime.fromtimestamp(us / MICROS, dashscope_tasks.BEIJING) + timedelta(seconds=shift_s)
    return moment.strftime("%Y%m%d%H%M%S")
