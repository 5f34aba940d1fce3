"""Answers in JSON, and the one frame that turns faults into them."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from steelyard.base.errors import Fault, fault
from steelyard.base.jsondoor import decode_object, encode
from steelyard.dialects import openai_errors

Handler = Callable[[Request], Awaitable[Response]]
T = TypeVar("T")


def json_answer(value: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(encode(value), status_code=status, media_type="application/json")


def secret_answer(value: Any, status: int = 200) -> Response:
    """A JSON answer with a secret in it: nobody on the way may keep it."""
    answer = json_answer(value, status)
    answer.headers["cache-control"] = "no-store"
    return answer


def error_answer(failure: Fault, request_id: str) -> Response:
    """A fault as the OpenAI envelope, which the control API shares."""
    headers, body = openai_errors.render(failure, request_id)
    answer = Response(body, status_code=failure.status)
    for name, value in headers:
        answer.headers[name.decode()] = value.decode()
    return answer


def guarded(handler: Handler) -> Handler:
    """Wraps a handler: faults become answers."""

    @functools.wraps(handler)
    async def wrapped(request: Request) -> Response:
        try:
            return await handler(request)
        except Fault as failure:
            return error_answer(failure, request.headers.get("x-request-id", ""))

    return wrapped


async def read_body(request: Request, kind: type[T]) -> T:
    """The body as a typed struct.

    Raises:
        Fault: naming the field at fault.
    """
    return as_struct(decode_object(await request.body() or b"{}"), kind)


def as_struct(fields: dict[str, Any], kind: type[T]) -> T:
    """Fields from outside as a typed struct; see `read_body`."""
    try:
        return msgspec.convert(fields, kind, from_attributes=True)
    except msgspec.ValidationError as exc:
        raise fault("parameter_invalid", detail=f"{exc}.") from None
