"""The one place that admits: a credential becomes a grant, or the caller is told why not."""

import asyncio
import base64
import contextlib
import hashlib
from collections import OrderedDict

from steelyard.base import ids
from steelyard.base.clock import monotonic, now_s, now_us
from steelyard.base.errors import Fault, fault
from steelyard.base.tokens import Signer
from steelyard.canon.claims import decode_claims
from steelyard.canon.grant import Grant
from steelyard.canon.snapshot import Snapshot
from steelyard.dialects import acs_signature
from steelyard.gateway.known_head import bearer_digest_of
from steelyard.gateway.ports import Grants
from steelyard.policy import access

MAX_CACHED_KEYS = 20_000
#: An unknown key is remembered this long, so that a caller who repeats it costs one look-up.
UNKNOWN_S = 2.0
#: Without news of changes for this long, calls are refused: a deleted key must not live on.
STALE_S = 10.0

NO_KEY_YET = "This server has no key yet: make one with `steelyard keys create --name NAME`."
MAKE_KEY = "Make one with `steelyard keys create --name NAME`."
#: Access keys are kept under this and their secret's digest: tokens go back to them, and the secret itself opens nothing.
_SIGNER = "signer:"
_PLACEHOLDERS = frozenset(
    {
        "your_key",
        "your-key",
        "your_api_key",
        "your-api-key",
        "yourkey",
        "apikey",
        "api_key",
        "sk-xxx",
        "<your-key>",
        "key",
    }
)


