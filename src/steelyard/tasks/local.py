"""Pictures, films, speech and texts of speech by the embedded engines."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from steelyard.base.clock import now_s
from steelyard.canon.files import StoredObject
from steelyard.canon.model import Target
from steelyard.canon.task import IMAGE, SPEECH, TRANSCRIPTION, VIDEO, Outcome, TaskFailure, TaskItem
from steelyard.engines.workshop import DIFFUSION, Workshop, WorkshopError
from steelyard.policy.downloads import failure_of
from steelyard.tasks.contents import ContentFailed, Contents
from steelyard.tasks.desk import OBJECT_SCHEME
from steelyard.tasks.job import Again, Done, Failed, Job
from steelyard.tasks.shelf import Shelf

READ_BYTES = 1_048_576


class LocalRunner:
    """Runs the workshop's jobs."""

    def __init__(
        self,
        shelf: Shelf,
        contents: Contents,
        workshop: Workshop,
        work_dir: Path,
        models_dir: Path,
        diffusion: dict[str, Any],
    ) -> None:
        self._models_dir = models_dir
        self._diffusion = diffusion
        self._makers = {
            IMAGE: self._paint,
            VIDEO: self._film,
            SPEECH: self._speak,
            TRANSCRIPTION: self._transcribe,
        }
        self._shelf = shelf
        self._contents = contents
        self._workshop = workshop
        self._work_dir = work_dir

    async def run(self, job: Job, target: Target) -> Done:
        """See `job.Runner`."""
        directory = Path(tempfile.mkdtemp(dir=self._work_dir, prefix="job-"))
        try:
            return await self._makers[job.task.kind](job, target, directory)
        except WorkshopError as error:
            raise _told(error, job.task.kind) from None
        finally:
            await asyncio.to_thread(shutil.rmtree, directory, True)

    async def _paint(self, job: Job, target: Target, directory: Path) -> Done:
        ask = job.ask
        asked: dict[str, Any] = {
            "prompt": ask.prompt,
            "negative_prompt": ask.negative_prompt,
            "n": ask.n,
            "size": ask.size,
            "seed": ask.seed,
            "image_format": ask.image_format,
        }
        if ask.images:
            asked["base"] = str(await self._file(job, ask.images[0], directory, "base"))
        name = "poster"
        if target.model == DIFFUSION:
            name, asked = "diffuse", {**asked, **self._diffusion}
        made = await self._workshop.run(name, asked, directory, tell=self._progress(job, ask.n))
        objects = [await self._keep(job, Path(path), f"{job.task.id}-{i}") for i, path in enumerate(made["files"])]
        items = tuple(TaskItem(object_id=one.id, name=one.name, orig_prompt=ask.prompt) for one in objects)
        usage = image_usage(ask.service, len(items), made["width"], made["height"])
        return Done(Outcome(items=items, usage=usage, image_count=len(items)), objects, target)

    async def _film(self, job: Job, target: Target, directory: Path) -> Done:
        ask = job.ask
        asked: dict[str, Any] = {
            "prompt": ask.prompt,
            "size": ask.size,
            "resolution": ask.resolution,
            "duration_s": ask.duration_s,
            "fps": ask.fps,
            "seed": ask.seed,
        }
        for name, link in (("first", ask.first_frame), ("last", ask.last_frame)):
            if link:
                asked[name] = str(await self._file(job, link, directory, name))
        made = await self._workshop.run("film", asked, directory, tell=self._progress(job, 100))
        stored = await self._keep(job, Path(made["files"][0]), job.task.id)
        seconds = made["duration_s"]
        usage = {
            "duration": seconds,
            "input_video_duration": 0,
            "output_video_duration": seconds,
            "video_duration": seconds,
            "video_count": 1,
            "SR": int((ask.resolution or "720P")[:-1]),
            "size": f"{made['width']}*{made['height']}",
            "video_ratio": f"{made['width']}*{made['height']}",
            "fps": made["fps"],
        }
        item = TaskItem(object_id=stored.id, name=stored.name, orig_prompt=ask.prompt)
        return Done(Outcome(items=(item,), usage=usage, video_seconds=seconds), [stored], target)

    async def _speak(self, job: Job, target: Target, directory: Path) -> Done:
        ask = job.ask
        asked: dict[str, Any] = {
            "text": ask.prompt,
            "weights": str((self._models_dir / target.model).absolute()),
            **{name: ask.settings[name] for name in ("format", "rate", "volume") if name in ask.settings},
        }
        made = await self._workshop.run("speak", asked, directory)
        stored = await self._keep(job, Path(made["files"][0]), job.task.id)
        count = len(ask.prompt)
        item = TaskItem(object_id=stored.id, name=stored.name, extra={"expires_at": expiry_of(job.ttl_s)})
        return Done(Outcome(items=(item,), usage={"characters": count}, prompt_tokens=count), [stored], target)

    async def _transcribe(self, job: Job, target: Target, directory: Path) -> Done:
        """Every file by itself: one that cannot be heard does not spoil the others.

        Raises:
            Failed: none of them can be heard.
        """
        ask = job.ask
        items: list[TaskItem] = []
        objects: list[StoredObject] = []
        duration_ms = 0
        failure: TaskFailure | None = None
        for number, link in enumerate(ask.files):
            try:
                stored, took_ms = await self._hear(job, target, link, directory, number)
            except ContentFailed as failed:
                failure = failed.failure
            except WorkshopError as error:
                if error.kind != "recording":
                    raise
                failure = TaskFailure(
                    code="InvalidFile.DecodeFailed", message=f"The audio file cannot be decoded: {error}."
                )
            else:
                duration_ms += took_ms
                objects.append(stored)
                items.append(TaskItem(object_id=stored.id, name=stored.name, extra={"file_url": shown_link(link)}))
                continue
            said = {"file_url": shown_link(link)}
            items.append(TaskItem(code=failure.code, message=failure.message, extra=said | failure.detail))
        if failure is not None and not objects:
            raise Failed(failure)
        seconds = -(-duration_ms // 1000)
        usage = {"duration": seconds, "seconds": seconds}
        return Done(Outcome(items=tuple(items), usage=usage, audio_seconds=seconds), objects, target)

    async def _hear(
        self, job: Job, target: Target, link: str, directory: Path, number: int
    ) -> tuple[StoredObject, int]:
        """One file's text, and how long it is in milliseconds."""
        asked = {
            "path": str(await self._file(job, link, directory, f"{number}")),
            "file_url": shown_link(link),
            "hints": job.ask.settings.get("language_hints") or [],
            "weights": str((self._models_dir / target.model).absolute()),
        }
        out = directory / f"out-{number}"
        out.mkdir()
        total = 100 * len(job.ask.files)
        tell = self._progress(job, total)
        made = await self._workshop.run(
            "transcribe", asked, out, tell=lambda share: tell((number + share) * 100 / total)
        )
        stored = await self._keep(job, Path(made["files"][0]), f"{job.task.id}-{number}")
        return stored, made["duration_ms"]

    async def _file(self, job: Job, link: str, directory: Path, name: str) -> Path:
        """A caller's picture or sound as a file; that it is one, the engine finds out."""
        content = await self._contents.resolve_for(job.task, link)
        return await self._contents.put(content, directory / f"in-{name}")

    async def _keep(self, job: Job, path: Path, name: str) -> StoredObject:
        with self._shelf.blobs.open_spool() as spool:
            with path.open("rb") as file:
                while part := await asyncio.to_thread(file.read, READ_BYTES):
                    spool.write(part)
            return await self._shelf.prepare(
                spool, workspace=job.task.workspace, name=name + path.suffix, ttl_s=job.ttl_s or None
            )

    @staticmethod
    def _progress(job: Job, total: int) -> Callable[[float], None]:
        loop = asyncio.get_running_loop()
        told: set[asyncio.Task[None]] = set()

        def tell(share: float) -> None:
            if 0 < share < 1:
                task = loop.create_task(job.tell_progress(int(share * total), total))
                told.add(task)
                task.add_done_callback(told.discard)

        return tell


def expiry_of(ttl_s: int) -> int:
    """When a link that begins now ends, in seconds since 1970; 0 for never."""
    return now_s() + ttl_s if ttl_s else 0


def shown_link(link: str) -> str:
    """A link as it was asked: what came within the call has none that could be told."""
    return "" if link.startswith(OBJECT_SCHEME) else link


def image_usage(service: str, count: int, width: int, height: int) -> dict[str, Any]:
    """What image services tell of a picture's cost, each in its own form."""
    if service == "multimodal-generation":
        return {"image_count": count, "width": width, "height": height}
    if service == "image-generation":
        zero = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
        return {"image_count": count, "size": f"{width}*{height}", **zero}
    return {"image_count": count}


def _told(error: WorkshopError, kind: str) -> Exception:
    if error.kind == "picture":
        return Failed(failure_of("not_an_image", reason=str(error)))
    if error.kind == "weights":
        return Failed(
            TaskFailure(code="ModelUnavailable", message=f"This server's picture model cannot be used: {error}.")
        )
    if error.kind == "text":
        return Failed(TaskFailure(code="InvalidParameter", message=f"The text cannot be spoken: {error}."))
    if error.kind == "missing":
        text = f"This server's engine for {kind}s needs an extra: `steelyard[video]`, `[diffusion]`, `[speech]` or `[voice]` ({error})."
        return Failed(TaskFailure(code="ModelUnavailable", message=text))
    if error.kind == "limit":
        return Failed(TaskFailure(code="InternalError.Timeout", message=f"The engine gave up: {error}."))
    # a crash or a full disk may pass
    return Again(str(error), 2.0)


__all__ = ["LocalRunner", "image_usage"]
