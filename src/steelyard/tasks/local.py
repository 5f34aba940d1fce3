"""Pictures and films by the embedded engines."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from steelyard.canon.files import StoredObject
from steelyard.canon.model import Target
from steelyard.canon.task import IMAGE, Outcome, TaskFailure, TaskItem
from steelyard.engines.workshop import Workshop, WorkshopError
from steelyard.policy.downloads import failure_of
from steelyard.tasks.contents import Contents
from steelyard.tasks.job import Again, Done, Failed, Job
from steelyard.tasks.shelf import Shelf

READ_BYTES = 1_048_576


class LocalRunner:
    """Runs the workshop's jobs."""

    def __init__(self, shelf: Shelf, contents: Contents, workshop: Workshop, work_dir: Path) -> None:
        self._shelf = shelf
        self._contents = contents
        self._workshop = workshop
        self._work_dir = work_dir

    async def run(self, job: Job, target: Target) -> Done:
        """See `job.Runner`."""
        directory = Path(tempfile.mkdtemp(dir=self._work_dir, prefix="job-"))
        try:
            if job.task.kind == IMAGE:
                return await self._paint(job, target, directory)
            return await self._film(job, target, directory)
        except WorkshopError as error:
            raise _told(error) from None
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
            asked["base"] = str(await self._picture(job, ask.images[0], directory, "base"))
        made = await self._workshop.run("poster", asked, directory, tell=self._progress(job, ask.n))
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
                asked[name] = str(await self._picture(job, link, directory, name))
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

    async def _picture(self, job: Job, link: str, directory: Path, name: str) -> Path:
        """A caller's picture as a file; that it is one, the engine finds out."""
        content = await self._contents.resolve(link, job.task.workspace, resolves_oss=job.ask.resolves_oss)
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


def image_usage(service: str, count: int, width: int, height: int) -> dict[str, Any]:
    """What image services tell of a picture's cost, each in its own form."""
    if service == "multimodal-generation":
        return {"image_count": count, "width": width, "height": height}
    if service == "image-generation":
        zero = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
        return {"image_count": count, "size": f"{width}*{height}", **zero}
    return {"image_count": count}


def _told(error: WorkshopError) -> Exception:
    if error.kind == "picture":
        return Failed(failure_of("not_an_image", reason=str(error)))
    if error.kind == "missing":
        text = f"This server's video engine needs the extra `steelyard[video]` ({error})."
        return Failed(TaskFailure(code="ModelUnavailable", message=text))
    if error.kind == "limit":
        return Failed(TaskFailure(code="InternalError.Timeout", message=f"The engine gave up: {error}."))
    # a crash or a full disk may pass
    return Again(str(error), 2.0)


__all__ = ["LocalRunner", "image_usage"]
