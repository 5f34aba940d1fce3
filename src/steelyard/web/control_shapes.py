"""What the control API takes and shows of keys, workspaces and models."""

from typing import Any

import msgspec

from steelyard.base.clock import MICROS
from steelyard.canon.grant import ALERT, REFUSE
from steelyard.canon.limits import NO_LIMITS, Limits
from steelyard.canon.model import Model
from steelyard.control import keys


class KeyWish(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /keys."""

    name: str
    workspace: str = "default"
    kind: str = "api"
    models: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    expires_in: str | None = None
    limits: Limits = NO_LIMITS


class RotateWish(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /keys/ID/rotate."""

    grace: str = "0s"


class WorkspaceWish(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /workspaces."""

    name: str


class LimitsWish(msgspec.Struct, forbid_unknown_fields=True):
    """Body of PUT /keys/ID/limits."""

    limits: Limits = NO_LIMITS


class ModelsWish(msgspec.Struct, forbid_unknown_fields=True):
    """Body of PUT /workspaces/NAME/models; an empty list opens all."""

    models: tuple[str, ...] = ()


class PolicyWish(msgspec.Struct, forbid_unknown_fields=True):
    """Body of PUT /workspaces/NAME/limits."""

    limits: Limits = NO_LIMITS
    unknown_price: str = REFUSE
    step_up: tuple[str, ...] = ()
    hygiene: str = ALERT


def show_key(record: Any, secret: str | None = None) -> dict[str, Any]:
    """A key as JSON; the secret only where it was just made."""
    grant = record.grant
    shown = {
        "id": grant.key_id,
        "name": grant.name,
        "masked": record.masked,
        "workspace": grant.workspace,
        "kind": grant.kind,
        "models": grant.models,
        "operations": grant.operations,
        "networks": grant.networks,
        "tools": grant.tools,
        "created_at": record.created_us // MICROS,
        "expires_at": None if grant.expires_us is None else grant.expires_us // MICROS,
        "disabled": grant.is_disabled,
        "limits": show_limits(grant.limits),
    }
    if secret is None:
        return shown
    if grant.kind == keys.ACCESS:
        return {**shown, "access_key_id": grant.key_id, "access_key_secret": secret}
    return {**shown, "key": secret}


def show_limits(set_limits: Limits) -> dict[str, Any]:
    """Limits as JSON; null sets none."""
    budget = set_limits.budget
    return {
        "rpm": set_limits.rpm,
        "tpm": set_limits.tpm,
        "concurrency": set_limits.concurrency,
        "budget": None if budget is None else {"amount": budget.amount, "unit": budget.unit, "per": budget.per},
    }


def show_workspace(record: Any) -> dict[str, Any]:
    """A workspace as JSON."""
    return {
        "name": record.name,
        "created_at": record.created_us // MICROS,
        "activated_at": None if record.activated_us is None else record.activated_us // MICROS,
        "free_tokens_granted": record.free_tokens_granted,
        "free_tokens_left": record.free_tokens_left,
        "limits": show_limits(record.policy.limits),
        "unknown_price": record.policy.unknown_price,
        "step_up": record.policy.step_up,
        "hygiene": record.policy.hygiene,
        "models": record.policy.models,
        "tools": record.policy.tools,
        "cache": msgspec.structs.asdict(record.policy.cache),
        "downloads": msgspec.structs.asdict(record.policy.downloads),
    }


def show_model(model: Model) -> dict[str, Any]:
    """A model as JSON, with what answers for it."""
    return {
        "name": model.name,
        "owned_by": model.owned_by,
        "stand_in": model.is_stand_in,
        "origin": model.origin,
        "targets": [
            {
                "target": target.label,
                "operations": target.operations,
                "capabilities": target.capabilities,
                "context_tokens": target.context_tokens,
                "currency": target.price.currency,
                "input_micros": target.price.input_micros,
                "output_micros": target.price.output_micros,
            }
            for target in model.targets
        ],
    }
