"""体验中心: one prompt to as many as four models side by side. The browser calls the API itself, with a token for one call."""

from starlette.responses import Response

from steelyard.base.errors import fault
from steelyard.base.tokens import Signer
from steelyard.canon.members import DEVELOPER
from steelyard.control import keys, tokens
from steelyard.control.model_book import ModelBook
from steelyard.control.records import Records
from steelyard.web.answers import secret_answer
from steelyard.web.console.pages import Pages
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Visit

CHAT = "/v1/chat/completions"
TOKEN_S = 60
MAX_KEYS = 200


class Playground:
    """The page, and the tokens for what it asks."""

    def __init__(self, records: Records, models: ModelBook, pages: Pages, signer: Signer, base_url: str) -> None:
        self._records = records
        self._models = models
        self._pages = pages
        self._signer = signer
        self._base_url = base_url
        self.acts = (
            Act("GET", "/console/playground", self.show, DEVELOPER),
            Act("POST", "/console/playground/token", self.mint, DEVELOPER),
        )

    async def show(self, visit: Visit) -> Response:
        found = await keys.list_key_page(self._records, visit.workspace, limit=MAX_KEYS)
        usable = [one for one in found if one.grant.kind == keys.API and not one.grant.is_disabled]
        models = [
            model for _, model in sorted((await self._models.read()).items()) if "chat" in model.targets[0].operations
        ]
        return self._pages.render(
            visit,
            "playground.html",
            keys=usable,
            models=models,
            base_url=self._base_url,
            wished=visit.query.get("model", "qwen-plus"),
        )

    async def mint(self, visit: Visit) -> Response:
        """A token for one chat call to one model, good for a minute."""
        record = await keys.get_key(self._records, visit.form.get("key"))
        if record.grant.workspace != visit.workspace or record.grant.kind != keys.API:
            raise fault("resource_not_found", detail=" There is no such key in this workspace.")
        narrowing = tokens.Narrowing(models=(visit.form.get("model"),), operations=("chat",), resource=CHAT, once=True)
        made = await tokens.mint_token(self._records, self._signer, record.grant, TOKEN_S, narrowing)
        return secret_answer(tokens.show_token(made))
