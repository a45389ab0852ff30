"""Sizes written as text in the papers' letters (`3*d`, `B*T*(H + 2*K)*Q`): read from data files, evaluated without executing anything."""

import ast
import functools
from collections.abc import Mapping
from typing import Any

from gptcalc.errors import GptcalcError
from gptcalc.symbols import minimum


@functools.cache
def parse_expression(text: str) -> ast.expr:
    """The syntax tree of a size: whole numbers, letters, + - *, min(a, b) and parentheses.

    Raises GptcalcError for everything else.

    >>> parse_expression("3*d") is parse_expression("3*d")
    True
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise GptcalcError(f"{text[:60]!r} is not a size", hint="write whole numbers and letters with + - * and parentheses") from None
    for node in ast.walk(tree):
        allowed = isinstance(node, (ast.BinOp, ast.Name, ast.Load, ast.Add, ast.Sub, ast.Mult))
        number = isinstance(node, ast.Constant) and type(node.value) is int
        if not (allowed or number or (isinstance(node, ast.Call) and _is_minimum(node))):
            raise GptcalcError(f"{text[:60]!r} is not a size", hint="write whole numbers and letters with + - * and parentheses")
    return tree


def _is_minimum(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "min" and len(call.args) == 2 and not call.keywords


def evaluate(text: str, letters: Mapping[str, Any]) -> Any:
    """The value of a size, in the kind of number of its letters.

    Raises GptcalcError for a letter that has no value here, naming those that have.

    >>> evaluate("(H + 2*K)*Q", {"H": 32, "K": 8, "Q": 128})
    6144
    """
    return _value(parse_expression(text), letters)


def _value(node: ast.expr, letters: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        if node.id not in letters:
            raise GptcalcError(f"'{node.id}' is not one of the letters {', '.join(sorted(letters))}")
        return letters[node.id]
    if isinstance(node, ast.Call):
        return minimum(_value(node.args[0], letters), _value(node.args[1], letters))
    assert isinstance(node, ast.BinOp)
    left, right = _value(node.left, letters), _value(node.right, letters)
    if isinstance(node.op, ast.Add):
        return left + right
    return left - right if isinstance(node.op, ast.Sub) else left * right
