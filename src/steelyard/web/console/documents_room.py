"""设置 → 接口文档: every API as an OpenAPI document and as a collection, and how Apifox and Postman take them in."""

from collections.abc import Callable, Mapping

from starlette.responses import Response

from steelyard.web.console.pages import Pages
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Visit
from steelyard.web.openapi.openapi_api import COLLECTION, DOCUMENT
from steelyard.web.openapi.openapi_api import HOME as FILES


class DocumentsRoom:
    """The page of documents."""

    def __init__(self, read_titles: Callable[[], Mapping[str, str]], pages: Pages, base_url: str) -> None:
        self._read_titles = read_titles
        self._pages = pages
        self._base_url = base_url
        self.acts = (Act("GET", "/console/settings/documents", self.show),)

    async def show(self, visit: Visit) -> Response:
        rows = [
            (title, f"{FILES}/{name}{DOCUMENT}", f"{FILES}/{name}{COLLECTION}")
            for name, title in self._read_titles().items()
        ]
        return self._pages.render(visit, "documents.html", rows=rows, base_url=self._base_url)
