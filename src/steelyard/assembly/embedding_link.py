"""Vectors of the hub's own search, from the embedded models behind their socket: nobody's call, and nobody's cost."""

from collections.abc import Sequence

from steelyard.base.errors import fault
from steelyard.base.jsondoor import decode_object, encode
from steelyard.control.model_book import ModelBook
from steelyard.upstream.pool import Pool, PoolError, parse_origin

TIMEOUT_S = 20.0


class EmbeddingLink:
    """The embedded embedding models."""

    def __init__(self, pool: Pool, models: ModelBook) -> None:
        self._pool = pool
        self._models = models

    async def embed(self, model: str, texts: list[str]) -> list[Sequence[float]]:
        """A vector a text, in their order.

        Raises:
            Fault: `model_unavailable`; the embedded model is not here, or does not answer.
        """
        known = (await self._models.read()).get(model)
        if known is None or not known.targets[0].is_local:
            raise fault("model_unavailable")
        origin = parse_origin(known.targets[0].base_url)
        body = encode({"model": known.targets[0].model, "input": texts, "text_type": "query"})
        headers = {"Content-Type": "application/json"}
        try:
            answer = await self._pool.fetch(origin, "POST", "/embeddings", body, headers, timeout_s=TIMEOUT_S)
        except PoolError as exc:
            raise fault("model_unavailable") from exc
        if answer.status != 200:
            raise fault("model_unavailable")
        return [one["embedding"] for one in decode_object(answer.body)["data"]]
