"""Finding entries by what people call them and what they want of them. A word counts the more, the fewer entries it is said of."""

import math
import re
from collections import Counter
from collections.abc import Iterable
from functools import cache

from steelyard.control.hub.entries import CHINESE, MODEL, PROVIDER, Entry, Words, cost_of, list_entries, read_words

MAX_QUERY_CHARS = 200
_LATIN = re.compile(r"[a-z0-9][a-z0-9.+_-]*")
_IS_LATIN = re.compile(r"[\x00-\x7f]+")
NAME_WEIGHT, WORD_WEIGHT, PLATFORM_WEIGHT, WISH_WEIGHT = 6.0, 4.0, 0.5, 3.0
LONG_WORD = 5
#: A context of this many tokens fulfils the wish for a long one in full.
LONG_TOKENS = 1_000_000


#: Words of titles that say nothing of whose they are.
_COMMON = frozenset(
    {"text", "文本", "文字", "another", "on", "your", "own", "machines", "model", "studio", "cloud", "ai"}
)


def search(query: str, *, kind: str = "", modality: str = "", limit: int = 20) -> list[Entry]:
    """The entries that fit, the best first; without a question all of a kind.

    Args:
        kind: "provider" or "model"; empty takes both.
        modality: of models.
    """
    asked = query.strip().lower()[:MAX_QUERY_CHARS]
    candidates = [
        one for one in list_entries() if (not kind or one.kind == kind) and (not modality or one.modality == modality)
    ]
    if not asked:
        return candidates[:limit]
    latin = frozenset(_LATIN.findall(asked))
    said = _said(asked, latin, _rarities())
    wishes = {name for name, words in read_words().wishes.items() if _said(asked, latin, (*words.en, *words.zh))}
    scored = [(_score(one, asked, latin, said, wishes), place, one) for place, one in enumerate(candidates)]
    found = sorted((one for one in scored if one[0] > 0), key=lambda one: (-one[0], one[1]))
    return [one for _, _, one in found[:limit]]


def _score(entry: Entry, asked: str, latin: frozenset[str], said: set[str], wishes: set[str]) -> float:
    known, rarities = _words()[entry.kind, entry.name], _rarities()
    score = sum(WORD_WEIGHT * rarities[word] * (1 + 0.25 * word.count(" ")) for word in said & known)
    names = (entry.name.lower(), *(alias.lower() for alias in entry.aliases))
    parts = [word for word in latin if len(word) > 2 and any(_is_part(word, name) for name in names)]
    score += sum(NAME_WEIGHT * len(word) / max(len(names[0]), len(word)) for word in parts)
    if asked in names:
        score += 2 * NAME_WEIGHT
    # a wish alone finds what has it; beside other words it puts those in order that they are said of
    return score + _wished(entry, wishes) if score > 0 or not said else 0.0


def _is_part(word: str, name: str) -> bool:
    """Whether a word is a part of a name: where one begins, or a long one anywhere. `for` is no part of `paraformer`."""
    if len(word) >= LONG_WORD:
        return word in name
    return re.search(rf"(?<![a-z0-9]){re.escape(word)}", name) is not None


def _wished(entry: Entry, wishes: set[str]) -> float:
    """How far an entry is what is wished."""
    if entry.kind == PROVIDER:
        return PLATFORM_WEIGHT if "platform" in wishes else 0.0
    if "long" in wishes and not entry.context_tokens:
        return 0.0
    score = 0.0
    best = entry.cheapest
    if "cheap" in wishes and best is not None:
        score += WISH_WEIGHT / (1 + cost_of(best.price) / 3)
    if "free" in wishes and entry.is_free:
        score += 2 * WISH_WEIGHT
    if "long" in wishes and entry.context_tokens:
        score += WISH_WEIGHT * min(math.log2(1 + entry.context_tokens) / math.log2(1 + LONG_TOKENS), 1.0) ** 4
    if "chinese" in wishes and any(one.provider in CHINESE for one in entry.offers):
        score += 1.0
    return score


@cache
def _words() -> dict[tuple[str, str], frozenset[str]]:
    """By what each entry is known."""
    return {(one.kind, one.name): _collect(one) - _COMMON for one in list_entries()}


@cache
def _rarities() -> dict[str, float]:
    """What each word is worth."""
    counts = Counter(word for words in _words().values() for word in words)
    return {word: 1 / math.sqrt(count) for word, count in counts.items()}


def _collect(entry: Entry) -> frozenset[str]:
    known = read_words()
    said: list[Words] = []
    if entry.kind == MODEL:
        said += [known.modalities[entry.modality]] if entry.modality in known.modalities else []
        said += [known.capabilities[one] for one in entry.capabilities if one in known.capabilities]
        said += [words for part, words in known.parts.items() if re.search(part, entry.name)]
        said += [known.providers["local"]] if entry.is_free else []
    elif entry.name in known.providers:
        said.append(known.providers[entry.name])
    words = {word for one in said for word in (*one.en, *one.zh)}
    if entry.kind == PROVIDER:
        words |= set(_LATIN.findall(entry.title.lower())) | {entry.name}
    return frozenset(words)


def _said(asked: str, latin: frozenset[str], words: Iterable[str]) -> set[str]:
    """Those of the words that stand in a question; one that is a part of a longer one does not count beside it."""
    found = {word for word in words if _has(asked, latin, word)}
    return {word for word in found if not any(word != other and word in other for other in found)}


def _has(asked: str, latin: frozenset[str], word: str) -> bool:
    """A Chinese word stands anywhere; a latin one as a word, a phrase of them in a row."""
    if not _IS_LATIN.fullmatch(word):
        return word in asked
    return word in latin if " " not in word else re.search(rf"\b{re.escape(word)}\b", asked) is not None
