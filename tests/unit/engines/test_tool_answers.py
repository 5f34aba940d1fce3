"""How what tools answered is put to a small model: pure."""

import pytest

from steelyard.engines.tool_answers import in_words, wants_words

CALL = {"role": "assistant", "content": "", "tool_calls": [{"id": "c"}]}
RULE = {"role": "system", "content": "be brief"}


def told(text: str) -> dict[str, str]:
    return {"role": "tool", "tool_call_id": "c", "content": f'<tool_result tool="f">\n{text}\n</tool_result>'}


def asked(question: str, *said: str) -> str:
    """The words that the model is shown."""
    body = {"messages": [RULE, {"role": "user", "content": question}, CALL, *(told(one) for one in said)]}
    return str(in_words(body)["messages"][-1]["content"])


def test_earlier_turns_stay_away() -> None:
    """What tools said becomes part of the question; instructions stay; no call and no earlier turn is shown."""
    first = [{"role": "user", "content": "before"}, CALL, told("rain"), {"role": "assistant", "content": "ok"}]
    question = {"role": "user", "content": [{"type": "text", "text": "how?"}]}
    body = {"messages": [RULE, *first, question, CALL, told("sunny")]}
    assert wants_words(body)
    assert not wants_words({"messages": body["messages"][:-1]})
    said = in_words(body)
    assert said["tool_choice"] == "none"
    assert [one["role"] for one in said["messages"]] == ["system", "user"]
    assert said["messages"][1]["content"].startswith("how?\n\nWhat was found out:\nsunny\n\nAnswer ")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ('{"city": "Oslo", "degrees": -4, "wind": {"from": "N"}}', 'city: Oslo\ndegrees: -4\nwind: {"from":"N"}'),
        ("[1, 2]", "[1, 2]"),
        ("391", "391"),
        ("{broken", "{broken"),
        ("", ""),
        ('{"datetime": "2026-02-14T13:04:15+08:00"}', "datetime: 2026-02-14 13:04:15+08:00"),
        ("from 2026-02-14T13:04 on, PART-2026T1", "from 2026-02-14 13:04 on, PART-2026T1"),
    ],
)
def test_an_object_is_told_in_lines(said: str, shown: str) -> None:
    assert f"What was found out:\n{shown}\n\nAnswer" in asked("how?", said)


def test_the_question_s_language() -> None:
    assert asked("现在几点?", "12:41", "sunny") == "现在几点?\n\n资料：\n12:41\nsunny\n\n根据资料用一句话回答我的问题。"
