"""Templates of labels, annotations and messages, in the syntax of Go's text/template as Prometheus uses it. Values in, text out."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from steelyard.monitor.template_functions import FUNCTIONS, TemplateError, is_true, show

MAX_CHARS = 65_536
#: Nodes that are filled in at most: a template is no program.
MAX_STEPS = 20_000
MAX_DEPTH = 50
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?P<number>[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+))"""
    r"""|(?P<variable>\$\w*(?:\.\w+)*)|(?P<field>(?:\.\w+)+|\.)|(?P<word>[A-Za-z_]\w*)|(?P<mark>:=|[=|(),]))"""
)
_ACTION = re.compile(
    r"\{\{(-\s)?\s*(/\*.*?\*/|(?:\"(?:[^\"\\\n]|\\.)*\"|`[^`]*`|[^`\"}]|\}(?!\}))*?)\s*(\s-)?\}\}", re.DOTALL
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"'}
_CONSTANTS = {"true": True, "false": False, "nil": None}

Token = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Operand:
    """A constant, a variable with fields, the data with fields, a function's name, or a pipeline in brackets."""

    kind: str
    value: Any


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands, each the last argument of the next; and the variables that it is given to."""

    commands: tuple[tuple[Operand, ...], ...]
    names: tuple[str, ...] = ()
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class Block:
    """`if`, `range`, `with`, or a `template` that is called."""

    kind: str
    pipeline: Pipeline | None
    body: tuple["Part", ...]
    other: tuple["Part", ...] = ()
    name: str = ""


Part = str | Pipeline | Block


@dataclass(slots=True)
class Template:
    """A template that was read. `named` are those that it defines."""

    parts: tuple[Part, ...]
    named: dict[str, tuple[Part, ...]] = field(default_factory=dict)


@lru_cache(maxsize=512)
def read_template(text: str) -> Template:
    """A text as a template.

    Raises:
        TemplateError: saying what is wrong.
    """
    if len(text) > MAX_CHARS:
        raise TemplateError(f"it is longer than {MAX_CHARS} characters")
    reader = _Reader(list(_split(text)))
    parts, end = reader.read_parts(0)
    if end:
        raise TemplateError(f"unexpected {{{{{end}}}}}")
    return Template(parts, reader.named)


def _split(text: str) -> Iterator[tuple[bool, str]]:
    """(whether it is an action, the text)"""
    position, trims = 0, False
    for found in _ACTION.finditer(text):
        before = text[position : found.start()]
        if "{{" in before:
            break
        before = before.lstrip() if trims else before
        yield False, before.rstrip() if found[1] else before
        if not found[2].startswith("/*"):
            yield True, found[2].strip()
        position, trims = found.end(), found[3] is not None
    rest = text[position:]
    if "{{" in rest:
        raise TemplateError("unclosed action")
    yield False, rest.lstrip() if trims else rest


def _tokens(text: str) -> list[Token]:
    found, position = [], 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise TemplateError(f"unexpected {text[position:].strip()[:20]!r} in {text[:60]!r}")
        found.append((match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return found


class _Reader:
    """Actions and texts as parts."""

    def __init__(self, pieces: list[tuple[bool, str]]) -> None:
        self._pieces = pieces
        self._place = 0
        self.named: dict[str, tuple[Part, ...]] = {}

    def read_parts(self, depth: int) -> tuple[tuple[Part, ...], str]:
        """(parts up to `end`, `else` or the end of the text; which it was)"""
        if depth > MAX_DEPTH:
            raise TemplateError("it is nested too deeply")
        parts: list[Part] = []
        while self._place < len(self._pieces):
            is_action, text = self._pieces[self._place]
            self._place += 1
            if not is_action:
                if text:
                    parts.append(text)
                continue
            word, _, rest = text.partition(" ")
            if word in ("end", "else"):
                return tuple(parts), text
            if word in ("if", "range", "with"):
                parts.append(self._block(word, rest, depth))
            elif word == "define":
                self.named[_string(rest)] = self._body(depth)[0]
            elif word == "template":
                name = _TOKEN.match(rest)
                if name is None or name["string"] is None:
                    raise TemplateError("template: a name in quotes is missing")
                more = rest[name.end() :]
                parts.append(Block(word, _pipeline(more) if more.strip() else None, (), name=_unquote(name["string"])))
            else:
                parts.append(_pipeline(text))
        return tuple(parts), ""

    def _body(self, depth: int) -> tuple[tuple[Part, ...], str]:
        parts, end = self.read_parts(depth + 1)
        if not end:
            raise TemplateError("unexpected end of the text: {{end}} is missing")
        return parts, end

    def _block(self, kind: str, head: str, depth: int) -> Block:
        body, end = self._body(depth)
        other: tuple[Part, ...] = ()
        if end.startswith("else"):
            rest = end.removeprefix("else").strip()
            if rest:
                word, _, more = rest.partition(" ")
                if word not in ("if", "with"):
                    raise TemplateError(f"unexpected {rest[:20]!r} after else")
                other = (self._block(word, more, depth + 1),)
            else:
                other, end = self._body(depth)
                if end != "end":
                    raise TemplateError(f"unexpected {{{{{end}}}}}")
        return Block(kind, _pipeline(head), body, other)


def _string(text: str) -> str:
    tokens = _tokens(text)
    if len(tokens) != 1 or tokens[0][0] != "string":
        raise TemplateError("define: a name in quotes is missing")
    return _unquote(tokens[0][1])


def _unquote(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), text[1:-1])


def _pipeline(text: str) -> Pipeline:
    tokens = _tokens(text)
    names: list[str] = []
    is_new, marks = True, [number for number, one in enumerate(tokens) if one in (("mark", ":="), ("mark", "="))]
    if marks:
        for kind, value in tokens[: marks[0]]:
            if kind == "variable":
                names.append(value)
            elif (kind, value) != ("mark", ","):
                raise TemplateError(f"{value!r} cannot be given a value")
        is_new = tokens[marks[0]][1] == ":="
        tokens = tokens[marks[0] + 1 :]
    commands, rest = _commands(tokens, 0)
    if rest:
        raise TemplateError(f"unexpected {rest[0][1]!r} in {text[:60]!r}")
    return Pipeline(commands, tuple(names), is_new)


def _commands(tokens: list[Token], depth: int) -> tuple[tuple[tuple[Operand, ...], ...], list[Token]]:
    if depth > MAX_DEPTH:
        raise TemplateError("it is nested too deeply")
    commands: list[tuple[Operand, ...]] = []
    operands: list[Operand] = []
    while tokens and tokens[0] != ("mark", ")"):
        (kind, value), tokens = tokens[0], tokens[1:]
        if (kind, value) == ("mark", "|"):
            commands.append(tuple(operands))
            operands = []
        elif (kind, value) == ("mark", "("):
            inner, tokens = _commands(tokens, depth + 1)
            if not tokens:
                raise TemplateError("unclosed left paren")
            tokens = tokens[1:]
            operands.append(Operand("pipeline", Pipeline(inner)))
        else:
            operands.append(_operand(kind, value))
    commands.append(tuple(operands))
    if any(not one for one in commands):
        raise TemplateError("missing value for command")
    return tuple(commands), tokens


def _operand(kind: str, value: str) -> Operand:
    if kind == "string":
        return Operand("constant", _unquote(value))
    if kind == "number":
        return Operand("constant", int(value) if re.fullmatch(r"[+-]?\d+", value) else float(value))
    if kind == "word":
        if value in _CONSTANTS:
            return Operand("constant", _CONSTANTS[value])
        if value not in FUNCTIONS and value not in _BOUND:
            raise TemplateError(f'function "{value}" not defined')
        return Operand("function", value)
    if kind in ("variable", "field"):
        return Operand(kind, value)
    raise TemplateError(f"unexpected {value!r}")


#: Functions that whoever fills a template in brings.
_BOUND = frozenset({"query", "externalURL", "pathPrefix"})


class _Filling:
    """A template on its way to a text."""

    def __init__(self, template: Template, functions: Mapping[str, Callable[..., Any]]) -> None:
        self._named = template.named
        self._functions = {**FUNCTIONS, **functions}
        self._steps = 0
        self._out: list[str] = []

    def fill(self, parts: tuple[Part, ...], data: Any, variables: dict[str, Any], depth: int = 0) -> str:
        for part in parts:
            self._steps += 1
            if self._steps > MAX_STEPS or depth > MAX_DEPTH:
                raise TemplateError("it takes too many steps")
            if isinstance(part, str):
                self._out.append(part)
            elif isinstance(part, Pipeline):
                value = self._value(part, data, variables)
                if part.names:
                    variables[part.names[0]] = value
                else:
                    self._out.append(show(value))
            else:
                self._block(part, data, variables, depth)
        return "".join(self._out)

    def _block(self, block: Block, data: Any, variables: dict[str, Any], depth: int) -> None:
        value = None if block.pipeline is None else self._value(block.pipeline, data, variables)
        if block.kind == "template":
            if block.name not in self._named:
                raise TemplateError(f'template "{block.name}" not defined')
            self.fill(self._named[block.name], value, {**variables, "$": value}, depth + 1)
        elif block.kind == "range":
            self._range(block, value, data, variables, depth)
        elif is_true(value):
            names = {} if block.pipeline is None else dict.fromkeys(block.pipeline.names, value)
            variables.update(names)
            self.fill(block.body, value if block.kind == "with" else data, variables, depth + 1)
        else:
            self.fill(block.other, data, variables, depth + 1)

    def _range(self, block: Block, value: Any, data: Any, variables: dict[str, Any], depth: int) -> None:
        assert block.pipeline is not None
        pairs = sorted(value.items()) if isinstance(value, Mapping) else list(enumerate(value or ()))
        if not pairs:
            self.fill(block.other, data, variables, depth + 1)
        names = block.pipeline.names
        for key, one in pairs:
            told = (one,) if len(names) == 1 else (key, one)
            variables.update(dict(zip(names, told, strict=False)))
            self.fill(block.body, one, variables, depth + 1)

    def _value(self, pipeline: Pipeline, data: Any, variables: dict[str, Any]) -> Any:
        value: Any = None
        for number, command in enumerate(pipeline.commands):
            last = () if number == 0 else (value,)
            head, *rest = command
            if head.kind == "function":
                arguments = [self._operand(one, data, variables) for one in rest]
                value = self._call(head.value, [*arguments, *last])
            elif rest or last:
                raise TemplateError("can't give an argument to what is no function")
            else:
                value = self._operand(head, data, variables)
        return value

    def _call(self, name: str, arguments: list[Any]) -> Any:
        try:
            return self._functions[name](*arguments)
        except TemplateError as exc:
            raise TemplateError(f"error calling {name}: {exc}") from None
        except (TypeError, KeyError, AttributeError, ValueError, IndexError, OverflowError):
            raise TemplateError(f"wrong arguments for {name}") from None

    def _operand(self, operand: Operand, data: Any, variables: dict[str, Any]) -> Any:
        if operand.kind == "constant":
            return operand.value
        if operand.kind == "pipeline":
            return self._value(operand.value, data, variables)
        if operand.kind == "function":
            return self._call(operand.value, [])
        if operand.kind == "variable":
            name, *fields = operand.value.split(".")
            if name not in variables:
                raise TemplateError(f"undefined variable {name!r}")
            return _fields(variables[name], fields)
        return _fields(data, [one for one in operand.value.split(".") if one])


def _fields(value: Any, names: list[str]) -> Any:
    for name in names:
        if not isinstance(value, Mapping):
            raise TemplateError(f"can't evaluate field {name}")
        # a label that is not there is empty
        value = value.get(name, "")
    return value


def fill_template(text: str, variables: dict[str, Any], data: Any, functions: Mapping[str, Callable[..., Any]]) -> str:
    """A template's text.

    Args:
        variables: by their names with `$`.
        functions: `query` and others that belong to whoever fills it in.

    Raises:
        TemplateError: saying what is wrong.
    """
    if "{{" not in text:
        return text
    template = read_template(text)
    return _Filling(template, functions).fill(template.parts, data, {"$": data, **variables})
