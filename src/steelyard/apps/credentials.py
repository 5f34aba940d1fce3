"""How plugins' servers are asked: what a credential puts into headers or the query. Secrets are opened here and nowhere else."""

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import msgspec

from steelyard.base.clock import monotonic
from steelyard.base.errors import Fault, SetupFault, fault
from steelyard.base.sealing import PREFIX, Sealer
from steelyard.canon.apps import Credential, Plugin

NONE, BEARER, BASIC, HEADER, QUERY, OAUTH2 = "none", "bearer", "basic", "header", "query", "oauth2"
KINDS = (NONE, BEARER, BASIC, HEADER, QUERY, OAUTH2)
#: A token is not used in its last seconds.
MARGIN_S = 30.0
DEFAULT_LIFE_S = 300.0
MAX_TOKENS = 500

Lines = dict[str, str]


def place_of(workspace: str, name: str) -> str:
    """What a plugin's sealed secret is bound to."""
    return f"plugin {workspace}/{name}"


class _Told(msgspec.Struct):
    access_token: str
    expires_in: float | str = DEFAULT_LIFE_S


class Credentials:
    """Opens secrets, and keeps tokens that were fetched with them.

    Args:
        resolve: `env:` and `file:` references.
    """

    def __init__(self, sealer: Sealer, resolve: Callable[[str, str], str]) -> None:
        self._sealer = sealer
        self._resolve = resolve
        self._tokens: dict[tuple[str, str, int], tuple[str, float]] = {}

    def open_secret(self, plugin: Plugin) -> str:
        """A plugin's secret.

        Raises:
            Fault: `plugin_unreachable`: the reference leads nowhere.
        """
        kept, place = plugin.spec.credential.secret, place_of(plugin.workspace, plugin.name)
        if not kept:
            return ""
        try:
            return self._sealer.unseal(kept, place) if kept.startswith(PREFIX) else self._resolve(kept, place)
        except SetupFault as exc:
            raise fault("plugin_unreachable", detail=str(exc)) from None

    async def lines_for(self, plugin: Plugin, client: Any) -> tuple[Lines, Lines]:
        """Header lines, and pairs for the query.

        Args:
            client: asks for tokens where they are wanted: the same that the plugin is called by, so that it is guarded.

        Raises:
            Fault: `plugin_unreachable`.
        """
        credential = plugin.spec.credential
        if credential.kind == NONE:
            return {}, {}
        secret = self.open_secret(plugin)
        if credential.kind == BASIC:
            pair = base64.b64encode(f"{credential.user}:{secret}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}, {}
        if credential.kind == HEADER:
            return {credential.name: secret}, {}
        if credential.kind == QUERY:
            return {}, {credential.name: secret}
        if credential.kind == OAUTH2:
            secret = await self._token(plugin, credential, secret, client)
        return {"Authorization": f"Bearer {secret}"}, {}

    async def _token(self, plugin: Plugin, credential: Credential, secret: str, client: Any) -> str:
        key = (plugin.workspace, plugin.name, plugin.modified_us)
        known = self._tokens.get(key)
        if known is not None and known[1] > monotonic():
            return known[0]
        form = {"grant_type": "client_credentials"} | ({"scope": credential.scope} if credential.scope else {})
        pair = base64.b64encode(f"{credential.user}:{secret}".encode()).decode()
        headers = {"Authorization": f"Basic {pair}", "Content-Type": "application/x-www-form-urlencoded"}
        answer = await client.post(credential.token_url, content=urlencode(form).encode(), headers=headers)
        if answer.status_code != 200:
            raise _no_token(f"its token server answered {answer.status_code}.")
        try:
            told = msgspec.json.decode(answer.content, type=_Told)
            life_s = float(told.expires_in)
        except (msgspec.DecodeError, ValueError):
            raise _no_token("its token server gave no token.") from None
        self._tokens[key] = told.access_token, monotonic() + max(life_s - MARGIN_S, 1.0)
        if len(self._tokens) > MAX_TOKENS:
            self._tokens.pop(next(iter(self._tokens)))
        return told.access_token


def _no_token(detail: str) -> Fault:
    return fault("plugin_unreachable", detail=detail)
