"""Targets as formulas: arithmetic in the inputs x1, x2, …, checked piece by piece.

A formula is read with Python's grammar, but nothing of it is ever executed: every piece must be
a number, an input, one of `OPERATORS` or one of `FUNCTIONS`.
"""

import ast
import re
from difflib import get_close_matches
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

FUNCTIONS = {
    "tanh": jnp.tanh,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "exp": jnp.exp,
    "sign": jnp.sign,
    "abs": jnp.abs,
    "sqrt": jnp.sqrt,
}

OPERATORS: dict[type, Any] = {
    ast.Add: jnp.add,
    ast.Sub: jnp.subtract,
    ast.Mult: jnp.multiply,
    ast.Div: jnp.divide,
    ast.Pow: jnp.power,
    ast.UAdd: jnp.positive,
    ast.USub: jnp.negative,
}

LARGEST = 1e300
"""Numbers in a formula are smaller than this."""

MOST_NESTED = 300
"""A formula may be nested so deep (a sum of n terms is n deep): far from Python's own limit."""

MOST_INPUTS = 1000
"""Inputs of a formula where there are infinitely many."""

ALLOWED = f"allowed are numbers, x1, x2, …, + - * / **, parentheses and {', '.join(FUNCTIONS)}"


def check(text: str, dimension: int | None) -> None:
    """Raise `ValueError` unless `text` is a formula in x1 … x`dimension` (None: in any inputs)."""
    try:
        _check(_parsed(text), dimension, 0)
    except (RecursionError, MemoryError):
        raise ValueError(f"is nested deeper than {MOST_NESTED}; write it shorter") from None


def evaluate(text: str, x: Float[Array, "points inputs"]) -> Float[Array, " points"]:
    """The values of a checked formula at every point.

    >>> evaluate("x1 * x2 + 1", jnp.array([[2.0, 3.0], [4.0, 0.5]])).tolist()
    [7.0, 3.0]
    """
    return jnp.broadcast_to(_value(_parsed(text), x), (len(x),)).astype(x.dtype)


def inputs(text: str) -> tuple[int, ...]:
    """The inputs that are in a checked formula, counted from 0.

    >>> inputs("x1 * tanh(x4)")
    (0, 3)
    """
    names = (node.id for node in ast.walk(_parsed(text)) if isinstance(node, ast.Name))
    return tuple(sorted({int(name[1:]) - 1 for name in names if name not in FUNCTIONS}))


def _parsed(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ValueError(f"found {text!r}, which cannot be read ({reason}); {ALLOWED}") from None


def _check(node: ast.expr, dimension: int | None, depth: int) -> None:
    if depth > MOST_NESTED:
        raise RecursionError
    for inner in _inner(node, dimension):
        _check(inner, dimension, depth + 1)


def _inner(node: ast.expr, dimension: int | None) -> list[ast.expr]:
    """What a piece is made of; ValueError if the piece itself is not allowed."""
    match node:
        case ast.BinOp(op=op, left=left, right=right) if type(op) in OPERATORS:
            return [left, right]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in OPERATORS:
            return [operand]
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
            return [argument]
        case ast.Call(func=ast.Name(id=name)) if name not in FUNCTIONS:
            near = get_close_matches(name, FUNCTIONS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"found {name!r}; the functions are {', '.join(FUNCTIONS)}{hint}")
        case ast.Name(id=name):
            number = re.fullmatch(r"x([1-9][0-9]{0,9})", name)
            if number is None or int(number[1]) > (dimension or MOST_INPUTS):
                known = "x1" if dimension == 1 else f"x1 … x{dimension or MOST_INPUTS}"
                raise ValueError(f"found {name!r}; the inputs are {known}")
        case ast.Constant(value=bool()):
            raise ValueError(f"found {_words(node)!r}; {ALLOWED}")
        case ast.Constant(value=int() | float() as value) if abs(value) < LARGEST:
            pass
        case ast.BinOp(op=ast.BitXor()):
            raise ValueError(f"found {_words(node)!r}; a power is written **")
        case _:
            raise ValueError(f"found {_words(node)!r}; {ALLOWED}")
    return []


def _words(node: ast.expr) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _value(node: ast.expr, x: Float[Array, "points inputs"]) -> Any:
    match node:
        case ast.BinOp(op=op, left=left, right=right):
            return OPERATORS[type(op)](_value(left, x), _value(right, x))
        case ast.UnaryOp(op=op, operand=operand):
            return OPERATORS[type(op)](_value(operand, x))
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            return FUNCTIONS[name](_value(argument, x))
        case ast.Name(id=name):
            return x[:, int(name[1:]) - 1]
        case ast.Constant(value=int() | float() as value):
            return float(value)
    raise AssertionError(f"{ast.dump(node)} was not checked")
