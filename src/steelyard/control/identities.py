"""Signing in at an identity provider: OpenID Connect's code flow, with PKCE. Source: OpenID Connect Core 1.0, RFC 7636."""

import base64
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from steelyard.base.clock import monotonic
from steelyard.base.errors import fault
from steelyard.base.jsondoor import decode_object

#: (method, url, body, headers) -> status, body; raises `OSError` where nobody answers
Fetch = Callable[[str, str, bytes, dict[str, str]], Awaitable[tuple[int, bytes]]]
#: Addresses and keys are asked for again after this long; keys also where a token names one that is not known.
FRESH_S = 3600.0
LEEWAY_S = 60
#: Nothing that the provider itself can be fooled into by knowing a public key.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")
SCOPE = "openid profile email"


class IdentitySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Whom we ask, and as whom.

    Args:
        issuer: `https://…`; what is behind `/.well-known/openid-configuration` there says everything else.
        claim: what a member is called after.
        redirect_url: where people come back to.
    """

    issuer: str
    client_id: str
    client_secret: str
    claim: str
    redirect_url: str


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """What a browser keeps while somebody is at the provider."""

    state: str
    nonce: str
    verifier: str
    next: str = ""


class Identity(msgspec.Struct, frozen=True):
    """Who somebody is there: a name that never changes, and what to call them."""

    subject: str
    login: str


class IdentityProvider:
    """One provider."""

    def __init__(self, settings: IdentitySettings, fetch: Fetch) -> None:
        self._settings = settings
        self._fetch = fetch
        self._described: tuple[float, dict[str, Any]] | None = None
        self._keys: dict[str, Any] = {}

    async def begin(self, next_: str) -> tuple[str, Flow]:
        """Where to send somebody, and what their browser must bring back."""
        flow = Flow(
            state=secrets.token_urlsafe(24),
            nonce=secrets.token_urlsafe(24),
            verifier=secrets.token_urlsafe(48),
            next=next_,
        )
        challenge = base64.urlsafe_b64encode(hashlib.sha256(flow.verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._settings.redirect_url,
            "scope": SCOPE,
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        where = str((await self._describe())["authorization_endpoint"])
        return f"{where}{'&' if '?' in where else '?'}{urlencode(asked)}", flow

    async def finish(self, flow: Flow, code: str) -> Identity:
        """Who came back with a code.

        Raises:
            Fault: `sign_on_failed`; the provider does not answer or refuses, or what it says is not for us.
        """
        described = await self._describe()
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._settings.redirect_url,
            "client_id": self._settings.client_id,
            "code_verifier": flow.verifier,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        # who says nothing takes basic authentication: Discovery 3
        if "client_secret_basic" in described.get("token_endpoint_auth_methods_supported", ["client_secret_basic"]):
            pair = ":".join(quote(one, safe="") for one in (self._settings.client_id, self._settings.client_secret))
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            fields["client_secret"] = self._settings.client_secret
        told = await self._ask("POST", str(described["token_endpoint"]), urlencode(fields).encode(), headers)
        claims = await self._read_token(str(told.get("id_token", "")))
        if claims.get("nonce") != flow.nonce:
            raise fault("sign_on_failed", detail="the answer belongs to another visit.")
        login = claims.get(self._settings.claim) or claims.get("email") or claims["sub"]
        return Identity(f"{self._settings.issuer}|{claims['sub']}", str(login))

    async def _read_token(self, token: str) -> dict[str, Any]:
        # imported here: most installations have no provider
        import jwt

        try:
            key = await self._find_key(str(jwt.get_unverified_header(token).get("kid", "")))
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=self._settings.client_id,
                issuer=self._settings.issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iat", "sub", "aud", "iss"]},
            )
        except jwt.PyJWTError as exc:
            raise fault("sign_on_failed", detail=f"its token is not good: {exc}.") from None
        return claims

    async def _find_key(self, name: str) -> Any:
        import jwt

        if name not in self._keys:
            found = await self._ask("GET", str((await self._describe())["jwks_uri"]))
            known = jwt.PyJWKSet.from_dict(found)
            self._keys = {str(one.key_id or ""): one for one in known.keys if one.public_key_use in (None, "sig")}
        if not name and len(self._keys) == 1:
            # a provider with a single key need not name it
            return next(iter(self._keys.values()))
        if name not in self._keys:
            raise fault("sign_on_failed", detail="its token was signed with an unknown key.")
        return self._keys[name]

    async def _describe(self) -> dict[str, Any]:
        """The provider's own description, which must be of the issuer that was configured."""
        if self._described is None or monotonic() - self._described[0] > FRESH_S:
            where = self._settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
            found = await self._ask("GET", where)
            needed = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            if found.get("issuer") != self._settings.issuer or not all(found.get(one) for one in needed):
                raise fault("sign_on_failed", detail="its description is not the configured issuer's.")
            self._described = (monotonic(), found)
        return self._described[1]

    async def _ask(
        self, method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        try:
            status, answer = await self._fetch(method, url, body, headers or {})
        except OSError as exc:
            raise fault("sign_on_failed", detail=f"it does not answer ({exc}).") from None
        if status != 200:
            # what it says may hold our secret or the code: only its kind is told
            raise fault("sign_on_failed", detail=f"it answered {status}.")
        return decode_object(answer)
