"""Every word that the console shows, in Chinese and English: `texts/ROOM.toml`, each entry `name = ["English", "中文"]`."""

import tomllib
from functools import cache
from importlib.resources import files

LANGUAGES = ("en", "zh")


class Texts:
    """The words in one language."""

    def __init__(self, language: str, words: dict[str, str]) -> None:
        self.language = language
        self._words = words

    def __repr__(self) -> str:
        return f"<Texts {self.language} [{len(self._words)} texts]>"

    def __contains__(self, name: object) -> bool:
        return name in self._words

    def __call__(self, name: str, **values: object) -> str:
        """The text `room.name`, its `{places}` filled. An unknown name is our bug and raises KeyError."""
        text = self._words[name]
        return text.format(**values) if values else text


@cache
def read_texts() -> dict[str, dict[str, tuple[str, str]]]:
    """By room and name: English, Chinese."""
    folder = files(__package__) / "texts"
    rooms = {}
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        room = tomllib.loads(file.read_text(encoding="utf-8"))
        rooms[file.name.removesuffix(".toml")] = {name: (pair[0], pair[1]) for name, pair in room.items()}
    return rooms


@cache
def texts_in(language: str) -> Texts:
    """The words in "en" or "zh"."""
    place = LANGUAGES.index(language)
    words = {f"{room}.{name}": pair[place] for room, pairs in read_texts().items() for name, pair in pairs.items()}
    return Texts(language, words)


def pick_language(wished: str, accept: str) -> str:
    """What a member keeps, else the first of the browser's languages that we speak, else English."""
    if wished in LANGUAGES:
        return wished
    for part in accept.lower().split(","):
        language = part.partition(";")[0].strip()[:2]
        if language in LANGUAGES:
            return language
    return "en"
