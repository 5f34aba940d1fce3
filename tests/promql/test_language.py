"""Parsing, printing and bounding: what is accepted, refused, told, and given back as a text."""

import random

import pytest

from steelyard.promql.errors import BAD_DATA, QueryError
from steelyard.promql.labels import NAME
from steelyard.promql.nodes import Matcher, Selector, walk
from steelyard.promql.numbers import format_duration, format_plain, format_sample, format_time
from steelyard.promql.parse import parse, parse_selector
from steelyard.promql.printer import format_query, show_query
from steelyard.promql.scan import MAX_CHARS
from steelyard.promql.tenancy import restrict
from steelyard.promql.tree import show_tree

from .grammar import Grammar, spoil


def fault(text: str) -> str:
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert caught.value.kind == BAD_DATA
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "parse error: no expression found in input"),
        ("rate(up)", 'expected type range vector in call to function "rate", got instant vector'),
        ("foo(up)", 'unknown function with name "foo"'),
        ("sum(up", "unclosed left parenthesis"),
        ("1 > 2", "comparisons between scalars must use BOOL modifier"),
        ("x and 1", 'set operator "and" not allowed in binary scalar expression'),
        ('{a=~".*"}', "vector selector must contain at least one non-empty matcher"),
        ('{a=""}', "vector selector must contain at least one non-empty matcher"),
        ('a{b="1" or c="2"}', 'unexpected "or"'),
        ("mad_over_time(x[5m])", "is not enabled"),
        ("limitk(2, x)", "experimental"),
        ("step()", "unknown function"),
        ('x{a=~"("}', "parse error"),
        ('x{a=~"(?=b)"}', "parse error"),
        ("x @ 1e400", "out of bounds"),
        ("x[0s]", "duration must be greater than 0"),
        ("rate(x[5m], 3)", 'expected 1 argument(s) in call to "rate", got 2'),
    ],
)
def test_what_is_refused(text: str, part: str) -> None:
    """In Prometheus' words, each with a position before it."""
    told = fault(text)
    assert part in told
    assert told.startswith("1:1: parse error: ")


@pytest.mark.parametrize(
    "text",
    ["(" * 100_000, "a" + "+a" * 50_000, "-" * 100_000 + "a", "sum(" * 5_000 + "a" + ")" * 5_000, "a" * (MAX_CHARS + 1), "a[" * 9_000, "{" * 9_000, "a and " * 2_000 + "a", "!" * 5_000],
    ids=lambda text: text[:8],
)  # fmt: skip
def test_what_would_crash_the_native_parser(text: str) -> None:
    """Is refused before that sees it."""
    assert "parse error: query" in fault(text) or "parse error" in fault(text)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("x @ -5", -5000),
        ("x @ - 5.5", -5500),
        ("x @ 5", 5000),
        ("sum(x @ -1 + y @ 2)", -1000),
        ("x @ start()", "start"),
    ],
)
def test_times_before_1970(text: str, at: object) -> None:
    """The native parser cannot tell of them."""
    found = [one.at for one in walk(parse(text)) if isinstance(one, Selector)]
    assert found[0] == at
    if "y" in text:
        assert found[1] == 2000


def test_comments_and_strings_are_no_operators() -> None:
    """What is bounded is what is parsed."""
    text = 'x{a="' + "(" * 5_000 + '"} # ' + "(" * 9_000 + "\n"
    assert isinstance(parse(text), Selector)


@pytest.mark.parametrize("seed", range(300))
def test_printed_and_parsed_again(seed: int) -> None:
    """A tree's text has the same tree, on one line and on several."""
    text = Grammar(seed).query()
    node = parse(text)
    assert parse(show_query(node)) == node
    assert parse(format_query(node)) == node
    assert show_tree(node)["type"]


@pytest.mark.parametrize("value", ['a"b', "a\\b", "a\nb", "雪", "\t", "'", "`", "{}", "${x}", "\\"])
def test_values_survive_printing(value: str) -> None:
    """Whatever is in them."""
    node = Selector((Matcher(NAME, "=", "x"), Matcher("a b", "=", value), Matcher(NAME, "!=", value)))
    assert parse(show_query(node)) == node
    named = Selector((Matcher(NAME, "=", value),))
    assert parse(show_query(named)) == named


@pytest.mark.parametrize("seed", range(100))
def test_every_selector_is_restricted(seed: int) -> None:
    """On the tree and in the text that is sent on."""
    matcher = Matcher("workspace_id", "=", 'te"am')
    node = parse(show_query(restrict(parse(Grammar(seed).query()), matcher)))
    selectors = [one for one in walk(node) if isinstance(one, Selector)]
    assert all(matcher in one.matchers for one in selectors)


def test_match_parameters() -> None:
    """A selector and nothing else."""
    assert parse_selector('up{a="b"}') == (Matcher(NAME, "=", "up"), Matcher("a", "=", "b"))
    for text in ("up[5m]", "up offset 5m", "rate(up[5m])", "1", "up @ 5"):
        with pytest.raises(QueryError):
            parse_selector(text)


@pytest.mark.parametrize(
    ("value", "shown", "plain"),
    [
        (0.0, "0", "0"), (-0.0, "-0", "-0"), (1.0, "1", "1"), (0.1, "0.1", "0.1"), (1e21, "1e+21", "1000000000000000000000"), (1e20, "100000000000000000000", "100000000000000000000"),
        (1e-6, "0.000001", "0.000001"), (1e-7, "1e-07", "0.0000001"), (1.2345e-7, "1.2345e-07", "0.00000012345"), (123456789.125, "123456789.125", "123456789.125"),
        (1e16, "10000000000000000", "10000000000000000"), (-2.5e300, "-2.5e+300", "-25" + "0" * 299), (float("nan"), "NaN", "NaN"), (float("inf"), "+Inf", "+Inf"), (float("-inf"), "-Inf", "-Inf"), (5e-324, "5e-324", None),
    ],
)  # fmt: skip
def test_numbers(value: float, shown: str, plain: str | None) -> None:
    """As Go writes them."""
    assert format_sample(value) == shown
    if plain is not None:
        assert format_plain(value) == plain


def test_times_and_durations() -> None:
    """Whole seconds, or three decimals; units from the largest on."""
    assert [format_time(ms) for ms in (0, 1000, 1500, 1_795_350_629_270, -500, -1500)] == [
        "0",
        "1",
        "1.500",
        "1795350629.270",
        "-0.500",
        "-1.500",
    ]
    assert [format_duration(ms) for ms in (0, 1, 1000, 90_000, 5_400_000, 86_400_000, 604_800_000, 31_536_000_000, -300_000)] == ["0s", "1ms", "1s", "1m30s", "1h30m", "1d", "1w", "1y", "-5m"]  # fmt: skip


def fuzz(count: int, seed: int) -> None:
    pick = random.Random(seed)
    for number in range(count):
        text = Grammar(seed * 1_000_003 + number, experimental=pick.random() < 0.5).query(pick.randrange(1, 5))
        if pick.random() < 0.7:
            text = spoil(text, pick)
        try:
            node = parse(text)
        except QueryError:
            continue
        assert parse(show_query(node)) == node, text


def test_two_thousand_spoilt_queries() -> None:
    """Each is parsed, or refused in words."""
    fuzz(2_000, 1)


@pytest.mark.long
def test_a_hundred_thousand_spoilt_queries() -> None:
    """Likewise."""
    fuzz(100_000, 2)
