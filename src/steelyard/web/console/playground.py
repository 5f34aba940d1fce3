"""体验中心: one prompt to as many as four models side by side. The browser calls the API itself, with a token for one call."""

import msgspec
from starlette.responses import Response

from steelyard.base.errors import fault
from steelyard.base.jsondoor import decode_object
from steelyard.canon.members import DEVELOPER
from steelyard.canon.model import Model
from steelyard.control import tokens
from steelyard.control.keys import KeyRecord
from steelyard.control.model_book import ModelBook
from steelyard.control.tokens import Narrowing
from steelyard.web.answers import secret_answer
from steelyard.web.console.callers import Callers
from steelyard.web.console.code import Call, code_of
from steelyard.web.console.modes import CHAT, MODES, PREFIX, Mode, get_mode
from steelyard.web.console.pages import Pages
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Visit


class Trial(msgspec.Struct, frozen=True):
    """What a form for trying models is made of.

    Args:
        is_one: whether a single model is tried, on a page of its own.
    """

    mode: Mode
    models: list[Model]
    keys: list[KeyRecord]
    wished: str
    is_one: bool = False


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
            Act("POST", "/console/playground/code", self.show_code, DEVELOPER),
        )

    async def show(self, visit: Visit) -> Response:
        mode = get_mode(visit.query.get("mode", CHAT.name))
        models = [one for _, one in sorted((await self._models.read()).items()) if can_try(mode, one)]
        trial = Trial(
            mode, models, await self._callers.list_usable(visit), wished=visit.query.get("model", "qwen-plus")
        )
        return self._pages.render(visit, "playground.html", trial=trial, modes=tuple(MODES))

    async def mint(self, visit: Visit) -> Response:
        """A token for one call to one model."""
        mode = get_mode(visit.form.get("mode", CHAT.name))
        narrowing = Narrowing(
            models=(visit.form.get("model"),), operations=(mode.operation,), resource=PREFIX + mode.path, once=True
        )
        return secret_answer(tokens.show_token(await self._callers.mint(visit, narrowing)))

    async def show_code(self, visit: Visit) -> Response:
        """A call's code in every language."""
        mode = get_mode(visit.form.get("mode", CHAT.name))
        call = Call(mode, decode_object(visit.form.get("body").encode()), self._base_url)
        try:
            codes = code_of(call)
        except (KeyError, TypeError, AttributeError, RecursionError):
            # a body that no form of ours makes
            raise fault("body_invalid", detail=" (It is no call of this mode.)") from None
        return self._pages.render(visit, "code_tabs.html", codes=codes)


def can_try(mode: Mode, model: Model) -> bool:
    """Whether a model answers a mode's operation here."""
    return any(mode.operation in target.operations for target in model.targets)
