"""Batches: a file of calls in, a file of answers out. Source: openai-compatible.md 7.

They run in portions. What a portion answered is kept before the next one begins, and every call is made under a key of its own: killed
anywhere, a batch goes on where it was, and no call is charged twice.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec

from steelyard.base import ids
from steelyard.base.clock import monotonic, now_s
from steelyard.canon.files import PREFIXES, StoredFile
from steelyard.canon.model import Model
from steelyard.canon.task import Outcome, TaskFailure
from steelyard.store.objects import records
from steelyard.tasks.caller import Caller, Reply, rights_of
from steelyard.tasks.job import Done, Failed, Job, Stopped
from steelyard.tasks.shelf import Shelf

MAX_LINES = 50_000
MAX_LINE_BYTES = 6 * 1024 * 1024
#: So many faults of a file are told.
MAX_FAULTS = 100
PORTION = 100
#: Parts of the output are kept for as long as any batch may take.
PART_TTL_S = 16 * 86_400
LOOK_S = 1.0
OUTPUT, ERRORS = "batch_output", "batch_error"

_decode = msgspec.json.decode
_encode = msgspec.json.encode


class Line(msgspec.Struct):
    """One call of a batch."""

    custom_id: str
    method: str
    url: str
    body: dict[str, Any]


@dataclass(slots=True)
class Faults:
    """What is wrong with a file of calls."""

    found: list[dict[str, Any]] = field(default_factory=list)

    def add(self, code: str, message: str, line: int | None, param: str | None = None) -> None:
        """Notes one; beyond the first hundred they are not told."""
        if len(self.found) < MAX_FAULTS:
            self.found.append({"code": code, "message": message, "param": param, "line": line})


def check_lines(file: IO[bytes], endpoint: str) -> tuple[int, list[dict[str, Any]]]:
    """How many calls a file holds, and what is wrong with it."""
    faults = Faults()
    seen: set[str] = set()
    model, count = "", 0
    for number, raw in _numbered(file):
        count += 1
        if count > MAX_LINES:
            faults.add("too_many_lines", f"The file holds more than {MAX_LINES} requests.", number)
            break
        line = _read_line(raw, number, endpoint, faults)
        if line is None:
            continue
        if line.custom_id in seen:
            faults.add("duplicate_custom_id", f"The custom_id '{line.custom_id}' for this request is a duplicate of another request. The custom_id parameter must be unique for each request in a batch.", number, "custom_id")  # fmt: skip
        seen.add(line.custom_id)
        named = line.body.get("model")
        if type(named) is not str or not named:
            faults.add("missing_required_parameter", "body.model is missing.", number, "body.model")
        elif model and named != model:
            faults.add("mismatched_model", f"The model '{named}' for this request does not match the rest of the batch. Each batch must contain requests for a single model.", number, "model")  # fmt: skip
        else:
            model = named
    if not count:
        faults.add("empty_file", "The file holds no requests.", None)
    return count, faults.found


def _numbered(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, with their numbers from 1. A line is never read further than it may be long."""
    file.seek(0)
    number = 0
    while raw := file.readline(MAX_LINE_BYTES + 2):
        number += 1
        if raw.strip():
            yield number, raw
        while len(raw) > MAX_LINE_BYTES and not raw.endswith(b"\n"):
            raw = file.readline(MAX_LINE_BYTES + 2)


def _read_line(raw: bytes, number: int, endpoint: str, faults: Faults) -> Line | None:
    if len(raw) > MAX_LINE_BYTES + 1:
        faults.add("line_too_large", f"The line is longer than {MAX_LINE_BYTES} bytes.", number)
        return None
    try:
        line = _decode(raw, type=Line)
    except msgspec.ValidationError as exc:
        faults.add("invalid_request", f"{exc}.", number)
        return None
    except msgspec.DecodeError as exc:
        faults.add("invalid_json_line", f"This line is not parseable as valid JSON: {exc}.", number)
        return None
    if line.method != "POST":
        faults.add("invalid_method", "method must be POST.", number, "method")
    if line.url != endpoint:
        faults.add("mismatched_endpoint", f"The url '{line.url[:100]}' does not match the batch's endpoint '{endpoint}'.", number, "url")  # fmt: skip
    return line


