"""From a model's name to the target that answers, and what that target can honour."""

from steelyard.base.errors import fault
from steelyard.canon.model import Model, Target
from steelyard.canon.request import ModelRequest

_MEDIA = frozenset({"image", "audio", "video", "file"})
#: What a target lacks -> the row that says so.
_REFUSALS = {
    "tools": "tools_not_supported",
    "search": "search_not_supported",
    "thinking": "thinking_not_supported",
    **dict.fromkeys(_MEDIA, "content_not_text"),
}
_NO_MODEL = " This server has no model yet: `steelyard models pull` gets the embedded one, [providers] adds a vendor's."


def resolve(models: dict[str, Model], request: ModelRequest) -> Target:
    """The target for a call.

    Raises:
        Fault: `model_not_found`, or the documented refusal of what the target cannot do.
    """
    model = models.get(request.model)
    if model is None:
        raise fault("model_not_found", model=_shown(request.model), param="model", detail="" if models else _NO_MODEL)
    target = model.targets[0]
    if request.operation not in target.operations:
        raise fault("model_operation_mismatch", model=request.model, operation=request.operation, param="model")
    if request.needs:
        _check_needs(request, target)
    limit = target.max_output_tokens
    if limit is not None and request.output_cap_tokens is not None and request.output_cap_tokens > limit:
        raise fault("max_tokens_range", limit=limit, param="max_tokens")
    return target


def _check_needs(request: ModelRequest, target: Target) -> None:
    for need in sorted(request.needs - set(target.capabilities)):
        slug = _REFUSALS.get(need)
        if slug is not None:
            raise fault(slug, model=request.model)


def _shown(name: str) -> str:
    return name if len(name) <= 100 else name[:100] + "…"
