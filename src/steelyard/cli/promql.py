"""`steelyard promql`."""

import math
import time
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from steelyard.base.errors import SetupFault
from steelyard.cli.context import find_endpoint, pick, print_json, print_table
from steelyard.control.keys import parse_duration_s
from steelyard.promql.errors import QueryError
from steelyard.promql.labels import NAME, quote
from steelyard.promql.parse import parse
from steelyard.promql.words import explain_query

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 48
TIMEOUT_S = 130.0


def promql(
    query: str,
    *,
    url: str | None = None,
    range: str | None = None,  # noqa: A002 - the flag's name
    step: str | None = None,
    api_key: str | None = None,
    user: str | None = None,
    password: str | None = None,
    explain: bool = False,
    lang: Literal["en", "zh"] = "en",
    json: bool = False,
) -> None:
    """Ask any Prometheus, or say what a query means.

    Parameters
    ----------
    query
        In PromQL.
    url
        Where the Prometheus is, such as http://127.0.0.1:9090; default the monitoring of the profile's server, with its key.
    range
        From so long ago until now, such as 1h, as a plot; without it the newest values, as a table.
    step
        Seconds between the points of a range, such as 30s.
    api_key
        A bearer token.
    user
        For basic authentication.
    password
        Likewise.
    explain
        Say what the query asks, part by part; nothing is called.
    lang
        Language of the explanation.
    json
        Print the answer's JSON.
    """
    if explain:
        _explain(query, lang)
        return
    if url is None:
        url, api_key = find_monitor(api_key)
    wish: dict[str, Any] = {"query": query}
    if range is not None:
        span_s = parse_duration_s(range)
        now = time.time()
        step_s = parse_duration_s(step) if step else max(span_s / WIDTH, 1)
        wish |= {"start": now - span_s, "end": now, "step": step_s}
    answer = ask(url, wish, api_key, None if user is None else (user, password or ""))
    if json:
        print_json(answer)
        return
    for note in (*answer.get("warnings", ()), *answer.get("infos", ())):
        print(note)
    (_plot if range is not None else _show)(answer["data"])


def find_monitor(api_key: str | None) -> tuple[str, str | None]:
    """The monitoring of the profile's server, which is this machine's where there is no profile, and the key for it."""
    endpoint = find_endpoint(None, api_key, None)
    parts = urlsplit(endpoint.base_url)
    return f"{parts.scheme}://{parts.netloc}/prometheus", endpoint.api_key or api_key


def _explain(query: str, lang: str) -> None:
    try:
        node = parse(query, experimental=True)
    except QueryError as exc:
        raise SetupFault(f"The query is wrong: {exc}.") from None
    for depth, words in explain_query(node):
        print("  " * depth + pick(words, lang))


def ask(url: str, wish: dict[str, Any], api_key: str | None, basic: tuple[str, str] | None) -> dict[str, Any]:
    """The answer of a Prometheus.

    Raises:
        SetupFault: it does not answer, or refuses the query.
    """
    path = "/api/v1/query_range" if "step" in wish else "/api/v1/query"
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        answer = httpx.post(url.rstrip("/") + path, data=wish, headers=headers, auth=basic, timeout=TIMEOUT_S)
        body: dict[str, Any] = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise SetupFault(f"{url} does not answer: {exc}.") from None
    except ValueError:
        raise SetupFault(f"{url} answers {answer.status_code} and no JSON: is it a Prometheus?") from None
    if not isinstance(body, dict) or body.get("status") != "success":
        told = body.get("error", answer.text[:200]) if isinstance(body, dict) else answer.text[:200]
        raise SetupFault(f"{answer.status_code}: {told}")
    return body


def _title(metric: dict[str, str]) -> str:
    labels = ",".join(f"{name}={quote(value)}" for name, value in sorted(metric.items()) if name != NAME)
    return metric.get(NAME, "") + (f"{{{labels}}}" if labels or NAME not in metric else "")


def _show(data: dict[str, Any]) -> None:
    if data["resultType"] in ("scalar", "string"):
        print(data["result"][1])
        return
    if data["resultType"] == "matrix":
        _plot(data)
        return
    print_table(("series", "value"), [(_title(one["metric"]), one["value"][1]) for one in data["result"]])


def _plot(data: dict[str, Any]) -> None:
    rows = []
    for one in data["result"]:
        values = [float(value) for _, value in one.get("values", ())]
        known = [value for value in values if math.isfinite(value)]
        low, high = (f"{min(known):g}", f"{max(known):g}") if known else ("", "")
        last = one["values"][-1][1] if values else ""
        rows.append((_title(one["metric"]), sparkline(values), low, high, last))
    print_table(("series", "course", "min", "max", "last"), rows)


def sparkline(values: list[float], width: int = WIDTH) -> str:
    """A row of bars, each as high as the mean of its share of the values; a blank where there is none."""
    if not values:
        return ""
    size = max(len(values) / width, 1)
    count = math.ceil(len(values) / size)
    means = []
    for number in range(count):
        part = [
            one
            for one in values[int(number * size) : max(int((number + 1) * size), int(number * size) + 1)]
            if math.isfinite(one)
        ]
        means.append(sum(part) / len(part) if part else math.nan)
    known = [one for one in means if not math.isnan(one)]
    if not known:
        return " " * count
    low, span = min(known), (max(known) - min(known)) or 1.0
    return "".join(
        " " if math.isnan(one) else BARS[min(int((one - low) / span * len(BARS)), len(BARS) - 1)] for one in means
    )
