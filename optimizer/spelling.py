"""Pytrees as JSON and back, by names that can be imported: what a program is found by, and the shape of its results."""

import dataclasses
import enum
import functools
import importlib
import types
from typing import Any

import jax
import numpy as np

# Where what is spelled may come from: this package, and packages whose version is part of what a program is found by.
PACKAGES = ("optimizer", "jax", "jaxlib", "equinox", "diffrax", "numpy")
_STANDARD = ("builtins", "collections", "functools", "operator")
_PLAIN = (bool, int, str, type(None))
_ROWS = {"tuple": tuple, "list": list}


class Foreign(Exception):
    """Something that no name can be given to."""


def spell(value: Any, homes: set[str]) -> Any:
    """A value as JSON; arrays by shape and type alone.

    Args:
        value: pytree of arrays, plain values, dataclasses, named tuples, functions and classes.
        homes: gains the module of every class and function that was met.

    Raises:
        Foreign: something that is not from `PACKAGES`, or that has no name there.
    """
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, float):
        return ["float", value.hex()]
    if isinstance(value, np.ndarray | np.generic | jax.Array | jax.ShapeDtypeStruct):
        return ["array", list(value.shape), str(value.dtype)]
    if isinstance(value, np.dtype):
        return ["dtype", str(value)]
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        return ["name", _name(value, homes)]
    if isinstance(value, enum.Enum):
        return ["enum", _name(type(value), homes), value.name]
    if type(value) in (tuple, list):
        return [type(value).__name__, *(spell(item, homes) for item in value)]
    if type(value) is dict:
        return ["dict", *([spell(key, homes), spell(item, homes)] for key, item in value.items())]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return ["named", _name(type(value), homes), *(spell(item, homes) for item in value)]
    if dataclasses.is_dataclass(value):
        fields = [[f.name, spell(getattr(value, f.name), homes)] for f in dataclasses.fields(value)]
        return ["fields", _name(type(value), homes), *fields]
    if isinstance(value, functools.partial):
        return ["partial", *(spell(part, homes) for part in (value.func, value.args, value.keywords))]
    if isinstance(value, types.MethodType):
        return ["method", spell(value.__self__, homes), value.__name__]
    return ["name", _name(value, homes)]  # such as a function that JAX has wrapped


def _name(value: Any, homes: set[str]) -> str:
    home, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(home, str) or not isinstance(name, str) or home.split(".")[0] not in (*PACKAGES, *_STANDARD):
        raise Foreign
    if _named(f"{home}:{name}") is not value:
        raise Foreign
    homes.add(home)
    return f"{home}:{name}"


def _named(name: str) -> Any:
    home, _, path = name.partition(":")
    if home.split(".")[0] not in (*PACKAGES, *_STANDARD):
        raise Foreign
    try:
        return functools.reduce(getattr, path.split("."), importlib.import_module(home))
    except (ImportError, AttributeError):
        raise Foreign from None


def unspell(said: Any) -> Any:
    """The value that `spell` was given, of plain values, containers, dataclasses and named tuples alone.

    Raises:
        Foreign: it was something else.
    """
    if isinstance(said, _PLAIN):
        return said
    kind, *rest = said
    if kind == "float":
        return float.fromhex(rest[0])
    if kind in _ROWS:
        return _ROWS[kind](map(unspell, rest))
    if kind == "dict":
        return {unspell(key): unspell(item) for key, item in rest}
    if kind == "enum":
        return _named(rest[0])[rest[1]]
    if kind == "name":
        return _named(rest[0])
    if kind == "named":
        return _named(rest[0])(*map(unspell, rest[1:]))
    if kind != "fields":
        raise Foreign
    cls = _named(rest[0])
    made = object.__new__(cls)
    for name, item in rest[1:]:
        object.__setattr__(made, name, unspell(item))
    return made
