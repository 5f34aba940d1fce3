"""Embeddings of a file of texts, one a line: BatchTextEmbedding. Source: dashscope.md 1 and 8; the form of the result is inferred.

As batches run: in portions, kept one by one, and every call under a key of its own.
"""

import asyncio
import gzip
from typing import Any

import msgspec

from steelyard.base.clock import MICROS, monotonic, now_us
from steelyard.canon.model import Model
from steelyard.canon.task import Outcome, TaskFailure, TaskItem
from steelyard.tasks.batches import PART_TTL_S
from steelyard.tasks.caller import Caller, Reply, rights_of
from steelyard.tasks.contents import Contents
from steelyard.tasks.job import Done, Failed, Job
from steelyard.tasks.shelf import Shelf

PATH = "/api/v1/services/embeddings/text-embedding/text-embedding"
MAX_LINES = 100_000
MAX_BYTES = 512 * 1024 * 1024
#: Texts in one call, the most that every embedding model takes.
TEXTS = 10
CALLS_IN_PORTION = 40

_encode = msgspec.json.encode


class EmbeddingFileRunner:
    """Embeds files."""

    def __init__(self, shelf: Shelf, contents: Contents, caller: Caller, *, concurrency: int) -> None:
        self._shelf = shelf
        self._contents = contents
        self._caller = caller
        self._concurrency = concurrency

    async def run(self, job: Job, _model: Model | None) -> Done:
        """See `job.Runner`."""
        texts = await self._read(job)
        if "parts" not in job.notes:
            await job.note(parts=[], done=0, failed=0, tokens=0)
            await job.tell_progress(0, len(texts))
        size = TEXTS * CALLS_IN_PORTION
        while (start := job.notes["done"]) < len(texts):
            await self._embed(job, start, texts[start : start + size])
            await job.tell_progress(job.notes["done"], len(texts))
        return await self._finish(job, len(texts))

    async def _read(self, job: Job) -> list[str]:
        content = await self._contents.resolve_for(job.task, job.ask.files[0])
        if content.size_bytes > MAX_BYTES:
            raise _refused(f"The file has {content.size_bytes} bytes; {MAX_BYTES} are allowed.")
        try:
            text = (await self._contents.read(content)).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise _refused("The file is not UTF-8 text with one text a line.") from None
        texts = [line.strip() for line in text.splitlines() if line.strip()]
        if not 1 <= len(texts) <= MAX_LINES:
            raise _refused(f"The file holds {len(texts)} texts; 1 to {MAX_LINES} are allowed, one a line.")
        return texts

    async def _embed(self, job: Job, start: int, texts: list[str]) -> None:
        slots = asyncio.Semaphore(self._concurrency)

        async def one(offset: int) -> tuple[int, list[str], Reply]:
            portion = texts[offset : offset + TEXTS]
            body = {"model": job.task.model, "input": {"texts": portion}, "parameters": job.ask.settings}
            async with slots:
                left_s = (job.claimed.deadline_us - now_us()) / MICROS
                first = start + offset
                once = f"{job.task.id}:{first}"
                reply = await self._caller.call(
                    rights_of(job.task), PATH, body, once=once, give_up_at=monotonic() + left_s
                )
                return first, portion, reply

        answers = await asyncio.gather(*(one(offset) for offset in range(0, len(texts), TEXTS)))
        lines: list[bytes] = []
        failed, tokens = job.notes["failed"], job.notes["tokens"]
        for first, portion, reply in answers:
            if reply.status == 200:
                tokens += reply.body.get("usage", {}).get("total_tokens", 0)
                rows = reply.body["output"]["embeddings"]
                lines += [
                    _line({"text_index": first + one["text_index"], "embedding": one["embedding"]}) for one in rows
                ]
                continue
            failed += len(portion)
            told = reply.body if type(reply.body) is dict else {}
            error = {"code": told.get("code", "InternalError"), "message": told.get("message", "")}
            if not job.notes.get("first_error"):
                await job.note(first_error=error)
            lines += [_line({"text_index": first + n, **error}) for n in range(len(portion))]
        stored = await self._shelf.prepare_bytes(
            gzip.compress(b"".join(lines), 6), workspace=job.task.workspace, name="part.gz", ttl_s=PART_TTL_S
        )
        await self._shelf.add(stored)
        parts = [*job.notes["parts"], stored.id]
        await job.note(parts=parts, done=start + len(texts), failed=failed, tokens=tokens)

    async def _finish(self, job: Job, total: int) -> Done:
        if job.notes["failed"] == total:
            error = job.notes["first_error"]
            raise Failed(TaskFailure(code=error["code"], message=error["message"]))
        # one gzip after the other is a gzip too
        kept = await self._shelf.join(
            job.notes["parts"],
            workspace=job.task.workspace,
            name=f"{job.task.id}_output.txt.gz",
            ttl_s=job.ttl_s or None,
            content_type="application/gzip",
        )
        usage: dict[str, Any] = {"total_tokens": job.notes["tokens"]}
        return Done(Outcome(items=(TaskItem(object_id=kept.id, name=kept.name),), usage=usage), [kept])


def _line(value: dict[str, Any]) -> bytes:
    return _encode(value) + b"\n"


def _refused(message: str) -> Failed:
    return Failed(TaskFailure(code="InvalidParameter", message=message))
