"""What a visit brings: forms, tokens, where it goes on to; and how figures are shown."""

import pytest

from steelyard.base.errors import Fault
from steelyard.web.console.pages import moment, money, percent, seconds, short
from steelyard.web.console.visit import FormTokens, local_path, read_form


def test_forms() -> None:
    form = read_form(b"a=+1+&b=&c=x%2C+y%0Az&d=1&d=2&p=+secret+&n=1,000")
    assert form.get("a") == "1"
    assert form.get("none", "-") == "-"
    assert form.get_raw("p") == " secret "
    assert form.get_list("c") == ("x", "y", "z")
    assert form.get_all("d") == ("1", "2")
    assert (form.get_int("n"), form.get_int("b")) == (1000, None)
    assert form.has("a")
    for bad in (b"a=x%00y", b"a=x\0y", b"\xff\xfe=1", b"&".join(b"f%d=1" % n for n in range(300))):
        with pytest.raises(Fault):
            read_form(bad)
    with pytest.raises(Fault) as caught:
        read_form(b"rpm=many").get_int("rpm")
    assert caught.value.param == "rpm"


def test_form_tokens() -> None:
    """A token is good for its session alone, and none is like another."""
    tokens = FormTokens(b"k" * 32)
    one, two = tokens.issue("session"), tokens.issue("session")
    assert one != two
    tokens.check(one, "session")
    tokens.check(two, "session")
    salt, _, mac = one.partition(".")
    for bad, secret in (
        (one, "other"),
        (f"{salt}.{mac[:-1]}0" if mac[-1] != "0" else f"{salt}.{mac[:-1]}1", "session"),
        ("", "session"),
        (".", "session"),
        ("x.é", "session"),
        (FormTokens(b"j" * 32).issue("session"), "session"),
    ):
        with pytest.raises(Fault) as caught:
            tokens.check(bad, secret)
        assert caught.value.slug == "form_foreign"


@pytest.mark.parametrize(
    ("path", "goes"),
    [
        ("/console/usage?days=7", "/console/usage?days=7"),
        ("/hub/", "/hub/"),
        ("//evil.example/console/", "/console/"),
        ("https://evil.example/console/", "/console/"),
        ("/console//evil.example", "/console/"),
        ("/console/\\evil.example", "/console/"),
        ("/console/\r\nset-cookie: a=b", "/console/"),
        ("/consoles", "/console/"),
        ("/v1/models", "/console/"),
        ("", "/console/"),
    ],
)
def test_where_it_goes_on(path: str, goes: str) -> None:
    assert local_path(path, "/console/") == goes


def test_figures() -> None:
    assert money(1_234_500_000, "CNY") == "1,234.50 CNY"
    assert money(1, "USD") == "0.000001 USD"
    assert money(0, "CNY") == "0.00 CNY"
    assert (seconds(None), seconds(1500), seconds(2_500_000)) == ("–", "2 ms", "2.50 s")
    assert (percent(1, 3), percent(0, 0)) == ("33.3 %", "–")
    assert short("x" * 80, 10) == "x" * 9 + "…"
    assert moment(None) == "–"
    assert moment(1_795_680_000_000_000) == '<time datetime="2026-11-26T08:00:00.000+00:00">2026-11-26 08:00:00</time>'
