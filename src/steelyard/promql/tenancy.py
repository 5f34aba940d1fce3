"""One workspace's view: every selector of a query gets a matcher more, on the parsed tree and never in the text. Source: prometheus.md 7."""

from dataclasses import replace

from steelyard.promql.nodes import Aggregation, Binary, Call, Matcher, Negation, Node, Paren, Range, Selector, Subquery


def restrict(node: Node, matcher: Matcher) -> Node:
    """A query whose selectors all ask for a matcher too. What a query says of that label itself only narrows it further."""
    match node:
        case Selector():
            return replace(node, matchers=restrict_matchers(node.matchers, matcher))
        case Range():
            return replace(
                node, selector=replace(node.selector, matchers=restrict_matchers(node.selector.matchers, matcher))
            )
        case Subquery() | Paren() | Negation():
            return replace(node, expr=restrict(node.expr, matcher))
        case Call():
            return replace(node, args=tuple(restrict(one, matcher) for one in node.args))
        case Aggregation():
            param = None if node.param is None else restrict(node.param, matcher)
            return replace(node, expr=restrict(node.expr, matcher), param=param)
        case Binary():
            return replace(node, left=restrict(node.left, matcher), right=restrict(node.right, matcher))
        case _:
            return node


def restrict_matchers(matchers: tuple[Matcher, ...], matcher: Matcher) -> tuple[Matcher, ...]:
    """A selector's matchers with one more."""
    return (*matchers, matcher)