class BatchRunner:
    """Runs batches."""

    def __init__(self, shelf: Shelf, caller: Caller, work_dir: Path, *, concurrency: int) -> None:
        self._shelf = shelf
        self._caller = caller
        self._work_dir = work_dir
        self._concurrency = concurrency

    async def run(self, job: Job, _model: Model | None) -> Done:
        """See `job.Runner`."""
        with await self._open_input(job) as file:
            await self._validate(job, file)
            await self._call_all(job, file)
        await job.note(finalizing_at=job.notes.get("finalizing_at") or now_s())
        return await self._finish(job)

    async def _open_input(self, job: Job) -> IO[bytes]:
        """The calls, in a file that is gone with this process however it ends."""
        async with self._shelf.database.read() as connection:
            found = await records.find_file(connection, job.task.workspace, job.ask.files[0])
        if found is None:
            raise _invalid(
                [{"code": "file_not_found", "message": "The input file is gone.", "param": None, "line": None}]
            )
        path = self._work_dir / f"{ids.new_id('in')}.part"
        try:
            await self._shelf.blobs.fetch_to(found.object.digest, path)
            return path.open("rb")
        finally:
            path.unlink(missing_ok=True)

    async def _validate(self, job: Job, file: IO[bytes]) -> None:
        if "in_progress_at" in job.notes:
            return
        count, faults = await asyncio.to_thread(check_lines, file, job.ask.settings["endpoint"])
        if faults:
            raise _invalid(faults)
        await job.note(in_progress_at=now_s(), done=0, failed=0, total=count, outputs=[], errors=[])
        await job.tell_progress(0, count)

    async def _call_all(self, job: Job, file: IO[bytes]) -> None:
        # what lies in the file before the portion that is next was answered already
        portion: list[tuple[int, Line]] = []
        skip: int = job.notes["done"]
        for number, raw in _numbered(file):
            if skip:
                skip -= 1
                continue
            portion.append((number, _decode(raw, type=Line)))
            if len(portion) == PORTION:
                await self._call_portion(job, portion)
                portion = []
        if portion:
            await self._call_portion(job, portion)

    async def _call_portion(self, job: Job, portion: list[tuple[int, Line]]) -> None:
        """Calls, keeps the answers, and notes that they are kept.

        Raises:
            Stopped: it was cancelled, or its time is over.
        """
        left_s = job.ask.settings["expires_at"] - now_s()
        give_up_at = monotonic() + left_s
        slots = asyncio.Semaphore(self._concurrency)

        async def one(number: int, line: Line) -> tuple[Line, Reply]:
            async with slots:
                return line, await self._call(job, number, line, give_up_at)

        calls = [asyncio.create_task(one(number, line)) for number, line in portion]
        watching = asyncio.create_task(self._watch(job, give_up_at))
        try:
            pending: set[asyncio.Task[Any]] = {*calls}
            while pending and not watching.done():
                await asyncio.wait({*pending, watching}, return_when=asyncio.FIRST_COMPLETED)
                pending = {one for one in pending if not one.done()}
            if pending:
                is_expired = watching.result()
                await self._keep_portion(job, [one.result() for one in calls if one.done()])
                raise Stopped(await self._finish(job, expired=is_expired))
            await self._keep_portion(job, [one.result() for one in calls])
        finally:
            watching.cancel()
            for task in calls:
                task.cancel()
            await asyncio.gather(*calls, watching, return_exceptions=True)

    async def _watch(self, job: Job, give_up_at: float) -> bool:
        """Returns once the batch must stop: True where its time is over, False where it was cancelled."""
        while monotonic() < give_up_at:
            if await job.is_cancelling():
                return False
            await asyncio.sleep(LOOK_S)
        return True

    async def _call(self, job: Job, number: int, line: Line, give_up_at: float) -> Reply:
        if line.body.get("stream"):
            error = {"message": "Batches do not stream: leave 'stream' out.", "type": "invalid_request_error", "param": "stream", "code": "invalid_parameter_error"}  # fmt: skip
            return Reply(400, "", {"error": error})
        return await self._caller.call(
            rights_of(job.task, is_batch=True),
            line.url,
            line.body,
            once=f"{job.task.id}:{number}",
            give_up_at=give_up_at,
        )

    async def _keep_portion(self, job: Job, answered: list[tuple[Line, Reply]]) -> None:
        outputs, errors = list(job.notes["outputs"]), list(job.notes["errors"])
        good = [_told(line, reply) for line, reply in answered if reply.status == 200]
        bad = [_told(line, reply) for line, reply in answered if reply.status != 200]
        for lines, parts in ((good, outputs), (bad, errors)):
            if lines:
                stored = await self._shelf.prepare_bytes(
                    b"".join(lines), workspace=job.task.workspace, name="part.jsonl", ttl_s=PART_TTL_S
                )
                await self._shelf.add(stored)
                parts.append(stored.id)
        done, failed = job.notes["done"] + len(answered), job.notes["failed"] + len(bad)
        await job.note(outputs=outputs, errors=errors, done=done, failed=failed)
        await job.tell_progress(done, job.notes["total"])

    async def _finish(self, job: Job, *, expired: bool = False) -> Done:
        """Joins the parts to files."""
        extra: dict[str, Any] = {name: job.notes[name] for name in ("in_progress_at", "total", "done", "failed")}
        extra["finalizing_at"] = job.notes.get("finalizing_at") or now_s()
        if expired:
            extra["expired"] = True
        files: list[StoredFile] = []
        for purpose, parts in ((OUTPUT, job.notes["outputs"]), (ERRORS, job.notes["errors"])):
            if parts:
                made = await self._join(job, purpose, parts)
                files.append(made)
                extra[f"{purpose}_file_id"] = made.id
        # parts go by themselves once their time is over
        return Done(Outcome(extra=extra), files=files)

    async def _join(self, job: Job, purpose: str, parts: list[str]) -> StoredFile:
        name = f"{job.task.id}_{purpose}.jsonl"
        kept = await self._shelf.join(parts, workspace=job.task.workspace, name=name, ttl_s=None)
        return StoredFile(
            id=f"{PREFIXES[purpose]}-{ids.new_id('x')[2:]}",
            workspace=job.task.workspace,
            key_id=job.task.key_id,
            purpose=purpose,
            object=kept,
        )


def _invalid(faults: list[dict[str, Any]]) -> Failed:
    text = f"The input file has {len(faults)} faults; the first: {faults[0]['message']}"
    return Failed(TaskFailure(code="invalid_batch", message=text, detail={"errors": faults}))


def _told(line: Line, reply: Reply) -> bytes:
    """A line of an output file."""
    error = None
    if reply.status != 200:
        told = reply.body.get("error") if type(reply.body) is dict else None
        told = told if type(told) is dict else {}
        error = {"code": told.get("code"), "message": told.get("message")}
    response = {"status_code": reply.status, "request_id": reply.request_id, "body": reply.body}
    told_line = {
        "id": f"batch_req_{ids.new_id('x')[2:]}",
        "custom_id": line.custom_id,
        "response": response,
        "error": error,
    }
    return _encode(told_line) + b"\n"


__all__ = ["BatchRunner", "check_lines"]
