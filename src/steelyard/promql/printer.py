"""A tree as a query's text that parses to the same tree. The native printer would tell the old text, and leave quotes unescaped."""

import math
import re

from steelyard.promql.labels import NAME, quote
from steelyard.promql.nodes import (
    EQUAL,
    Aggregation,
    At,
    Binary,
    Call,
    Matcher,
    Negation,
    Node,
    Number,
    Paren,
    Range,
    Selector,
    Subquery,
    Text,
)
from steelyard.promql.numbers import format_duration, format_sample

_PLAIN_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_PLAIN_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
#: Words that the grammar would take for its own at the place of a metric's name.
_RESERVED = frozenset(
    {"and", "or", "unless", "atan2", "inf", "nan", "by", "without", "on", "ignoring", "group_left", "group_right", "bool", "offset",
     "start", "end", "sum", "avg", "count", "min", "max", "group", "stddev", "stdvar", "topk", "bottomk", "count_values", "quantile",
     "limitk", "limit_ratio"}
)  # fmt: skip


def show_query(node: Node) -> str:
    """A query's text, on one line."""
    match node:
        case Number():
            return _number(node.value)
        case Text():
            return quote(node.value)
        case Selector():
            return show_series(node.matchers) + _moved(node.offset, node.at)
        case Range():
            inner = node.selector
            return f"{show_series(inner.matchers)}[{format_duration(node.range)}]{_moved(inner.offset, inner.at)}"
        case Subquery():
            step = "" if node.step is None else format_duration(node.step)
            return f"{show_query(node.expr)}[{format_duration(node.range)}:{step}]{_moved(node.offset, node.at)}"
        case Call():
            return f"{node.function}({', '.join(show_query(one) for one in node.args)})"
        case Aggregation():
            return _aggregation(node)
        case Binary():
            return f"{show_query(node.left)} {_operator(node)} {show_query(node.right)}"
        case Negation():
            return f"-{show_query(node.expr)}"
        case Paren():
            return f"({show_query(node.expr)})"


def _number(value: float) -> str:
    if math.isinf(value):
        return "Inf" if value > 0 else "-Inf"
    return format_sample(value)


def show_series(matchers: tuple[Matcher, ...]) -> str:
    """A selector: its name before the braces, where it has one that can stand there."""
    names = [one for one in matchers if one.name == NAME]
    head, rest = "", matchers
    # beside another matcher of the name none may stand before the braces
    if (
        len(names) == 1
        and names[0].op == EQUAL
        and _PLAIN_METRIC.fullmatch(names[0].value)
        and names[0].value.lower() not in _RESERVED
    ):
        head, rest = names[0].value, tuple(one for one in matchers if one is not names[0])
    if head and not rest:
        return head
    return head + "{" + ",".join(show_matcher(one) for one in rest) + "}"


def show_matcher(matcher: Matcher) -> str:
    """One matcher."""
    return f"{_label(matcher.name)}{matcher.op}{quote(matcher.value)}"


def _label(name: str) -> str:
    return name if _PLAIN_LABEL.fullmatch(name) else quote(name)


def _moved(offset: int, at: At) -> str:
    text = ""
    if isinstance(at, str):
        text = f" @ {at}()"
    elif at is not None:
        text = f" @ {at / 1000:.3f}"
    return text + (f" offset {format_duration(offset)}" if offset else "")


def _aggregation(node: Aggregation) -> str:
    grouping = ""
    if node.is_grouped:
        word = "without" if node.is_without else "by"
        grouping = f" {word} ({', '.join(_label(name) for name in node.names)}) "
    param = "" if node.param is None else f"{show_query(node.param)}, "
    return f"{node.op}{grouping}({param}{show_query(node.expr)})"


def _operator(node: Binary) -> str:
    words = [node.op + (" bool" if node.returns_bool else "")]
    matching = node.matching
    side = {"many-to-one": "group_left", "one-to-many": "group_right"}.get(matching.card)
    if matching.is_on or matching.names or side is not None:
        words.append(f"{'on' if matching.is_on else 'ignoring'} ({', '.join(_label(name) for name in matching.names)})")
    if side is not None:
        words.append(f"{side} ({', '.join(_label(name) for name in matching.include)})")
    return " ".join(words)


_INDENT = "  "
#: Longer lines are broken.
MAX_LINE = 100


def format_query(node: Node, depth: int = 0) -> str:
    """A query's text over several lines, where one would be too long."""
    line = show_query(node)
    if len(line) + len(_INDENT) * depth <= MAX_LINE:
        return _INDENT * depth + line
    space = _INDENT * depth
    match node:
        case Binary():
            return "\n".join(
                (format_query(node.left, depth + 1), f"{space}{_operator(node)}", format_query(node.right, depth + 1))
            )
        case Paren():
            return f"{space}(\n{format_query(node.expr, depth + 1)}\n{space})"
        case Call() if node.args:
            inner = ",\n".join(format_query(one, depth + 1) for one in node.args)
            return f"{space}{node.function}(\n{inner}\n{space})"
        case Aggregation():
            head = _aggregation(node).partition("(" if not node.is_grouped else ") (")
            parts = ([] if node.param is None else [node.param]) + [node.expr]
            inner = ",\n".join(format_query(one, depth + 1) for one in parts)
            opening = head[0] + (") (" if node.is_grouped else "(")
            return f"{space}{opening}\n{inner}\n{space})"
        case Negation():
            return f"{space}-{format_query(node.expr, depth).lstrip()}"
        case _:
            return space + line
