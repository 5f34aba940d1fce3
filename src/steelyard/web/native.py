"""The frame of native management endpoints: faults in the native envelope, the caller's workspace at hand."""

import functools
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from steelyard.base.errors import Fault
from steelyard.dialects import dashscope_errors

Handler = Callable[[Request], Awaitable[Response]]


def request_id_of(request: Request) -> str:
    """The id that the gateway gave the request."""
    return request.headers.get("x-request-id", "")


def native_answer(body: bytes, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(body, status_code=status, media_type="application/json")


def native_error(failure: Fault, request_id: str) -> Response:
    """A fault in the native envelope."""
    headers, body = dashscope_errors.render(failure, request_id)
    answer = Response(body, status_code=failure.status)
    for name, value in headers:
        answer.headers[name.decode()] = value.decode()
    return answer


def native_guarded(handler: Handler) -> Handler:
    """Wraps a handler: faults become answers."""

    @functools.wraps(handler)
    async def wrapped(request: Request) -> Response:
        try:
            return await handler(request)
        except Fault as failure:
            return native_error(failure, request_id_of(request))

    return wrapped
