"""/v1/responses/ID: stored responses, told again and deleted. Source: openai-compatible.md 1 and 8."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from steelyard.base.errors import fault
from steelyard.control import responses
from steelyard.control.records import Records
from steelyard.web.answers import guarded, json_answer
from steelyard.web.principal import get_principal

PREFIXES = ("/v1/responses", "/compatible-mode/v1/responses")


class ResponsesApi:
    """The handlers."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def routes(self) -> list[Route]:
        """The Starlette routes."""
        table = (
            ("GET", "/{response_id}", self.get),
            ("DELETE", "/{response_id}", self.delete),
            ("GET", "/{response_id}/input_items", self.list_items),
        )
        return [
            Route(prefix + path, guarded(handler), methods=[method])
            for prefix in PREFIXES
            for method, path, handler in table
        ]

    async def get(self, request: Request) -> Response:
        grant = get_principal(request)
        found = await responses.get(self._records, grant.workspace, request.path_params["response_id"])
        return Response(found.body, media_type="application/json")

    async def delete(self, request: Request) -> Response:
        grant = get_principal(request)
        response_id = request.path_params["response_id"]
        await responses.delete(self._records, grant.workspace, response_id)
        return json_answer({"id": response_id, "object": "response", "deleted": True})

    async def list_items(self, request: Request) -> Response:
        grant = get_principal(request)
        found = await responses.get(self._records, grant.workspace, request.path_params["response_id"])
        query = request.query_params
        limit = query.get("limit", "20")
        if not limit.isdecimal():
            raise fault("parameter_type", field="limit", type="Integer", param="limit")
        page = responses.list_items(
            found, after=query.get("after", ""), limit=int(limit), is_ascending=query.get("order") == "asc"
        )
        return json_answer(page)
