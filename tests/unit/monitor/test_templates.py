"""Templates as Prometheus fills them in: its own documentation's examples, Go's rules, and what is wrong said clearly."""

from typing import Any

import pytest

from steelyard.monitor.template_functions import TemplateError
from steelyard.monitor.templates import fill_template

LABELS = {"instance": "a:80", "job": "shop", "n": "3"}
SAMPLES = [{"Labels": {"host": "b", "n": "1"}, "Value": 2.0}, {"Labels": {"host": "a", "n": "2"}, "Value": 1.5}]


def fill(text: str, value: float = 1234.5, data: Any = None) -> str:
    variables = {"$labels": LABELS, "$value": value, "$externalLabels": {"region": "cn"}}
    return fill_template(text, variables, data or {"Labels": LABELS, "Value": value}, {"query": lambda _text: SAMPLES})


@pytest.mark.parametrize(
    ("text", "value", "filled"),
    [
        ("plain", 0, "plain"),
        ("{{ $labels.instance }} has {{ $value }}", 0.25, "a:80 has 0.25"),
        ("{{$value}}", 3.0, "3"),
        ("{{$value}}", 1e21, "1e+21"),
        ("{{$value}}", 1e20, "100000000000000000000"),
        ("{{$value}}", 0.00001, "1e-05"),
        ("{{$value}}", float("inf"), "+Inf"),
        ("{{ .Labels.job }} {{ .Value | humanize }}", 1234567, "shop 1.235M"),
        ("{{ humanize $value }}", 0.00234, "2.34m"),
        ("{{ humanize1024 $value }}", 2048, "2ki"),
        ("{{ $value | humanizePercentage }}", 0.12345, "12.35%"),
        ("{{ $value | humanizeDuration }}", 93784, "1d 2h 3m 4s"),
        ("{{ $value | humanizeDuration }}", 0.0025, "2.5ms"),
        ("{{ $value | humanizeDuration }}", 59.5, "59.5s"),
        ("{{ $value | humanizeDuration }}", -3661, "-1h 1m 1s"),
        ("{{ $value | humanizeTimestamp }}", 1435065584.128, "2015-06-23 13:19:44.128 +0000 UTC"),
        ('{{ printf "%.2f of %s (%d%%)" $value $labels.job 5 }}', 3.14159, "3.14 of shop (5%)"),
        ('{{ printf "%5.1f|%-5s|%q" $value "ab" "c" }}', 2, '  2.0|ab   |"c"'),
        ("{{ $labels.missing }}.", 0, "."),
        ('{{ if gt $value 100.0 }}high{{ else if gt $value 10.0 }}middle{{ else }}low{{ end }}', 50, "middle"),
        ('{{ if eq $labels.job "shop" "plant" }}yes{{ end }}', 0, "yes"),
        ('{{ if and (eq $labels.job "shop") (not (eq $labels.n "4")) }}yes{{ end }}', 0, "yes"),
        ('{{ with query "up" }}{{ . | first | value }}{{ end }}', 0, "2"),
        ('{{ with index $labels "none" }}x{{ else }}nothing{{ end }}', 0, "nothing"),
        ('{{ range query "up" | sortByLabel "host" }}{{ .Labels.host }}={{ .Value }};{{ end }}', 0, "a=1.5;b=2;"),
        ('{{ range $i, $e := query "up" }}{{ $i }}:{{ label "host" $e }} {{ end }}', 0, "0:b 1:a "),
        ("{{ range $key, $one := $labels }}{{ $key }} {{ end }}", 0, "instance job n "),
        ('{{ define "x" }}<{{ . }}>{{ end }}{{ template "x" $labels.job }}', 0, "<shop>"),
        ("{{ $x := $value }}{{ $x = 7 }}{{ $x }}", 1, "7"),
        ("a {{- /* nothing */ -}} b {{- $labels.job -}} c", 0, "ab" + "shop" + "c"),
        ('{{ reReplaceAll "(.*):(.*)" "$2 of ${1}" $labels.instance }}', 0, "80 of a"),
        ('{{ match "^a" $labels.instance }} {{ $labels.job | toUpper }} {{ title "ab cd" }}', 0, "true SHOP Ab Cd"),
        ("{{ stripPort $labels.instance }} {{ $externalLabels.region }}", 0, "a cn"),
        ('{{ "a}}b" }}', 0, "a}}b"),
        ('{{ len $labels }} {{ print "a" 1 }} {{ urlquery "a b" }}', 0, "3 a1 a+b"),
    ],
)  # fmt: skip
def test_filled(text: str, value: float, filled: str) -> None:
    """What a template becomes."""
    assert fill(text, value) == filled


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ $labels.job ", "unclosed action"),
        ("{{ if $value }}x", "{{end}} is missing"),
        ("{{ end }}", "unexpected {{end}}"),
        ("{{ nothing 1 }}", 'function "nothing" not defined'),
        ("{{ $nothing }}", "undefined variable"),
        ("{{ humanize }}", "wrong arguments for humanize"),
        ('{{ humanize "x" }}', "can't convert"),
        ("{{ ( 1 }}", "unclosed left paren"),
        ("{{ 1 | }}", "missing value"),
        ('{{ match "(" "a" }}', "bad pattern"),
        ('{{ template "x" }}', "not defined"),
        ('{{ define "x" }}{{ template "x" }}{{ end }}{{ template "x" }}', "too many steps"),
        ("{{ $value.x.y }}", "can't evaluate field"),
        ("{{ first . }}", "error calling first"),
        ("{{if 1}}" * 200, "nested too deeply"),
        ("{{" + "(" * 200, "unclosed action"),
        ("{{" + "(" * 200 + "}}", "nested too deeply"),
        ("x" * 70_000 + "{{ 1 }}", "longer than"),
        ('{{ lt 1 "a" }}', "incompatible types"),
    ],
)
def test_refused(text: str, said: str) -> None:
    """What is wrong is said in a line."""
    with pytest.raises(TemplateError, match=r".*") as caught:
        fill(text)
    assert said in str(caught.value)


def test_it_ends() -> None:
    """Loops in loops take too many steps."""
    text = "{{ range $.L }}" * 4 + "x" + "{{ end }}" * 4
    with pytest.raises(TemplateError, match="too many steps"):
        fill(text, data={"L": list(range(100))})
