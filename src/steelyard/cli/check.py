"""`steelyard check`: the availability test of any compatible endpoint."""

import sys
from typing import Annotated, Any, Literal

import httpx
from cyclopts import Parameter

from steelyard.base.explain import explain
from steelyard.base.ids import mask
from steelyard.cli.context import EXIT_FAILED, find_endpoint, pick, print_json
from steelyard.client.annotate import annotate
from steelyard.client.api import Client
from steelyard.client.curl import PastedCall, parse_curl
from steelyard.client.endpoint import Endpoint, key_problems
from steelyard.client.probes import FAILED, OK, PROBES, Verdict, run_probe

_MARKS = {"ok": "OK", "stand-in": "stand-in", "failed": "FAILED", "absent": "–"}
_COLOURS = {"ok": "green", "stand-in": "yellow", "failed": "red", "absent": "dim"}


def check(
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    profile: str | None = None,
    model: str = "qwen-plus",
    explain: bool = False,
    curl: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    lang: Literal["en", "zh"] = "en",
    json: bool = False,
) -> None:
    """Test an endpoint, one row per capability, each failure with cause and cure.

    Parameters
    ----------
    base_url
        Address of the endpoint; default the server of this machine.
    api_key
        Its key.
    profile
        A kept endpoint and key.
    model
        The model to ask.
    explain
        Explain each field of a real answer.
    curl
        A curl line to run and diagnose; `-` reads it from standard input.
    lang
        Language of the report.
    json
        Print JSON.
    """
    if curl is not None:
        _check_curl(sys.stdin.read() if curl == "-" else curl, lang, json)
        return
    endpoint = find_endpoint(base_url, api_key, profile)
    problems = key_problems(endpoint.api_key, endpoint.key_source)
    verdicts: list[Verdict] = []
    with Client(endpoint) as client:
        for name in PROBES:
            verdict = run_probe(name, client, model)
            verdicts.append(verdict)
            if verdict.result == FAILED and name == "auth":
                break
    if json:
        print_json(_as_json(endpoint, problems, verdicts))
    else:
        _print_report(endpoint, problems, verdicts, lang)
        if explain:
            _print_fields(verdicts, lang)
    if any(verdict.result == FAILED for verdict in verdicts):
        sys.exit(EXIT_FAILED)


def _as_json(endpoint: Endpoint, problems: list[tuple[str, str]], verdicts: list[Verdict]) -> dict[str, Any]:
    return {
        "base_url": endpoint.base_url,
        "key_source": endpoint.key_source,
        "key": mask(endpoint.api_key) if endpoint.api_key else None,
        "key_problems": [{"en": en, "zh": zh} for en, zh in problems],
        "probes": [
            {
                "probe": one.probe,
                "result": one.result,
                "detail": {"en": one.detail[0], "zh": one.detail[1]},
                "cure": {"en": one.cure[0], "zh": one.cure[1]},
                "request_id": one.request_id,
            }
            for one in verdicts
        ],
    }


def _print_report(endpoint: Endpoint, problems: list[tuple[str, str]], verdicts: list[Verdict], lang: str) -> None:
    shown = mask(endpoint.api_key) if endpoint.api_key else "-"
    print(f"{endpoint.base_url}   key: {shown} ({endpoint.key_source})")
    for problem in problems:
        print(f"  ! {pick(problem, lang)}")
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for one in verdicts:
        line = Text(f"{one.probe:<11}")
        line.append(f"{_MARKS[one.result]:<9}", style=_COLOURS[one.result])
        line.append(pick(one.detail, lang))
        console.print(line, soft_wrap=True)
        if one.result != OK and pick(one.cure, lang):
            console.print(Text(f"{'':<20}→ {pick(one.cure, lang)}"), soft_wrap=True)


def _print_fields(verdicts: list[Verdict], lang: str) -> None:
    body = next((one.body for one in verdicts if one.probe == "chat" and one.body), None)
    if body is None:
        return
    print()
    for field, value, meaning in annotate(body):
        print(f"{field:<48} {value:<40} {pick(meaning, lang)}")


def _check_curl(text: str, lang: str, json: bool) -> None:
    """Runs a pasted curl line, if it can be run at all, and says what is wrong with it."""
    call = parse_curl(text)
    status, body, cure = _run_pasted(call, lang)
    if json:
        problems = [{"en": en, "zh": zh} for en, zh in call.problems]
        print_json(
            {"method": call.method, "url": call.url, "problems": problems, "status": status, "body": body, "cure": cure}
        )
    else:
        print(f"{call.method} {call.url}")
        for problem in call.problems:
            print(f"  ! {pick(problem, lang)}")
        if status:
            print(f"  → {status} {body[:600]}")
        if cure:
            print(f"  → {cure}")
    if call.problems or not 200 <= status < 300:
        sys.exit(EXIT_FAILED)


def _run_pasted(call: PastedCall, lang: str) -> tuple[int, str, str]:
    if not call.url.startswith(("http://", "https://")):
        return 0, "", ""
    # the line's own Host and length belong to curl; sending them again would only confuse
    headers = [
        (name.encode(), value.encode())
        for name, value in call.headers.items()
        if name not in ("host", "content-length", "connection")
    ]
    try:
        answer = httpx.request(call.method, call.url, headers=headers, content=call.body.encode(), timeout=120)
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        return 0, "", pick((f"Nothing answers there: {exc}", f"无法连接：{exc}"), lang)
    if answer.is_success:
        return answer.status_code, answer.text, ""
    found = explain_text(answer.text, answer.status_code)
    return answer.status_code, answer.text, pick(found, lang)


def explain_text(body: str, status: int) -> tuple[str, str]:
    """Cause and cure of an error body."""
    found = explain(body) or explain(str(status))
    if not found:
        return ("", "")
    row = found[0].row
    return (f"{row.cause[0]} {row.cure[0]}", f"{row.cause[1]}{row.cure[1]}")
