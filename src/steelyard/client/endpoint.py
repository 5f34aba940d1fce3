"""An endpoint: base URL and key, where each came from, and what is wrong with them at first sight."""

import unicodedata
from dataclasses import dataclass
from urllib.parse import urlsplit

from steelyard.base.errors import SetupFault

DEFAULT_ORIGIN = "http://127.0.0.1:8090"
COMPATIBLE = "/compatible-mode/v1"
_API_SUFFIXES = ("/chat/completions", "/completions", "/models", "/embeddings")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to call, and as whom."""

    base_url: str
    api_key: str
    #: Where the key came from: "--api-key", "profile NAME", an environment variable, "none".
    key_source: str
    profile: str | None = None

    @property
    def is_ours(self) -> bool:
        """Whether this looks like a steelyard on this machine."""
        return urlsplit(self.base_url).hostname in ("127.0.0.1", "localhost", "::1")


def normalise_base_url(text: str) -> str:
    """A base URL as the SDKs want it: ends in `/v1`, without the operation's path.

    Raises:
        SetupFault: no http(s) address.
    """
    url = text.strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SetupFault(f"{text!r} is no address; write http://HOST:PORT or https://HOST/compatible-mode/v1.")
    for suffix in _API_SUFFIXES:
        url = url.removesuffix(suffix)
    while url.endswith("/v1/v1"):
        url = url[:-3]
    if not urlsplit(url).path.strip("/"):
        url += COMPATIBLE
    return url


def key_problems(key: str, source: str) -> list[tuple[str, str]]:
    """What is wrong with a key's text, in English and Chinese."""
    problems = []
    if not key:
        return [(f"No key ({source}).", f"没有密钥（{source}）。")]
    if key != key.strip() or any(character.isspace() for character in key):
        problems.append((f"The key from {source} holds white space.", f"来自 {source} 的密钥含有空白字符。"))
    if key.strip()[:1] in "\"'“”‘’" or key.strip()[-1:] in "\"'“”‘’":
        problems.append((f"The key from {source} stands in quotes.", f"来自 {source} 的密钥带有引号。"))
    if any(unicodedata.east_asian_width(character) in "FW" for character in key):
        text = (f"The key from {source} holds full-width characters.", f"来自 {source} 的密钥含有全角字符。")
        problems.append(text)
    if "你的" in key or key.lower().startswith(("your", "sk-xxx", "<")):
        problems.append((f"The key from {source} is a placeholder.", f"来自 {source} 的密钥是占位符。"))
    return problems
