"""体验中心: one prompt to as many as four models side by side. The browser calls the API itself, with a token for one call."""

from starlette.responses import Response

from steelyard.canon.members import DEVELOPER
from steelyard.control import tokens
from steelyard.control.model_book import ModelBook
from steelyard.control.tokens import Narrowing
from steelyard.web.answers import secret_answer
from steelyard.web.console.callers import Callers
from steelyard.web.console.pages import Pages
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Visit

CHAT = "/v1/chat/completions"


class Playground:
    """The page, and the tokens for what it asks."""

    def __init__(self, models: ModelBook, callers: Callers, pages: Pages, base_url: str) -> None:
        self._models = models
        self._callers = callers
        self._pages = pages
        self._base_url = base_url
        self.acts = (
            Act("GET", "/console/playground", self.show, DEVELOPER),
            Act("POST", "/console/playground/token", self.mint, DEVELOPER),
        )

    async def show(self, visit: Visit) -> Response:
        models = [
            model for _, model in sorted((await self._models.read()).items()) if "chat" in model.targets[0].operations
        ]
        return self._pages.render(
            visit,
            "playground.html",
            keys=await self._callers.list_usable(visit),
            models=models,
            base_url=self._base_url,
            wished=visit.query.get("model", "qwen-plus"),
        )

    async def mint(self, visit: Visit) -> Response:
        """A token for one chat call to one model."""
        narrowing = Narrowing(models=(visit.form.get("model"),), operations=("chat",), resource=CHAT, once=True)
        return secret_answer(tokens.show_token(await self._callers.mint(visit, narrowing)))
