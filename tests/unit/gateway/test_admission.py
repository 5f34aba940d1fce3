"""Admission's cache: bounded, forgetful on demand, and blind without news."""

import pytest

from steelyard.base import ids
from steelyard.base.clock import monotonic
from steelyard.base.errors import Fault
from steelyard.base.secrets import digest
from steelyard.base.tokens import Signer
from steelyard.canon.grant import Grant, Workspace
from steelyard.canon.snapshot import Snapshot
from steelyard.gateway import admission as module
from steelyard.gateway.admission import Admission, is_placeholder, read_credential

KEY = ids.new_credential()
SIGNER = Signer(bytes(32))
GRANT = Grant(key_id="k", workspace="w")


class Source:
    """Answers look-ups and counts them."""

    def __init__(self) -> None:
        self.known = {digest(KEY): GRANT}
        self.asked = 0

    async def find_grant(self, wanted: str) -> Grant | None:
        self.asked += 1
        return self.known.get(wanted)


def admission(source: Source) -> Admission:
    made = Admission(source, SIGNER)
    made.snapshot = Snapshot(workspaces={"w": Workspace(name="w", is_activated=True)}, has_keys=True)
    made.fresh_at = monotonic()
    return made


def bearer(key: str) -> dict[bytes, bytes]:
    return {b"authorization": b"Bearer " + key.encode()}


async def test_one_look_up_per_key() -> None:
    """A known key costs one question, an unknown one is remembered, a malformed one costs none."""
    source = Source()
    gate = admission(source)
    for _ in range(3):
        assert await gate.identify(bearer(KEY)) == GRANT
    assert source.asked == 1
    assert gate.find_cached(bearer(KEY)) == GRANT
    unknown = ids.new_credential()
    for _ in range(3):
        with pytest.raises(Fault):
            await gate.identify(bearer(unknown))
    assert source.asked == 2
    with pytest.raises(Fault):
        await gate.identify(bearer("sk-" + "x" * 42))
    assert source.asked == 2


async def test_forgotten_keys_are_asked_for_again() -> None:
    """A change drops one key or all."""
    source = Source()
    gate = admission(source)
    await gate.identify(bearer(KEY))
    gate.forget_key(digest(KEY))
    assert gate.find_cached(bearer(KEY)) is None
    source.known.clear()
    with pytest.raises(Fault):
        await gate.identify(bearer(KEY))


async def test_a_change_during_the_look_up_keeps_the_answer_out_of_the_cache() -> None:
    """An answer that may be older than a deletion is used once, not kept."""
    source = Source()
    gate = admission(source)

    async def slow(wanted: str) -> Grant | None:
        gate.snapshot = Snapshot(version=5, workspaces=gate.snapshot.workspaces)
        return GRANT

    source.find_grant = slow  # type: ignore[method-assign]
    await gate.identify(bearer(KEY))
    assert gate.find_cached(bearer(KEY)) is None


async def test_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More keys than the bound push out the oldest."""
    monkeypatch.setattr(module, "MAX_CACHED_KEYS", 3)
    source = Source()
    gate = admission(source)
    made = [ids.new_credential() for _ in range(5)]
    for key in made:
        source.known[digest(key)] = GRANT
        await gate.identify(bearer(key))
    assert [gate.find_cached(bearer(key)) is not None for key in made] == [False, False, True, True, True]


def test_without_news_calls_are_refused() -> None:
    """Ten seconds without word of changes."""
    gate = admission(Source())
    gate.check(GRANT, "chat", {}, None, "/v1/chat/completions")
    gate.fresh_at = monotonic() - module.STALE_S - 1
    with pytest.raises(Fault) as caught:
        gate.check(GRANT, "chat", {}, None, "/v1/chat/completions")
    assert caught.value.status == 503


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({b"authorization": b"Bearer "}, None),
        ({b"authorization": b"Bearer"}, None),
        ({b"authorization": b"bearer  x "}, b"x"),
        ({b"authorization": b"x"}, b"x"),
        ({b"x-api-key": b"y"}, b"y"),
    ],
)
def test_credentials_are_read(headers: dict[bytes, bytes], expected: bytes | None) -> None:
    """Bearer in any case, bare, or x-api-key."""
    assert read_credential(headers) == expected


def test_placeholders() -> None:
    """Examples' stand-ins are told from keys."""
    assert all(
        is_placeholder(one.encode())
        for one in ("你的密钥", "YOUR_API_KEY", "$DASHSCOPE_API_KEY", "sk-xxxx", "<your-key>")
    )
    assert not is_placeholder(KEY.encode())
