"""What an identity provider says is believed where it is signed, fresh, and for us alone."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from steelyard.base.errors import Fault
from steelyard.control.identities import Flow, IdentityProvider, IdentitySettings

ISSUER = "https://id.example.com"
KEY, OTHER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
FLOW = Flow(state="s", nonce="n", verifier="v")


def _public(key: rsa.RSAPrivateKey, name: str) -> dict[str, Any]:
    return {
        **json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())),
        "kid": name,
        "use": "sig",
        "alg": "RS256",
    }


class Provider:
    """A provider whose token is what a test says."""

    def __init__(self, token: str = "", *, keys: list[dict[str, Any]] | None = None, issuer: str = ISSUER) -> None:
        self.token = token
        self.keys = [_public(KEY, "one")] if keys is None else keys
        self.issuer = issuer
        self.asked: list[tuple[str, bytes, dict[str, str]]] = []
        self.more: dict[str, Any] = {}

    async def fetch(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        self.asked.append((method, body, headers))
        answers: dict[str, Any] = {
            "/.well-known/openid-configuration": {
                "issuer": self.issuer,
                "authorization_endpoint": f"{ISSUER}/authorize",
                "token_endpoint": f"{ISSUER}/token",
                "jwks_uri": f"{ISSUER}/keys",
                **self.more,
            },
            "/token": {"id_token": self.token, "access_token": "x"},
            "/keys": {"keys": self.keys},
        }
        return 200, json.dumps(answers[urlsplit(url).path]).encode()

    def open(self) -> IdentityProvider:
        settings = IdentitySettings(
            issuer=ISSUER, client_id="us", client_secret="secret", claim="name", redirect_url="http://h/back"
        )
        return IdentityProvider(settings, self.fetch)


def _token(key: Any = KEY, name: str | None = "one", algorithm: str = "RS256", **claims: Any) -> str:
    now = int(time.time())
    said = {
        "iss": ISSUER,
        "aud": "us",
        "sub": "7",
        "nonce": "n",
        "iat": now,
        "exp": now + 300,
        "name": "alice",
        **claims,
    }
    headers = {} if name is None else {"kid": name}
    return jwt.encode({one: value for one, value in said.items() if value is not None}, key, algorithm, headers=headers)


async def test_who_came() -> None:
    provider = Provider(_token())
    identity = await provider.open().finish(FLOW, "code")
    assert (identity.subject, identity.login) == (f"{ISSUER}|7", "alice")
    sent = parse_qs(next(body for method, body, _ in provider.asked if method == "POST").decode())
    assert (sent["code"], sent["code_verifier"], sent["redirect_uri"]) == (["code"], ["v"], ["http://h/back"])


@pytest.mark.parametrize(
    ("methods", "is_basic"),
    [(None, True), (["client_secret_post", "client_secret_basic"], True), (["client_secret_post"], False)],
)
async def test_the_secret_goes_the_provider_s_way(methods: list[str] | None, is_basic: bool) -> None:
    provider = Provider(_token())
    provider.more = {} if methods is None else {"token_endpoint_auth_methods_supported": methods}
    await provider.open().finish(FLOW, "code")
    body, headers = next((body, headers) for method, body, headers in provider.asked if method == "POST")
    assert (headers.get("Authorization") == f"Basic {base64.b64encode(b'us:secret').decode()}") is is_basic
    assert (b"client_secret" in body) is not is_basic


async def test_names() -> None:
    """The claim, else the address, else the subject; a provider with one key need not name it."""
    assert (await Provider(_token(name=None)).open().finish(FLOW, "c")).login == "alice"
    for more, login in (({"name": None, "email": "a@b.c"}, "a@b.c"), ({"name": None}, "7")):
        assert (await Provider(_claims(**more)).open().finish(FLOW, "c")).login == login


def _claims(**more: Any) -> str:
    now = int(time.time())
    said = {"iss": ISSUER, "aud": "us", "sub": "7", "nonce": "n", "iat": now, "exp": now + 300, **more}
    return jwt.encode({a: b for a, b in said.items() if b is not None}, KEY, "RS256", headers={"kid": "one"})


def _unsigned() -> str:
    parts = [{"alg": "none", "kid": "one"}, jwt.decode(_token(), options={"verify_signature": False})]
    return ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in parts) + "."


def _by_public_key() -> str:
    """The old trick: the public key as the secret of an HMAC."""
    pem = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    head, body, _ = _token().split(".")
    head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "one"}).encode()).rstrip(b"=").decode()
    mac = hmac.new(pem, f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


@pytest.mark.parametrize(
    "token",
    [
        "", "x.y.z", _unsigned(), _by_public_key(), _token(OTHER), _token(name="two"), _token(nonce="other"), _token(nonce=None),
        _token(aud="them"), _token(iss="https://evil.example"), _token(exp=int(time.time()) - 120), _token(exp=None),
        _token(sub=None),
    ],
    ids=[
        "none", "no token", "unsigned", "by the public key", "by another key", "unknown key", "another visit", "no nonce",
        "for others", "of others", "too old", "without end", "of nobody",
    ],
)  # fmt: skip
async def test_what_is_not_believed(token: str) -> None:
    with pytest.raises(Fault) as failure:
        await Provider(token).open().finish(FLOW, "code")
    assert failure.value.slug == "sign_on_failed"
    assert "secret" not in failure.value.message


async def test_a_description_of_another_issuer() -> None:
    with pytest.raises(Fault, match="not the configured issuer"):
        await Provider(issuer="https://evil.example").open().begin("/console/")


async def test_new_keys_are_found() -> None:
    """A key that is not known yet is asked for, once a token names it."""
    provider = Provider(_token())
    opened = provider.open()
    await opened.finish(FLOW, "code")
    provider.keys, provider.token = [_public(OTHER, "two")], _token(OTHER, "two")
    assert (await opened.finish(FLOW, "code")).login == "alice"


async def test_where_somebody_is_sent() -> None:
    where, flow = await Provider().open().begin("/console/usage")
    asked = parse_qs(urlsplit(where).query)
    assert (asked["state"], asked["nonce"], asked["client_id"]) == ([flow.state], [flow.nonce], ["us"])
    assert flow.verifier not in where
