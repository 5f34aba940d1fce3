"""/hub/: vendors and models, searched, shown with their alternatives, compared, measured by own traffic, and tried in place."""

import contextlib
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from steelyard.base.catalogue import BY_SLUG
from steelyard.base.errors import Fault, OurFault
from steelyard.canon.members import DEVELOPER
from steelyard.control.hub.entries import MODEL, PROVIDER, Entry, alternatives, get_entry, read_words
from steelyard.control.hub.figures import ANSWERS, ORDERS, WINDOWS, Figures, rank
from steelyard.control.hub.meaning import Meaning, MeaningSearch
from steelyard.control.hub.search import search
from steelyard.control.model_book import ModelBook
from steelyard.web.console.callers import Callers, member_grant
from steelyard.web.console.code import Call, code_of
from steelyard.web.console.measures import Measures, Sheet
from steelyard.web.console.modes import Mode, mode_of
from steelyard.web.console.pages import Pages
from steelyard.web.console.playground import Trial, can_try
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Visit
from steelyard.web.openapi.sheet import read_sheets

FOUND, COMPARED = 60, 8
WINDOW = "7d"
#: What goes wrong most with any model; told of each with cause and cure.
COMMON_ERRORS = (
    "model_not_found", "model_not_open", "input_too_long", "limit_requests", "token_rate", "budget_spent",
    "data_inspection_failed", "upstream_timeout",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parameter:
    """A field of a call's body."""

    name: str
    kind: str
    bounds: str
    is_needed: bool


class HubRoom:
    """The pages of the hub."""

    def __init__(
        self,
        models: ModelBook,
        meanings: MeaningSearch,
        callers: Callers,
        measures: Measures,
        pages: Pages,
        base_url: str,
    ) -> None:
        self._meanings = meanings
        self._models = models
        self._callers = callers
        self._measures = measures
        self._pages = pages
        self._base_url = base_url
        self.acts = (
            Act("GET", "/hub/", self.find),
            Act("GET", "/hub/compare", self.compare),
            Act("GET", "/hub/ranking", self.rank),
            Act("GET", "/hub/providers/{name}", self.show_provider),
            Act("GET", "/hub/models/{name:path}", self.show_model),
        )

    async def find(self, visit: Visit) -> Response:
        query, kind = visit.query.get("q", ""), visit.query.get("kind", "")
        modality = visit.query.get("modality", "")
        words = read_words().modalities
        found, meaning = await self._find(
            query,
            kind=kind if kind in (PROVIDER, MODEL) else "",
            modality=modality if modality in words else "",
            limit=FOUND,
        )
        return self._pages.render(
            visit,
            "hub.html",
            found=found,
            meaning="" if meaning is None else meaning.shown(visit.t.language),
            query=query,
            kind=kind,
            modality=modality,
            modalities=[(name, one.shown(visit.t.language)) for name, one in words.items()],
        )

    async def _find(self, query: str, *, kind: str, modality: str, limit: int) -> tuple[list[Entry], Meaning | None]:
        """By words and by meaning; by words alone where no embedded model is here."""
        try:
            return await self._meanings.find(query, kind=kind, modality=modality, limit=limit)
        except Fault as failure:
            if failure.slug != "model_unavailable":
                raise
            return search(query, kind=kind, modality=modality, limit=limit), None

    async def show_provider(self, visit: Visit) -> Response:
        entry = get_entry(visit.request.path_params["name"], PROVIDER)
        offered = [get_entry(name, MODEL) for name in entry.models]
        return self._pages.render(visit, "hub_provider.html", entry=entry, found=offered)

    async def show_model(self, visit: Visit) -> Response:
        entry = get_entry(visit.request.path_params["name"], MODEL)
        here, mode = (await self._models.read()).get(entry.name), mode_of(entry.modality)
        trial = None
        if mode is not None and here is not None and can_try(mode, here) and visit.who.may(DEVELOPER):
            trial = Trial(mode, [here], await self._callers.list_usable(visit), wished=entry.name, is_one=True)
        return self._pages.render(
            visit,
            "hub_model.html",
            entry=entry,
            others=alternatives(entry),
            here=here,
            abilities=_abilities(visit, entry),
            trial=trial,
            parameters=() if mode is None else _parameters(mode),
            codes=() if mode is None else code_of(_example(mode, entry, self._base_url)),
            errors=[BY_SLUG[one] for one in COMMON_ERRORS],
        )

    async def compare(self, visit: Visit) -> Response:
        """Models side by side; names that the hub does not know are left out."""
        names = list(dict.fromkeys(visit.query.getlist("model")))[:COMPARED]
        found = [one for name in names for one in search(name, kind=MODEL, limit=1) if one.name == name]
        rows = [(one, _abilities(visit, one)) for one in found]
        sheet = None
        with contextlib.suppress(OurFault):
            # list prices stand beside each other while the monitor is away too
            sheet = await self._read(visit, WINDOW) if len(rows) > 1 else None
        figures = [] if sheet is None else [sheet.by_model.get(one.name, Figures(model=one.name)) for one in found]
        return self._pages.render(visit, "hub_compare.html", rows=rows, sheet=sheet, figures=figures, window=WINDOW)

    async def rank(self, visit: Visit) -> Response:
        """Models of the workspace's own traffic, the best first; of one alone where a page asks for its part."""
        window = visit.query.get("window", WINDOW)
        order = visit.query.get("order", ANSWERS)
        sheet = await self._read(visit, window)
        ranked = rank(sheet.by_model, order if order in ORDERS else ANSWERS)
        one = visit.query.get("model", "")
        if visit.is_fragment and one:
            ranked = [figures for figures in ranked if figures.model == one]
        values: dict[str, Any] = {
            "sheet": sheet,
            "ranked": ranked,
            "order": order,
            "window": window,
            "windows": WINDOWS,
        }
        return self._pages.render(visit, "hub_figures.html" if visit.is_fragment else "hub_ranking.html", **values)

    async def _read(self, visit: Visit, window: str) -> Sheet:
        return await self._measures.read(member_grant(visit), window)


def _abilities(visit: Visit, entry: Entry) -> str:
    known = read_words().capabilities
    return ", ".join(known[one].shown(visit.t.language) for one in entry.capabilities if one in known) or "–"


def _example(mode: Mode, entry: Entry, base_url: str) -> Call:
    body = {**read_sheets()["openai"].paths[mode.path]["post"].example, "model": entry.name}
    return Call(mode, body, base_url)


def _parameters(mode: Mode) -> list[Parameter]:
    """The fields of a mode's calls, as its document has them."""
    schema = read_sheets()["openai"].schemas[mode.schema]
    needed = schema.get("required", ())
    return [Parameter(name, _kind(told), _bounds(told), name in needed) for name, told in schema["properties"].items()]


def _kind(told: dict[str, Any]) -> str:
    if "enum" in told:
        return " | ".join(str(one) for one in told["enum"])
    if "anyOf" in told:
        return " | ".join(dict.fromkeys(_kind(one) for one in told["anyOf"]))
    return str(told.get("type", "object"))


_SIGNS = {"minimum": "≥", "maximum": "≤", "exclusiveMinimum": ">", "exclusiveMaximum": "<"}


def _bounds(told: dict[str, Any]) -> str:
    return ", ".join(f"{sign} {told[name]}" for name, sign in _SIGNS.items() if name in told)
