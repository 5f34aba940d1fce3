"""/hub/: vendors and models, searched, shown with their alternatives, compared, and tried in place."""

from starlette.responses import Response

from steelyard.control.hub.entries import (
    MODEL,
    PROVIDER,
    Entry,
    alternatives,
    get_entry,
    read_words,
)
from steelyard.control.hub.search import search
from steelyard.control.model_book import ModelBook
from steelyard.web.console.pages import Pages
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Visit

FOUND, COMPARED = 60, 8


class HubRoom:
    """The pages of the hub."""

    def __init__(self, models: ModelBook, pages: Pages) -> None:
        self._models = models
        self._pages = pages
        self.acts = (
            Act("GET", "/hub/", self.find),
            Act("GET", "/hub/compare", self.compare),
            Act("GET", "/hub/providers/{name}", self.show_provider),
            Act("GET", "/hub/models/{name:path}", self.show_model),
        )

    async def find(self, visit: Visit) -> Response:
        query, kind = visit.query.get("q", ""), visit.query.get("kind", "")
        modality = visit.query.get("modality", "")
        words = read_words().modalities
        found = search(
            query,
            kind=kind if kind in (PROVIDER, MODEL) else "",
            modality=modality if modality in words else "",
            limit=FOUND,
        )
        return self._pages.render(
            visit,
            "hub.html",
            found=found,
            query=query,
            kind=kind,
            modality=modality,
            modalities=[(name, one.shown(visit.t.language)) for name, one in words.items()],
        )

    async def show_provider(self, visit: Visit) -> Response:
        entry = get_entry(visit.request.path_params["name"], PROVIDER)
        offered = [get_entry(name, MODEL) for name in entry.models]
        return self._pages.render(visit, "hub_provider.html", entry=entry, found=offered)

    async def show_model(self, visit: Visit) -> Response:
        entry = get_entry(visit.request.path_params["name"], MODEL)
        here = (await self._models.read()).get(entry.name)
        return self._pages.render(
            visit,
            "hub_model.html",
            entry=entry,
            others=alternatives(entry),
            here=here,
            abilities=_abilities(visit, entry),
        )

    async def compare(self, visit: Visit) -> Response:
        """Models side by side; names that the hub does not know are left out."""
        names = list(dict.fromkeys(visit.query.getlist("model")))[:COMPARED]
        found = [one for name in names for one in search(name, kind=MODEL, limit=1) if one.name == name]
        rows = [(one, _abilities(visit, one)) for one in found]
        return self._pages.render(visit, "hub_compare.html", rows=rows)


def _abilities(visit: Visit, entry: Entry) -> str:
    known = read_words().capabilities
    return ", ".join(known[one].shown(visit.t.language) for one in entry.capabilities if one in known) or "–"
