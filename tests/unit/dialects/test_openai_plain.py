"""The commonest calls are known by one look: it must see what the closer one sees, and nothing else."""

import itertools
import json
from typing import Any

import pytest

from steelyard.base.errors import Fault
from steelyard.dialects import openai_chat
from steelyard.dialects.openai_plain import read_plain

SYSTEM, USER = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "你好"}
ASSISTANT = {"role": "assistant", "content": "Hello."}
CONVERSATIONS: list[Any] = [
    [USER], [SYSTEM, USER], [SYSTEM, USER, ASSISTANT, USER], [USER, ASSISTANT], [SYSTEM], [], None, "hi", [None], [USER, SYSTEM],
    [{"role": "tool", "content": "x"}, USER], [{"role": "user"}], [{"role": "User", "content": "x"}], [{**USER, "name": "me"}],
    [{**ASSISTANT, "partial": True}], [USER, {**ASSISTANT, "partial": True}], [{**USER, "content": None}],
    [{**USER, "content": [{"type": "text", "text": "x"}]}], [{"role": "developer", "content": ""}, USER], [{"role": 1, "content": "x"}],
]  # fmt: skip
VALUES: list[Any] = [None, 0, 1, 2, 7.0, 7.5, -1, 0.5, 1.99, 2.0, 1e400, True, False, "", "1", [], {}, 10**20, 0.0]
FIELDS = (
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "stream",
    "stream_options",
    "n",
    "seed",
    "tools",
    "x",
)
OPTIONS: list[Any] = [{"include_usage": one} for one in VALUES] + [{"include_usage": True, "x": 1}, [], None]


def calls() -> list[dict[str, Any]]:
    """Calls of the common form, and calls that miss it by one thing."""
    found = [{"model": "m", "messages": one} for one in CONVERSATIONS]
    found += [{"model": one, "messages": [USER]} for one in (*VALUES, " ", "qwen-plus")]
    found += [{"model": "m", "messages": [USER], field: one} for field in FIELDS for one in VALUES]
    found += [{"model": "m", "messages": [USER], "stream": True, "stream_options": one} for one in OPTIONS]
    found += [
        {"model": "m", "messages": [USER], "max_tokens": one, "max_completion_tokens": other}
        for one, other in itertools.product((None, 1, 5), repeat=2)
    ]
    return [*found, {"messages": [USER]}, {"model": "m"}]


def seen(raw: bytes, *, closely: bool) -> Any:
    """What a call is taken for, or what is told of it."""
    try:
        request = (
            openai_chat.decode(raw, {}) if closely else openai_chat.decode_plain(raw) or openai_chat.decode(raw, {})
        )
        # decoded where it was not yet
        assert request.settings is request.body
        return request
    except Fault as failure:
        return failure.slug, failure.param, str(failure)


@pytest.mark.parametrize("call", calls(), ids=lambda call: json.dumps(call)[:80])
def test_one_look_sees_what_the_closer_one_sees(call: dict[str, Any]) -> None:
    """The same request, or the same refusal."""
    raw = json.dumps(call).replace("Infinity", "1e400").encode()
    if b"1e400" in raw:
        raw = raw.replace(b"1e400", b"1e300")
    assert seen(raw, closely=False) == seen(raw, closely=True)


def test_the_common_form_is_seen_at_all() -> None:
    """A check that refused everything would pass the other test."""
    known = [read_plain(json.dumps(call).encode()) for call in calls() if "Infinity" not in json.dumps(call)]
    assert sum(one is not None for one in known) > 30
    assert sum(one is None for one in known) > 100
