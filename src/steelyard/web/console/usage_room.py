"""What was used and what it cost: by day, model and key, as plots, tables and CSV."""

from typing import Any

from starlette.responses import Response

from steelyard.base.clock import now_us
from steelyard.control import usage
from steelyard.control.records import Records
from steelyard.control.usage import DAY_US
from steelyard.web.console.pages import Pages
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Visit

RANGES = (1, 7, 30, 90)
#: Lines of a plot; the rest of the models become one.
LINES = 6
ROWS = 50


class UsageRoom:
    """The pages of usage."""

    def __init__(self, records: Records, pages: Pages) -> None:
        self._records = records
        self._pages = pages
        self.acts = (
            Act("GET", "/console/usage", self.show),
            Act("GET", "/console/usage.csv", self.download),
        )

    async def show(self, visit: Visit) -> Response:
        days = _read_days(visit)
        since_us, until_us = _range(days)
        by_day = await usage.list_days(self._records, visit.workspace, since_us, until_us)
        by_model = _by_model(by_day)
        by_key = await usage.list_keys(self._records, visit.workspace, now_us())
        return self._pages.render(
            visit,
            "usage.html",
            days=days,
            ranges=RANGES,
            by_model=by_model[:ROWS],
            by_key=by_key,
            totals=_totals(by_model),
            plot=_plot(by_day, [row["name"] for row in by_model], since_us, days, visit.t("usage.others")),
        )

    async def download(self, visit: Visit) -> Response:
        """Days and models as CSV, money in micro-units."""
        since_us, until_us = _range(_read_days(visit))
        rows = await usage.list_days(self._records, visit.workspace, since_us, until_us)
        headers = {
            "content-disposition": f'attachment; filename="usage-{visit.workspace}.csv"',
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
        }
        return Response(usage.days_as_csv(rows), media_type="text/csv", headers=headers)


def _read_days(visit: Visit) -> int:
    text = visit.query.get("days", "7")
    return int(text) if text in map(str, RANGES) else 7


def _range(days: int) -> tuple[int, int]:
    end_us = now_us() - now_us() % DAY_US + DAY_US
    return end_us - days * DAY_US, end_us


_SUMS = ("calls", "failed_calls", "prompt_tokens", "completion_tokens", "free_tokens_used", "charged_micros")


def _by_model(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Days added up by model and currency, the most tokens first."""
    sums: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        total = sums.setdefault((row["name"], row["currency"]), dict.fromkeys(_SUMS, 0))
        for name in _SUMS:
            total[name] += row[name]
    found = [{"name": name, "currency": currency, **total} for (name, currency), total in sums.items()]
    return sorted(found, key=lambda row: -(row["prompt_tokens"] + row["completion_tokens"]))


def _totals(rows: list[dict[str, Any]]) -> dict[str, Any]:
    money: dict[str, int] = {}
    for row in rows:
        money[row["currency"]] = money.get(row["currency"], 0) + row["charged_micros"]
    return {**{name: sum(row[name] for row in rows) for name in _SUMS}, "money": money}


def _plot(rows: list[dict[str, Any]], models: list[str], since_us: int, days: int, others: str) -> dict[str, Any]:
    """Tokens by day as columns for the plot: times in seconds, then one line a model."""
    names = list(dict.fromkeys(models))[:LINES]
    has_more = any(row["name"] not in names for row in rows)
    lines = {name: [0] * days for name in (*names, *((others,) if has_more else ()))}
    for row in rows:
        place = (row["day_us"] - since_us) // DAY_US
        lines[row["name"] if row["name"] in names else others][place] += row["prompt_tokens"] + row["completion_tokens"]
    times = [(since_us + place * DAY_US) // 1_000_000 for place in range(days)]
    return {"names": list(lines), "columns": [times, *lines.values()]}
