"""The client package's two clients, one that blocks and one that does not, over the same calls and the same retry plan."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from steelyard import __version__
from steelyard.canon.embedding import DOCUMENT, RankAnswer
from steelyard.client.calls import (
    Calls,
    Delta,
    Reply,
    Request,
    Stream,
    poll_pause_s,
    read_chat,
    read_ranks,
    read_task,
    read_vectors,
)
from steelyard.client.errors import ApiError, error_of
from steelyard.policy.retry import BASE_S, MAX_BACKOFF_S, MAX_WAIT_S

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 300.0


def pause_s(attempt: int, error: ApiError, draw: Callable[[], float] = random.random) -> float | None:
    """Seconds before a call is made again: exponential with full jitter, never below what the endpoint asks for.

    Returns:
        None where it should not be made again, or only after a longer time than a call is worth.
    """
    if not error.retryable:
        return None
    asked = error.retry_after_s or 0.0
    jittered = draw() * min(BASE_S * 2 ** (attempt - 1), MAX_BACKOFF_S)
    return None if asked > MAX_WAIT_S else max(jittered, asked)


def place_of(url: str, path: Path) -> Path:
    """Where a download goes: into a directory under the link's own file name."""
    return path / (Path(urlsplit(url).path).name or "result") if path.is_dir() else path


class _Base:
    """What both clients have in common."""

    def __init__(self, base_url: str, api_key: str, api: str, max_attempts: int) -> None:
        self.calls = Calls(api, api_key)
        self._max_attempts = max_attempts
        self._options: dict[str, Any] = {
            "base_url": base_url.rstrip("/") + "/",
            "headers": {"User-Agent": f"steelyard/{__version__}"},
            "timeout": httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
        }

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._options['base_url']} by the {self.calls.api} API>"

    def _pause(self, attempt: int, error: ApiError) -> float:
        """Seconds to wait; raises the error where the call is not made again."""
        wait_s = pause_s(attempt, error) if attempt < self._max_attempts else None
        if wait_s is None:
            raise error
        return wait_s

    def _unreachable(self, exc: httpx.HTTPError) -> ApiError:
        return ApiError(0, f"{self._options['base_url']} cannot be reached: {exc or type(exc).__name__}", "")


