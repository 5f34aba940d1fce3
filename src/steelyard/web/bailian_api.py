"""The vendor's management protocol of documents and knowledge bases. Source: bailian-openapi.md.

The gateway has checked signature and workspace. Here an action's parameters are read, its use-case called, and the answer put into the
vendor's words; what a parameter is wrong in, the refusal names as the wire does.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from steelyard.base.clock import now_us
from steelyard.base.errors import Fault, fault
from steelyard.base.jsondoor import decode_object
from steelyard.canon.grant import Grant
from steelyard.dialects import bailian_errors
from steelyard.dialects.bailian_wire import SECTIONS, Parameters, answer, find_call
from steelyard.knowledge.documents import MAX_DOCUMENT_BYTES, Documents
from steelyard.knowledge.leases import PREFIX, Leases
from steelyard.web.bailian_documents import DocumentActions
from steelyard.web.bailian_indices import IndexActions
from steelyard.web.native import native_guarded
from steelyard.web.principal import get_principal

#: One action: (who asks, the id in the path, parameters) -> `Data`
Action = Callable[[Grant, str, Parameters], Awaitable[Any]]


class BailianApi:
    """The protocol's door: paths, parameters, envelopes."""

    def __init__(self, documents: DocumentActions, indices: IndexActions) -> None:
        self.actions: dict[str, Action] = {**documents.actions(), **indices.actions()}

    def routes(self) -> list[Route]:
        """The Starlette routes."""
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        paths = [f"/{{workspace}}/{section}{rest}" for section in SECTIONS for rest in ("", "/{rest:path}")]
        return [Route(path, self.handle, methods=methods) for path in paths]

    async def handle(self, request: Request) -> Response:
        """Any call of the protocol."""
        request_id = request.headers.get("x-request-id", "")
        try:
            raw_path = request.scope["raw_path"].decode("latin-1")
            call = find_call(request.method, raw_path)
            action = self.actions[call.action]
            data = await action(get_principal(request), call.id, Parameters(await _read_parameters(request)))
        except Fault as failure:
            headers, body = bailian_errors.render(failure, request_id)
            refused = Response(body, status_code=bailian_errors.get_status(failure))
            for name, value in headers:
                refused.headers[name.decode()] = value.decode()
            return refused
        return Response(answer(data, request_id), media_type="application/json")


async def _read_parameters(request: Request) -> dict[str, Any]:
    """Query, form and JSON body as one: no action has a name in two of them. Of a repeated name the last counts."""
    query = request.scope["query_string"].decode("latin-1")
    values: dict[str, Any] = dict(parse_qsl(query, keep_blank_values=True))
    body = await request.body()
    if not body:
        return values
    if request.headers.get("content-type", "").startswith("application/json"):
        return values | decode_object(body)
    try:
        return values | dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True))
    except ValueError:
        raise fault("index_parameter", name="body", detail=" The body is no form.") from None


class LeaseApi:
    """Where the bytes of a lease go. It needs no key: the address is signed."""

    def __init__(self, leases: Leases, documents: Documents) -> None:
        self._leases = leases
        self._documents = documents

    def routes(self) -> list[Route]:
        """The Starlette routes."""
        return [Route(PREFIX + "{token}", native_guarded(self.upload), methods=["PUT", "POST"])]

    async def upload(self, request: Request) -> Response:
        lease = self._leases.read(request.path_params["token"], now_us())
        with self._documents.open_spool() as spool:
            async for part in request.stream():
                spool.write(part)
                if spool.size_bytes > MAX_DOCUMENT_BYTES:
                    raise fault("file_too_large", limit_bytes=MAX_DOCUMENT_BYTES, size="more")
            if not spool.size_bytes:
                raise fault("parameter_invalid", detail="The file is empty.")
            stored = await self._documents.keep_upload(lease, spool)
        # exactly 200: that is what callers look for
        return Response(status_code=200, headers={"etag": f'"{stored.digest}"'})
