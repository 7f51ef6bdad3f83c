"""Metadata beside the equation: the unit, meaning and source of each parameter of the numeric core."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp

_KEY = "adose"


@dataclass(frozen=True)
class FieldInfo:
    """What a reader must know of a parameter; the scenario schema is generated from it."""

    unit: str  #: internal unit, for example "1/day"; "1" is dimensionless
    doc: str  #: meaning, one line
    source: str = ""  #: DOI or other origin of the equation or default; empty when it is the user's number
    minimum: float | None = None  #: smallest allowed value (exclusive when `positive`)
    positive: bool = False  #: whether zero is refused
    maximum: float | None = None  #: largest allowed value
    ndim: int = 0  #: 0 for a number, 1 for a list of numbers


def _as_array(value: Any) -> Any:
    # A Python float stays weakly typed until here; the array takes the precision that is switched on.
    return value if isinstance(value, jnp.ndarray) else jnp.asarray(value, dtype=float)


def parameter(*, unit: str, doc: str, default: Any = dataclasses.MISSING, **more: Any) -> Any:
    """A dataclass field that holds a float array and says its unit, meaning, and `more` of `FieldInfo`.

    Example:
        >>> import equinox as eqx
        >>> class Decay(eqx.Module):
        ...     rate: object = parameter(unit="1/day", doc="decay rate", positive=True)
        >>> describe(Decay)["rate"].unit
        '1/day'
    """
    extra = {} if default is dataclasses.MISSING else {"default": default}
    return eqx.field(converter=_as_array, metadata={_KEY: FieldInfo(unit, doc, **more)}, **extra)


def describe(cls: type) -> dict[str, FieldInfo]:
    """Parameters of a module class by field name, in the order of the class; those given by name alone come last."""
    ordered = sorted(dataclasses.fields(cls), key=lambda f: f.kw_only is True)
    return {f.name: f.metadata[_KEY] for f in ordered if _KEY in f.metadata}


def default_of(cls: type, name: str) -> Any:
    """Default of a field, or `dataclasses.MISSING`."""
    return next(f.default for f in dataclasses.fields(cls) if f.name == name)


def setting(*, doc: str, unit: str = "", default: Any = dataclasses.MISSING, **more: Any) -> Any:
    """A static field (a name, or a number that is compiled in) that says its unit, meaning, and `more` of `FieldInfo`.

    Units besides the internal ones: "" is text, "dose" the dose of the drug that the field `drug` names, "dose total"
    the sum of such doses (times day for an infusion).
    """
    extra = {} if default is dataclasses.MISSING else {"default": default}
    return eqx.field(static=True, metadata={_KEY: FieldInfo(unit, doc, **more)}, **extra)
