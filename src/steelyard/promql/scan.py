"""A look at a query before any parser sees it: how long, deep and wide it is, and where its negative `@` times are.

The native parser crashes the process on deep input, and cannot tell of a time before 1970.
"""

from dataclasses import dataclass

from steelyard.promql.errors import BAD_DATA, QueryError

MAX_CHARS = 65_536
MAX_DEPTH = 256
MAX_OPERATORS = 1_000

_OPEN, _CLOSE, _QUOTES = "([{", ")]}", "\"'`"
_SIGNS = frozenset("+-*/%^=!<>")
_WORDS = frozenset({"and", "or", "unless", "atan2"})


@dataclass(frozen=True, slots=True)
class Scanned:
    """A query that may be parsed: minus signs behind `@` are taken out."""

    text: str
    #: For each `@` in the text's order, whether its time is negative.
    negative: tuple[bool, ...]


def scan(text: str) -> Scanned:
    """Looks a query over.

    Raises:
        QueryError: it is too long, too deep or too wide.
    """
    if len(text) > MAX_CHARS:
        raise _too(f"query is longer than {MAX_CHARS} characters")
    depth = operators = position = 0
    word = ""
    out: list[str] = []
    negative: list[bool] = []
    while position < len(text):
        char = text[position]
        if char in _QUOTES:
            end = _end_of_string(text, position)
            out.append(text[position:end])
            position, word = end, ""
            continue
        if char == "#":
            end = text.find("\n", position)
            end = len(text) if end < 0 else end
            position, word = end, ""
            continue
        if char.isalnum() or char in "_:":
            word += char
        else:
            operators += word.lower() in _WORDS
            word = ""
        if char in _OPEN:
            depth += 1
        elif char in _CLOSE:
            depth -= 1
        operators += char in _SIGNS
        if depth > MAX_DEPTH:
            raise _too(f"query is nested deeper than {MAX_DEPTH}")
        if operators > MAX_OPERATORS:
            raise _too(f"query has more than {MAX_OPERATORS} operators")
        out.append(char)
        position += 1
        if char == "@":
            position = _pass_minus(text, position, out, negative)
    return Scanned("".join(out), tuple(negative))


def _pass_minus(text: str, position: int, out: list[str], negative: list[bool]) -> int:
    """Passes blanks and a minus behind an `@`."""
    while position < len(text) and text[position].isspace():
        out.append(text[position])
        position += 1
    # of two signs the native parser must see both, and refuse them
    is_negative = text[position : position + 1] == "-" and text[position + 1 :].lstrip()[:1] not in ("-", "+")
    negative.append(is_negative)
    if is_negative:
        out.append(" ")
        position += 1
    return position


def _end_of_string(text: str, start: int) -> int:
    """Behind the closing quote, or the text's end."""
    quote, position = text[start], start + 1
    while position < len(text):
        if text[position] == "\\" and quote != "`":
            position += 2
            continue
        if text[position] == quote:
            return position + 1
        position += 1
    return len(text)


def _too(what: str) -> QueryError:
    return QueryError(f"1:1: parse error: {what}", BAD_DATA)
