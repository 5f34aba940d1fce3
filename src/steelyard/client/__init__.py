"""What a person's machine needs to talk to any compatible endpoint, ours or a vendor's. No server of ours required.

from steelyard.client import Steelyard

with Steelyard("http://127.0.0.1:8090/v1", "sk-…") as client:
    print(client.chat("qwen-plus", "你好").text)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steelyard.client.calls import Delta, Reply
    from steelyard.client.errors import ApiError
    from steelyard.client.steelyard import AsyncSteelyard, Steelyard

__all__ = ["ApiError", "AsyncSteelyard", "Delta", "Reply", "Steelyard"]

_HOMES = {
    "ApiError": "errors",
    "Delta": "calls",
    "Reply": "calls",
    "AsyncSteelyard": "steelyard",
    "Steelyard": "steelyard",
}


def __getattr__(name: str) -> Any:
    # read on first use: the command line's quick commands need none of it
    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(importlib.import_module(f"steelyard.client.{_HOMES[name]}"), name)
