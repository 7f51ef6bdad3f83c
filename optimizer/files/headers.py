"""Names and units of columns: `TIME [h]`, `time_h`, `dose (nM)`, `PSA_NG_PER_ML`, in any case.

Units are read against a list, never evaluated; a unit is taken for one only where the column can have it.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from optimizer.units import Dimension, QuantityError, parse_unit

_TIME, _MASS, _VOLUME = Dimension(time=1), Dimension(mass=1), Dimension(volume=1)
_CELLS, _MOLES, _PURE = Dimension(cells=1), Dimension(moles=1), Dimension()
_BODY = (Dimension(bodyweight=1), Dimension(bsa=1))
_RELATIVE = ("relative", "1")
_SIGNALS = {"au": "1", "od": "1", "rlu": "rlu", "rfu": "rfu", "cps": "cps", "counts": "counts", "1": "1"}
# Units by what is measured: dimensions that pass, and the factor from day, mg, L, umol to the unit that is compared in.
KINDS: dict[str, tuple[tuple[Dimension, ...], float]] = {
    "time": ((_TIME,), 1.0),
    "amount": ((_MASS, *(_MASS / body for body in _BODY), _MASS / _VOLUME), 1.0),
    "amount_rate": ((_MASS / _TIME, *(_MASS / body / _TIME for body in _BODY), _MASS / _VOLUME / _TIME), 1.0),
    "concentration": ((_MASS / _VOLUME, _MOLES / _VOLUME), 1.0),
    "growth_factor": ((_MASS / _VOLUME,), 1e6),
    "rate": ((_PURE / _TIME,), 1.0),
    "burden": ((_VOLUME, _MASS / _VOLUME, _CELLS / _VOLUME, _CELLS, Dimension(length=1), _PURE), 1.0),
    "count": ((_CELLS, _PURE), 1.0),
    "share": ((_PURE,), 1.0),
    "signal": ((_PURE,), 1.0),
}
# What laboratories write for a scenario's units; the dimension decides between two.
_SPELLED = {
    "M": "mol/L", "mM": "mmol/L", "uM": "umol/L", "nM": "nmol/L", "pM": "pmol/L", "fM": "fmol/L",
    "um": "umol/L", "nm": "nmol/L", "pm": "pmol/L", "mm": "mm", "MM": "mmol/L", "cm": "cm",
    "s": "s", "sec": "s", "second": "s", "seconds": "s", "min": "min", "minute": "min", "minutes": "min",
    "h": "h", "hr": "h", "hrs": "h", "hour": "h", "hours": "h", "d": "d", "day": "d", "days": "d",
    "w": "week", "wk": "week", "week": "week", "weeks": "week",
    "g": "g", "mg": "mg", "ug": "ug", "mcg": "ug", "ng": "ng", "pg": "pg", "kg": "kg_bw", "kg_bw": "kg_bw",
    "m2": "m2_bsa", "m2_bsa": "m2_bsa", "l": "L", "dl": "dL", "ml": "mL", "ul": "uL",
    "mol": "mol", "mmol": "mmol", "umol": "umol", "nmol": "nmol", "pmol": "pmol", "fmol": "fmol",
    "cell": "cell", "cells": "cells", "copies": "copies", "copy": "copies", "mm3": "mm3", "cm3": "cm3",
    "percent": "percent", "pct": "percent", "%": "percent", "1": "1",
}  # fmt: skip
# Units that scenarios do not have, as multiples of some that they do.
_BEYOND = {
    "mol": (1e6, "umol"), "mmol": (1e3, "umol"), "pmol": (1e-6, "umol"), "fmol": (1e-9, "umol"),
    "mm3": (1e-3, "mL"), "cm3": (1.0, "mL"), "copies": (1.0, "cell"),
}  # fmt: skip
_BRACKETED = re.compile(r"(.*?)\s*(?:\[([^\[\]]*)\]|\(([^()]*)\))")
# What stands behind a name and is meant as a unit, known or not.
LIKE_UNIT = re.compile(r".*(/|_?per_|%).*|[munpfk]?[glm]|[munpf]M|h|hr|hours?|min|days?|weeks?|months?|years?", re.I)


@dataclass(frozen=True)
class Unit:
    """A unit of a column."""

    text: str  #: as a scenario writes it, such as "ug/mL"
    scale: float  #: factor to day, mg, L, umol, cell, mm
    dimension: Dimension  #: what it measures


@lru_cache(maxsize=256)
def measure(kind: str) -> tuple[tuple[Dimension, ...], float] | None:
    """Dimensions and factor of a kind of number, which is one of `KINDS` or "in UNIT"; None where it has no unit."""
    if not kind.startswith("in "):
        return KINDS.get(kind)
    unit = parse_unit(kind.removeprefix("in "))
    return (unit.dimension,), 1.0 / float(unit.scale)


def read_unit(text: str, kind: str) -> Unit | None:
    """The unit that a text means where a kind of number is measured; None where it is none of that kind.

    >>> read_unit("ng_per_ml", "burden").text, read_unit("nM", "concentration").text, read_unit("nM", "in ug/L")
    ('ng/mL', 'nmol/L', None)
    """
    found = measure(kind)
    for unit in _meanings(text.strip()):
        if found is not None and unit.dimension in found[0]:
            return unit
    low = text.strip().lower()
    if kind == "signal" and low in _SIGNALS:
        return Unit(_SIGNALS[low], 1.0, _PURE)
    return Unit(low, 1.0, _PURE) if kind in ("burden", "share", "in 1") and low in _RELATIVE else None


@lru_cache(maxsize=1024)
def _meanings(text: str) -> tuple[Unit, ...]:
    """Every unit that a text may mean, the likeliest first."""
    plain = text.replace("\u00b5", "u").replace("\u03bc", "u").replace("\u00b2", "2").replace("\u00b3", "3")
    plain = plain.replace("^", "").replace("**", "").replace("_bw", "").replace("_bsa", "")
    plain = re.sub(r"^(1/|per[_ ])", "1_per_", plain, flags=re.I)
    parts = [part.strip() for part in re.split(r"_per_| per |/", plain, flags=re.I)]
    if not 0 < len(parts) <= 4 or not all(parts):
        return ()
    found = []
    for fold in (str, str.lower, str.upper):
        known = [_SPELLED.get(fold(part), _SPELLED.get(part.lower())) for part in parts]
        if all(known):
            scale, dimension = 1.0, _PURE
            for i, name in enumerate(known):
                size, what = _sized(str(name))
                scale, dimension = (scale * size, dimension * what) if i == 0 else (scale / size, dimension / what)
            found.append(Unit("/".join(map(str, known)), scale, dimension))
    return tuple(found)


def _sized(name: str) -> tuple[float, Dimension]:
    """Scale and dimension of a unit of `_SPELLED`."""
    top, _, below = name.partition("/")
    factor, own = _BEYOND.get(top, (1.0, top))
    try:
        unit = parse_unit(f"{own}/{below}" if below else own)
    except QuantityError:
        return 1.0, _PURE
    return factor * float(unit.scale), unit.dimension


def split_bracket(header: str) -> tuple[str, str | None]:
    """Name and unit of `NAME [unit]` or `NAME (unit)`; the unit is None where there are no brackets."""
    found = _BRACKETED.fullmatch(header.strip())
    return (found[1].strip(), (found[2] if found[2] is not None else found[3]).strip()) if found else (header, None)


def split_header(header: str, kind: str) -> tuple[str, Unit | None]:
    """A column's name in lower case and its unit, None where it has none of that kind.

    >>> split_header("Cetuximab_ug_per_ml", "concentration")[0], split_header("TIME [h]", "time")[1].text
    ('cetuximab', 'h')
    """
    name, unit = split_bracket(header)
    if measure(kind) is None:
        return (name if unit is None else header).strip().lower(), None
    if unit is not None:
        return name.lower(), read_unit(unit, kind)
    parts = name.split("_")
    for i in range(1, len(parts)):
        found = read_unit("_".join(parts[i:]), kind)
        if found is not None and "_".join(parts[:i]):
            return "_".join(parts[:i]).lower(), found
    return name.lower(), None
