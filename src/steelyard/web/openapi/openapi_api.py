"""/openapi/: the documents and collections of every API. Public: they tell what any caller may find out."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from steelyard.base.errors import fault
from steelyard.web.answers import guarded, json_answer
from steelyard.web.openapi.collection import make_collection
from steelyard.web.openapi.document import make_document
from steelyard.web.openapi.sheet import Sheet

HOME = "/openapi"
DOCUMENT, COLLECTION = ".json", ".postman.json"


class OpenapiApi:
    """The handlers."""

    def __init__(self, read_sheets: Callable[[], Mapping[str, Sheet]], server_url: str) -> None:
        self._read_sheets = read_sheets
        self._server_url = server_url

    @cached_property
    def _documents(self) -> dict[str, dict[str, Any]]:
        """Made when they are first asked for: reading the sheets takes half a second."""
        return {name: make_document(sheet, self._server_url) for name, sheet in self._read_sheets().items()}

    def routes(self) -> list[Route]:
        """The Starlette routes."""
        return [
            Route(HOME, guarded(self.list), methods=["GET"]),
            Route(HOME + "/{file}", guarded(self.get), methods=["GET"]),
        ]

    async def list(self, _: Request) -> Response:
        """What there is."""
        shown = [
            {
                "name": name,
                "title": one["info"]["title"],
                "document": f"{HOME}/{name}{DOCUMENT}",
                "collection": f"{HOME}/{name}{COLLECTION}",
            }
            for name, one in self._documents.items()
        ]
        return json_answer({"data": shown})

    async def get(self, request: Request) -> Response:
        """One file."""
        file = request.path_params["file"]
        name, _, kind = file.partition(".")
        document = self._documents.get(name)
        if document is None or f".{kind}" not in (DOCUMENT, COLLECTION):
            raise fault("resource_not_found", detail=f" GET {HOME} lists the documents.")
        is_collection = f".{kind}" == COLLECTION
        answer = json_answer(make_collection(document) if is_collection else document)
        # pages of other origins may read it: API tools import by address
        answer.headers["access-control-allow-origin"] = "*"
        if is_collection:
            answer.headers["content-disposition"] = f'attachment; filename="steelyard-{file}"'
        return answer
