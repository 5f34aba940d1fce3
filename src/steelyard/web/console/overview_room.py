"""The start page: the first steps, what was used today, and calls as they come."""

from starlette.responses import RedirectResponse, Response

from steelyard.base.clock import now_us
from steelyard.canon.members import DEVELOPER, OPERATOR
from steelyard.control import keys, usage, workspaces
from steelyard.control.model_book import ModelBook
from steelyard.control.records import Records
from steelyard.control.usage import DAY_US, CallFilter
from steelyard.web.console.pages import Pages
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Visit

LATEST = 8


class OverviewRoom:
    """The start page, and the activation of a workspace."""

    def __init__(self, records: Records, models: ModelBook, pages: Pages, free_tokens: int, base_url: str) -> None:
        self._records = records
        self._models = models
        self._pages = pages
        self._free_tokens = free_tokens
        self._base_url = base_url
        self.acts = (
            Act("GET", "/console/", self.show),
            Act("GET", "/console/latest", self.latest),
            Act("GET", "/console/activate", self.offer, OPERATOR),
            Act("POST", "/console/activate", self.activate, OPERATOR),
        )

    async def show(self, visit: Visit) -> Response:
        today = now_us() - now_us() % DAY_US
        used = await usage.list_models(self._records, visit.workspace, today, today + DAY_US)
        rows, _ = await usage.list_calls(self._records, visit.workspace, CallFilter(), limit=LATEST)
        has_key = bool(await keys.list_key_page(self._records, visit.workspace, limit=1))
        has_provider = (
            bool(await self._models.list_providers()) if visit.who.may(OPERATOR) and visit.who.is_everywhere else True
        )
        return self._pages.render(
            visit,
            "overview.html",
            used=used,
            rows=rows,
            base_url=self._base_url,
            steps=(
                ("activate", visit.space.activated_us is not None, "/console/activate", OPERATOR),
                ("key", has_key, "/console/settings/keys/new", DEVELOPER),
                ("call", bool(rows), "/console/playground", DEVELOPER),
                ("provider", has_provider, "/console/providers/new", OPERATOR),
            ),
        )

    async def latest(self, visit: Visit) -> Response:
        """The newest calls as lines of a table; the page asks every two seconds."""
        rows, _ = await usage.list_calls(self._records, visit.workspace, CallFilter(), limit=LATEST)
        return self._pages.render(visit, "call_rows.html", rows=rows)

    async def offer(self, visit: Visit) -> Response:
        """What is activated, before it is."""
        models = sorted((await self._models.read()).values(), key=lambda one: one.name)
        return self._pages.render(visit, "activate.html", models=models, free_tokens=self._free_tokens)

    async def activate(self, visit: Visit) -> Response:
        await workspaces.activate_workspace(self._records, visit.workspace, self._free_tokens, actor=visit.who.id)
        return RedirectResponse("/console/?done=activated", status_code=303)
