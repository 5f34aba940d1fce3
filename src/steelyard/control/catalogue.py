"""The catalogue of models: the providers' as the file declares them, the embedded ones where their weights are."""

from dataclasses import dataclass

from steelyard.canon.model import LOCAL_PREFIX, Model, Target


@dataclass(frozen=True, slots=True)
class EmbeddedEntry:
    """An embedded model whose weights are here."""

    name: str
    target: Target


def build_catalogue(
    *,
    declared: dict[str, Model],
    embedded: list[EmbeddedEntry],
    stand_in_names: tuple[str, ...],
    default_embedded: str,
    answers_vendor_names: bool,
) -> dict[str, Model]:
    """All names that callers may use. What the file declares wins over a stand-in."""
    models: dict[str, Model] = {}
    for entry in embedded:
        name = LOCAL_PREFIX + entry.name
        # an engine that fails says so at once: its queue is bounded, and a crashed host comes back by itself
        models[name] = Model(name=name, targets=(entry.target,), owned_by="local", max_attempts=1)
        if answers_vendor_names and entry.name == default_embedded:
            for stand_in in stand_in_names:
                models[stand_in] = Model(
                    name=stand_in, targets=(entry.target,), owned_by="local", is_stand_in=True, max_attempts=1
                )
    models.update(declared)
    return models
