"""The console's members, sessions and invitations, on both databases."""

import asyncio

import pytest

from steelyard.base.errors import Fault
from steelyard.canon.members import DEVELOPER, OPERATOR, OWNER, VIEWER
from steelyard.control import passwords, trail
from steelyard.control.members import Members
from steelyard.store.database import Database

PASSWORD = "correct horse battery"


async def refused(slug: str, act: object) -> None:
    with pytest.raises(Fault) as caught:
        await act  # type: ignore[misc]
    assert caught.value.slug == slug


async def test_founding(database: Database) -> None:
    """The one-time link makes an owner; a second one with the same name sets the password and ends old sessions."""
    people = Members(database)
    assert not await people.has_owner()
    first = await people.found(" Ada ", PASSWORD)
    assert (first.member.login, first.member.role) == ("ada", OWNER)
    assert await people.has_owner()
    again = await people.found("ada", "another password")
    assert again.member.id == first.member.id
    assert await people.find_signed_in(first.secret) is None
    found = await people.find_signed_in(again.secret)
    assert found is not None
    assert found.id == first.member.id
    await refused("sign_in_failed", people.sign_in("ada", PASSWORD, "10.0.0.1"))


async def test_sessions(database: Database) -> None:
    """Each sign-in opens a session of its own; signing out, disabling and a new password end them."""
    people = Members(database)
    owner = (await people.found("ada", PASSWORD)).member
    one, two = [await people.sign_in("ADA", PASSWORD, "10.0.0.1") for _ in range(2)]
    assert one.secret != two.secret
    await people.sign_out(one.secret)
    assert await people.find_signed_in(one.secret) is None
    assert await people.find_signed_in(two.secret) is not None
    assert await people.find_signed_in("") is None
    await refused("sign_in_failed", people.set_own_password(owner, "wrong", "yet another one", two.secret))
    await people.set_own_password(owner, PASSWORD, "yet another one", two.secret)
    assert await people.find_signed_in(two.secret) is not None
    bob = await people.join("bob", PASSWORD, DEVELOPER)
    await people.change(bob.member.id, is_disabled=True, actor=owner)
    assert await people.find_signed_in(bob.secret) is None
    await refused("sign_in_failed", people.sign_in("bob", PASSWORD, "10.0.0.1"))
    entries = [one["action"] for one in await trail.list_entries(database, 100, "members.")]
    assert set(entries) == {
        "members.found", "members.sign_in", "members.password", "members.join", "members.change",
    }  # fmt: skip


async def test_invitations(database: Database) -> None:
    """An invitation is for one person, says role and workspaces, and two cannot use it at once."""
    people = Members(database)
    owner = (await people.found("ada", PASSWORD)).member
    secret = await people.invite(VIEWER, ("team",), actor=owner)
    assert (await people.find_invitation(secret)).role == VIEWER
    done = await asyncio.gather(
        *(people.join(name, PASSWORD, OWNER, invitation=secret) for name in ("bob", "eve")), return_exceptions=True
    )
    joined = [one for one in done if not isinstance(one, BaseException)]
    failed = [one for one in done if isinstance(one, BaseException)]
    assert [(one.member.role, one.member.workspaces) for one in joined] == [(VIEWER, ("team",))]
    assert [one.slug for one in failed if isinstance(one, Fault)] == ["invitation_invalid"]
    assert joined[0].member.sees("team")
    assert not joined[0].member.sees("default")
    assert not joined[0].member.may(DEVELOPER)
    await refused("invitation_invalid", people.find_invitation(secret))
    await refused("login_taken", people.join("ADA", PASSWORD, VIEWER))
    await refused("parameter_invalid", people.invite("king", (), actor=owner))


async def test_an_owner_stays(database: Database) -> None:
    """Nobody can take the last owner away, themselves included; nothing of such a change is kept."""
    people = Members(database)
    owner = (await people.found("ada", PASSWORD)).member
    await refused("last_owner", people.change(owner.id, role=OPERATOR, actor=owner))
    await refused("last_owner", people.change(owner.id, is_disabled=True, actor=owner))
    await refused("last_owner", people.remove(owner.id, actor=owner))
    assert [one.role for one in await people.list_all()] == [OWNER]
    narrowed = await people.change(owner.id, workspaces=("team",), actor=owner)
    assert narrowed.is_everywhere
    other = (await people.join("bob", PASSWORD, OWNER)).member
    await people.remove(owner.id, actor=other)
    assert [one.login for one in await people.list_all()] == ["bob"]
    await refused("resource_not_found", people.remove(owner.id, actor=other))


@pytest.mark.parametrize(
    ("login", "password"),
    [
        ("a", PASSWORD),
        ("a b", PASSWORD),
        ("<b>", PASSWORD),
        ("x" * 101, PASSWORD),
        ("ada", "short"),
        ("ada", "x" * 201),
    ],
)
async def test_bad_names_and_passwords(database: Database, login: str, password: str) -> None:
    await refused("parameter_invalid", Members(database).found(login, password))


async def test_guesses_are_slowed_down(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some wrong passwords the name waits, and the address with it; the right one after the wait opens."""
    now = [1000.0]
    monkeypatch.setattr(passwords, "monotonic", lambda: now[0])
    people = Members(database)
    await people.found("ada", PASSWORD)
    for _ in range(passwords.FREE_TRIES + 1):
        await refused("sign_in_failed", people.sign_in("ada", "wrong", "10.0.0.1"))
    with pytest.raises(Fault) as caught:
        await people.sign_in("ada", PASSWORD, "10.0.0.2")
    assert (caught.value.slug, caught.value.status) == ("sign_in_throttled", 429)
    assert caught.value.retry_after_s
    await refused("sign_in_throttled", people.sign_in("bob", PASSWORD, "10.0.0.1"))
    now[0] += 2.5
    assert (await people.sign_in("ada", PASSWORD, "10.0.0.1")).member.login == "ada"


async def test_guesses_at_once_are_counted_one_by_one(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many come together, no more are looked at than one after the other; a crowd is turned away."""
    people = Members(database)
    await people.found("ada", PASSWORD)
    guesses = [people.sign_in("ada", f"wrong {n}", "10.0.0.1") for n in range(30)]
    told = [one.slug for one in await asyncio.gather(*guesses, return_exceptions=True) if isinstance(one, Fault)]
    assert told.count("sign_in_failed") == passwords.FREE_TRIES + 1
    assert told.count("sign_in_throttled") == 30 - passwords.FREE_TRIES - 1
    monkeypatch.setattr(passwords, "MAX_WAITING", 4)
    crowd = [people.sign_in(f"name-{n}", "wrong", f"10.0.1.{n}") for n in range(20)]
    told = [one.slug for one in await asyncio.gather(*crowd, return_exceptions=True) if isinstance(one, Fault)]
    assert told.count("overloaded") > 0
    assert told.count("overloaded") + told.count("sign_in_failed") == 20
    assert told.count("sign_in_failed") >= 4


async def test_strangers_learn_nothing(database: Database) -> None:
    """A name that nobody has gets the same answer as a wrong password."""
    people = Members(database)
    await people.found("ada", PASSWORD)
    await refused("sign_in_failed", people.sign_in("nobody", PASSWORD, "10.0.0.1"))
    await refused("sign_in_failed", people.sign_in("nobody", "", "10.0.0.1"))
