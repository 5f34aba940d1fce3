"""Random queries: valid ones by the grammar, and what becomes of them when bytes are changed."""

import random

from steelyard.promql.nodes import MATRIX, SCALAR, STRING, VECTOR
from steelyard.promql.signatures import AGGREGATIONS, SIGNATURES

METRICS = ("up", "http_requests_total", "latency_bucket", "temp", "a:b")
LABELS = ("job", "instance", "le", "code", "path")
VALUES = ("a", "b", "api", "0.5", "+Inf", "", 'x\\"y', "雪")
DURATIONS = ("5m", "1h", "30s", "1h30m", "15s", "1d", "500ms")
COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
ARITHMETIC = ("+", "-", "*", "/", "%", "^", "atan2")
SETS = ("and", "or", "unless")


class Grammar:
    """Makes queries of a kind, no deeper than asked."""

    def __init__(self, seed: int, *, experimental: bool = False, is_old: bool = False) -> None:
        """Of an old grammar durations are no numbers, and labels have plain names."""
        self._random = random.Random(seed)
        self._is_old = is_old
        self._experimental = experimental

    def query(self, depth: int = 4) -> str:
        return self.of(self._random.choice((VECTOR, VECTOR, VECTOR, SCALAR)), depth)

    def of(self, kind: str, depth: int) -> str:
        makers = {VECTOR: self._vector, SCALAR: self._scalar, STRING: self._string, MATRIX: self._matrix}
        return makers[kind](depth)

    def _string(self, _depth: int) -> str:
        return self._random.choice(
            ('"a"', "'q'", '"job"') if self._is_old else ('"a"', '"x y"', "'q'", '"$1"', '"job"')
        )

    def _scalar(self, depth: int) -> str:
        pick = self._random
        if depth <= 0 or pick.random() < 0.5:
            numbers = ("1", "0.5", "-2", "1e3", "0x1f", "42")
            return pick.choice(numbers if self._is_old else (*numbers, "Inf", "5m"))
        choice = pick.randrange(4)
        if choice == 0:
            return f"scalar({self._vector(depth - 1)})"
        if choice == 1:
            return "time()"
        if choice == 2:
            return f"({self._scalar(depth - 1)} {pick.choice(ARITHMETIC)} {self._scalar(depth - 1)})"
        return f"({self._scalar(depth - 1)} {pick.choice(COMPARISONS)} bool {self._scalar(depth - 1)})"

    def _selector(self) -> str:
        pick = self._random
        count = pick.choice((0, 0, 1, 2))
        ops = ("=", "=", "!=", "=~", "!~")
        matchers = [f'{pick.choice(LABELS)}{pick.choice(ops)}"{pick.choice(VALUES[:4])}"' for _ in range(count)]
        return pick.choice(METRICS) + ("{" + ",".join(matchers) + "}" if matchers else "")

    def _moved(self) -> str:
        pick = self._random
        text = ""
        if pick.random() < 0.15:
            text += f" offset {pick.choice(('', '-'))}{pick.choice(DURATIONS)}"
        if pick.random() < 0.15:
            text += f" @ {pick.choice(('start()', 'end()', '1600', '12.5', '-3'))}"
        return text

    def _matrix(self, depth: int) -> str:
        pick = self._random
        if depth > 0 and pick.random() < 0.25:
            step = pick.choice(("", "1m", "30s"))
            return f"({self._vector(depth - 1)})[{pick.choice(DURATIONS)}:{step}]{self._moved()}"
        return f"{self._selector()}[{pick.choice(DURATIONS)}]{self._moved()}"

    def _vector(self, depth: int) -> str:
        if depth <= 0:
            return self._selector() + self._moved()
        makers = (
            self._plain,
            self._call,
            self._call,
            self._aggregation,
            self._aggregation,
            self._binary,
            self._negation,
            self._paren,
        )
        return self._random.choice(makers)(depth)

    def _plain(self, _depth: int) -> str:
        return self._selector() + self._moved()

    def _paren(self, depth: int) -> str:
        return f"({self._vector(depth - 1)})"

    def _negation(self, depth: int) -> str:
        return f"-({self._vector(depth - 1)})"

    def _call(self, depth: int) -> str:
        pick = self._random
        names = [
            name
            for name, one in SIGNATURES.items()
            if one.gives == VECTOR and (self._experimental or not one.is_experimental) and name != "label_replace"
        ]
        name = pick.choice(names)
        signature = SIGNATURES[name]
        args = list(signature.args)
        if signature.optional > 0 and pick.random() < 0.5:
            args = args[: -signature.optional]
        return f"{name}({', '.join(self.of(kind, depth - 1) for kind in args)})"

    def _names(self) -> str:
        pick = self._random
        return ", ".join(pick.sample(LABELS, pick.randrange(3)))

    def _aggregation(self, depth: int) -> str:
        pick = self._random
        op = pick.choice([name for name in AGGREGATIONS if self._experimental or not name.startswith("limit")])
        kind = AGGREGATIONS[op]
        param = "" if kind is None else self.of(kind, min(depth - 1, 1)) + ", "
        grouping = f" {pick.choice(('by', 'without'))} ({self._names()}) " if pick.random() < 0.6 else ""
        return f"{op}{grouping}({param}{self._vector(depth - 1)})"

    def _binary(self, depth: int) -> str:
        pick = self._random
        if pick.random() < 0.3:
            op = pick.choice(ARITHMETIC + COMPARISONS)
            return f"({self._vector(depth - 1)} {op} {self._scalar(depth - 1)})"
        op = pick.choice(ARITHMETIC + COMPARISONS + SETS)
        words = op + (" bool" if op in COMPARISONS and pick.random() < 0.3 else "")
        if pick.random() < 0.6:
            words += f" {pick.choice(('on', 'ignoring'))} ({self._names()})"
            if op not in SETS and pick.random() < 0.4:
                words += f" {pick.choice(('group_left', 'group_right'))} ()"
        return f"({self._vector(depth - 1)} {words} {self._vector(depth - 1)})"


def spoil(text: str, pick: random.Random) -> str:
    """A query with some characters changed, cut out or doubled."""
    characters = list(text)
    for _ in range(pick.randrange(1, 4)):
        if not characters:
            break
        place = pick.randrange(len(characters))
        action = pick.randrange(4)
        if action == 0:
            characters[place] = pick.choice("(){}[]\"'`,:@#+-*/%^=!<>~ \n\\x0é雪\x00")
        elif action == 1:
            del characters[place]
        elif action == 2:
            characters.insert(place, pick.choice(characters))
        else:
            del characters[place : place + pick.randrange(1, 8)]
    return "".join(characters)
