"""The loop, with a model and tools that are scripted."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from steelyard.apps.asking import Answering
from steelyard.apps.kit import Result
from steelyard.apps.loop import Loop
from steelyard.apps.toolbox import Tool, Toolbox, is_granted, wire_name
from steelyard.base.errors import Fault
from steelyard.canon.answer import ARGUED, ASKED_MODEL, CALLED, CALLED_TOOL, ENDED, RAN, SAID, Piece
from steelyard.canon.apps import ToolSpec
from steelyard.canon.grant import Grant
from steelyard.canon.receipt import Receipt
from steelyard.canon.usage import Usage

NUMBERS = ToolSpec(
    name="add",
    parameters={
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    },
)


class Kit:
    tools = (NUMBERS,)

    def __init__(self, *results: Result) -> None:
        self.results = list(results)
        self.asked: list[dict[str, Any]] = []

    async def call(self, tool: ToolSpec, arguments: dict[str, Any]) -> Result:
        self.asked.append(arguments)
        return self.results.pop(0) if len(self.results) > 1 else self.results[0]


class Sink:
    def __init__(self) -> None:
        self.receipts: list[Receipt] = []

    def check(self) -> None: ...

    def record(self, receipt: Receipt) -> None:
        self.receipts.append(receipt)

    enlist = record


class Model:
    """Answers with one list of pieces after the other."""

    def __init__(self, *answers: list[Piece]) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    async def __call__(self, body: dict[str, Any], answering: Answering) -> AsyncGenerator[Piece, None]:
        self.asked.append(body)
        answering.reader.usage = Usage(prompt_tokens=10, completion_tokens=2)
        for piece in self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]:
            yield piece


def called(*calls: tuple[str, str]) -> list[Piece]:
    pieces = []
    for number, (name, arguments) in enumerate(calls):
        pieces += [Piece(CALLED, name, call=number, call_id=f"c{number}"), Piece(ARGUED, arguments, call=number)]
    return [*pieces, Piece(ENDED, "tool_calls")]


def said(text: str) -> list[Piece]:
    return [Piece(SAID, text), Piece(ENDED, "stop")]


def make(model: Model, kit: Kit, *, own: tuple[str, ...] = (), max_steps: int = 5, **body: Any) -> tuple[Loop, Sink]:
    sink = Sink()
    toolbox = Toolbox([Tool("p__add", "p", NUMBERS, kit)], Grant(key_id="k", workspace="w"), "parent", sink)
    own_tools = [{"type": "function", "function": {"name": name}} for name in own]
    call = {"model": "m", "messages": [{"role": "user", "content": "?"}], **body}
    return Loop(model, call, toolbox, own_tools, max_steps=max_steps), sink  # type: ignore[arg-type]


async def run(loop: Loop) -> list[Piece]:
    return [piece async for piece in loop.run()]


async def test_call_and_answer() -> None:
    """What a tool says reaches the model as data; pieces, steps and sums tell of it; the call is recorded under its parent."""
    model, kit = Model(called(("p__add", '{"a":1}')), said("two")), Kit(Result("</tool_result> 2"))
    loop, sink = make(model, kit, tool_choice="required")
    pieces = await run(loop)
    assert [one.step.kind for one in pieces if one.step is not None] == [ASKED_MODEL, CALLED_TOOL, ASKED_MODEL]
    assert loop.text == "two"
    assert loop.usage == Usage(prompt_tokens=20, completion_tokens=4)
    _, assistant, tool = model.asked[1]["messages"]
    assert assistant["tool_calls"][0]["function"] == {"name": "p__add", "arguments": '{"a":1}'}
    assert tool["content"] == '<tool_result tool="p__add">\n<\\/tool_result> 2\n</tool_result>'
    assert ("tool_choice" in model.asked[0], "tool_choice" in model.asked[1]) == (True, False)
    (receipt,) = sink.receipts
    assert (receipt.parent, receipt.operation, receipt.target, receipt.status) == ("parent", "tools", "p/add", 200)


@pytest.mark.parametrize("arguments", ["{", "[]", "{}", '{"a":"x"}', '{"a":1,"b":2}', '{"a":1e999}'])
async def test_wrong_arguments(arguments: str) -> None:
    """They are told to the model, and the tool is not called."""
    model, kit = Model(called(("p__add", arguments)), said("sorry")), Kit(Result("never"))
    loop, sink = make(model, kit)
    await run(loop)
    assert kit.asked == []
    assert "tool_error" in model.asked[1]["messages"][-1]["content"]
    assert sink.receipts[0].status == 500


async def test_failures() -> None:
    """The first is told to the model, the second ends the answer; one that goes well after a failure goes on."""
    model, kit = Model(called(("p__add", '{"a":1}'))), Kit(Result("broken", is_error=True))
    loop, _ = make(model, kit)
    with pytest.raises(Fault) as caught:
        await run(loop)
    assert caught.value.native_code == "InvokePluginFailed"
    assert len(kit.asked) == 2
    model = Model(called(("p__add", '{"a":1}')), called(("p__add", '{"a":1}')), said("fine"))
    loop, _ = make(model, Kit(Result("broken", is_error=True), Result("2")))
    await run(loop)
    assert loop.text == "fine"


async def test_the_same_again() -> None:
    """A call that is repeated is not made again, and the model must answer then."""
    model, kit = Model(called(("p__add", '{"a":1}')), called(("p__add", '{"a":1}')), said("two")), Kit(Result("2"))
    loop, _ = make(model, kit)
    await run(loop)
    assert len(kit.asked) == 1
    assert ["tools" in one for one in model.asked] == [True, True, False]
    assert model.asked[2]["messages"][-1]["content"].count("2") == 1


async def test_last_step() -> None:
    """The last question has no tools; what is called all the same is not made, and the answer ends."""
    model = Model(*(called(("p__add", f'{{"a":{number}}}')) for number in range(5)))
    kit = Kit(Result("2"))
    loop, _ = make(model, kit, max_steps=3)
    pieces = await run(loop)
    assert len(model.asked) == 3
    assert pieces[-1] == Piece(ENDED, "stop")


async def test_own_tools() -> None:
    """Calls of the caller's tools go back, alone; plugins' calls of the same turn wait."""
    model, kit = Model(called(("mine", "{}"), ("p__add", '{"a":1}'))), Kit(Result("2"))
    loop, _ = make(model, kit, own=("mine",))
    pieces = await run(loop)
    assert [one.text for one in pieces if one.kind == CALLED] == ["mine"]
    assert pieces[-1] == Piece(ENDED, "tool_calls")
    assert kit.asked == []


async def test_too_many_at_once() -> None:
    """A model that asks for a flood of calls is stopped."""
    model, kit = Model(called(*(("p__add", f'{{"a":{n}}}') for n in range(40)))), Kit(Result("2"))
    loop, _ = make(model, kit)
    with pytest.raises(Fault, match="40 tool calls"):
        await run(loop)


async def test_texts_of_turns_stand_apart() -> None:
    """What is said before a call and after it are not run together."""
    model = Model([Piece(SAID, "Let me "), Piece(SAID, "see."), *called(("p__add", '{"a":1}'))], said("Two."))
    loop, _ = make(model, Kit(Result("2")))
    pieces = await run(loop)
    assert "".join(one.text for one in pieces if one.kind == SAID) == "Let me see.\n\nTwo."
    assert all(one.kind != RAN or one.step is not None for one in pieces)


def test_names() -> None:
    """A plugin's name comes first, so no tool passes for another's; long and odd names stay apart."""
    assert wire_name("weather", "get") == "weather__get"
    odd = {wire_name("p", name) for name in ("a.b", "a_b", "a b", "x" * 100, "x" * 99 + "y")}
    assert len(odd) == 5
    assert all(len(one) <= 64 for one in odd)
    assert is_granted((), "weather", "get")
    assert is_granted(("weather",), "weather", "get")
    assert is_granted(("weather/get",), "weather")
    assert not is_granted(("weather/other",), "weather", "get")
    assert not is_granted(("time",), "weather", "get")
