"""The models: what answers for each name, at what price, and with what abilities; routes are set and taken away."""

from urllib.parse import quote

import msgspec
from starlette.responses import RedirectResponse, Response

from steelyard.base.errors import Fault, fault
from steelyard.canon.members import OPERATOR
from steelyard.canon.model import FASTEST, WEIGHTED, Model, Price
from steelyard.control.catalogue import RouteSpec
from steelyard.control.limits import parse_money_micros, show_amount
from steelyard.control.model_book import ModelBook
from steelyard.control.routes import parse_target
from steelyard.web.console.pages import Pages
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Form, Visit

HOME, ROUTES = "/console/models", "/console/routes"
STRATEGIES = (WEIGHTED, FASTEST)


class ModelsRoom:
    """The pages of models and their routes."""

    def __init__(self, models: ModelBook, pages: Pages) -> None:
        self._models = models
        self._pages = pages
        self.acts = (
            Act("GET", HOME, self.list_models),
            Act("POST", ROUTES, self.set_route, OPERATOR, is_everywhere=True),
            Act("POST", f"{ROUTES}/remove", self.remove_route, OPERATOR, is_everywhere=True),
            Act("GET", f"{ROUTES}/new", self.form, OPERATOR, is_everywhere=True),
            Act("GET", f"{HOME}/{{model:path}}", self.show),
        )

    async def list_models(self, visit: Visit) -> Response:
        text = visit.query.get("q", "").strip().lower()
        models = sorted((await self._models.read()).values(), key=lambda one: (one.is_stand_in, one.name))
        shown = [one for one in models if text in one.name.lower()]
        return self._pages.render(visit, "models.html", models=shown, text=text, open_ones=visit.space.policy.models)

    async def show(self, visit: Visit) -> Response:
        name = visit.request.path_params["model"]
        model = (await self._models.read()).get(name)
        if model is None:
            raise fault("resource_not_found", detail=f" There is no model {name!r}.")
        route = _fields_of(model, await self._models.find_route(name))
        return self._pages.render(visit, "model.html", model=model, route=route, strategies=STRATEGIES)

    async def form(self, visit: Visit) -> Response:
        return self._pages.render(visit, "route_new.html", route=_EMPTY, strategies=STRATEGIES)

    async def set_route(self, visit: Visit) -> Response:
        """What answers for a name, in what order, and at what price; it is used in every process within two seconds."""
        name = visit.form.get("model")
        before = await self._models.find_route(name) or RouteSpec(targets=())
        known = (await self._models.read()).get(name)
        try:
            spec = _read_route(visit.form, before, known)
            await self._models.set_route(name, spec, actor=visit.who.id)
        except Fault as failure:
            return self._pages.render(
                visit,
                "route_new.html",
                failure.status,
                route={field: visit.form.get(field) for field in _EMPTY},
                strategies=STRATEGIES,
                failure=failure,
            )
        return RedirectResponse(f"{HOME}/{quote(name)}?done=route_set", status_code=303)

    async def remove_route(self, visit: Visit) -> Response:
        """Takes a set route away; what the public list or a provider says of the name holds again."""
        await self._models.remove_route(visit.form.get("model"), actor=visit.who.id)
        return RedirectResponse(f"{HOME}?done=route_removed", status_code=303)


_AMOUNTS = ("input", "cached", "output")
_EMPTY = dict.fromkeys(("model", "targets", "strategy", "max_attempts", "aliases", *_AMOUNTS, "currency"), "")


def _fields_of(model: Model, spec: RouteSpec | None) -> dict[str, str]:
    """A model's route as the form has it."""
    lines = [f"{one.provider}/{one.model}@{one.priority}*{one.weight}" for one in model.targets]
    return {
        **_EMPTY,
        **_price_fields(model.targets[0].price),
        "model": model.name,
        "targets": "\n".join(lines),
        "strategy": model.strategy,
        "max_attempts": str(model.max_attempts),
        "aliases": ", ".join(spec.aliases) if spec is not None else "",
    }


def _price_fields(price: Price) -> dict[str, str]:
    amounts = (price.input_micros, price.cached_micros, price.output_micros) if price.is_known else (None,) * 3
    texts = ("" if micros is None else show_amount(micros) for micros in amounts)
    return {**dict(zip(_AMOUNTS, texts, strict=True)), "currency": price.currency}


def _read_route(form: Form, before: RouteSpec, known: Model | None) -> RouteSpec:
    """The route that a form describes; what it does not show stays as it was set.

    Args:
        known: the model as it is; None where the name is new.

    Raises:
        Fault: naming the field at fault.
    """
    return msgspec.structs.replace(
        before,
        targets=tuple(parse_target(one) for one in form.get_list("targets")),
        price=_read_price(form, before, known),
        aliases=form.get_list("aliases"),
        strategy=form.get("strategy") or WEIGHTED,
        max_attempts=form.get_int("max_attempts") or 3,
    )


def _read_price(form: Form, before: RouteSpec, known: Model | None) -> Price | None:
    """The price that a form describes; one that was left alone is left alone, wherever it comes from. None takes the public list's."""
    shown = {name: form.get(name) for name in (*_AMOUNTS, "currency")}
    if known is not None and shown == _price_fields(known.targets[0].price):
        return before.price
    if not form.get("input") and not form.get("output"):
        return None
    # prices of pictures and seconds are not in the form
    base = known.targets[0].price if known is not None and known.targets[0].price.is_known else Price()
    return msgspec.structs.replace(
        base,
        version="set",
        currency=(form.get("currency") or "CNY").upper(),
        input_micros=parse_money_micros(form.get("input") or "0"),
        output_micros=parse_money_micros(form.get("output") or "0"),
        cached_micros=parse_money_micros(form.get("cached")) if form.get("cached") else None,
    )
