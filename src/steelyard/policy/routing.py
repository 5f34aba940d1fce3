"""From a model's name to the targets that can answer, and which of them is asked next. Values in, values out."""

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from steelyard.base.errors import Fault, fault
from steelyard.canon.model import CAREFUL, FASTEST, REFUSE, Model, Target
from steelyard.canon.request import ModelRequest
from steelyard.dialects.codec import Codec
from steelyard.dialects.crossing import uncarried

_MEDIA = frozenset({"image", "audio", "video", "file"})
#: What a target lacks -> the row that says so.
_REFUSALS = {
    "tools": "tools_not_supported",
    "search": "search_not_supported",
    "thinking": "thinking_not_supported",
    **dict.fromkeys(_MEDIA, "content_not_text"),
}
#: What is needed -> the field that says so.
_FIELDS = {
    "search": "enable_search",
    "json_object": "response_format",
    "json_schema": "response_format",
    "server_tool": "tools",
    "sparse": "output_type",
}
_NO_MODEL = " This server has no model yet: `steelyard models pull` gets the embedded one, [providers] adds a vendor's."


class Health(Protocol):
    """What a choice needs to know of a target's recent past."""

    @property
    def is_available(self) -> bool:
        """Whether a call may be sent now: its breaker lets it through, it is not throttled, and it has room."""
        ...

    @property
    def score(self) -> float:
        """Expected seconds to the first byte, failures counted as slowness; lower is better."""
        ...


class Candidate(Protocol):
    """Who may be asked."""

    @property
    def target(self) -> Target:
        """The upstream."""
        ...

    @property
    def health(self) -> Health:
        """Its recent past."""
        ...


_C = TypeVar("_C", bound=Candidate)

#: (API, operation) -> what its wire can carry; None where it has no such operation.
CodecOf = Callable[[str, str], Codec | None]


def resolve(models: dict[str, Model], request: ModelRequest, codec_of: CodecOf) -> tuple[Model, tuple[Target, ...]]:
    """The model of a call, and those of its targets that can honour every field of it.

    Raises:
        Fault: `model_not_found`, or the documented refusal of what no target can do.
    """
    model = models.get(request.model)
    if model is None:
        raise fault("model_not_found", model=_shown(request.model), param="model", detail="" if models else _NO_MODEL)
    targets = model.targets
    for target in targets:
        if refuse(model, target, request, codec_of) is not None:
            break
    else:
        return model, targets
    able = tuple(target for target in targets if refuse(model, target, request, codec_of) is None)
    if not able:
        # the first target is the one that the route prefers: what it lacks is the most useful to know
        raise refuse(model, targets[0], request, codec_of) or fault("internal_error")
    return model, able


def refuse(model: Model, target: Target, request: ModelRequest, codec_of: CodecOf) -> Fault | None:
    """Why a target cannot take a call; None where it can."""
    if request.operation not in target.operations:
        return fault("model_operation_mismatch", model=request.model, operation=request.operation, param="model")
    if request.needs:
        for need in sorted(request.needs.difference(target.capabilities)):
            slug = _REFUSALS.get(need)
            if slug is not None:
                return fault(slug, model=request.model)
    if request.api and request.api != target.api and model.unsupported in (CAREFUL, REFUSE):
        field = _uncarried(model, target, request, codec_of)
        if field is not None:
            return fault("not_carried", model=request.model, api=target.api, field=field, param=field)
    limit = target.max_output_tokens
    if limit is not None and request.output_cap_tokens is not None and request.output_cap_tokens > limit:
        return fault("max_tokens_range", limit=limit, param="max_tokens")
    return None


def _uncarried(model: Model, target: Target, request: ModelRequest, codec_of: CodecOf) -> str | None:
    """What a call has that the target's API has no place for and that may not be left out; None where there is no such thing."""
    codec = codec_of(target.api, request.operation)
    if codec is None:
        return request.operation
    lacked = request.needs & codec.lacks
    if lacked:
        return _FIELDS.get(min(lacked), min(lacked))
    if model.unsupported == REFUSE:
        return next(iter(uncarried(codec, request)), None)
    return None


def choose(model: Model, candidates: Sequence[_C], random: Callable[[], float]) -> _C | None:
    """Which to ask next: the best priority that has one available, and within it by weight.

    With the strategy `fastest`, two are drawn by weight and the one with the better score is taken: nearly as good as always
    taking the best, without sending every call to it at once.

    Args:
        random: numbers in [0, 1).

    Returns:
        None where no target is available now.
    """
    group: list[_C] = []
    best = 0
    for one in candidates:
        if one.health.is_available:
            priority = one.target.priority
            if not group or priority < best:
                group, best = [one], priority
            elif priority == best:
                group.append(one)
    if len(group) <= 1:
        return group[0] if group else None
    first = _draw(group, _weight(group), random)
    if model.strategy != FASTEST:
        return first
    others = [one for one in group if one is not first]
    second = _draw(others, _weight(others), random)
    return second if second.health.score < first.health.score else first


class Candidates(Generic[_C]):
    """Those who may be asked for every call of a model, looked at once."""

    __slots__ = ("_preferred", "_weight", "all")

    def __init__(self, candidates: Sequence[_C]) -> None:
        self.all = candidates
        best = min(one.target.priority for one in candidates)
        self._preferred = [one for one in candidates if one.target.priority == best]
        self._weight = _weight(self._preferred)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {[one.target.label for one in self.all]}>"

    def choose(self, model: Model, random: Callable[[], float]) -> _C | None:
        """See the function `choose`, of whose answers this has the same share.

        Mostly the first to be drawn is there; only where it is not are the others looked at, which get what they would have had.
        """
        if model.strategy != FASTEST:
            preferred = self._preferred
            drawn = preferred[0] if len(preferred) == 1 else _draw(preferred, self._weight, random)
            if drawn.health.is_available:
                return drawn
        return choose(model, self.all, random)


def _weight(group: Sequence[Candidate]) -> int:
    return sum(one.target.weight for one in group)


def _draw(group: list[_C], total: int, random: Callable[[], float]) -> _C:
    mark = random() * total
    for one in group:
        mark -= one.target.weight
        if mark < 0:
            return one
    return group[-1]


def _shown(name: str) -> str:
    return name if len(name) <= 100 else name[:100] + "…"
