"""Becoming a member of the console, signing in, and what an owner does with members.

A session's secret is random and kept as its digest; signing in always makes a new one, so none can be planted.
"""

import re
import secrets
from dataclasses import dataclass

import msgspec

from steelyard.base import ids
from steelyard.base.clock import MICROS, now_us
from steelyard.base.errors import fault
from steelyard.base.secrets import digest
from steelyard.canon.members import OWNER, ROLES, Invitation, Member, Session
from steelyard.control.identities import Identity
from steelyard.control.passwords import Doorkeeper, Passwords, check_password
from steelyard.store import audit, members
from steelyard.store.database import AsyncConnection, Database

#: Kept in place of a hash: nothing that is typed is it.
NO_PASSWORD = ""
SESSION_S = 12 * 3600
INVITATION_S = 7 * 86_400
LANGUAGES = ("", "zh", "en")
_LOGIN = re.compile(r"[^\s<>\"'`\\/\x00-\x1f]{2,100}")


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session just opened; its secret is shown to the browser alone."""

    member: Member
    secret: str


class Members:
    """The console's people."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._passwords = Passwords()
        self._doors = Doorkeeper()

    # becoming one

    async def has_owner(self) -> bool:
        """Whether somebody has taken the installation over."""
        async with self._database.read() as connection:
            return await members.count_able(connection, OWNER) > 0

    async def found(self, login: str, password: str) -> SignedIn:
        """The one-time link's holder becomes an owner; where the name is a member's already, that one, with a new password.

        Whoever may read the data directory made the link, and is the installation's master anyway.
        """
        login = _read_login(login)
        check_password(password)
        kept = await self._passwords.hash(password)
        now = now_us()
        async with self._database.write() as connection:
            found = await members.find_by_login(connection, login)
            if found is None:
                one = Member(id=ids.new_id("member"), login=login, role=OWNER, created_us=now)
                await members.insert_member(connection, one, kept)
            else:
                one = msgspec.structs.replace(found[0], role=OWNER, workspaces=(), is_disabled=False)
                await members.change_member(connection, one)
                await members.set_password(connection, one.id, kept)
                await members.end_sessions(connection, one.id)
            await audit.append(
                connection, actor="one-time link", action="members.found", subject=one.id, detail=login, now_us=now
            )
            return await _open(connection, one, now)

    async def invite(self, role: str, workspaces: tuple[str, ...], *, actor: Member) -> str:
        """The secret of an invitation."""
        _check_role(role)
        secret, now = secrets.token_urlsafe(24), now_us()
        one = Invitation(
            digest(secret), role, () if role == OWNER else workspaces, actor.id, now + INVITATION_S * MICROS
        )
        async with self._database.write() as connection:
            await members.insert_invitation(connection, one)
            await audit.append(
                connection, actor=actor.id, action="members.invite", subject=one.digest[:12], detail=role, now_us=now
            )
        return secret

    async def find_invitation(self, secret: str) -> Invitation:
        """An invitation that is still good.

        Raises:
            Fault: `invitation_invalid`.
        """
        async with self._database.read() as connection:
            found = await members.find_invitation(connection, digest(secret), now_us())
        if found is None:
            raise fault("invitation_invalid")
        return found

    async def join(self, login: str, password: str, role: str, *, invitation: str = "") -> SignedIn:
        """Somebody becomes a member, by an invitation or because registration is open.

        Args:
            role: what who registers freely becomes; an invitation has its own.

        Raises:
            Fault: the name is taken, the password too short, or the invitation used up.
        """
        login = _read_login(login)
        check_password(password)
        kept = await self._passwords.hash(password)
        now = now_us()
        async with self._database.write() as connection:
            one = Member(id=ids.new_id("member"), login=login, role=role, created_us=now)
            if invitation:
                found = await members.find_invitation(connection, digest(invitation), now)
                if found is None or not await members.take_invitation(connection, found.digest):
                    raise fault("invitation_invalid")
                one = msgspec.structs.replace(one, role=found.role, workspaces=found.workspaces)
            if await members.find_by_login(connection, login) is not None:
                raise fault("login_taken")
            await members.insert_member(connection, one, kept)
            await audit.append(
                connection, actor=one.id, action="members.join", subject=one.id, detail=one.role, now_us=now
            )
            return await _open(connection, one, now)

    async def arrive(self, identity: Identity, role: str) -> SignedIn:
        """Somebody comes from the identity provider: who was here before is let in, anybody else becomes a member without a password.

        Raises:
            Fault: they are disabled, there is no owner yet, or another member has their name: nobody becomes another by a name.
        """
        now = now_us()
        async with self._database.write() as connection:
            one = await members.find_by_subject(connection, identity.subject)
            if one is None:
                if not await members.count_able(connection, OWNER):
                    raise fault("registration_closed")
                login = _read_login(identity.login)
                if await members.find_by_login(connection, login) is not None:
                    raise fault("login_taken")
                one = Member(id=ids.new_id("member"), login=login, role=role, created_us=now)
                await members.insert_member(connection, one, NO_PASSWORD)
                await members.insert_identity(connection, identity.subject, one.id)
                await audit.append(
                    connection, actor=one.id, action="members.join", subject=one.id, detail=role, now_us=now
                )
            if one.is_disabled:
                raise fault("sign_in_failed")
            await audit.append(connection, actor=one.id, action="members.sign_in", subject=one.id, now_us=now)
            return await _open(connection, one, now)

    # signing in and out

    async def sign_in(self, login: str, password: str, client: str) -> SignedIn:
        """Opens a session.

        Raises:
            Fault: `sign_in_failed`, or `sign_in_throttled` after too many.
        """
        login = login.strip().lower()[:100]
        doors = (f"login:{login}", f"client:{client}")
        self._doors.check(*doors)
        self._doors.tried(*doors)
        async with self._database.read() as connection:
            found = await members.find_by_login(connection, login)
        is_right = await self._passwords.matches(found[1] or None if found else None, password)
        if found is None or not is_right or found[0].is_disabled:
            raise fault("sign_in_failed")
        self._doors.passed(*doors)
        now = now_us()
        async with self._database.write() as connection:
            await audit.append(connection, actor=found[0].id, action="members.sign_in", subject=found[0].id, now_us=now)
            return await _open(connection, found[0], now)

    async def find_signed_in(self, secret: str) -> Member | None:
        """Whose session it is."""
        if not secret:
            return None
        async with self._database.read() as connection:
            return await members.find_signed_in(connection, digest(secret), now_us())

    async def sign_out(self, secret: str) -> None:
        """Ends a session."""
        async with self._database.write() as connection:
            await members.end_session(connection, digest(secret))

    async def set_own_password(self, member: Member, old: str, new: str, secret: str) -> None:
        """Replaces one's own password; every other session ends.

        Raises:
            Fault: the old one is wrong, or the new one too short.
        """
        check_password(new)
        door = f"login:{member.login}"
        self._doors.check(door)
        self._doors.tried(door)
        async with self._database.read() as connection:
            found = await members.find_by_login(connection, member.login)
        if not await self._passwords.matches(found[1] or None if found else None, old):
            raise fault("sign_in_failed")
        self._doors.passed(door)
        kept, now = await self._passwords.hash(new), now_us()
        async with self._database.write() as connection:
            await members.set_password(connection, member.id, kept)
            await members.end_sessions(connection, member.id, but=digest(secret))
            await audit.append(connection, actor=member.id, action="members.password", subject=member.id, now_us=now)

    async def set_language(self, member: Member, language: str) -> None:
        """Keeps the language a member reads.

        Raises:
            Fault: neither zh nor en.
        """
        if language not in LANGUAGES:
            raise fault("parameter_invalid", detail="language is zh or en.", param="language")
        async with self._database.write() as connection:
            await members.change_member(connection, msgspec.structs.replace(member, language=language))

    # what owners do

    async def list_all(self) -> list[Member]:
        """Every member, oldest first."""
        async with self._database.read() as connection:
            return await members.list_members(connection)

    async def change(
        self,
        member_id: str,
        *,
        role: str | None = None,
        workspaces: tuple[str, ...] | None = None,
        is_disabled: bool | None = None,
        actor: Member,
    ) -> Member:
        """Changes a member; one who is disabled is signed out.

        Raises:
            Fault: there is none, or nobody who can manage members would be left.
        """
        _check_role(role or OWNER)
        now = now_us()
        async with self._database.write() as connection:
            one = await _get(connection, member_id)
            changed = msgspec.structs.replace(
                one,
                role=role or one.role,
                workspaces=one.workspaces if workspaces is None else workspaces,
                is_disabled=one.is_disabled if is_disabled is None else is_disabled,
            )
            if changed.role == OWNER:
                # members are the whole installation's: an owner of some workspaces alone could not manage them
                changed = msgspec.structs.replace(changed, workspaces=())
            await members.change_member(connection, changed)
            if changed.is_disabled:
                await members.end_sessions(connection, one.id)
            await _check_owner(connection)
            detail = f"{changed.role}{' disabled' if changed.is_disabled else ''}"
            await audit.append(
                connection, actor=actor.id, action="members.change", subject=one.id, detail=detail, now_us=now
            )
        return changed

    async def remove(self, member_id: str, *, actor: Member) -> None:
        """Deletes a member.

        Raises:
            Fault: there is none, or nobody who can manage members would be left.
        """
        async with self._database.write() as connection:
            one = await _get(connection, member_id)
            await members.delete_member(connection, one.id)
            await _check_owner(connection)
            await audit.append(
                connection, actor=actor.id, action="members.remove", subject=one.id, detail=one.login, now_us=now_us()
            )

    async def sweep(self) -> None:
        """Forgets sessions and invitations that have ended."""
        async with self._database.write() as connection:
            await members.forget_old(connection, now_us())


def _read_login(login: str) -> str:
    login = login.strip().lower()
    if not _LOGIN.fullmatch(login):
        detail = "A name has 2 to 100 characters, without spaces, quotes and brackets."
        raise fault("parameter_invalid", detail=detail, param="login")
    return login


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise fault("parameter_invalid", detail=f"role is one of {', '.join(ROLES)}.", param="role")


async def _get(connection: AsyncConnection, member_id: str) -> Member:
    one = await members.find_member(connection, member_id)
    if one is None:
        raise fault("resource_not_found", detail=" There is no such member.")
    return one


async def _check_owner(connection: AsyncConnection) -> None:
    """The write that would leave no owner is undone by this."""
    if not await members.count_able(connection, OWNER):
        raise fault("last_owner")


async def _open(connection: AsyncConnection, one: Member, now: int) -> SignedIn:
    secret = secrets.token_urlsafe(32)
    await members.insert_session(connection, Session(digest(secret), one.id, now, now + SESSION_S * MICROS))
    return SignedIn(one, secret)
