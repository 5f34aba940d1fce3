"""From a status, code, message or whole body, in any dialect, to the catalogue row that means it."""

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from steelyard.base.errors import PUBLIC_STATUSES, ROWS, Row

_TEMPLATE_PLACE = re.compile(r"\{[a-z_]+\}")
_WORD = re.compile(r"[A-Za-z_]{3,}|[\u4e00-\u9fff]{2}")
#: The fewest shared words that make two texts "alike".
_MIN_LIKENESS = 0.5


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one error means."""

    row: Row
    #: How it was found: "code", "message", "status" or "likeness".
    found_by: str

    def as_dict(self, lang: str | None = None) -> dict[str, Any]:
        """Plain values, for JSON; with `lang` only that language's texts."""
        row = self.row
        which = {"en": 0, "zh": 1}
        texts: dict[str, Any] = (
            {"cause": row.cause[which[lang]], "cure": row.cure[which[lang]]}
            if lang in which
            else {"cause": dict(zip(which, row.cause, strict=True)), "cure": dict(zip(which, row.cure, strict=True))}
        )
        return {
            "slug": row.slug,
            "status": row.status,
            "openai_type": row.openai_type,
            "openai_code": row.openai_code,
            "native_code": row.native_code,
            "anthropic_type": row.anthropic_type,
            "message": row.shown_message,
            "blame": row.blame,
            "retryable": row.is_retryable,
            **texts,
            "found_by": self.found_by,
        }


def explain(text: str) -> list[Explanation]:
    """The rows that fit, best first; empty when nothing does."""
    parts = _parts(text.strip())
    for found_by, finder in (("message", _by_message), ("code", _by_code)):
        for part in parts:
            if rows := finder(part):
                return [Explanation(row, found_by) for row in rows]
    for part in parts:
        if rows := _by_status(part):
            return [Explanation(row, "status") for row in rows]
    return [Explanation(row, "likeness") for part in parts for row in _by_likeness(part)][:3]


def _parts(text: str) -> list[str]:
    """The strings worth looking up: of a JSON body its message and codes (the message says most), else the text."""
    text = text.removeprefix("data:").strip()
    if not text.startswith(("{", "[")):
        return [text] if text else []
    try:
        body = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return [text]
    found: list[str] = []
    for key in ("message", "code", "type", "status_code", "status"):
        found += [str(value) for value in _values(body, key) if value not in (None, "")]
    return found or [text]


def _values(body: Any, key: str) -> list[Any]:
    if isinstance(body, dict):
        own = [body[key]] if key in body and not isinstance(body[key], dict | list) else []
        return own + [found for value in body.values() for found in _values(value, key)]
    if isinstance(body, list):
        return [found for value in body for found in _values(value, key)]
    return []


def _folded(text: str) -> str:
    return " ".join(text.lower().split()).strip(" .。!！")


def _by_code(text: str) -> list[Row]:
    wanted = _folded(text)
    slugs = [row for row in ROWS if row.slug == wanted]
    if slugs or wanted in ("invalid_request_error", "invalid_parameter_error", "invalidparameter", "error"):
        return slugs
    return [row for row in ROWS if wanted in {_folded(row.openai_code or ""), _folded(row.native_code)} - {""}]


def _by_message(text: str) -> list[Row]:
    wanted = _folded(text)
    if len(wanted) < 4 or wanted.isdigit():
        return []
    exact, within = [], []
    for row in ROWS:
        for known in (row.message, *row.aliases):
            if _folded(known) == wanted:
                exact.append(row)
            elif _contains(wanted, known):
                within.append(row)
    return list(dict.fromkeys(exact or within))


def _contains(wanted: str, known: str) -> bool:
    """Whether the template's fixed pieces stand in the text, in order."""
    pieces = [_folded(piece) for piece in _TEMPLATE_PLACE.split(known)]
    pieces = [piece for piece in pieces if len(piece) > 2]
    if not pieces or max(map(len, pieces)) < 8:
        return False
    position = 0
    for piece in pieces:
        position = wanted.find(piece, position)
        if position < 0:
            return False
        position += len(piece)
    return True


def _by_status(text: str) -> list[Row]:
    found = re.fullmatch(r"(?:HTTP(?:/[\d.]+)?\s+|error code:\s*)?([1-5]\d\d)\b.{0,40}", text.strip(), re.IGNORECASE)
    if not found:
        return []
    status = int(found[1])
    first = dict(PUBLIC_STATUSES).get(status)
    rows = [row for row in ROWS if row.status == status]
    return sorted(rows, key=lambda row: row.slug != first)


def _by_likeness(text: str) -> list[Row]:
    wanted = set(_WORD.findall(text.lower()))
    if not wanted:
        return []

    def likeness(row: Row) -> float:
        return max(
            len(wanted & words) / len(wanted | words) if (words := set(_WORD.findall(known.lower()))) else 0.0
            for known in (row.message, *row.aliases, *row.cause)
        )

    ranked = sorted(((likeness(row), row) for row in ROWS), key=lambda pair: -pair[0])
    return [row for score, row in ranked[:3] if score >= _MIN_LIKENESS]
