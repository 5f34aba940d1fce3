"""GET /models and /models/{id}. Source: openai-compatible.md 6."""

from collections.abc import Iterable
from typing import Any

from steelyard.base.jsondoor import encode
from steelyard.canon.model import Model

PREFIXES: tuple[str, ...] = ("/v1/models", "/compatible-mode/v1/models")


def _object(model: Model) -> dict[str, Any]:
    return {"id": model.name, "object": "model", "created": model.created, "owned_by": model.owned_by}


def encode_model(model: Model) -> bytes:
    """One model."""
    return encode(_object(model))


def encode_list(models: Iterable[Model]) -> bytes:
    """The list, by name."""
    ordered = sorted(models, key=lambda model: model.name)
    return encode({"object": "list", "data": [_object(model) for model in ordered]})
