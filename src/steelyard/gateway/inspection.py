"""Content inspection on the way of a call: whose policy holds, which stages, and what is told of a finding."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from steelyard.base.errors import Fault
from steelyard.canon.grant import Workspace
from steelyard.canon.inspection import INPUT, OUTPUT
from steelyard.canon.request import ModelRequest
from steelyard.dialects.dialect import Dialect, Operation
from steelyard.gateway.checking import Checker

if TYPE_CHECKING:
    from steelyard.policy.inspection import Inspector

HEADER = b"x-dashscope-datainspection"
_OFF = frozenset({"disable", "disabled", "off", "none"})

#: Told of a refusal: stage, and the kind of rule; never the text.
Note = Callable[[str, str], None]


class Inspection:
    """What looks at the texts of one call."""

    __slots__ = ("_checker", "_inspector", "_note", "hear", "is_output")

    def __init__(self, inspector: Inspector, note: Note, checker: Checker, *, is_output: bool) -> None:
        self._inspector = inspector
        self._note = note
        self._checker = checker
        self.is_output = is_output
        #: Told of a stream's texts as they pass.
        self.hear: Callable[[str], None] | None = None

    @property
    def is_asking(self) -> bool:
        """Whether somebody else is asked about texts too."""
        return self._inspector.policy.check is not None

    async def ask(self, text: str, stage: str) -> None:
        """Asks about a text.

        Raises:
            Fault: `data_inspection_failed` or `check_unavailable`.
        """
        policy = self._inspector.policy.check
        assert policy is not None
        try:
            await self._checker.check(policy, text, stage.capitalize())
        except Fault as failure:
            if failure.inspection_rule:
                self._note(stage, failure.inspection_rule)
            raise

    async def ask_output(self, text: str) -> None:
        """Asks about a part of a streamed answer."""
        await self.ask(text, OUTPUT)

    def rewrite_input(self, request: ModelRequest, dialect: Operation) -> ModelRequest:
        """The request as it may go on.

        Raises:
            Fault: `data_inspection_failed`.
        """
        if self._inspector.is_clean(request.raw):
            return request
        try:
            return dialect.rewrite_request(request, lambda text: self._inspector.check(text, "Input"))
        except Fault as failure:
            self._note(INPUT, failure.inspection_rule)
            raise

    def rewrite_output(self, body: bytes, dialect: Dialect) -> bytes:
        """A whole answer as it may go on.

        Raises:
            Fault: `data_inspection_failed`.
        """
        # what comes before the answer's texts is not the model's: a time of ten digits looks like a number to mask
        if self._inspector.is_clean(body[max(body.find(b'"choices"'), 0) :]):
            return body
        try:
            return dialect.rewrite_reply(body, lambda text: self._inspector.check(text, "Output"))
        except Fault as failure:
            self._note(OUTPUT, failure.inspection_rule)
            raise

    def cut(self, text: str, *, is_last: bool) -> tuple[str, str]:
        """See `policy.inspection.Inspector`; for streams."""
        try:
            out, held = self._inspector.cut(text, is_last=is_last)
            if self.hear is not None:
                self.hear(out)
            return out, held
        except Fault as failure:
            self._note(OUTPUT, failure.inspection_rule)
            raise


class _Texts(list[str]):
    """Collects texts that are rewritten to themselves."""

    def take(self, text: str) -> str:
        self.append(text)
        return text


def texts_of_request(request: ModelRequest, dialect: Operation) -> str:
    """Every text of a call."""
    texts = _Texts()
    dialect.rewrite_request(request, texts.take)
    return "\n".join(texts)


def texts_of_reply(body: bytes, dialect: Dialect) -> str:
    """Every text of a whole answer."""
    texts = _Texts()
    dialect.rewrite_reply(body, texts.take)
    return "\n".join(texts)


class Inspectors:
    """Finds a workspace's inspector; one is made only where its policy has changed."""

    def __init__(self) -> None:
        self._cache: dict[str, tuple[Workspace, Inspector | None]] = {}

    def __repr__(self) -> str:
        return f"<Inspectors of {len(self._cache)} workspaces>"

    def find(self, workspace: Workspace) -> Inspector | None:
        """The inspector; None where nothing is looked for."""
        found = self._cache.get(workspace.name)
        if found is not None and found[0] is workspace:
            return found[1]
        if found is not None and found[0].inspection == workspace.inspection:
            inspector = found[1]
        elif workspace.inspection.is_empty:
            inspector = None
        else:
            # imported where it is used: most installations look for nothing
            from steelyard.policy.inspection import Inspector

            inspector = Inspector(workspace.inspection)
        self._cache[workspace.name] = (workspace, inspector)
        return inspector


def stages_of(inspector: Inspector, header: bytes | None) -> frozenset[str]:
    """Which stages are looked at: the policy's, and what the caller asks for in `X-DashScope-DataInspection`."""
    if header is None:
        return inspector.stages
    try:
        asked = msgspec.json.decode(header, type=dict[str, str])
    except msgspec.DecodeError:
        word = header.decode("latin-1").strip().lower()
        asked = {INPUT: word, OUTPUT: word}
    stages = set(inspector.stages)
    for stage in (INPUT, OUTPUT):
        value = asked.get(stage, "").lower()
        if value in _OFF and inspector.may_disable:
            stages.discard(stage)
        elif value and value not in _OFF:
            stages.add(stage)
    return frozenset(stages)
