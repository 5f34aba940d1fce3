"""GET /api/v1/models. Source: dashscope.md 12."""

from collections.abc import Iterable
from typing import Any

from steelyard.base.errors import fault
from steelyard.base.jsondoor import encode
from steelyard.canon.model import Model

PATH = "/api/v1/models"
MAX_PAGE_SIZE = 100


def encode_page(models: Iterable[Model], query: dict[str, str], request_id: str) -> bytes:
    """One page of the models, by name.

    Args:
        query: `page_no`, `page_size`, and `model` for one alone.

    Raises:
        Fault: a page that is no number.
    """
    wanted = query.get("model")
    ordered = sorted((one for one in models if wanted in (None, "", one.name)), key=lambda one: one.name)
    number, size = _number(query, "page_no", 1), min(_number(query, "page_size", 10), MAX_PAGE_SIZE)
    page = ordered[(number - 1) * size : number * size]
    output = {"total": len(ordered), "page_no": number, "page_size": size, "models": [_object(one) for one in page]}
    return encode({"output": output, "request_id": request_id})


def _object(model: Model) -> dict[str, Any]:
    return {"model": model.name, "name": model.name, "provider": model.owned_by, "description": ""}


def _number(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise fault("parameter_type", field=name, type="Integer", param=name)
    return int(text)
