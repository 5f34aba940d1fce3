"""POST /api/v1/tokens: temporary tokens, as the vendor mints them. Source: dashscope.md 15."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from steelyard.base.errors import Fault
from steelyard.base.tokens import Signer
from steelyard.control import tokens
from steelyard.control.records import Records
from steelyard.dialects import dashscope_errors
from steelyard.web.answers import read_body, secret_answer
from steelyard.web.principal import get_principal


class TokensApi:
    """The handler."""

    def __init__(self, records: Records, signer: Signer) -> None:
        self._records = records
        self._signer = signer

    def routes(self) -> list[Route]:
        """The Starlette routes."""
        return [Route("/api/v1/tokens", self.mint, methods=["POST"])]

    async def mint(self, request: Request) -> Response:
        """The caller's key becomes a token; a body may narrow it."""
        try:
            grant = get_principal(request)
            lifetime_s = tokens.parse_lifetime_s(request.query_params.get("expire_in_seconds"))
            narrowing = await read_body(request, tokens.Narrowing)
            made = await tokens.mint_token(self._records, self._signer, grant, lifetime_s, narrowing)
        except Fault as failure:
            headers, body = dashscope_errors.render(failure, request.headers.get("x-request-id", ""))
            shown = {name.decode(): value.decode() for name, value in headers}
            return Response(body, status_code=failure.status, headers=shown)
        return secret_answer(tokens.show_token(made))
