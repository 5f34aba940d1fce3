"""What a likeness of vectors means in a base: how far it lies above that of any passage of the same script.

The first embedded view finds any two texts of one language alike, so that a Chinese passage hardly ever comes first for an English question.
Measured against passages of its own script, it finds across languages nearly as well as within. The levels are taken from a sample of the
base; of a small base the sample says little, and the usual levels count in.
"""

import math
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from steelyard.base.clock import monotonic
from steelyard.engines.vectors import words_of
from steelyard.knowledge.index import Hit, SearchIndex, indexed_text
from steelyard.knowledge.models import FIRST_VIEW, SECOND_VIEW
from steelyard.knowledge.words import is_han

_LATIN_WORD = re.compile(r"[a-z0-9]+")

SAMPLE = 256
#: As many passages the usual levels count for.
PRIOR = 6
#: Samples are taken anew after so long: of a base that is wholly in its sample sooner, since it is being filled.
KEEP_S, KEEP_SMALL_S = 300.0, 5.0
MAX_BASES = 32
#: Usual levels, mean and spread, by whether question and passage are of one script. Measured over `bench/passages`.
_USUAL = {
    FIRST_VIEW: {True: (0.803, 0.037), False: (0.745, 0.024)},
    SECOND_VIEW: {True: (0.05, 0.083), False: (0.035, 0.071)},
}
#: What counts how much: the views, and the shared words.
WEIGHTS = {FIRST_VIEW: 1.4, SECOND_VIEW: 1.0}
_WORDS_WEIGHT = 1.5
#: At this sum a passage may or may not be an answer.
_MIDDLE = 5.0


@dataclass(frozen=True, slots=True)
class _Sample:
    """Vectors of some passages, by space and script."""

    until: float
    vectors: dict[tuple[str, bool], Any]


#: (space, whether the script is Han) -> (mean, spread)
Levels = Mapping[tuple[str, bool], tuple[float, float]]


class Calibration:
    """Levels of bases, and scores by them."""

    def __init__(self, index: SearchIndex) -> None:
        self._index = index
        self._samples: OrderedDict[str, _Sample] = OrderedDict()

    async def levels(self, base: str, question: str, vectors: Mapping[str, Sequence[float]]) -> Levels:
        """How alike any passage of a base is to a question."""
        sample = await self._sample(base)
        asked_in_han = is_han(question)
        return {
            (space, script): _level(sample.vectors.get((space, script)), vector, _USUAL[space][script == asked_in_han])
            for space, vector in vectors.items()
            for script in (True, False)
        }

    async def _sample(self, base: str) -> _Sample:
        known = self._samples.get(base)
        if known is not None and known.until > monotonic():
            self._samples.move_to_end(base)
            return known
        # imported where it is used: by now it was, for the question's vectors
        import numpy as np

        found: dict[tuple[str, bool], list[Any]] = {}
        count = 0
        for text, vectors in await self._index.sample(base, SAMPLE):
            count += 1
            for space, vector in vectors.items():
                found.setdefault((space, is_han(text)), []).append(vector)
        until = monotonic() + (KEEP_S if count >= SAMPLE else KEEP_SMALL_S)
        made = _Sample(until, {key: np.array(rows, dtype=np.float32) for key, rows in found.items()})
        self._samples[base] = made
        if len(self._samples) > MAX_BASES:
            self._samples.popitem(last=False)
        return made


def _level(rows: Any, vector: Sequence[float], usual: tuple[float, float]) -> tuple[float, float]:
    """Mean and spread of a sample's likeness, the usual ones counted in."""
    mean, spread = usual
    if rows is None:
        return usual
    cosines = rows @ vector
    count = len(cosines)
    joint = (count * float(cosines.mean()) + PRIOR * mean) / (count + PRIOR)
    squares = float(((cosines - joint) ** 2).sum()) + PRIOR * (spread**2 + (mean - joint) ** 2)
    return joint, math.sqrt(squares / (count + PRIOR))


def score_hits(hits: Sequence[Hit], question: str, levels: Levels, limit: int) -> list[float]:
    """How well each passage fits, 0 to 1: both views above their levels, and the words that it shares with the question.

    Words are looked at only where they can bring a passage among the first `limit`; the others are told without them.
    """
    views = [_views(hit, levels) for hit in hits]
    least = sorted(views, reverse=True)[min(limit, len(views)) - 1] - _WORDS_WEIGHT if views else 0.0
    words = _Words(question)
    return [
        _share(view + _WORDS_WEIGHT * words.shared_with(indexed_text(hit.chunk)) if view >= least else view)
        for hit, view in zip(hits, views, strict=True)
    ]


class _Words:
    """A question's words, looked for in many passages: the embedded rerank model's measure, without taking every passage apart."""

    def __init__(self, question: str) -> None:
        weights = {word: math.sqrt(len(word)) for word in words_of(question)}
        self._whole = sum(weights.values()) or 1.0
        self._latin = {word: weight for word, weight in weights.items() if word.isascii()}
        self._han = [(word, weight) for word, weight in weights.items() if not word.isascii()]

    def shared_with(self, text: str) -> float:
        """How much of them a passage has, long ones counting more: 0 to 1."""
        lowered = text.lower()
        found = sum(weight for word, weight in self._han if word in lowered)
        if self._latin:
            there = set(_LATIN_WORD.findall(lowered))
            found += sum(weight for word, weight in self._latin.items() if word in there)
        return found / self._whole


def _views(hit: Hit, levels: Levels) -> float:
    script = hit.is_han
    total = 0.0
    for space, weight in WEIGHTS.items():
        mean, spread = levels[space, script]
        total += weight * (hit.likeness.get(space, mean) - mean) / spread
    return total


def _share(total: float) -> float:
    return 1.0 / (1.0 + math.exp(min(_MIDDLE - total, 60.0)))
