"""The face's application: routes from the parts, one frame for what goes wrong."""

import logging
from typing import Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from steelyard.base.errors import fault
from steelyard.control.exposition import Exposition
from steelyard.dialects import dashscope_errors
from steelyard.web import error_pages
from steelyard.web.answers import error_answer, guarded
from steelyard.web.control_api import ControlApi
from steelyard.web.internal_api import InternalApi
from steelyard.web.native import native_error
from steelyard.web.principal import get_admin
from steelyard.web.responses_api import ResponsesApi
from steelyard.web.tokens_api import TokensApi

log = logging.getLogger("steelyard.web")


class Routed(Protocol):
    """What has routes."""

    def routes(self) -> list[Route]:
        """The Starlette routes."""
        ...


def build_app(
    control: ControlApi,
    internal: InternalApi,
    tokens: TokensApi,
    responses: ResponsesApi,
    exposition: Exposition,
    *media: Routed,
) -> Starlette:
    """Assembles the application."""

    async def metrics(request: Request) -> Response:
        get_admin(request)
        return PlainTextResponse(await exposition.render(), media_type="text/plain; version=0.0.4")

    async def own_metrics(_: Request) -> Response:
        return PlainTextResponse(await exposition.render(), media_type="text/plain; version=0.0.4")

    routes: list[BaseRoute] = [
        *internal.routes(),
        *control.routes(),
        *tokens.routes(),
        *responses.routes(),
        *error_pages.routes(),
        *(route for one in media for route in one.routes()),
        Route("/metrics", guarded(metrics)),
        # for the monitor, over the private socket alone
        Route("/internal/metrics", own_metrics),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={HTTPException: _http_exception, Exception: _exception},
    )
    # clients turn a POST that is sent elsewhere into a GET: what takes both forms of a path says so itself
    app.router.redirect_slashes = False
    return app


async def _http_exception(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    request_id = request.headers.get("x-request-id", "")
    failure = (
        fault("method_not_supported", method=request.method) if exc.status_code == 405 else fault("path_not_found")
    )
    answer = native_error if request.url.path.startswith(dashscope_errors.PREFIX) else error_answer
    return answer(failure, request_id)


async def _exception(request: Request, exc: Exception) -> Response:
    request_id = request.headers.get("x-request-id", "")
    log.error("a request failed", exc_info=exc, extra={"request_id": request_id})
    return error_answer(fault("internal_error"), request_id)
