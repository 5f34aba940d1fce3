"""The identity provider of the settings, asked through the guarded client."""

from urllib.parse import urlsplit

from steelyard.assembly.media import make_rules
from steelyard.config import Settings, resolve_secret
from steelyard.control.identities import IdentityProvider, IdentitySettings
from steelyard.upstream.fetcher import Fetcher, FetchError, FetchLimits
from steelyard.web.console.sign_on import BACK

#: Descriptions, keys and tokens are small.
LIMITS = FetchLimits(262_144, 10.0, 10.0)


def make_identity_provider(settings: Settings) -> IdentityProvider | None:
    """The provider; None where there is none."""
    oidc = settings.console.oidc
    if not oidc.issuer:
        return None
    fetcher = Fetcher(make_rules(settings), LIMITS)
    # the operator's own address, wherever it lies
    trusted = (urlsplit(oidc.issuer).hostname or "",)

    async def fetch(method: str, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        parts: list[bytes] = []
        try:
            done = await fetcher.fetch(
                url, parts.append, trusted_hosts=trusted, method=method, body=body, headers=headers, follows=False
            )
        except FetchError as exc:
            raise OSError(str(exc)) from exc
        return done.status, b"".join(parts)

    wishes = IdentitySettings(
        issuer=oidc.issuer,
        client_id=oidc.client_id,
        client_secret=resolve_secret(oidc.client_secret, "console.oidc.client_secret"),
        claim=oidc.claim,
        redirect_url=settings.public_url + BACK,
    )
    return IdentityProvider(wishes, fetch)
