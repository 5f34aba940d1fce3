"""Templates become pages: escaped, in the visitor's language, under a policy that lets nothing in from elsewhere."""

import gzip
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, FunctionLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from steelyard import __version__
from steelyard.base.units import MICROS
from steelyard.web.console.assets import Assets
from steelyard.web.console.nav import NAV, SETTINGS_NAV
from steelyard.web.console.visit import FormTokens, Visit

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "vary": "accept-encoding",
}
MIN_PACKED_BYTES = 1000


class Pages:
    """The templates with their filters."""

    def __init__(self, assets: Assets, tokens: FormTokens) -> None:
        self._tokens = tokens
        folder = files(__package__) / "templates"
        self._environment = Environment(
            loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
            autoescape=select_autoescape(default=True, default_for_string=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals.update(asset=assets.url, version=__version__, nav=NAV, settings_nav=SETTINGS_NAV)
        self._environment.filters.update(
            moment=moment,
            money=money,
            number=number,
            seconds=seconds,
            short=short,
            percent=percent,
            own=own,
            paid=paid,
            stamp=stamp,
        )

    def check(self, template: str) -> None:
        """Compiles a template.

        Raises:
            TemplateError: something is written wrong in it.
        """
        self._environment.get_template(template)

    def render(self, visit: Visit, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page or a part of one."""
        text = self._environment.get_template(template).render(
            visit=visit,
            t=visit.t,
            language=visit.t.language,
            form_token=self._tokens.issue(visit.secret),
            **values,
        )
        return answer(visit.request, text, status)


def answer(request: Request, text: str, status: int = 200) -> HTMLResponse:
    """HTML under the console's headers, compressed where the browser takes it."""
    data = text.encode()
    page = HTMLResponse(data, status_code=status, headers=HEADERS)
    if len(data) >= MIN_PACKED_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
        page = HTMLResponse(gzip.compress(data, 5, mtime=0), status_code=status, headers=HEADERS)
        page.headers["content-encoding"] = "gzip"
    return page


def moment(at_us: int | None) -> Markup:
    """A time, in UTC; the page's script shows it as the visitor's clock has it."""
    if at_us is None:
        return Markup("–")
    at = datetime.fromtimestamp(at_us / MICROS, UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        at.isoformat(timespec="milliseconds"), at.strftime("%Y-%m-%d %H:%M:%S")
    )


def stamp(text: str) -> Markup:
    """A time as Prometheus writes it; a dash for the year 1, which is its never."""
    if text.startswith("0001-"):
        return Markup("–")
    return Markup('<time datetime="{}">{}</time>').format(text, text[:19].replace("T", " "))


def money(micros: int, currency: str) -> str:
    """A sum as people write it, at least two places and no more than are needed."""
    text = f"{micros / MICROS:,.6f}".rstrip("0")
    whole, _, rest = text.partition(".")
    return f"{whole}.{rest.ljust(2, '0')} {currency}".strip()


def paid(value: float, currency: str) -> str:
    """A sum in a currency's units, to six places."""
    return money(round(value * MICROS), currency)


def number(value: int | None) -> str:
    """A count with its thousands apart."""
    return "–" if value is None else f"{value:,}"


def seconds(value_us: int | None) -> str:
    """A duration."""
    if value_us is None:
        return "–"
    return f"{value_us / 1000:.0f} ms" if value_us < MICROS else f"{value_us / MICROS:.2f} s"


def own(link: str) -> str:
    """A link to an object as this very server has it, under whatever name the visitor reached it."""
    parts = urlsplit(link)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def short(text: str, length: int = 60) -> str:
    """The beginning of a long text."""
    return text if len(text) <= length else text[: length - 1] + "…"


def percent(part: float, whole: float) -> str:
    """A share; a dash of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "–"
