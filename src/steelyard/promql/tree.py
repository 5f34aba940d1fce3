"""A query's tree as JSON, as `/api/v1/parse_query` tells it. Source: prometheus.md 1.6."""

from typing import Any

from steelyard.promql.nodes import (
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
from steelyard.promql.numbers import format_sample
from steelyard.promql.signatures import SIGNATURES


def show_tree(node: Node) -> dict[str, Any]:
    """A node and what it is made of."""
    match node:
        case Number():
            return {"type": "numberLiteral", "val": format_sample(node.value)}
        case Text():
            return {"type": "stringLiteral", "val": node.value}
        case Selector():
            return {"type": "vectorSelector", **_selector(node)}
        case Range():
            return {"type": "matrixSelector", "range": node.range, **_selector(node.selector)}
        case Subquery():
            return {"type": "subquery", "expr": show_tree(node.expr), "range": node.range, "step": node.step or 0, **_moved(node.offset, node.at)}  # fmt: skip
        case Call():
            return {"type": "call", "func": _function(node.function), "args": [show_tree(one) for one in node.args]}
        case Aggregation():
            param = None if node.param is None else show_tree(node.param)
            return {"type": "aggregation", "op": node.op, "expr": show_tree(node.expr), "param": param, "grouping": list(node.names), "without": node.is_without}  # fmt: skip
        case Binary():
            return _binary(node)
        case Negation():
            return {"type": "unaryExpr", "op": "-", "expr": show_tree(node.expr)}
        case Paren():
            return {"type": "parenExpr", "expr": show_tree(node.expr)}


def _selector(node: Selector) -> dict[str, Any]:
    return {"name": node.name, "matchers": [_matcher(one) for one in node.matchers], **_moved(node.offset, node.at)}


def _matcher(one: Matcher) -> dict[str, str]:
    return {"name": one.name, "value": one.value, "type": one.op}


def _moved(offset: int, at: At) -> dict[str, Any]:
    is_bound = isinstance(at, str)
    return {"offset": offset, "timestamp": None if is_bound else at, "startOrEnd": at if is_bound else None}


def _function(name: str) -> dict[str, Any]:
    signature = SIGNATURES[name]
    variadic = signature.optional if signature.optional >= 0 else -1
    return {"name": name, "argTypes": list(signature.args), "variadic": variadic, "returnType": signature.gives}


def _binary(node: Binary) -> dict[str, Any]:
    matching = node.matching
    has_sides = not isinstance(node.left, Number) and not isinstance(node.right, Number)
    shown = {
        "card": matching.card,
        "labels": list(matching.names),
        "on": matching.is_on,
        "include": list(matching.include),
    }
    return {
        "type": "binaryExpr",
        "op": node.op,
        "lhs": show_tree(node.left),
        "rhs": show_tree(node.right),
        "matching": shown if has_sides else None,
        "bool": node.returns_bool,
    }
