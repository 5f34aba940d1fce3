"""A query as a tree. Frozen; times and durations in milliseconds."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from steelyard.promql.labels import NAME

#: What an expression gives.
VECTOR, MATRIX, SCALAR, STRING = "vector", "matrix", "scalar", "string"

START, END = "start", "end"
#: A fixed time of evaluation: milliseconds, or one of the query's bounds.
At: TypeAlias = "int | Literal['start', 'end'] | None"

EQUAL, NOT_EQUAL, MATCHES, NOT_MATCHES = "=", "!=", "=~", "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """What a label must be like."""

    name: str
    op: str
    value: str
    #: Whether the query does not say it: it was put in for whoever asks.
    is_imposed: bool = False


@dataclass(frozen=True, slots=True)
class Number:
    """A number."""

    value: float


@dataclass(frozen=True, slots=True)
class Text:
    """A text."""

    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    """Series by their labels; the name is a matcher like any other."""

    matchers: tuple[Matcher, ...]
    offset: int = 0
    at: At = None

    @property
    def name(self) -> str:
        """The metric's name, where exactly one is asked for; else empty."""
        found = [one.value for one in self.matchers if one.name == NAME and one.op == EQUAL]
        return found[0] if len(found) == 1 else ""


@dataclass(frozen=True, slots=True)
class Range:
    """The samples of series over a time."""

    selector: Selector
    range: int


@dataclass(frozen=True, slots=True)
class Subquery:
    """An expression over a time; no step means the default one."""

    expr: "Node"
    range: int
    step: int | None
    offset: int = 0
    at: At = None


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments."""

    function: str
    args: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Aggregation:
    """Series put together."""

    op: str
    expr: "Node"
    param: "Node | None" = None
    names: tuple[str, ...] = ()
    is_without: bool = False
    #: Whether `by` or `without` was written.
    is_grouped: bool = False


@dataclass(frozen=True, slots=True)
class Matching:
    """How the two sides of an operator find each other."""

    #: "one-to-one", "many-to-one" (group_left), "one-to-many" (group_right) or "many-to-many" (set operators)
    card: str = "one-to-one"
    names: tuple[str, ...] = ()
    is_on: bool = False
    include: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binary:
    """Two expressions with an operator between them."""

    op: str
    left: "Node"
    right: "Node"
    matching: Matching = field(default_factory=Matching)
    returns_bool: bool = False


@dataclass(frozen=True, slots=True)
class Negation:
    """Minus before an expression."""

    expr: "Node"


@dataclass(frozen=True, slots=True)
class Paren:
    """An expression in parentheses."""

    expr: "Node"


Node: TypeAlias = Number | Text | Selector | Range | Subquery | Call | Aggregation | Binary | Negation | Paren


def children(node: Node) -> tuple[Node, ...]:
    """What an expression is made of."""
    match node:
        case Range():
            return (node.selector,)
        case Subquery() | Negation() | Paren():
            return (node.expr,)
        case Call():
            return node.args
        case Aggregation():
            return (node.expr,) if node.param is None else (node.param, node.expr)
        case Binary():
            return (node.left, node.right)
        case _:
            return ()


def walk(node: Node) -> Iterator[Node]:
    """An expression and all of its parts."""
    yield node
    for child in children(node):
        yield from walk(child)


def unwrap(node: Node) -> Node:
    """An expression without the parentheses around it."""
    while isinstance(node, Paren):
        node = node.expr
    return node
