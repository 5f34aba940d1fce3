"""Calls that become tasks, as admission hands them over: admitted, checked, and with what they may cost at most."""

import msgspec

from steelyard.canon.faults import ToldFault
from steelyard.canon.grant import Grant
from steelyard.canon.knowledge import FoundPassages
from steelyard.canon.model import Target
from steelyard.canon.task import (
    CALLS_LANE,
    IMAGE,
    LOCAL_LANE,
    OF_CALLS,
    SPEECH,
    TRANSCRIPTION,
    VENDOR_LANE,
    VIDEO,
    Task,
    TaskAsk,
)
from steelyard.canon.usage import Usage
from steelyard.policy.limits import REQUESTS, Line
from steelyard.policy.pricing import cost_micros

#: Seconds of a video of which nobody said how long it is to be.
DEFAULT_DURATION_S = 5
#: Of sound of which nobody knows how long it is: what a file is held for until it was listened to.
EXPECTED_SOUND_S = 600
#: Of speech made by models that count sound in tokens, from above.
SOUND_TOKENS_A_CHARACTER = 20


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One call."""

    request_id: str
    grant: Grant
    ask: TaskAsk
    #: The most that it may cost, in the currency of its targets.
    hold_micros: int = 0
    currency: str = ""
    lane: str = VENDOR_LANE
    #: Budgets that it is held in.
    budgets: tuple[Line, ...] = ()

    def amount_in(self, line: Line) -> int:
        """What is held of a budget."""
        if line.unit == REQUESTS:
            return 1
        return self.hold_micros if line.unit == self.currency else 0


class ShownTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task, and the public links of its objects."""

    task: Task
    #: object id -> link
    links: dict[str, str] = {}


class Submitted(msgspec.Struct, frozen=True):
    """What became of an order."""

    shown: ShownTask | None = None
    fault: ToldFault | None = None


class Answered(msgspec.Struct, frozen=True):
    """What knowledge bases had for a call."""

    found: FoundPassages | None = None
    fault: ToldFault | None = None


class Identified(msgspec.Struct, frozen=True):
    """Whose signature one is."""

    grant: Grant | None = None
    fault: ToldFault | None = None


def expected_usage(ask: TaskAsk) -> Usage:
    """What a task takes if all of it succeeds."""
    if ask.kind == IMAGE:
        return Usage(image_count=ask.n)
    if ask.kind == VIDEO:
        return Usage(video_seconds=ask.duration_s or DEFAULT_DURATION_S, resolution=ask.resolution)
    if ask.kind == TRANSCRIPTION:
        return Usage(audio_seconds=len(ask.files) * EXPECTED_SOUND_S)
    if ask.kind == SPEECH:
        return Usage(prompt_tokens=len(ask.prompt), completion_tokens=len(ask.prompt) * SOUND_TOKENS_A_CHARACTER)
    return Usage()


def lane_of(ask: TaskAsk, targets: tuple[Target, ...]) -> str:
    """Which workers' slots a task takes."""
    if ask.kind in OF_CALLS:
        return CALLS_LANE
    return LOCAL_LANE if targets[0].is_local else VENDOR_LANE


def hold_of(ask: TaskAsk, targets: tuple[Target, ...]) -> tuple[int, str]:
    """The most that a task may cost, whichever of the targets does it: (micro-units, currency)."""
    usage = expected_usage(ask)
    dearest = max(targets, key=lambda target: cost_micros(target.price, usage))
    return cost_micros(dearest.price, usage), dearest.price.currency
