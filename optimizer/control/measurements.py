"""A table of measurements: one row a visit, one column a quantity.

====== =====================================================================================
column meaning
====== =====================================================================================
day    of the sample, from the start of treatment; rows in increasing order
others label of a quantity of the scenario with its unit, such as `burden [cell]`,
       `psa [ng/mL]` or `variant_fraction.resistant [1]`
====== =====================================================================================

An empty cell and "." are missing values; "<0.1" is a value below the detection limit, which is the scenario's.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from optimizer.observations import BELOW, MEASURED, MISSING, Channel, Record
from optimizer.scenario import ScenarioError
from optimizer.scenario.faults import one_of
from optimizer.units import QuantityError, parse_quantity

_HEADER = re.compile(r"(.*?)\s*(?:\[([^\[\]]*)\])?")
_MOST_BYTES = 2**20
_DAY = "day"


@dataclass(frozen=True)
class Measurements:
    """Visits with C channels, as they were written.

    Attributes:
        days: of the visits [L].
        values: in the units of the quantities; NaN where there is none, the detection limit where it was below [L, C].
        seen: MISSING, MEASURED or BELOW [L, C].
    """

    days: Float[np.ndarray, "L"]
    values: Float[np.ndarray, "L C"]
    seen: Int[np.ndarray, "L C"]

    def record(self, channels: Sequence[Channel]) -> Record:
        """On the scales on which errors add."""
        safe = np.where(self.seen == MEASURED, self.values, 0.5)
        shown = jnp.stack([c.shown(jnp.asarray(safe[:, i])) for i, c in enumerate(channels)], -1)
        return Record(jnp.asarray(self.days), shown, jnp.asarray(self.seen))


def none_measured(channels: Sequence[Channel]) -> Measurements:
    """Before the first visit."""
    empty = np.zeros((0, len(channels)))
    return Measurements(np.zeros(0), empty, empty.astype(int))


def read_measurements(path: Path, channels: Sequence[Channel]) -> Measurements:
    """Read a CSV file.

    Args:
        path: the file.
        channels: quantities that the scenario names; those without a column are missing.

    Raises:
        ScenarioError: with every fault that was found, as "FILE:LINE: column X: wanted ...; got ...".
    """
    try:
        data = path.read_bytes()
        text = data[: _MOST_BYTES + 1].decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "bytes that are not UTF-8"
        raise ScenarioError([f"{path}: wanted a readable CSV file of measurements; got: {why}"]) from None
    if len(data) > _MOST_BYTES:
        raise ScenarioError([f"{path}: wanted at most {_MOST_BYTES} bytes; got more"])
    reader = csv.reader(io.StringIO(text))
    rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(cell.strip() for cell in row)]
    if not rows:
        raise ScenarioError([f"{path}: wanted a header with the column {_DAY}; got nothing"])
    places = _header(f"{path}:{rows[0][0]}", rows[0][1], channels)
    return _body(path, rows, places, channels)


def _header(place: str, names: Sequence[str], channels: Sequence[Channel]) -> list[tuple[int | None, str]]:
    """Channel and unit of each column; None for the day."""
    labels, found, faults = [c.label() for c in channels], [], []
    for name in names:
        match = _HEADER.fullmatch(name)
        label, unit = (match[1], match[2]) if match else (name, None)
        if label == _DAY:
            found.append((None, unit or "day"))
        elif label not in labels:
            faults.append(f"{place}: header: {one_of([_DAY, *labels], label)}")
        else:
            own = labels.index(label)
            found.append((own, unit or channels[own].quantity.unit))
    numbers = [number for number, _ in found]
    for number in {n for n in numbers if numbers.count(n) > 1}:
        faults.append(f"{place}: header: wanted {_DAY if number is None else labels[number]} once; got it twice")
    if None not in numbers:
        faults.append(f"{place}: header: wanted the column {_DAY}; got none")
    if faults:
        raise ScenarioError(faults)
    return found


def _body(
    path: Path,
    rows: Sequence[tuple[int, list[str]]],
    places: Sequence[tuple[int | None, str]],
    channels: Sequence[Channel],
) -> Measurements:
    count = len(rows) - 1
    days, values = np.zeros(count), np.full((count, len(channels)), np.nan)
    seen, faults = np.full((count, len(channels)), MISSING), []
    for i, (line, cells) in enumerate(rows[1:]):
        if len(cells) != len(places):
            faults.append(f"{path}:{line}: wanted {len(places)} cells as in the header; got {len(cells)}")
            continue
        for cell, (number, unit) in zip(cells, places, strict=True):
            label = _DAY if number is None else channels[number].label()
            try:
                if number is None:
                    days[i] = _number(cell, unit, "day")
                else:
                    values[i, number], seen[i, number] = _measured(cell, unit, channels[number])
            except QuantityError as error:
                faults.append(f"{path}:{line}: column {label}: {error}")
        if i and not days[i] > days[i - 1]:
            faults.append(f"{path}:{line}: column {_DAY}: wanted a later day than {days[i - 1]:g}; got {days[i]:g}")
    if faults:
        raise ScenarioError(faults)
    return Measurements(days, values, seen)


def _measured(cell: str, unit: str, channel: Channel) -> tuple[float, int]:
    """A cell as a value of the quantity, and what there is of it."""
    quantity = channel.quantity
    limit = float(quantity.detection_limit)
    if cell in ("", "."):
        return math.nan, MISSING
    if cell.startswith("<"):
        value = _number(cell[1:], unit, quantity.unit)
        if not math.isclose(value, limit, rel_tol=1e-6):
            wanted = f"the scenario's detection limit, <{limit:g} {quantity.unit}" if limit else "a number"
            raise QuantityError(f'wanted {wanted}; got "{cell}"')
        return limit, BELOW
    value = _number(cell, unit, quantity.unit)
    if not value > 0.0 or (quantity.is_share and not value < 1.0):
        raise QuantityError(f"wanted more than 0{' and less than 1' if quantity.is_share else ''}; got {value:g}")
    if value < limit:
        raise QuantityError(f'wanted at least the detection limit {limit:g}, or "<{limit:g}"; got {value:g}')
    return value, MEASURED


def _number(cell: str, unit: str, wanted: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        raise QuantityError(f'wanted a number, its unit being in the header; got "{cell[:40]}"') from None
    if not math.isfinite(number):
        raise QuantityError(f"wanted a finite number; got {cell}")
    if unit == wanted:
        return number
    return parse_quantity(f"{number!r} {unit}".replace(" 1/", " / "), wanted)
