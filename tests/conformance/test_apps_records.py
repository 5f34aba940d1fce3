"""Apps, their versions and sessions, and plugins, on both databases."""

from typing import Any

import pytest

from steelyard.apps.book import AppBook
from steelyard.apps.memory import Memory
from steelyard.apps.plugin_book import PluginBook
from steelyard.base.clock import now_us
from steelyard.base.errors import Fault
from steelyard.base.sealing import Sealer
from steelyard.canon.apps import AppSpec, Errand, Plugin, PluginSpec, ToolSpec
from steelyard.canon.grant import Grant
from steelyard.store import apps
from steelyard.store.database import Database
from steelyard.upstream.guard import HostRules

SPEC = AppSpec(model="m", memory_turns=2)


def errand(app: str, session: str, number: int, workspace: str = "w") -> Errand:
    return Errand(
        request_id=f"{session}-{number}", grant=Grant(key_id="k", workspace=workspace), app=app, session=session
    )


async def test_versions(database: Database) -> None:
    """What is published stays while the draft is edited; versions count up, also after going back."""
    book = AppBook(database)
    app = await book.create("w", " Guide ", SPEC, actor="a")
    assert (app.name, app.published) == ("Guide", 0)
    with pytest.raises(Fault):
        await book.get_published("w", app.id)
    await book.publish("w", app.id, actor="a")
    await book.change("w", app.id, name=None, spec=AppSpec(model="other"), actor="a")
    assert (await book.get_published("w", app.id)).model == "m"
    assert (await book.publish("w", app.id, actor="a")).published == 2
    await book.roll_back("w", app.id, 1, actor="a")
    assert (await book.publish("w", app.id, actor="a")).published == 3
    assert [one.version for one in await book.list_versions("w", app.id)] == [3, 2, 1]
    for use in (book.get, book.list_versions, book.get_published):
        with pytest.raises(Fault):
            await use("other", app.id)
    await book.delete("w", app.id, actor="a")
    async with database.read() as connection:
        assert await apps.list_versions(connection, app.id) == []


async def test_sessions(database: Database) -> None:
    """The last turns come back in order, a repeated turn once, and a session is nobody else's."""
    memory = Memory(database)
    for number in range(4):
        await memory.keep(errand("app", "s", number), SPEC, f"q{number}", f"a{number}")
    await memory.keep(errand("app", "s", 3), SPEC, "again", "again")
    texts = [one.text for one in await memory.recall(errand("app", "s", 9), SPEC)]
    assert texts == ["q2", "a2", "q3", "a3"]
    assert await memory.recall(errand("other", "s", 9), SPEC) == []
    assert await memory.recall(errand("app", "s", 9, "other"), SPEC) == []
    assert await memory.recall(errand("app", "", 9), SPEC) == []
    (listed,) = await memory.list("w", "app", offset=0, limit=9)
    assert (listed["session_id"], listed["turns"]) == ("s", 4)


async def test_sessions_expire_whole(database: Database) -> None:
    """All of a session's turns go, or none; one of the same name in another workspace is another."""
    now = now_us()
    async with database.write() as connection:
        for turn, workspace, session, expires_us in (
            ("1", "w", "gone", now - 5), ("2", "w", "gone", now - 1), ("3", "w", "goes on", now - 5), ("4", "w", "goes on", now + 10**9),
            ("5", "v", "gone", now + 10**9),
        ):  # fmt: skip
            await apps.insert_turn(
                connection, turn, workspace=workspace, app_id="app", session_id=session, messages='[["user","q"]]',
                created_us=now, expires_us=expires_us,
            )  # fmt: skip
    memory = Memory(database)
    assert await memory.recall(errand("app", "gone", 9), SPEC) == []
    await memory.sweep()
    async with database.read() as connection:
        left = {
            (workspace, session): len(await apps.list_turns(connection, workspace, "app", session, now_us=0, limit=9))
            for workspace, session in (("w", "gone"), ("w", "goes on"), ("v", "gone"))
        }
    assert left == {("w", "gone"): 0, ("w", "goes on"): 2, ("v", "gone"): 1}


async def test_plugins(database: Database) -> None:
    """Secrets are sealed, switches are a workspace's own, approval takes what there is."""
    tools = (ToolSpec(name="t", description="before"),)
    shared = Plugin(name="files", spec=PluginSpec(kind="stdio", command="/bin/true"))

    async def look(_: Plugin) -> tuple[ToolSpec, ...]:
        return tools

    book = PluginBook(database, {"files": shared}, Sealer(b"k" * 32), HostRules(), look)
    spec: dict[str, Any] = {"kind": "mcp", "url": "https://x.test/mcp"}
    added = await book.add("w", "maps", PluginSpec(**spec), "", "s3cret", actor="a")
    assert added.spec.credential.secret.startswith("sealed:")
    assert (await book.get("w", "maps")).tools == tools
    with pytest.raises(Fault):
        await book.get("v", "maps")
    assert [one.name for one in await book.list_all("v")] == ["calculator", "files", "knowledge", "time", "web"]
    await book.switch("w", "files", is_enabled=False, actor="a")
    assert not (await book.get("w", "files")).is_enabled
    assert (await book.get("v", "files")).is_enabled
    assert (await book.get("w", "files")).spec.command == "/bin/true"
    tools = (ToolSpec(name="t", description="after"), ToolSpec(name="u"))
    assert await book.compare("w", "maps") == {"new": ["u"], "gone": [], "changed": ["t"]}
    approved, _ = await book.approve("w", "maps", actor="a")
    assert approved.tools == tools
    await book.remove("w", "maps", actor="a")
    for name in ("maps", "files", "time"):
        with pytest.raises(Fault):
            await book.remove("w", name, actor="a")
