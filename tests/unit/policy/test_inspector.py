"""What is found, what is masked, and what a stream may let go of."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.base.errors import Fault
from steelyard.canon.inspection import InspectionPolicy
from steelyard.dialects.openai_texts import StreamTexts
from steelyard.policy.inspection import Inspector, check_policy

ALL = Inspector(
    InspectionPolicy(
        words=("绝密计划", "Top Secret"), patterns=(r"code\s*:\s*\d{4}",), mask=("phone", "id_card", "bank_card", "key")
    )
)


@pytest.mark.parametrize("text", ["这是绝密计划。", "a TOP secret thing", "Code :  1234", "x" * 5000 + "绝密计划"])
def test_words_and_patterns_refuse(text: str) -> None:
    """In any case, anywhere."""
    with pytest.raises(Fault) as caught:
        ALL.check(text, "Input")
    assert (caught.value.status, caught.value.openai_code) == (400, "data_inspection_failed")
    assert caught.value.message == "Input data may contain inappropriate content."
    assert "绝密" not in str(caught.value.__dict__)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("call 13812345678 now", "call 138******78 now"),
        ("+86 138 1234 5678", "+86************78"),
        ("id 11010519491231002X.", "id 110*************2X."),
        ("id 110105194912310021.", "id 110105194912310021."),
        ("card 4111 1111 1111 1111!", "card 411**************11!"),
        ("card 4111 1111 1111 1112!", "card 4111 1111 1111 1112!"),
        ("order 20261124000012345678", "order 20261124000012345678"),
        ("key sk-abcdefghijklmnopqrstuvwx", "key sk-**********************wx"),
        ("nothing here 12345", "nothing here 12345"),
    ],
)
def test_numbers_are_masked_where_their_checksums_hold(text: str, expected: str) -> None:
    """A look-alike stays."""
    assert ALL.check(text, "Input") == expected


SECRETS = ["13812345678", "11010519491231002X", "4111 1111 1111 1111"]


@given(st.lists(st.sampled_from(["hello ", "你好，", "12 ", "a1b2", *SECRETS, " ", "\n"]), max_size=12), st.data())
def test_a_stream_becomes_what_the_whole_text_would(pieces: list[str], data: st.DataObject) -> None:
    """However the text is cut, the same comes out as in one piece, and nothing of a number leaves early."""
    text = "".join(pieces)
    out, held, at = "", "", 0
    while at < len(text):
        step = data.draw(st.integers(1, 7))
        piece, held = ALL.cut(held + text[at : at + step], is_last=False)
        out += piece
        at += step
    out += ALL.cut(held, is_last=True)[0]
    assert out == ALL.check(text, "Output")


@given(st.integers(0, 200), st.integers(0, 200), st.lists(st.integers(1, 3), min_size=4, max_size=4))
def test_a_word_over_several_chunks_never_leaves(before: int, after: int, steps: list[int]) -> None:
    """It is caught before its first character has gone out."""
    text = "前" * before + "绝密计划" + "后" * after
    out: list[str] = []

    def stream() -> None:
        held, at, number = "", 0, 0
        while at < len(text):
            step = steps[number % 4]
            piece, held = ALL.cut(held + text[at : at + step], is_last=False)
            out.append(piece)
            at, number = at + step, number + 1
        ALL.cut(held, is_last=True)

    with pytest.raises(Fault):
        stream()
    assert "绝" not in "".join(out)


def event(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def test_events_carry_what_was_held_back() -> None:
    """By choice and field; the last event takes the rest along; arguments are looked at and never changed."""
    texts = StreamTexts(Inspector(InspectionPolicy(mask=("phone",), words=("banned",))))
    events = [
        event({"role": "assistant", "content": ""}),
        event({"reasoning_content": "my number 1381234"}),
        event({"reasoning_content": "5678"}),
        event({"content": "13812"}),
        event({"content": "345678"}, index=1),
        event({"content": "345678"}),
        event({"tool_calls": [{"index": 0, "function": {"arguments": '{"phone": "13812345678"}'}}]}),
        event({}, "stop"),
        event({"content": ""}, "stop", index=1),
    ]
    for one in events:
        texts.feed(one)
    out: dict[tuple[int, str], str] = {}
    for one in events:
        (choice,) = one["choices"]
        for field in ("content", "reasoning_content"):
            key = (choice["index"], field)
            out[key] = out.get(key, "") + (choice["delta"].get(field) or "")
    assert out[0, "content"] == "138******78"
    assert out[0, "reasoning_content"] == "my number 138******78"
    assert out[1, "content"] == "345678"
    assert (
        json.loads(events[6]["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"])["phone"] == "13812345678"
    )
    texts.feed(event({"tool_calls": [{"index": 0, "function": {"arguments": '{"a": "ban'}}]}))
    with pytest.raises(Fault):
        texts.feed(event({"tool_calls": [{"index": 0, "function": {"arguments": 'ned"}'}}]}))


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"mask": ("shoe_size",)}, "mask"),
        ({"stages": ("middle",)}, "stages"),
        ({"words": ("",)}, "words"),
        ({"patterns": ("(",)}, "does not compile"),
        ({"patterns": ("x*",)}, "matches everything"),
        ({"patterns": (r"(?=a)b",)}, "does not compile"),
        ({"patterns": ("a" * 2000,)}, "too long"),
    ],
)
def test_policies_are_checked(fields: dict[str, Any], part: str) -> None:
    """Refused by name."""
    with pytest.raises(Fault) as caught:
        check_policy(InspectionPolicy(**fields))
    assert part in caught.value.message


def test_a_pattern_cannot_stall_the_process() -> None:
    """What takes Python's own matcher for ever is linear here."""
    inspector = Inspector(InspectionPolicy(patterns=(r"(a+)+$x",)))
    assert inspector.check("a" * 100_000 + "!", "Input")


@given(
    st.lists(st.text(alphabet='ab forbidden13800138000"\\\n汉字词-', max_size=40), min_size=1, max_size=3),
    st.sampled_from([("forbidden", "汉字"), ()]),
    st.sampled_from([(), ("b+a",), ("^a",), ("a$",)]),
)
def test_one_look_at_a_body_never_misses_a_text(
    texts: list[str], words: tuple[str, ...], patterns: tuple[str, ...]
) -> None:
    """What is called clean from afar is left alone from near."""
    inspector = Inspector(InspectionPolicy(words=words, patterns=patterns, mask=("phone",)))
    raw = msgspec.json.encode({"messages": [{"role": "user", "content": text} for text in texts]})
    if inspector.is_clean(raw):
        for text in texts:
            assert inspector.check(text, "Input") == text
