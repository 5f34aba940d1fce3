"""What apps ask of models: through the gateway like any other call, so that one place admits and one settles."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from steelyard.base.errors import Fault, fault
from steelyard.base.jsondoor import encode
from steelyard.canon.answer import Piece
from steelyard.canon.usage import Usage
from steelyard.dialects import openai_errors
from steelyard.dialects.openai_pieces import PieceReader
from steelyard.gateway.core import FAULT_HEADER
from steelyard.gateway.standing import PARENT_HEADER
from steelyard.tasks.caller import Caller, Rights
from steelyard.tasks.job import Failed
from steelyard.upstream.hearing import Hearing, hear
from steelyard.upstream.pool import Origin, Pool, PoolError

PATH = "/v1/chat/completions"
TOTAL_S = 600.0
SILENCE_S = 300.0
MAX_REFUSAL_BYTES = 65_536


class Answering:
    """One answer of a model, as pieces; afterwards what it took."""

    def __init__(self) -> None:
        self.reader = PieceReader()

    @property
    def usage(self) -> Usage | None:
        """What it took."""
        return self.reader.usage


class Asking:
    """Asks models.

    Args:
        caller: mints the tokens that calls go out under.
        origin: where the gateways listen.
    """

    def __init__(self, caller: Caller, pool: Pool, origin: Origin) -> None:
        self._caller = caller
        self._pool = pool.origin(origin)
        self._origin = origin

    async def ask(
        self, rights: Rights, body: dict[str, Any], parent: str, answering: Answering
    ) -> AsyncGenerator[Piece, None]:
        """The pieces of an answer.

        Args:
            parent: the call that this one is a part of.

        Raises:
            Fault: the platform's refusal, or the model's failure.
        """
        try:
            token = await self._caller.token(rights)
        except Failed as failed:
            raise fault("api_key_invalid", detail=failed.failure.message) from None
        data = encode({**body, "stream": True, "stream_options": {"include_usage": True}})
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: {self._origin.host_header}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\n{PARENT_HEADER.decode()}: {parent}\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        try:
            request = head.encode() + data
            async with (
                hear(self._pool, request, total_s=TOTAL_S, silence_s=SILENCE_S) as hearing,
                contextlib.aclosing(self._read(hearing, answering.reader)) as pieces,
            ):
                async for piece in pieces:
                    yield piece
        except PoolError as exc:
            raise fault("app_failed", detail="the gateway broke off a call to the model.") from exc

    @staticmethod
    async def _read(hearing: Hearing, reader: PieceReader) -> AsyncGenerator[Piece, None]:
        refusal = b""
        async for part in hearing.parts():
            if hearing.answer.status != 200:
                refusal += part[: MAX_REFUSAL_BYTES - len(refusal)]
                continue
            for piece in reader.feed(part):
                yield piece
            if reader.error is not None:
                raise reader.error
        if hearing.answer.status != 200:
            raise read_refusal(hearing.answer.status, hearing.answer.headers, refusal)
        for piece in reader.flush():
            yield piece
        if not reader.is_done:
            raise fault("stream_broken")


def read_refusal(status: int, headers: dict[bytes, bytes], body: bytes) -> Fault:
    """A refusal of an inner call as the outer one tells it: what it was, in the same words."""
    try:
        told: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = None
    failure = openai_errors.read_refusal(status, headers, told, "gateway")
    slug = headers.get(FAULT_HEADER, b"").decode("latin-1")
    if not slug:
        return failure
    error = told.get("error") if isinstance(told, dict) else None
    named = fault(slug, retry_after_s=failure.retry_after_s)
    named.status = status
    if isinstance(error, dict):
        named.message = str(error.get("message") or named.message)
        named.openai_type, named.openai_code = error.get("type") or named.openai_type, error.get("code")
        named.param = error.get("param")
    named.is_retryable = headers.get(b"x-should-retry") != b"false" and named.is_retryable
    return named
