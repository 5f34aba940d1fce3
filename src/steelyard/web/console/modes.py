"""What the playground tries: an operation of the compatible API, and who may be asked for it."""

from dataclasses import dataclass

from steelyard.base.errors import fault

#: Before every path.
PREFIX = "/compatible-mode/v1"


@dataclass(frozen=True, slots=True)
class Mode:
    """One tab of the playground.

    Args:
        operation: what a key must be good for.
        path: behind `PREFIX`.
        modalities: of the hub's entries that are tried so.
        schema: of the body, in the document of the compatible API.
    """

    name: str
    operation: str
    path: str
    modalities: tuple[str, ...]
    schema: str


CHAT = Mode("chat", "chat", "/chat/completions", ("text", "vision"), "ChatCall")
EMBEDDINGS = Mode("embeddings", "embeddings", "/embeddings", ("embedding",), "EmbeddingCall")
RERANK = Mode("rerank", "rerank", "/reranks", ("rerank",), "RerankCall")
IMAGES = Mode("images", "images", "/images/generations", ("image",), "ImageCall")
VIDEOS = Mode("videos", "videos", "/videos", ("video",), "VideoCall")
MODES = {one.name: one for one in (CHAT, EMBEDDINGS, RERANK, IMAGES, VIDEOS)}


def get_mode(name: str) -> Mode:
    """A mode by its name.

    Raises:
        Fault: there is none.
    """
    if name not in MODES:
        raise fault("parameter_invalid", detail=f"mode is one of {', '.join(MODES)}.", param="mode")
    return MODES[name]


def mode_of(modality: str) -> Mode | None:
    """How an entry of the hub is tried; None where it cannot be here."""
    return next((one for one in MODES.values() if modality in one.modalities), None)