class Steelyard(_Base):
    """Calls an endpoint, ours or a vendor's, and waits for its answers.

    Args:
        base_url: for the `openai` API it ends in /v1, for `dashscope` in /api/v1, for `anthropic` before /v1.
        api_key: a key or a temporary token.
        api: "openai", "dashscope" or "anthropic".
        max_attempts: how often a call is made that may succeed later.
    """

    def __init__(self, base_url: str, api_key: str = "", *, api: str = "openai", max_attempts: int = 3) -> None:
        super().__init__(base_url, api_key, api, max_attempts)
        self._http = httpx.Client(**self._options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def chat(self, model: str, messages: str | list[dict[str, Any]], **options: Any) -> Reply:
        """An answer in one piece.

        Args:
            messages: a text, or messages as of chat completions.
            options: likewise (`temperature`, `tools`, `max_tokens`, `enable_thinking` …).

        Raises:
            ValueError: a wrong option, before anything is sent.
            ApiError: with `.cause`, `.cure` and `.retryable`.
        """
        request = self.calls.chat(model, messages, False, options)
        return read_chat(request, *self._send(request))

    def stream(self, model: str, messages: str | list[dict[str, Any]], **options: Any) -> Iterator[Delta]:
        """An answer in pieces; the last one has the usage.

        Raises:
            ValueError, ApiError: as `chat`; also in the middle. Nothing is made again once a piece has come.
        """
        request = self.calls.chat(model, messages, True, options)
        attempt = 0
        while True:
            attempt += 1
            try:
                with self._http.stream("POST", request.path, content=request.body, headers=request.headers) as answer:
                    if answer.status_code == 200:
                        reading = Stream(request, answer.headers.get("x-request-id"))
                        for chunk in answer.iter_bytes():
                            yield from reading.feed(chunk)
                        yield from reading.end()
                        return
                    error = error_of(answer.status_code, dict(answer.headers), answer.read().decode("utf-8", "replace"))
            except httpx.ConnectError as exc:
                error = self._unreachable(exc)
            except httpx.HTTPError as exc:
                raise self._unreachable(exc) from exc
            time.sleep(self._pause(attempt, error))

    def embed(
        self, model: str, texts: list[str], *, text_type: str = DOCUMENT, dimensions: int | None = None
    ) -> list[list[float]]:
        """One vector a text.

        Args:
            text_type: what the texts are for, "document" or "query".
        """
        request = self.calls.embed(model, texts, text_type, dimensions)
        return list(read_vectors(request, *self._send(request)).vectors)

    def rerank(self, model: str, query: str, documents: list[str], *, top_n: int | None = None) -> RankAnswer:
        """Documents by how well they answer a query, best first."""
        request = self.calls.rerank(model, query, documents, top_n)
        return read_ranks(request, *self._send(request))

    def wait(self, task_id: str, *, timeout_s: float = 3600.0) -> dict[str, Any]:
        """A task's output once it has succeeded, `usage` beside it. The task is the native API's.

        Raises:
            ApiError: it failed, was cancelled or is unknown.
            TimeoutError: it is not over in time; it goes on.
        """
        give_up_at, asked = time.monotonic() + timeout_s, 0
        while True:
            body, _ = self._send(self.calls.task(task_id))
            output = read_task(body, task_id)
            if output is not None:
                return output
            pause = poll_pause_s(asked)
            if time.monotonic() + pause > give_up_at:
                raise TimeoutError(f"task {task_id} is not over after {timeout_s:g} s")
            time.sleep(pause)
            asked += 1

    def save(self, url: str, path: str | Path) -> Path:
        """Downloads a result; no key goes along. A directory takes the link's own file name.

        Raises:
            ApiError: the link has expired or does not answer. Nothing half-written is left.
        """
        target = place_of(url, Path(path))
        part = target.with_name(target.name + ".part")
        try:
            with httpx.stream("GET", url, timeout=self._options["timeout"], follow_redirects=True) as answer:
                if answer.status_code != 200:
                    raise error_of(answer.status_code, dict(answer.headers), answer.read().decode("utf-8", "replace"))
                with part.open("wb") as file:
                    for chunk in answer.iter_bytes():
                        file.write(chunk)
        except httpx.HTTPError as exc:
            raise ApiError(0, f"{url.partition('?')[0]} cannot be reached: {exc or type(exc).__name__}", "") from exc
        else:
            return part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def _send(self, request: Request) -> tuple[bytes, dict[str, str]]:
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = self._http.request(request.method, request.path, content=request.body, headers=request.headers)
            except httpx.HTTPError as exc:
                error = self._unreachable(exc)
            else:
                if answer.status_code == 200:
                    return answer.content, dict(answer.headers)
                error = error_of(answer.status_code, dict(answer.headers), answer.text)
            time.sleep(self._pause(attempt, error))


class AsyncSteelyard(_Base):
    """`Steelyard` for asyncio."""

    def __init__(self, base_url: str, api_key: str = "", *, api: str = "openai", max_attempts: int = 3) -> None:
        super().__init__(base_url, api_key, api, max_attempts)
        self._http = httpx.AsyncClient(**self._options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes its connections."""
        await self._http.aclose()

    async def chat(self, model: str, messages: str | list[dict[str, Any]], **options: Any) -> Reply:
        """See `Steelyard.chat`."""
        request = self.calls.chat(model, messages, False, options)
        return read_chat(request, *await self._send(request))

    async def stream(self, model: str, messages: str | list[dict[str, Any]], **options: Any) -> AsyncIterator[Delta]:
        """See `Steelyard.stream`."""
        request = self.calls.chat(model, messages, True, options)
        attempt = 0
        while True:
            attempt += 1
            try:
                async with self._http.stream(
                    "POST", request.path, content=request.body, headers=request.headers
                ) as answer:
                    if answer.status_code == 200:
                        reading = Stream(request, answer.headers.get("x-request-id"))
                        async for chunk in answer.aiter_bytes():
                            for delta in reading.feed(chunk):
                                yield delta
                        for delta in reading.end():
                            yield delta
                        return
                    body = (await answer.aread()).decode("utf-8", "replace")
                    error = error_of(answer.status_code, dict(answer.headers), body)
            except httpx.ConnectError as exc:
                error = self._unreachable(exc)
            except httpx.HTTPError as exc:
                raise self._unreachable(exc) from exc
            await asyncio.sleep(self._pause(attempt, error))

    async def embed(
        self, model: str, texts: list[str], *, text_type: str = DOCUMENT, dimensions: int | None = None
    ) -> list[list[float]]:
        """See `Steelyard.embed`."""
        request = self.calls.embed(model, texts, text_type, dimensions)
        return list(read_vectors(request, *await self._send(request)).vectors)

    async def rerank(self, model: str, query: str, documents: list[str], *, top_n: int | None = None) -> RankAnswer:
        """See `Steelyard.rerank`."""
        request = self.calls.rerank(model, query, documents, top_n)
        return read_ranks(request, *await self._send(request))

    async def wait(self, task_id: str, *, timeout_s: float = 3600.0) -> dict[str, Any]:
        """See `Steelyard.wait`."""
        asked = 0
        async with asyncio.timeout(timeout_s):
            while True:
                body, _ = await self._send(self.calls.task(task_id))
                output = read_task(body, task_id)
                if output is not None:
                    return output
                await asyncio.sleep(poll_pause_s(asked))
                asked += 1

    async def save(self, url: str, path: str | Path) -> Path:
        """See `Steelyard.save`."""
        target = place_of(url, Path(path))
        part = target.with_name(target.name + ".part")
        try:
            async with (
                httpx.AsyncClient(timeout=self._options["timeout"], follow_redirects=True) as http,
                http.stream("GET", url) as answer,
            ):
                if answer.status_code != 200:
                    body = (await answer.aread()).decode("utf-8", "replace")
                    raise error_of(answer.status_code, dict(answer.headers), body)
                with part.open("wb") as file:
                    async for chunk in answer.aiter_bytes():
                        file.write(chunk)
        except httpx.HTTPError as exc:
            raise ApiError(0, f"{url.partition('?')[0]} cannot be reached: {exc or type(exc).__name__}", "") from exc
        else:
            return part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    async def _send(self, request: Request) -> tuple[bytes, dict[str, str]]:
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = await self._http.request(
                    request.method, request.path, content=request.body, headers=request.headers
                )
            except httpx.HTTPError as exc:
                error = self._unreachable(exc)
            else:
                if answer.status_code == 200:
                    return answer.content, dict(answer.headers)
                error = error_of(answer.status_code, dict(answer.headers), answer.text)
            await asyncio.sleep(self._pause(attempt, error))
