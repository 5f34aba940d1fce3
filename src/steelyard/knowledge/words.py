"""Words of a text, for the text index: Chinese ones cut, two-character ones too, Latin ones in small letters. Values in, values out."""

import re
import unicodedata

_WORD = re.compile(r"\w")
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_LATIN = re.compile(r"[A-Za-z]+")
#: The beginning of a text tells its script.
_TOLD_BY = 200
#: Longer ones are nobody's words: PostgreSQL would refuse them.
MAX_WORD_CHARS = 128
#: More words of a question than these do not make its answer better.
MAX_QUERY_WORDS = 64
#: Words that are in every text.
STOP_WORDS = frozenset(
    [
        "的",
        "了",
        "是",
        "在",
        "和",
        "与",
        "及",
        "或",
        "也",
        "就",
        "都",
        "而",
        "着",
        "吗",
        "呢",
        "吧",
        "啊",
        "把",
        "被",
        "对",
        "为",
        "以",
        "于",
        "之",
        "其",
        "a",
        "an",
        "the",
        "of",
        "in",
        "on",
        "at",
        "to",
        "for",
        "and",
        "or",
        "is",
        "are",
        "was",
        "be",
        "by",
        "with",
        "as",
        "it",
        "this",
        "that",
    ]
)


def cut_words(text: str) -> list[str]:
    """The words of a text, each piece of a long one too."""
    plain = unicodedata.normalize("NFKC", text).lower()
    # imported where it is used: its dictionary takes a while
    import rjieba

    return [word for word in rjieba.cut_for_search(plain) if _WORD.search(word) and len(word) <= MAX_WORD_CHARS]


def query_words(text: str) -> list[str]:
    """The words of a question, each once; those that are in every text only where there are no others."""
    words = list(dict.fromkeys(cut_words(text)))
    telling = [word for word in words if word not in STOP_WORDS]
    return (telling or words)[:MAX_QUERY_WORDS]


def is_han(text: str) -> bool:
    """Whether a text is written in Chinese characters for the most part: a word in Latin letters weighs as two."""
    if text.isascii():
        return False
    begun = text[:_TOLD_BY]
    return len(_HAN.findall(begun)) > 2 * len(_LATIN.findall(begun))
