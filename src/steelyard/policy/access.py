"""May this grant make this call? One rule a line, the first refusal is told."""

from ipaddress import ip_address, ip_network

import msgspec

from steelyard.base.errors import fault
from steelyard.base.units import MICROS
from steelyard.canon.apps import APP_PREFIX
from steelyard.canon.claims import Claims
from steelyard.canon.grant import Grant, Workspace
from steelyard.canon.limits import Budget

#: The kind of keys that sign, and are never sent.
ACCESS_KEY = "access-key"


def check_grant(grant: Grant, now_us: int) -> None:
    """The key itself.

    Raises:
        Fault: `api_key_invalid`, saying whether it is disabled or expired.
    """
    if grant.is_disabled:
        raise fault("api_key_invalid", detail="The key is disabled.")
    if grant.expires_us is not None and grant.expires_us <= now_us:
        raise (
            fault("access_token_invalid") if grant.token_id else fault("api_key_invalid", detail="The key has expired.")
        )


def check_token(grant: Grant, *, path: str, origin: str, revoked: frozenset[str]) -> None:
    """What narrows a temporary token beyond models and operations.

    Raises:
        Fault: it was revoked, or is good for another resource or origin.
    """
    if grant.token_id in revoked:
        raise fault("access_token_invalid")
    if grant.resource and path != grant.resource and not path.startswith(grant.resource + "/"):
        raise fault("resource_not_allowed", resource=grant.resource)
    if grant.origin and origin != grant.origin:
        raise fault("origin_not_allowed", origin=grant.origin)


def narrow(parent: Grant, claims: Claims) -> Grant:
    """What a token allows: its parent's rights, narrowed, for a while."""
    expires_us = claims.expires_s * MICROS
    spend = None if claims.spend is None else Budget(amount=claims.spend, unit=claims.spend_unit)
    return msgspec.structs.replace(
        parent,
        expires_us=expires_us if parent.expires_us is None else min(expires_us, parent.expires_us),
        models=claims.models or parent.models,
        # whoever may use a base may have what that is made of; the models are on the key's list, or they are not
        operations=() if claims.is_inner else claims.operations or parent.operations,
        token_id=claims.token_id,
        resource=claims.resource,
        origin=claims.origin,
        token_calls=claims.calls,
        token_spend=spend,
        # the task's caller was in the right network when it was submitted; the worker need not be
        networks=() if claims.is_task else parent.networks,
        is_task=claims.is_task,
        is_batch=claims.is_batch,
        is_inner=claims.is_inner,
    )


def check_workspace(grant: Grant, workspace: Workspace | None, asked: str | None) -> None:
    """The workspace: the one asked for in a header must be the key's, and it must be activated."""
    if asked and asked != grant.workspace:
        raise fault("workspace_mismatch")
    if workspace is None or not workspace.is_activated:
        raise fault("workspace_not_activated", workspace=grant.workspace)


def check_operation(grant: Grant, operation: str) -> None:
    """The operation must be on the key's list, if it has one."""
    if grant.operations and operation not in grant.operations:
        raise fault("operation_not_allowed", operation=operation)


def client_address(peer: str | None, forwarded_for: str, trusted_proxies: tuple[str, ...]) -> str | None:
    """The caller's address: the peer's, or behind trusted proxies the last one that none of them is."""
    chain = [*(part.strip() for part in forwarded_for.split(",") if part.strip()), peer or ""]
    while len(chain) > 1 and _is_within(chain[-1], trusted_proxies):
        chain.pop()
    return chain[-1] or None


def _is_within(address: str, networks: tuple[str, ...]) -> bool:
    try:
        return any(ip_address(address) in ip_network(network, strict=False) for network in networks)
    except ValueError:
        return False


def check_network(grant: Grant, client: str | None) -> None:
    """The caller's address must lie in one of the key's networks, if it has any."""
    if not grant.networks:
        return
    if not _is_within(client or "", grant.networks):
        raise fault("network_not_allowed")


def check_model(grant: Grant, workspace: Workspace, model: str) -> None:
    """The model must be open to the workspace and on the key's list, where they have one."""
    if workspace.models and model not in workspace.models and not model.startswith(APP_PREFIX):
        raise fault("model_not_open", model=model, workspace=workspace.name, param="model")
    if grant.models and model not in grant.models:
        raise fault("model_not_granted", model=model, param="model")
