"""What was said in sessions. A turn is kept whole, when its answer is: a run that is cut off leaves the session as it was."""

from typing import Any

import msgspec

from steelyard.base.clock import now_us
from steelyard.base.units import MICROS
from steelyard.canon.apps import AppSpec, Errand
from steelyard.canon.conversation import ASSISTANT, USER, Message, Part
from steelyard.store import apps
from steelyard.store.database import Database

#: A longer turn is kept cut: it is told to the model again with every later one.
MAX_TURN_CHARS = 20_000


class Memory:
    """The sessions of apps."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def recall(self, errand: Errand, spec: AppSpec) -> list[Message]:
        """What was said before, oldest first."""
        if not errand.session or not spec.memory_turns:
            return []
        async with self._database.read() as connection:
            turns = await apps.list_turns(
                connection,
                errand.grant.workspace,
                errand.app,
                errand.session,
                now_us=now_us(),
                limit=spec.memory_turns,
            )
        messages = []
        for turn in turns:
            for role, text in msgspec.json.decode(turn, type=list[tuple[str, str]]):
                messages.append(Message(role=role, parts=(Part(text=text),)))
        return messages

    async def keep(self, errand: Errand, spec: AppSpec, asked: str, answered: str) -> None:
        """Keeps a turn."""
        if not errand.session or not spec.memory_turns:
            return
        said = [(USER, asked[:MAX_TURN_CHARS]), (ASSISTANT, answered[:MAX_TURN_CHARS])]
        now = now_us()
        async with self._database.write() as connection:
            await apps.insert_turn(
                connection,
                errand.request_id,
                workspace=errand.grant.workspace,
                app_id=errand.app,
                session_id=errand.session,
                messages=msgspec.json.encode(said).decode(),
                created_us=now,
                expires_us=now + spec.session_ttl_s * MICROS,
            )

    async def list(self, workspace: str, app_id: str, *, offset: int, limit: int) -> list[dict[str, Any]]:
        """Sessions that go on."""
        async with self._database.read() as connection:
            return await apps.list_sessions(connection, workspace, app_id, now_us=now_us(), offset=offset, limit=limit)

    async def sweep(self) -> None:
        """Forgets what has expired."""
        async with self._database.write() as connection:
            await apps.forget_expired(connection, now_us())
