"""A sheet: an API's paths in few words, in a file of its own or made from the table that also makes the routes."""

from functools import cache
from importlib.resources import files
from typing import Any, Literal

import msgspec
import yaml

#: What `answer` says of raw bytes.
BYTES = "bytes"
#: Ten times as fast, where PyYAML was built with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WRITTEN = ("openai", "dashscope", "anthropic", "prometheus")


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One operation.

    Args:
        query: names of parameters, those that must be there with a `!` behind.
        headers: names with the values that they take, likewise.
        body, form, urlencoded: the schema of what is sent: JSON, multipart, or as a page's form.
        answer: the schema of the answer; `bytes` for a file's.
        streams: whether the answer may be events.
        statuses: of success.
    """

    summary: str
    query: tuple[str, ...] = ()
    headers: dict[str, tuple[str, ...]] = {}
    body: str = ""
    form: str = ""
    urlencoded: str = ""
    answer: str = ""
    streams: bool = False
    statuses: tuple[str, ...] = ("200",)
    example: dict[str, Any] = {}


class Sheet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One API.

    Args:
        prefix: before every path.
        refusal: the schema of every error.
        security: how a call says whose it is.
    """

    title: str
    prefix: str
    refusal: str
    paths: dict[str, dict[Literal["get", "post", "put", "patch", "delete"], Entry]]
    schemas: dict[str, Any]
    security: Literal["bearer", "signature"] = "bearer"


@cache
def read_sheets() -> dict[str, Sheet]:
    """The sheets that are written by hand, by name."""
    folder = files(__package__)
    texts = {name: (folder / f"{name}.yaml").read_text(encoding="utf-8") for name in _WRITTEN}
    return {name: msgspec.convert(yaml.load(text, _LOADER), Sheet) for name, text in texts.items()}  # noqa: S506 - safe either way
