"""GET /v1/models as the Anthropic API has it. Source: openai-compatible.md 1 and 11."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from steelyard.base.jsondoor import encode
from steelyard.canon.model import Model

PREFIX = "/apps/anthropic/v1/models"
#: On the path that both APIs have, this header picks the form.
HEADER = b"anthropic-version"


def _object(model: Model) -> dict[str, Any]:
    created = datetime.fromtimestamp(model.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "model", "id": model.name, "display_name": model.name, "created_at": created}


def encode_model(model: Model) -> bytes:
    """One model."""
    return encode(_object(model))


def encode_list(models: Iterable[Model]) -> bytes:
    """All models by name, on one page."""
    rows = [_object(model) for model in sorted(models, key=lambda model: model.name)]
    ends = {"first_id": rows[0]["id"], "last_id": rows[-1]["id"]} if rows else {"first_id": None, "last_id": None}
    return encode({"data": rows, "has_more": False, **ends})
