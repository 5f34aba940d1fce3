"""Providers: added with a look at what they would bring, tried, taken away."""

import secrets
from collections import OrderedDict

from starlette.responses import RedirectResponse, Response

from steelyard.base.clock import monotonic
from steelyard.base.errors import Fault, fault
from steelyard.canon.members import OPERATOR
from steelyard.control import providers
from steelyard.control.model_book import ModelBook
from steelyard.control.providers import Preview, ProviderWish
from steelyard.web.console.pages import Pages
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Visit

HOME = "/console/providers"
#: What was previewed waits so long for a yes, and so many wait at once: its key stays here and never goes into a page.
WAIT_S = 900.0
MAX_WAITING = 100


class ProvidersRoom:
    """The pages of providers."""

    def __init__(self, models: ModelBook, pages: Pages) -> None:
        self._models = models
        self._pages = pages
        #: by a random name: whose it is, since when it waits, the wish, what it would bring
        self._waiting: OrderedDict[str, tuple[str, float, ProviderWish, Preview]] = OrderedDict()
        self.acts = (
            Act("GET", HOME, self.list_providers, OPERATOR, is_everywhere=True),
            Act("GET", f"{HOME}/new", self.form, OPERATOR, is_everywhere=True),
            Act("POST", f"{HOME}/preview", self.preview, OPERATOR, is_everywhere=True),
            Act("POST", HOME, self.add, OPERATOR, is_everywhere=True),
            Act("POST", f"{HOME}/{{name}}/test", self.test, OPERATOR, is_everywhere=True),
            Act("POST", f"{HOME}/{{name}}/remove", self.remove, OPERATOR, is_everywhere=True),
        )

    async def list_providers(self, visit: Visit) -> Response:
        found = await self._models.list_providers()
        return self._pages.render(visit, "providers.html", providers=found)

    async def form(self, visit: Visit) -> Response:
        vendors = providers.list_vendors()
        chosen = next((one for one in vendors if one["vendor"] == visit.query.get("vendor", "")), None)
        return self._pages.render(visit, "provider_new.html", vendors=vendors, chosen=chosen, form=visit.form)

    async def preview(self, visit: Visit) -> Response:
        """Tries it; what it would bring is shown before it takes effect."""
        form = visit.form
        wish = ProviderWish(
            name=form.get("name"),
            vendor=form.get("vendor"),
            region=form.get("region"),
            kind=form.get("kind"),
            base_url=form.get("base_url"),
            api_key=form.get("api_key"),
            models=form.get_list("models"),
        )
        try:
            found = await self._models.preview(wish, is_local=False)
        except Fault as failure:
            vendors = providers.list_vendors()
            chosen = next((one for one in vendors if one["vendor"] == wish.vendor), None)
            return self._pages.render(
                visit, "provider_new.html", failure.status, vendors=vendors, chosen=chosen, form=form, failure=failure
            )
        ticket = self._wait(visit, wish, found)
        return self._pages.render(visit, "provider_preview.html", preview=found, ticket=ticket)

    def _wait(self, visit: Visit, wish: ProviderWish, found: Preview) -> str:
        ticket, now = secrets.token_urlsafe(16), monotonic()
        self._waiting[ticket] = (visit.who.id, now, wish, found)
        while self._waiting and (
            len(self._waiting) > MAX_WAITING or next(iter(self._waiting.values()))[1] < now - WAIT_S
        ):
            self._waiting.popitem(last=False)
        return ticket

    async def add(self, visit: Visit) -> Response:
        member, since, wish, found = self._waiting.pop(visit.form.get("ticket"), ("", 0.0, None, None))
        if wish is None or found is None or member != visit.who.id or since < monotonic() - WAIT_S:
            raise fault("form_foreign")
        await self._models.add(wish, found, actor=visit.who.id)
        return RedirectResponse(f"{HOME}?done=provider_added", status_code=303)

    async def test(self, visit: Visit) -> Response:
        name = visit.request.path_params["name"]
        probes = await self._models.test(name)
        return self._pages.render(visit, "provider_test.html", name=name, probes=probes)

    async def remove(self, visit: Visit) -> Response:
        await self._models.remove(visit.request.path_params["name"], actor=visit.who.id)
        return RedirectResponse(f"{HOME}?done=provider_removed", status_code=303)
