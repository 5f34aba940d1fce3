"""Calls operations of an OpenAPI description, through the guarded client."""

import asyncio
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

import msgspec

from steelyard.apps.credentials import Credentials
from steelyard.apps.kit import MAX_ANSWER_BYTES, Result, bounded
from steelyard.base.jsondoor import encode
from steelyard.canon.apps import Plugin, ToolSpec
from steelyard.upstream.fetcher import Fetcher, FetchError

MAX_REDIRECTS = 3
#: Redirects that keep the method; the others make a GET of it.
_KEEPS = frozenset({307, 308})
#: What went wrong, in words for a model and a person.
TOLD = {
    "incomplete_url": "its address is malformed",
    "scheme": "its address is not http or https",
    "host_denied": "the operator does not allow the host {host}",
    "private_address": "the host {host} is in a private network; the operator may list it in [outbound] private_hosts",
    "dns": "the host {host} has no address",
    "refused": "the host {host} does not take connections",
    "tls": "the certificate of {host} is not good",
    "timed_out": "{host} took too long",
    "broken": "{host} broke off the connection",
    "too_big": f"{{host}} answered more than {MAX_ANSWER_BYTES // 1024} KB",
    "redirects": "{host} redirects to somewhere else, which is not followed",
}


def told_of(error: FetchError) -> str:
    """A failure of the guarded client as people read it."""
    return TOLD.get(error.cause, error.cause).format(host=error.host)


class OpenApiKit:
    """Implements `Kit`."""

    def __init__(
        self, plugin: Plugin, fetcher: Fetcher, credentials: Credentials, trusted_hosts: tuple[str, ...] = ()
    ) -> None:
        self._plugin = plugin
        self._base_url = plugin.spec.url.rstrip("/")
        self._trusted = trusted_hosts
        self._fetcher = fetcher
        self._credentials = credentials
        self.tools = plugin.tools

    async def call(self, tool: ToolSpec, arguments: dict[str, Any]) -> Result:
        """See `Kit`."""
        # imported where it is used: it takes a second, and only plugins need it
        from steelyard.upstream.guarded import Refused, open_client

        spec = self._plugin.spec
        method, url, headers, body = request_of(self._base_url, tool, arguments)
        try:
            async with (
                asyncio.timeout(spec.timeout_s),
                open_client(
                    self._fetcher,
                    max_bytes=MAX_ANSWER_BYTES,
                    timeout_s=spec.timeout_s,
                    headers=spec.headers,
                    trusted_hosts=self._trusted,
                ) as client,
            ):
                asked, query = await self._credentials.lines_for(self._plugin, client)
                if query:
                    url += ("&" if "?" in url else "?") + urlencode(query)
                return await _ask(client, method, url, {**headers, **asked}, body)
        except Refused as refused:
            return Result(f"The call failed: {told_of(refused.error)}.", is_error=True)
        except TimeoutError:
            return Result(f"The call failed: no answer within {spec.timeout_s:g} s.", is_error=True)


async def _ask(client: Any, method: str, url: str, headers: dict[str, str], body: bytes | None) -> Result:
    """The answer; redirects within the same server are followed, others told of."""
    for _ in range(MAX_REDIRECTS + 1):
        async with client.stream(method, url, headers=headers, content=body) as answer:
            location = answer.headers.get("location")
            if answer.status_code not in (301, 302, 303, 307, 308) or not location:
                return _result(answer.status_code, await answer.aread(), answer.headers.get("content-type", ""))
            status = answer.status_code
        target = urljoin(url, location)
        if urlsplit(target)[:2] != urlsplit(url)[:2]:
            host = urlsplit(target).hostname or "somewhere"
            return Result(f"The call failed: it redirects to {host[:100]}, which is not followed.", is_error=True)
        url = target
        if status not in _KEEPS and method != "HEAD":
            method, body = "GET", None
    return Result("The call failed: it redirects again and again.", is_error=True)


def _result(status: int, body: bytes, kind: str) -> Result:
    is_text = not kind or kind.startswith("text/") or "json" in kind or "xml" in kind or "javascript" in kind
    text = body.decode("utf-8", "replace") if is_text else f"[{len(body)} bytes of {kind.split(';')[0]}]"
    if 200 <= status < 300:
        return Result(bounded(text) or f"(HTTP {status}, nothing more)")
    return Result(bounded(f"HTTP {status}: {text}"), is_error=True)


def request_of(
    base_url: str, tool: ToolSpec, arguments: dict[str, Any]
) -> tuple[str, str, dict[str, str], bytes | None]:
    """Method, URL, headers and body of a call. Every value is escaped for its place."""
    origin = tool.origin
    path, query, headers = origin["path"], [], {"Accept": "application/json, text/*;q=0.9, */*;q=0.1"}
    for name, place in origin["places"].items():
        value = arguments.get(name)
        if place == "path":
            path = path.replace("{" + name + "}", quote(_plain(value), safe=""))
        elif value is not None and place == "query":
            query += [(name, _plain(one)) for one in (value if isinstance(value, list) else [value])]
        elif value is not None:
            headers[name] = _plain(value).replace("\r", " ").replace("\n", " ")
    url = base_url + path + (f"?{urlencode(query)}" if query else "")
    body: bytes | None = None
    fields = origin.get("body")
    if fields is not None:
        whole = (
            arguments.get("body")
            if fields == "body"
            else {name: arguments[name] for name in fields if name in arguments}
        )
        if origin.get("is_form"):
            pairs = whole if isinstance(whole, dict) else {}
            body = urlencode({name: _plain(value) for name, value in pairs.items()}).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        elif whole is not None:
            body, headers["Content-Type"] = encode(whole), "application/json"
    return origin["method"], url, headers, body


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return msgspec.json.encode(value).decode()
    return "" if value is None else str(value)
