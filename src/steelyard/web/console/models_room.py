"""The models: what answers for each name, at what price, and with what abilities."""

from starlette.responses import Response

from steelyard.base.errors import fault
from steelyard.control.model_book import ModelBook
from steelyard.web.console.pages import Pages
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Visit


class ModelsRoom:
    """The pages of models."""

    def __init__(self, models: ModelBook, pages: Pages) -> None:
        self._models = models
        self._pages = pages
        self.acts = (
            Act("GET", "/console/models", self.list_models),
            Act("GET", "/console/models/{model:path}", self.show),
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
        return self._pages.render(visit, "model.html", model=model)
