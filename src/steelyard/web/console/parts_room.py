"""/console/_parts: the design system's parts on one page, in development mode alone."""

from starlette.responses import Response

from steelyard.base.errors import fault
from steelyard.web.console.pages import Pages
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Visit


class PartsRoom:
    """The page of parts."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self.acts = (Act("GET", "/console/_parts", self.show),)

    async def show(self, visit: Visit) -> Response:
        return self._pages.render(visit, "parts_page.html", failure=fault("internal_error"))
