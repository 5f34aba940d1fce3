"""What is posted within a turn of the loop goes out at its end, in order."""

import asyncio

import pytest

from steelyard.base.outbox import MAX_POSTS, Outbox


class _Way:
    """A transport that notes what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closing


async def test_posts_go_out_at_the_end_of_the_turn_and_in_order() -> None:
    """Nothing is written at once, and all of it before the next turn."""
    outbox, way, other = Outbox(), _Way(), _Way()
    outbox.post(way, b"1")
    outbox.post(other, b"2")
    outbox.post(way, b"3")
    assert way.written == []
    await asyncio.sleep(0)
    assert (way.written, other.written) == ([b"1", b"3"], [b"2"])


async def test_a_full_outbox_does_not_wait_and_a_closed_way_is_left_out() -> None:
    """Under load the first of a turn need not wait for the last; what nobody can take is dropped."""
    outbox, way, gone = Outbox(), _Way(), _Way()
    gone.closing = True
    for number in range(MAX_POSTS):
        outbox.post(way if number % 2 else gone, b"%d" % number)
    assert len(way.written) == MAX_POSTS // 2
    assert gone.written == []
    outbox.post(way, b"last")
    outbox.send()
    assert way.written[-1] == b"last"


async def test_what_is_posted_while_sending_is_not_lost() -> None:
    """A write may have its transport tell somebody who posts again."""
    outbox, way = Outbox(), _Way()

    class Echo(_Way):
        """Posts when it is written to."""

        def write(self, data: bytes) -> None:
            super().write(data)
            outbox.post(way, b"echo")

    outbox.post(Echo(), b"1")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert way.written == [b"echo"]


async def test_a_write_that_fails_costs_nobody_else_an_answer() -> None:
    """Those behind it are sent with the next turn."""
    outbox, way = Outbox(), _Way()

    class Broken(_Way):
        """Cannot be written to."""

        def write(self, data: bytes) -> None:
            raise RuntimeError("gone")

    outbox.post(Broken(), b"1")
    outbox.post(way, b"2")
    with pytest.raises(RuntimeError, match="gone"):
        outbox.send()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert way.written == [b"2"]
