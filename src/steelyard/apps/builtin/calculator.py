"""Arithmetic: an expression is read as a tree and computed node by node; nothing of it is ever run as code."""

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

from steelyard.apps.builtin.plugin import BuiltinPlugin, Surroundings
from steelyard.apps.kit import Result
from steelyard.canon.apps import ToolSpec

MAX_CHARS = 500
#: Whole numbers may grow to this many bits: a tower of powers must not take the processor.
MAX_BITS = 4096
EVALUATE = ToolSpec(
    name="evaluate",
    # without an example: small models compute that in place of what was asked
    description="Computes arithmetic exactly: sums, products, powers, roots, remainders. 精确计算算式。",
    parameters={
        "type": "object",
        "properties": {
            "expression": {
                "type": "string",
                "description": "The expression of the question, in + - * / // % ** and parentheses; sqrt, abs, round, min, max, floor, ceil, exp, log, log10, sin, cos, tan, pi, e are known.",
            }
        },
        "required": ["expression"],
        "additionalProperties": False,
    },
)

_Number = int | float
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_CONSTANTS = {"pi": math.pi, "e": math.e}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(math, name) for name in ("sqrt", "floor", "ceil", "exp", "log", "log10", "sin", "cos", "tan")
} | {"abs": abs, "round": round, "min": min, "max": max}
#: As people and models write them.
_SIGNS = str.maketrans({"×": "*", "÷": "/", "−": "-", "，": ",", "（": "(", "）": ")", "^": "^"})


class NotArithmetic(ValueError):
    """An expression that is none."""


def compute(expression: str) -> _Number:
    """The value of an expression.

    Raises:
        NotArithmetic: it is none, or its numbers grow beyond bounds.
        ArithmeticError: it has no value.
    """
    text = expression.strip().translate(_SIGNS).replace("^", "**")
    if len(text) > MAX_CHARS:
        raise NotArithmetic(f"longer than {MAX_CHARS} characters")
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise NotArithmetic("not an arithmetic expression") from None
    return _value(tree.body)


def _value(node: ast.expr) -> _Number:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return _bounded(node.value)
    if isinstance(node, ast.Name) and node.id in _CONSTANTS:
        return _CONSTANTS[node.id]
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        return _bounded(_UNARY[type(node.op)](_value(node.operand)))
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Pow):
            _check_power(left, right)
        return _bounded(_BINARY[type(node.op)](left, right))
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in _FUNCTIONS
        and not node.keywords
    ):
        return _bounded(_FUNCTIONS[node.func.id](*[_value(one) for one in node.args]))
    raise NotArithmetic(f"{ast.unparse(node)[:50]!r} is not allowed")


def _check_power(left: _Number, right: _Number) -> None:
    if isinstance(left, int) and isinstance(right, int) and abs(left).bit_length() * max(right, 0) > MAX_BITS:
        raise NotArithmetic("the power is too large")


def _bounded(value: Any) -> _Number:
    if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
        raise NotArithmetic("it has no real value")
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise NotArithmetic("the numbers grow too large")
    found: _Number = value
    return found


async def evaluate(arguments: dict[str, Any], _: Surroundings) -> Result:
    """The value, or why there is none."""
    expression = arguments["expression"]
    try:
        value = compute(expression)
    except (NotArithmetic, ArithmeticError, ValueError, TypeError) as exc:
        return Result(f"{expression[:100]} cannot be computed: {exc}.", is_error=True)
    return Result(f"{value:.15g}" if isinstance(value, float) else str(value))


PLUGIN = BuiltinPlugin("calculator", "Exact arithmetic.", (EVALUATE,), {"evaluate": evaluate})
