"""Arithmetic written by a model, worked out without ever running it as code.

The text is parsed to a syntax tree and walked; only numbers, operators and a few functions are
known. Length, depth and the size of every number on the way are bounded, so that no expression
takes more than a few milliseconds.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

MAX_CHARACTERS = 500
MAX_NODES = 200
# 2 to this power has 1,234 digits; larger numbers are refused before they are computed.
MAX_BITS = 4096
MAX_FACTORIAL = 400
SIGNIFICANT_DIGITS = 15

Number = int | float
_TWO: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_ONE: dict[type[ast.unaryop], Callable[[Number], Number]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_NAMES: dict[str, float] = {"pi": math.pi, "e": math.e, "tau": math.tau}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sqrt": math.sqrt, "exp": math.exp, "log": math.log, "log10": math.log10, "log2": math.log2,
    "sin": math.sin, "cos": math.cos, "tan": math.tan, "asin": math.asin, "acos": math.acos,
    "atan": math.atan, "degrees": math.degrees, "radians": math.radians, "floor": math.floor,
    "ceil": math.ceil, "abs": abs, "round": round, "min": min, "max": max,
}  # fmt: skip
# How people and models write these.
_SPELLINGS = {"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "^": "**", "π": "pi", "√": "sqrt"}


class CalculationError(ValueError):
    """Why there is no result, in one sentence."""


def calculate(expression: str) -> str:
    """The value of an arithmetic expression, written out.

    Raises:
        CalculationError: it cannot be read, is too large, or has no value.
    """
    try:
        return _written(_value(_parsed(expression)))
    except ZeroDivisionError:
        raise CalculationError("A division by zero has no value.") from None
    except OverflowError:
        raise CalculationError("The result is too large.") from None
    except (ValueError, TypeError) as problem:
        if isinstance(problem, CalculationError):
            raise
        raise CalculationError(f"It has no value: {problem}.") from None


def _parsed(expression: str) -> ast.expr:
    if len(expression) > MAX_CHARACTERS:
        raise CalculationError(f"It has more than {MAX_CHARACTERS} characters; work in steps.")
    for written, meant in _SPELLINGS.items():
        expression = expression.replace(written, meant)
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise CalculationError("It is not written as arithmetic, such as 2 * (3 + 4).") from None
    if sum(1 for _ in ast.walk(tree)) > MAX_NODES:
        raise CalculationError("It has too many terms; work in steps.")
    return tree.body


def _value(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return _bounded(value)
        case ast.Name(id=name) if name in _NAMES:
            return _NAMES[name]
        case ast.UnaryOp(op=op) if type(op) in _ONE:
            return _ONE[type(op)](_value(node.operand))
        case ast.BinOp(op=ast.Pow()):
            return _bounded(_power(_value(node.left), _value(node.right)))
        case ast.BinOp(op=op) if type(op) in _TWO:
            return _bounded(_TWO[type(op)](_value(node.left), _value(node.right)))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return _bounded(_called(name, [_value(argument) for argument in arguments]))
    raise CalculationError("Only numbers, + - * / // % **, brackets and functions can be used.")


def _power(base: Number, exponent: Number) -> Number:
    whole = isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1
    if whole and (int(base).bit_length() - 1) * exponent > MAX_BITS:
        raise CalculationError("The power is too large.")
    result = base**exponent
    if isinstance(result, complex):
        raise CalculationError("A root of a negative number is no real number.")
    return result


def _called(name: str, arguments: list[Number]) -> Number:
    if name == "factorial":
        if len(arguments) != 1 or not 0 <= arguments[0] <= MAX_FACTORIAL:
            raise CalculationError(f"A factorial takes a whole number up to {MAX_FACTORIAL}.")
        return math.factorial(_whole(arguments[0]))
    if name not in _FUNCTIONS:
        known = ", ".join(sorted({*_FUNCTIONS, "factorial"}))
        raise CalculationError(f"There is no function {name}; there are: {known}.")
    if name == "round" and len(arguments) == 2:
        return round(arguments[0], max(-100, min(100, _whole(arguments[1]))))
    return _FUNCTIONS[name](*arguments)


def _whole(value: Number) -> int:
    if value != int(value):
        raise CalculationError("A whole number is needed there.")
    return int(value)


def _bounded(value: Number) -> Number:
    if isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            raise CalculationError("A number in it is too large.")
    elif not math.isfinite(value):
        raise CalculationError("The result is too large.")
    return value


def _written(value: Number) -> str:
    """Whole numbers in full; others to 15 digits, so that 0.1 + 0.2 is 0.3."""
    if isinstance(value, int):
        return str(value)
    return f"{value:.{SIGNIFICANT_DIGITS}g}"
