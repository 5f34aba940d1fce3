"""Calls that a workspace keeps whole, where its operator says so: the newest few, for some days, sealed."""

from typing import Any

import msgspec

from steelyard.base.clock import MICROS, now_us
from steelyard.base.errors import SetupFault, fault
from steelyard.base.sealing import Sealer
from steelyard.canon.kept import KeptCall
from steelyard.control.workspaces import change_policy
from steelyard.store import kept_calls, workspaces
from steelyard.store.database import Database
from steelyard.store.kept_calls import KeptRecord

#: A workspace keeps so many at most, for so long.
MAX_KEPT, KEEP_S = 200, 7 * 86_400


class OpenedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A kept call that can be read.

    Args:
        question: the last thing that was said to the model.
        answer: the text that came back.
    """

    request_id: str
    key_id: str
    model: str
    created_us: int
    body: dict[str, Any]
    question: str
    answer: str


async def keep(database: Database, sealer: Sealer, call: KeptCall) -> None:
    """Keeps a call."""
    texts = msgspec.json.encode({"body": msgspec.Raw(call.body), "answer": _text_of(call.answer)}).decode()
    sealed = sealer.seal(texts, _place(call.request_id))
    async with database.write() as connection:
        await kept_calls.insert(
            connection,
            KeptRecord(call.request_id, call.workspace, call.key_id, call.model, call.started_us, sealed),
        )


async def list_newest(database: Database, sealer: Sealer, workspace: str, limit: int) -> list[OpenedCall]:
    """The newest of a workspace, opened."""
    async with database.read() as connection:
        found = await kept_calls.list_newest(connection, workspace, limit)
    opened = (_open(sealer, one) for one in found)
    return [one for one in opened if one is not None]


async def set_keeping(database: Database, workspace: str, count: int, *, actor: str) -> None:
    """Says how many calls a workspace keeps; 0 forgets those that it has.

    Raises:
        Fault: the count is out of range, or there is no such workspace.
    """
    if not 0 <= count <= MAX_KEPT:
        raise fault("parameter_invalid", detail=f"count lies in 0 to {MAX_KEPT}.", param="count")
    await change_policy(database, workspace, actor=actor, action="workspaces.keep_calls", kept_calls=count)
    async with database.write() as connection:
        await kept_calls.forget_beyond(connection, workspace, count)


async def sweep(database: Database) -> None:
    """Forgets what is too old, and more than a workspace keeps."""
    async with database.read() as connection:
        found = await workspaces.list_workspaces(connection)
    async with database.write() as connection:
        await kept_calls.forget_before(connection, now_us() - KEEP_S * MICROS)
        for one in found:
            await kept_calls.forget_beyond(connection, one.name, one.policy.kept_calls)


def _open(sealer: Sealer, record: KeptRecord) -> OpenedCall | None:
    """A call; None where it was sealed under another master key, or is damaged."""
    try:
        texts = msgspec.json.decode(sealer.unseal(record.sealed, _place(record.request_id)))
    except SetupFault:
        return None
    body = texts["body"]
    return OpenedCall(
        request_id=record.request_id,
        key_id=record.key_id,
        model=record.model,
        created_us=record.created_us,
        body=body,
        question=_question_of(body.get("messages") or []),
        answer=texts["answer"],
    )


def _place(request_id: str) -> str:
    return f"call:{request_id}"


def _question_of(messages: list[dict[str, Any]]) -> str:
    content = messages[-1].get("content") if messages else ""
    if isinstance(content, list):
        return " ".join(str(part["text"]) for part in content if isinstance(part, dict) and "text" in part)
    return content if isinstance(content, str) else ""


def _text_of(answer: bytes) -> str:
    """The text of an answer, whole or streamed."""
    if answer.lstrip().startswith(b"{"):
        events, name = [answer], "message"
    else:
        lines = (line for line in answer.splitlines() if line.startswith(b"data:"))
        events, name = [line[5:].strip() for line in lines if b"[DONE]" not in line], "delta"
    choices = (one for event in events for one in msgspec.json.decode(event).get("choices") or ())
    return "".join((one.get(name) or {}).get("content") or "" for one in choices)
