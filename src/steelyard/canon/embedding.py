"""Texts to vectors, and documents to an order, whatever API asks for them."""

from typing import Any

import msgspec

from steelyard.canon.usage import Usage

QUERY, DOCUMENT = "query", "document"


class EmbeddingAsk(msgspec.Struct, frozen=True, kw_only=True):
    """Texts to embed."""

    texts: tuple[str, ...]
    #: What they are for: "query" or "document".
    text_type: str = DOCUMENT
    #: None leaves it to the model.
    dimensions: int | None = None
    settings: dict[str, Any] = {}

    def within(self, carries: frozenset[str], lacks: frozenset[str]) -> "EmbeddingAsk":  # noqa: ARG002 - as `Conversation`
        """The same call without what a wire has no place for."""
        kept = {name: value for name, value in self.settings.items() if name in carries}
        return msgspec.structs.replace(self, settings=kept)


class EmbeddingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One vector a text, in the order of the texts."""

    vectors: tuple[list[float], ...]
    usage: Usage | None = None


class RankAsk(msgspec.Struct, frozen=True, kw_only=True):
    """Documents to order by how well they answer a query."""

    query: str
    documents: tuple[str, ...]
    #: How many to tell; None tells all.
    top_n: int | None = None
    wants_documents: bool = False
    settings: dict[str, Any] = {}

    def within(self, carries: frozenset[str], lacks: frozenset[str]) -> "RankAsk":  # noqa: ARG002 - as `Conversation`
        """The same call without what a wire has no place for."""
        kept = {name: value for name, value in self.settings.items() if name in carries}
        return msgspec.structs.replace(self, settings=kept)


class Ranked(msgspec.Struct, frozen=True):
    """One document's place."""

    #: where it stood in the call
    index: int
    score: float


class RankAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Best first."""

    results: tuple[Ranked, ...]
    usage: Usage | None = None
