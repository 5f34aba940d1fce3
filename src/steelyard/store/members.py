"""Named statements on the console's members, their sessions, and invitations."""

from typing import Any

import msgspec
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from steelyard.canon.members import Invitation, Member, Session
from steelyard.store.schema import console_session, invitation, member, member_identity

_COLUMNS = (
    member.c.id, member.c.login, member.c.role, member.c.created_us, member.c.workspaces, member.c.language,
    member.c.is_disabled,
)  # fmt: skip


def _list(text: str) -> tuple[str, ...]:
    return msgspec.json.decode(text, type=tuple[str, ...])


def _text(names: tuple[str, ...]) -> str:
    return msgspec.json.encode(names).decode()


def _member(row: Any) -> Member:
    return Member(
        id=row.id,
        login=row.login,
        role=row.role,
        created_us=row.created_us,
        workspaces=_list(row.workspaces),
        language=row.language,
        is_disabled=row.is_disabled,
    )


async def insert_member(connection: AsyncConnection, one: Member, password: str) -> None:
    """Adds a member with the hash of a password."""
    values = {**msgspec.structs.asdict(one), "workspaces": _text(one.workspaces), "password": password}
    await connection.execute(insert(member).values(**values))


async def find_by_login(connection: AsyncConnection, login: str) -> tuple[Member, str] | None:
    """A member and the hash of the password."""
    row = (await connection.execute(select(*_COLUMNS, member.c.password).where(member.c.login == login))).first()
    return None if row is None else (_member(row), row.password)


async def find_member(connection: AsyncConnection, member_id: str) -> Member | None:
    """The member with this id."""
    row = (await connection.execute(select(*_COLUMNS).where(member.c.id == member_id))).first()
    return None if row is None else _member(row)


async def find_by_subject(connection: AsyncConnection, subject: str) -> Member | None:
    """The member whom an identity provider knows by a name."""
    query = select(*_COLUMNS).join(member_identity, member_identity.c.member_id == member.c.id)
    row = (await connection.execute(query.where(member_identity.c.subject == subject))).first()
    return None if row is None else _member(row)


async def insert_identity(connection: AsyncConnection, subject: str, member_id: str) -> None:
    """Notes who a member is at an identity provider."""
    await connection.execute(insert(member_identity).values(subject=subject, member_id=member_id))


async def list_members(connection: AsyncConnection) -> list[Member]:
    """All, oldest first."""
    rows = await connection.execute(select(*_COLUMNS).order_by(member.c.created_us, member.c.id))
    return [_member(row) for row in rows]


async def count_able(connection: AsyncConnection, role: str) -> int:
    """How many of a role can sign in."""
    where = (member.c.role == role, member.c.is_disabled.is_(False))
    return int(await connection.scalar(select(func.count()).select_from(member).where(*where)) or 0)


async def change_member(connection: AsyncConnection, one: Member) -> None:
    """Writes role, workspaces, language and whether they may sign in."""
    values = {
        "role": one.role,
        "workspaces": _text(one.workspaces),
        "language": one.language,
        "is_disabled": one.is_disabled,
    }
    await connection.execute(update(member).where(member.c.id == one.id).values(**values))


async def set_password(connection: AsyncConnection, member_id: str, password: str) -> None:
    """Replaces the hash of the password."""
    await connection.execute(update(member).where(member.c.id == member_id).values(password=password))


async def delete_member(connection: AsyncConnection, member_id: str) -> None:
    """Deletes a member with the sessions."""
    await end_sessions(connection, member_id)
    await connection.execute(delete(member_identity).where(member_identity.c.member_id == member_id))
    await connection.execute(delete(member).where(member.c.id == member_id))


# sessions


async def insert_session(connection: AsyncConnection, one: Session) -> None:
    """Adds a session."""
    await connection.execute(insert(console_session).values(**msgspec.structs.asdict(one)))


async def find_signed_in(connection: AsyncConnection, digest: str, now_us: int) -> Member | None:
    """Whose session it is, while it lasts and they may sign in."""
    query = (
        select(*_COLUMNS)
        .join(console_session, console_session.c.member_id == member.c.id)
        .where(
            console_session.c.digest == digest, console_session.c.expires_us > now_us, member.c.is_disabled.is_(False)
        )
    )
    row = (await connection.execute(query)).first()
    return None if row is None else _member(row)


async def end_session(connection: AsyncConnection, digest: str) -> None:
    """Signs one session out."""
    await connection.execute(delete(console_session).where(console_session.c.digest == digest))


async def end_sessions(connection: AsyncConnection, member_id: str, but: str = "") -> None:
    """Signs a member out everywhere, but for one session."""
    where = (console_session.c.member_id == member_id, console_session.c.digest != but)
    await connection.execute(delete(console_session).where(*where))


async def forget_old(connection: AsyncConnection, now_us: int) -> None:
    """Removes sessions and invitations that have ended."""
    await connection.execute(delete(console_session).where(console_session.c.expires_us <= now_us))
    await connection.execute(delete(invitation).where(invitation.c.expires_us <= now_us))


# invitations


async def insert_invitation(connection: AsyncConnection, one: Invitation) -> None:
    """Adds an invitation."""
    values = {**msgspec.structs.asdict(one), "workspaces": _text(one.workspaces)}
    await connection.execute(insert(invitation).values(**values))


async def find_invitation(connection: AsyncConnection, digest: str, now_us: int) -> Invitation | None:
    """An invitation that is still good."""
    where = (invitation.c.digest == digest, invitation.c.expires_us > now_us)
    row = (await connection.execute(select(invitation).where(*where))).first()
    return None if row is None else Invitation(**{**row._mapping, "workspaces": _list(row.workspaces)})


async def take_invitation(connection: AsyncConnection, digest: str) -> bool:
    """Uses an invitation up; False where somebody was quicker."""
    done = await connection.execute(delete(invitation).where(invitation.c.digest == digest))
    return bool(done.rowcount)
