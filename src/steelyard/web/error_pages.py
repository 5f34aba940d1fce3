"""/errors: what an error means and how to cure it, from the one catalogue. Public; HTML for browsers, JSON otherwise."""

from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from steelyard.base.catalogue import BY_SLUG, ROWS
from steelyard.base.errors import PUBLIC_STATUSES, Row, fault
from steelyard.base.explain import Explanation, explain
from steelyard.web.answers import guarded, json_answer
from steelyard.web.pages import SECURITY_HEADERS, page, table

MAX_QUERY_CHARS = 8192
_FORM = '<form action="/errors"><input name="q" placeholder="429, invalid_api_key, Range of …" value="{value}"> <button>Explain 解释</button></form>'


def routes() -> list[Route]:
    """The Starlette routes."""
    return [Route("/errors", guarded(index)), Route("/errors/{code:path}", guarded(one))]


async def index(request: Request) -> Response:
    """The public table, or with `?q=` an explanation."""
    query = request.query_params.get("q", "")[:MAX_QUERY_CHARS]
    if query:
        return _explained(request, query)
    rows = [(status, BY_SLUG.get(slug)) for status, slug in PUBLIC_STATUSES]
    if not _wants_html(request):
        data = [{"status": status, **(_brief(row) if row else {"message": "processed"})} for status, row in rows]
        return json_answer({"data": data, "codes": [row.slug for row in ROWS]})
    lines = [_line(status, row) for status, row in rows]
    every = " · ".join(f'<a href="/errors/{row.slug}">{row.slug}</a>' for row in ROWS)
    head = ["Status", "Typical text", "Cause 原因", "Cure 处理"]
    body = _FORM.format(value="") + table(head, lines) + f'<p class="muted">{every}</p>'
    return HTMLResponse(page("Errors 错误", body), headers=SECURITY_HEADERS)


async def one(request: Request) -> Response:
    """One code: ours, a vendor's, or a status."""
    return _explained(request, request.path_params["code"][:MAX_QUERY_CHARS])


def _explained(request: Request, text: str) -> Response:
    found = explain(text)
    if not _wants_html(request):
        if not found:
            raise fault("resource_not_found", detail=" The catalogue has no such error; GET /errors lists all.")
        lang = request.query_params.get("lang")
        return json_answer({"data": [one.as_dict(lang) for one in found]})
    body = _FORM.format(value=escape(text, quote=True))
    body += "".join(_article(explanation) for explanation in found)
    if not found:
        body += "<p>No error like this is known. 没有匹配的错误。</p>"
    return HTMLResponse(page("Error 错误", body), status_code=200 if found else 404, headers=SECURITY_HEADERS)


def _wants_html(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _brief(row: Row) -> dict[str, object]:
    return {
        "slug": row.slug,
        "message": row.shown_message,
        "texts": row.aliases,
        "cause": {"en": row.cause[0], "zh": row.cause[1]},
        "cure": {"en": row.cure[0], "zh": row.cure[1]},
    }


def _both(texts: tuple[str, str]) -> str:
    return f'{escape(texts[0])}<br><span class="zh">{escape(texts[1])}</span>'


def _line(status: int, row: Row | None) -> list[str]:
    if row is None:
        return [str(status), "–", _both(("Processed.", "已处理。")), "–"]
    texts = "<br>".join(escape(text) for text in (*row.aliases[:1], row.shown_message))
    return [f'<a href="/errors/{row.slug}">{status}</a>', texts, _both(row.cause), _both(row.cure)]


def _article(found: Explanation) -> str:
    row = found.row
    codes = table(
        ["", ""],
        [
            ["HTTP", str(row.status)],
            ["OpenAI", f"<code>{escape(row.openai_type)}</code> <code>{escape(str(row.openai_code))}</code>"],
            ["DashScope", f"<code>{escape(row.native_code)}</code>"],
            ["Anthropic", f"<code>{escape(row.anthropic_type)}</code>"],
            ["Text", escape(row.shown_message)],
            ["Cause 原因", _both(row.cause)],
            ["Cure 处理", _both(row.cure)],
            ["Retry 重试", "yes 是" if row.is_retryable else "no 否"],
        ],
    )
    return f"<h2><code>{escape(row.slug)}</code></h2>{codes}"
