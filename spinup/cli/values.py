"""Parses command-line words into literals, arithmetic on them and torch.nn activations, without `eval`."""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable
from typing import Any

from spinup.errors import ConfigError
from spinup.pytorch.activations import activation

_CALLS: dict[str, Callable[..., Any]] = {
    "dict": dict, "list": list, "tuple": tuple, "set": set, "int": int, "float": float,
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
}  # fmt: skip
# Limits of the size to which a short word can expand.
_MAX_BITS = 4096
_MAX_ITEMS = 1000


def read_value(text: str) -> Any:
    """Parse a word of the command line.

    A word is evaluated if it is a Python literal (`0.99`, `[256,256]`, `None`, `"text"`), arithmetic on
    numbers (`2**8`), a repeated or joined list (`[32]*2`), or a call of dict, list, tuple, set, int or float
    on these (`int(1e5)`, `dict(hidden_sizes=[32,32])`). `torch.nn.ELU` or `nn.ELU` is that activation. Any
    other word is a string.

    Raises:
        ConfigError: for a bracketed value or such a call that cannot be parsed, for a result that is too
            large, and for an unsupported name in torch.nn.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the parser's SyntaxWarnings, such as for "1is"
            return _read(ast.parse(text.strip(), mode="eval").body)
    except ConfigError:
        raise
    except ArithmeticError as error:
        raise ConfigError(f"cannot compute {_shortened(text)}: {error}") from None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        if re.match(rf"\s*([\[({{]|({'|'.join(_CALLS)})\s*\()", text):
            raise ConfigError(
                f'cannot read {_shortened(text)}: give a literal in quotes, such as "[256,256]" or '
                '"dict(hidden_sizes=[256,256])"'
            ) from None
        return text


def _read(node: ast.expr | None) -> Any:
    """The value of an expression that `read_value` supports; raises ValueError or TypeError for others."""
    match node:
        case ast.Constant(value):
            return _bounded(value)
        case ast.List(items):
            return [_read(item) for item in items]
        case ast.Tuple(items):
            return tuple(_read(item) for item in items)
        case ast.Set(items):
            return {_read(item) for item in items}
        case ast.Dict(keys, values):
            return {_read(key): _read(value) for key, value in zip(keys, values, strict=True)}
        case ast.UnaryOp(ast.UAdd() | ast.USub(), operand):
            value = _number(_read(operand))
            return -value if isinstance(node.op, ast.USub) else +value
        case ast.BinOp(left, op, right) if type(op) in _OPERATORS:
            return _compute(op, _read(left), _read(right))
        case ast.Call(ast.Name(name), args, keywords) if name in _CALLS:
            if not all(keyword.arg for keyword in keywords):  # **kwargs
                raise ValueError
            named = {keyword.arg or "": _read(keyword.value) for keyword in keywords}
            return _bounded(_CALLS[name](*map(_read, args), **named))
        case ast.Attribute():
            return _dotted_name(ast.unparse(node))
    raise ValueError


def _dotted_name(name: str) -> Any:
    """An activation of torch.nn, or the text itself for a name in TensorFlow, which `sac_tf1` takes."""
    if match := re.fullmatch(r"(?:torch\.)?nn\.(\w+)", name):
        return activation(match[1], name)
    if name.startswith("tf."):
        return name
    raise ValueError


def _compute(op: ast.operator, left: Any, right: Any) -> Any:
    """The result of an operation on two numbers, or a list or tuple; raises OverflowError if too large."""
    if isinstance(op, ast.Mult) and isinstance(right, (list, tuple)):
        left, right = right, left
    if isinstance(op, ast.Mult) and isinstance(left, (list, tuple)) and isinstance(right, int):
        items = _count(left) * right
    elif isinstance(op, ast.Add) and isinstance(left, (list, tuple)) and type(left) is type(right):
        items = _count(left) + _count(right)
    else:
        items = 0
        _number(left), _number(right)
    bits = left.bit_length() * right if isinstance(op, ast.Pow) and _are_ints(left, right) else 0
    if items > _MAX_ITEMS or bits > _MAX_BITS:
        raise OverflowError("the result is too large")
    return _bounded(_OPERATORS[type(op)](left, right))


def _number(value: Any) -> Any:
    if not isinstance(value, (int, float, complex)):
        raise TypeError
    return value


def _are_ints(*values: Any) -> bool:
    return all(isinstance(value, int) for value in values)


def _bounded(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise OverflowError("the number is too large")
    return value


def _count(value: Any) -> int:
    """The number of items, including those of nested lists and tuples."""
    return sum(map(_count, value)) + 1 if isinstance(value, (list, tuple)) else 1


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 200 else f"{text[:200]}...")


def cast_like(value: Any, default: Any) -> Any:
    """Cast `value` to the type of `default` if that is lossless: 1e6 to an int, "true" to a bool, "a,b" to a
    tuple."""
    if isinstance(default, bool) and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if isinstance(default, tuple) and isinstance(value, str) and "," in value:
        return tuple(part.strip() for part in value.split(","))
    lossless = isinstance(default, int) and isinstance(value, float) and value.is_integer()
    return int(value) if lossless else value
