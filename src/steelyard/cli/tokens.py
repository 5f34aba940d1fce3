"""`steelyard tokens`."""

from pathlib import Path
from typing import Any

from cyclopts import App

from steelyard.cli.context import actor, fail, find_endpoint, get_settings, print_json, with_records
from steelyard.cli.values import split
from steelyard.client.api import Client
from steelyard.client.errors import ApiError
from steelyard.control import tokens

app = App(name="tokens", help="Temporary tokens: create, revoke.")


@app.command
def create(
    *,
    expires_in: int = tokens.DEFAULT_S,
    models: str = "",
    operations: str = "",
    resource: str = "",
    origin: str = "",
    calls: int | None = None,
    once: bool = False,
    base_url: str | None = None,
    api_key: str | None = None,
    profile: str | None = None,
    json: bool = False,
) -> None:
    """Mint a token of a key, here or at the vendor, to hand to third parties.

    Parameters
    ----------
    expires_in
        Seconds that it is good, 1 to 1800.
    models
        Models that it may use, comma separated.
    operations
        Operations that it may use, comma separated.
    resource
        The one path that it is good for.
    origin
        The page that may use it.
    calls
        How many calls it is good for.
    once
        Good for one call.
    base_url
        Where to mint it; default this machine.
    api_key
        The parent key.
    profile
        Endpoint and key of a profile.
    json
        Print JSON.
    """
    endpoint = find_endpoint(base_url, api_key, profile)
    wish: dict[str, Any] = {
        "models": split(models), "operations": split(operations), "resource": resource, "origin": origin,
        "calls": calls, "once": once,
    }  # fmt: skip
    body = {name: value for name, value in wish.items() if value}
    try:
        with Client(endpoint) as client:
            made = client.post(f"/api/v1/tokens?expire_in_seconds={expires_in}", body).json()
    except ApiError as failure:
        fail(str(failure))
    if json:
        print_json(made)
    else:
        print(made["token"])


@app.command
def revoke(token_id: str, *, data_dir: Path | None = None, config: Path | None = None) -> None:
    """End a token before its time; every process follows within 2 seconds."""
    settings = get_settings(data_dir, config)
    with_records(settings, lambda records: tokens.revoke_token(records, token_id, actor=actor()))
    print(f"{token_id} is revoked.")
