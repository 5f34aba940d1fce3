"""A small synchronous client of the OpenAI-compatible wire, for the command line."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import urljoin

import httpx
import msgspec

from steelyard import __version__
from steelyard.client.endpoint import Endpoint
from steelyard.client.errors import ApiError, error_of

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 300.0


class Client:
    """Calls one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        headers = {"User-Agent": f"steelyard/{__version__}"}
        if endpoint.api_key:
            # a header holds bytes: a key with other characters goes as UTF-8, so that the server can say what is wrong
            headers["Authorization"] = f"Bearer {endpoint.api_key}".encode().decode("latin-1")
        encoded = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
        timeout = httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        self._http = httpx.Client(base_url=endpoint.base_url + "/", headers=list(encoded.items()), timeout=timeout)
        self.endpoint = endpoint

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str) -> httpx.Response:
        """GET, checked."""
        return self._checked("GET", path, None)

    def post(self, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> httpx.Response:
        """POST, checked."""
        return self._checked("POST", path, body, headers)

    def upload(self, url: str, files: dict[str, Any]) -> httpx.Response:
        """POST of a form with files, checked."""
        with _reachable(self.endpoint):
            answer = self._http.post(url, files=files)
        _raise_for(answer)
        return answer

    def delete(self, path: str) -> httpx.Response:
        """DELETE, checked."""
        return self._checked("DELETE", path, None)

    def save(self, path: str, out: Path) -> Path:
        """GET of a file, written as it comes. A whole link needs no key, and none goes with it.

        Raises:
            OSError: it cannot be written.
        """
        stream = httpx.stream if "://" in path else self._http.stream
        with _reachable(self.endpoint), stream("GET", path, timeout=READ_TIMEOUT_S) as answer:
            if answer.status_code >= 400:
                answer.read()
            _raise_for(answer)
            with out.open("wb") as file:
                for block in answer.iter_bytes():
                    file.write(block)
        return out

    def _checked(
        self, method: str, path: str, body: dict[str, Any] | None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        # a path from the root leaves the base URL's own path behind
        url = urljoin(self.endpoint.base_url, path) if path.startswith("/") else path
        with _reachable(self.endpoint):
            answer = self._http.request(method, url, json=body, headers=headers)
        _raise_for(answer)
        return answer

    @contextlib.contextmanager
    def stream(self, path: str, body: dict[str, Any]) -> Iterator[tuple[httpx.Headers, Iterator[dict[str, Any]]]]:
        """POST with `stream: true`; gives the headers and the decoded events."""
        with (
            _reachable(self.endpoint),
            self._http.stream("POST", path.lstrip("/"), json={**body, "stream": True}) as answer,
        ):
            if answer.status_code != 200:
                answer.read()
                _raise_for(answer)
            yield answer.headers, _events(answer)


def _events(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in answer.iter_lines():
        data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
        if not data or data == "[DONE]":
            continue
        event: dict[str, Any] = msgspec.json.decode(data)
        if isinstance(event.get("error"), dict):
            raise ApiError(200, str(event["error"].get("message")), data, answer.headers.get("x-request-id"))
        yield event


@contextlib.contextmanager
def _reachable(endpoint: Endpoint) -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as exc:
        cause = str(exc) or type(exc).__name__
        raise ApiError(0, f"{endpoint.base_url} cannot be reached: {cause}", "") from exc


def _raise_for(answer: httpx.Response) -> None:
    if answer.status_code >= 400:
        raise error_of(answer.status_code, dict(answer.headers), answer.text)
