"""A query's text as a tree, by the native parser, and its faults in Prometheus' words. Source: prometheus.md 1.7 and 6."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import promql_parser
import re2

from steelyard.promql.errors import BAD_DATA, QueryError
from steelyard.promql.labels import NAME
from steelyard.promql.nodes import (
    MATCHES,
    NOT_MATCHES,
    Aggregation,
    At,
    Binary,
    Call,
    Matcher,
    Matching,
    Negation,
    Node,
    Number,
    Paren,
    Range,
    Selector,
    Subquery,
    Text,
)
from steelyard.promql.scan import scan
from steelyard.promql.signatures import EXPERIMENTAL_AGGREGATIONS, SIGNATURES

#: What the native parser raises where it is at its wits' end.
PANIC = "PanicException"
ILLEGAL_REGEX = "illegal regex for "
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OPS = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
_CARDS = {
    "OneToOne": "one-to-one",
    "ManyToOne": "many-to-one",
    "OneToMany": "one-to-many",
    "ManyToMany": "many-to-many",
}
#: The native parser's words, and Prometheus' own.
_WORDINGS: tuple[tuple[str, str], ...] = (
    (r"expected type matrix", "expected type range vector"),
    (r"expected type vector", "expected type instant vector"),
    (r"got matrix", "got range vector"),
    (r"got vector", "got instant vector"),
    (r"call to function '(\w+)'", r'call to function "\1"'),
    (r"in call to '(\w+)'", r'in call to "\1"'),
    (r"unknown function with name '(\w+)'", r'unknown function with name "\1"'),
    (r"set operator '(\w+)'", r'set operator "\1"'),
    (r"^invalid promql query$", "unexpected input"),
)


def parse(text: str, *, experimental: bool = False) -> Node:
    """A query as a tree.

    Args:
        experimental: whether experimental functions are open.

    Raises:
        QueryError: `bad_data`, with a text as Prometheus' own.
    """
    return _parse(text, experimental)


@lru_cache(maxsize=1024)
def _parse(text: str, experimental: bool) -> Node:
    scanned = scan(text)
    try:
        native = promql_parser.parse(scanned.text)
    except ValueError as exc:
        text = str(exc)
        if text.startswith(ILLEGAL_REGEX):
            # says what is wrong with it, where our own reading finds it too
            compile_pattern(text.removeprefix(ILLEGAL_REGEX))
        raise _fault(_worded(text)) from None
    except BaseException as exc:
        if type(exc).__name__ != PANIC:
            raise
        raise _fault("invalid query") from None
    return _Reader(iter(scanned.negative), experimental).read(native)


def parse_selector(text: str) -> tuple[Matcher, ...]:
    """A `match[]`: a selector and nothing else.

    Raises:
        QueryError: it is another expression.
    """
    node = parse(text)
    if not isinstance(node, Selector) or node.offset or node.at is not None:
        raise _fault("match[] must be a series selector")
    return node.matchers


def _fault(text: str) -> QueryError:
    return QueryError(f"1:1: parse error: {text}", BAD_DATA)


def _worded(text: str) -> str:
    for pattern, words in _WORDINGS:
        text = re.sub(pattern, words, text)
    return text


class _Reader:
    """Turns the native tree into ours, from the left to the right."""

    def __init__(self, negative: Iterator[bool], experimental: bool) -> None:
        self._negative = negative
        self._experimental = experimental

    def read(self, native: Any) -> Node:
        return _READERS[type(native).__name__](self, native)

    def number(self, native: Any) -> Node:
        return Number(float(native.val))

    def text(self, native: Any) -> Node:
        return Text(native.val)

    def paren(self, native: Any) -> Node:
        return Paren(self.read(native.expr))

    def negation(self, native: Any) -> Node:
        return Negation(self.read(native.expr))

    def selector(self, native: Any) -> Selector:
        if native.matchers.or_matchers:
            raise _fault('unexpected "or" in label matching, expected "," or "}"')
        matchers = [_matcher(one) for one in native.matchers.matchers]
        if native.name is not None:
            matchers.insert(0, Matcher(NAME, "=", native.name))
        return Selector(tuple(matchers), _ms(native.offset), self._at(native))

    def range(self, native: Any) -> Node:
        return Range(self.selector(native.vector_selector), _ms(native.range))

    def subquery(self, native: Any) -> Node:
        expr = self.read(native.expr)
        step = None if native.step is None else _ms(native.step)
        return Subquery(expr, _ms(native.range), step, _ms(native.offset), self._at(native))

    def call(self, native: Any) -> Node:
        name = native.func.name
        signature = SIGNATURES.get(name)
        if signature is None:
            raise _fault(f'unknown function with name "{name}"')
        if signature.is_experimental and not self._experimental:
            raise _fault(f'function "{name}" is not enabled')
        return Call(name, tuple(self.read(one) for one in native.args))

    def aggregation(self, native: Any) -> Node:
        op = str(native.op)
        if op in EXPERIMENTAL_AGGREGATIONS and not self._experimental:
            raise _fault(f"{op}() is experimental and not enabled")
        param = None if native.param is None else self.read(native.param)
        modifier = native.modifier
        names = () if modifier is None else tuple(modifier.labels)
        is_without = modifier is not None and str(modifier.type).endswith("Without")
        return Aggregation(op, self.read(native.expr), param, names, is_without, modifier is not None)

    def binary(self, native: Any) -> Node:
        left, right = self.read(native.lhs), self.read(native.rhs)
        modifier = native.modifier
        if modifier is None:
            return Binary(str(native.op), left, right)
        if getattr(modifier, "fill_values", None) is not None and _fills(modifier.fill_values):
            raise _fault("fill modifiers are experimental and not enabled")
        card = _CARDS[str(modifier.card).rpartition(".")[2]]
        matching = modifier.matching
        return Binary(
            str(native.op),
            left,
            right,
            Matching(
                card,
                () if matching is None else tuple(matching.labels),
                matching is not None and str(matching.type).endswith("Include"),
                tuple(modifier.group_labels or ()),
            ),
            bool(modifier.return_bool),
        )

    def _at(self, native: Any) -> At:
        if native.at is None:
            return None
        is_negative = next(self._negative)
        kind = str(native.at.type).rpartition(".")[2]
        if kind in ("Start", "End"):
            return "start" if kind == "Start" else "end"
        try:
            ms: int = (native.at.at - _EPOCH) // timedelta(milliseconds=1)
        except BaseException as exc:
            if not isinstance(exc, OverflowError) and type(exc).__name__ != PANIC:
                raise
            raise _fault("timestamp out of bounds for @ modifier") from None
        return -ms if is_negative else ms


_READERS: dict[str, Callable[[_Reader, Any], Node]] = {
    "NumberLiteral": _Reader.number,
    "StringLiteral": _Reader.text,
    "ParenExpr": _Reader.paren,
    "UnaryExpr": _Reader.negation,
    "VectorSelector": _Reader.selector,
    "MatrixSelector": _Reader.range,
    "SubqueryExpr": _Reader.subquery,
    "Call": _Reader.call,
    "AggregateExpr": _Reader.aggregation,
    "BinaryExpr": _Reader.binary,
}


def _fills(values: Any) -> bool:
    return any(getattr(values, name, None) is not None for name in ("lhs", "rhs", "left", "right"))


def _matcher(native: Any) -> Matcher:
    op = _OPS[str(native.op).rpartition(".")[2]]
    if op in (MATCHES, NOT_MATCHES):
        compile_pattern(native.value)
    return Matcher(native.name, op, native.value)


@lru_cache(maxsize=4096)
def compile_pattern(pattern: str) -> Any:
    """A pattern in linear time, matched against the whole; the dot matches line ends.

    Raises:
        QueryError: it is none.
    """
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    try:
        return re2.compile(f"^(?:{pattern})$", options)
    except re2.error as exc:
        text = exc.args[0].decode() if exc.args and isinstance(exc.args[0], bytes) else str(exc)
        raise _fault(f"error parsing regexp: {text}") from None


def _ms(duration: timedelta | None) -> int:
    return 0 if duration is None else duration // timedelta(milliseconds=1)