class Admission:
    """Keeps the snapshot and a bounded cache of grants, both renewed by the change feed."""

    def __init__(self, grants: Grants, signer: Signer, trusted_proxies: tuple[str, ...] = ()) -> None:
        self._signer = signer
        self.snapshot = Snapshot()
        self.fresh_at = float("-inf")
        self._first_news = asyncio.Event()
        self._source = grants
        self._trusted_proxies = trusted_proxies
        self._cache: OrderedDict[str, Grant] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()
        #: Digests in the cache that stand for temporary tokens.
        self._tokens: set[str] = set()

    def __repr__(self) -> str:
        return f"<Admission version {self.snapshot.version} [{len(self._cache)} keys cached]>"

    def forget_key(self, digest: str | None) -> None:
        """A key changed (None: any may have)."""
        if digest is None:
            self._cache.clear()
            self._unknown.clear()
            self._tokens.clear()
        else:
            self._cache.pop(digest, None)
            self._cache.pop(_SIGNER + digest, None)
            self._unknown.pop(digest, None)
            # tokens are checked anew by their signatures, and end with their keys
            for token in self._tokens:
                self._cache.pop(token, None)
            self._tokens.clear()

    def find_cached(self, headers: dict[bytes, bytes]) -> Grant | None:
        """The fast way: the grant if the key is known already. It still has to be checked."""
        digest = bearer_digest_of(headers)
        return None if digest is None else self._cache.get(digest)

    async def identify(self, headers: dict[bytes, bytes]) -> Grant:
        """The grant of a credential.

        Raises:
            Fault: no key, a placeholder, or no such key.
        """
        credential = read_credential(headers)
        if credential is None:
            detail = MAKE_KEY if self.snapshot.has_keys else NO_KEY_YET
            raise fault("api_key_missing", detail=detail)
        if is_placeholder(credential):
            raise fault("api_key_placeholder")
        text = credential.decode()
        if not ids.is_well_formed(text):
            raise fault("api_key_invalid", detail="" if self.snapshot.has_keys else NO_KEY_YET)
        if text.startswith(ids.TOKEN_PREFIX + "-"):
            return await self._identify_token(text)
        grant = await self._look_up(hashlib.sha256(credential).hexdigest())
        if grant.kind == access.ACCESS_KEY:
            raise fault("access_key_not_here")
        return grant

    async def identify_signer(
        self, method: str, raw_path: str, query: str, headers: dict[bytes, bytes]
    ) -> tuple[Grant, str]:
        """Who asks by the management protocol: the grant, and what the body must hash to; '' where a key was sent in its place.

        Raises:
            Fault: no signature, a wrong one, or one that was used already.
        """
        bearer = headers.get(acs_signature.BEARER_HEADER)
        if bearer is not None:
            return await self.identify({b"authorization": b"Bearer " + bearer}), ""
        credential = headers.get(b"authorization", b"")
        if not credential or credential[:7].lower() == b"bearer ":
            return await self.identify(headers), ""
        signed = acs_signature.read_signature(method, raw_path, query, headers, now_s())
        self.check_fresh()
        grant = await self._source.identify_signer(signed.access_key_id, signed.text, signed.signature, signed.nonce)
        return grant, signed.body_digest

    async def _identify_token(self, token: str) -> Grant:
        """A temporary token: its signature decides, then its parent must still be there."""
        payload = self._signer.read(token)
        claims = None if payload is None else decode_claims(payload, now_s())
        if claims is None:
            raise fault("access_token_invalid")
        version = self.snapshot.version
        try:
            parent = await self._look_up(claims.parent)
        except Fault as failure:
            raise fault("access_token_invalid") if failure.slug == "api_key_invalid" else failure from None
        grant = access.narrow(parent, claims)
        is_parent_known = claims.parent in self._cache or _SIGNER + claims.parent in self._cache
        if version == self.snapshot.version and is_parent_known:
            digest = hashlib.sha256(token.encode()).hexdigest()
            self._tokens.add(digest)
            self._keep(digest, grant)
        return grant

    def _keep(self, digest: str, grant: Grant) -> None:
        self._cache[digest] = grant
        if len(self._cache) > MAX_CACHED_KEYS:
            oldest, _ = self._cache.popitem(last=False)
            self._tokens.discard(oldest)

    async def _look_up(self, digest: str) -> Grant:
        grant = self._cache.get(digest) or self._cache.get(_SIGNER + digest)
        if grant is not None:
            return grant
        if self._unknown.get(digest, 0.0) > monotonic():
            raise fault("api_key_invalid")
        self.check_fresh()
        version = self.snapshot.version
        grant = await self._source.find_grant(digest)
        if grant is None:
            self._unknown[digest] = monotonic() + UNKNOWN_S
            if len(self._unknown) > MAX_CACHED_KEYS:
                self._unknown.popitem(last=False)
            raise fault("api_key_invalid")
        # a change that came while we asked may have been this key's end: then use the grant once, keep nothing
        if version == self.snapshot.version:
            self._keep(_SIGNER + digest if grant.kind == access.ACCESS_KEY else digest, grant)
        return grant

    def hear(self) -> None:
        """News have come: what is known is true now."""
        self.fresh_at = monotonic()
        self._first_news.set()

    async def wait_first_news(self, timeout_s: float) -> None:
        """Returns with the first news, or when it does not come in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._first_news.wait()

    def check_fresh(self) -> None:
        """Refuses while changes cannot be read."""
        if monotonic() - self.fresh_at > STALE_S:
            raise fault("stores_unavailable")

    def check_key(self, grant: Grant) -> None:
        """The key's own state, for paths where no operation is at stake."""
        access.check_grant(grant, now_us())

    def check_narrowing(self, grant: Grant, headers: dict[bytes, bytes], path: str) -> None:
        """What narrows a temporary token, on any path."""
        if grant.token_id:
            origin = headers.get(b"origin", b"").decode("latin-1")
            access.check_token(grant, path=path, origin=origin, revoked=self.snapshot.revoked)

    def check(self, grant: Grant, operation: str, headers: dict[bytes, bytes], client: str | None, path: str) -> None:
        """Every rule that holds for any operation."""
        self.check_fresh()
        if grant.token_id:
            self.check_narrowing(grant, headers, path)
        if grant.is_disabled or grant.expires_us is not None:
            access.check_grant(grant, now_us())
        asked = headers.get(b"x-dashscope-workspace")
        workspace = self.snapshot.workspaces.get(grant.workspace)
        access.check_workspace(grant, workspace, asked.decode("latin-1") if asked else None)
        if grant.operations:
            access.check_operation(grant, operation)
        self.check_network(grant, headers, client)

    def check_network(self, grant: Grant, headers: dict[bytes, bytes], client: str | None) -> None:
        """Where the caller may call from."""
        if grant.networks:
            access.check_network(grant, self.client_of(headers, client))

    def client_of(self, headers: dict[bytes, bytes], client: str | None) -> str | None:
        """The caller's address, behind proxies that are trusted."""
        if not self._trusted_proxies:
            return client
        forwarded = headers.get(b"x-forwarded-for", b"").decode("latin-1")
        return access.client_address(client, forwarded, self._trusted_proxies)


def read_credential(headers: dict[bytes, bytes]) -> bytes | None:
    """The credential of `Authorization: Bearer` or `x-api-key`, None where there is none."""
    authorization = headers.get(b"authorization", b"").strip()
    if authorization:
        scheme, _, rest = authorization.partition(b" ")
        credential = rest.strip() if scheme.lower() == b"bearer" else authorization
        return None if credential.lower() in (b"", b"bearer") else credential
    return headers.get(b"x-api-key", b"").strip() or None


def with_bearer(headers: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Basic authentication as a bearer's: the password is the key, or the user's name where there is no password."""
    scheme, _, rest = headers.get(b"authorization", b"").strip().partition(b" ")
    if scheme.lower() != b"basic":
        return headers
    try:
        user, _, password = base64.b64decode(rest.strip(), validate=True).partition(b":")
    except ValueError:
        return headers
    return headers | {b"authorization": b"Bearer " + (password or user)}


def is_placeholder(credential: bytes) -> bool:
    """Whether an example's stand-in was sent: anything not ASCII (`你的密钥`), or a well-known word."""
    if not credential.isascii():
        return True
    word = credential.decode().strip("<>{}[]\"'$ ").lower()
    return word in _PLACEHOLDERS or word.startswith(("sk-xxx", "your_", "your-", "dashscope_api_key", "openai_api_key"))
