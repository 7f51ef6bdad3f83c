"""Who the patients are: numbers drawn, read from a table, or taken from draws of a posterior."""

import hashlib
import math
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float

from optimizer.ensemble.preexisting import drawn_cells, read_risks, risk_sources
from optimizer.files.faults import DataError, Fault, TableWarning
from optimizer.files.headers import split_bracket
from optimizer.files.netcdf import read_netcdf
from optimizer.files.run import digest
from optimizer.files.sheets import read_sheet
from optimizer.files.tables import Column, Schema, Table, interpret, plain
from optimizer.scenario import Scenario, ScenarioError
from optimizer.scenario.keys import Place, find, places
from optimizer.scenario.plan import CohortPlan
from optimizer.units import QuantityError, parse_quantity

# What is meant as a key path, known or not.
_PATH = re.compile(r"[.\[]")
# Patients where nobody says how many.
DRAWN = 100
# The most that are drawn, and what each takes of memory and of one core's time, as far as that is known beforehand.
MOST, _BYTES_EACH, _SECONDS_EACH = 10_000_000, 2000, 0.03


@dataclass(frozen=True)
class Patients:
    """P patients by the numbers in which they differ.

    Attributes:
        places: where in the scenario those numbers stand [V].
        values: the numbers in internal units [P, V]; what is no number is NaN.
        names: of the patients.
        faults: why a patient cannot be simulated, by its index; the sentence names the patient.
        risk: probability that the clone of the last place is there from the start [P]; None where nobody says.
    """

    places: tuple[Place, ...]
    values: Float[np.ndarray, "P V"]
    names: tuple[str, ...]
    faults: dict[int, str]
    risk: Float[np.ndarray, "P"] | None = None

    @property
    def healthy(self) -> np.ndarray:
        """Whether a patient's numbers are within their ranges [P]."""
        return ~np.isin(np.arange(len(self.names)), list(self.faults))

    def columns(self, rows: slice = slice(None)) -> dict[str, np.ndarray]:
        """The numbers of some patients, by key path with its unit."""
        pairs = zip(self.places, self.values[rows].T, strict=True)
        risk = {} if self.risk is None else {"risk": self.risk[rows]}
        return {f"{place.key} [{place.unit}]": np.ascontiguousarray(column) for place, column in pairs} | risk


def stepped(count: int) -> int:
    """The next of a few sizes, four to each doubling: programs for one are programs for all up to it.

    >>> [stepped(n) for n in (1, 7, 9, 33, 47, 800, 1000)]
    [1, 7, 10, 40, 48, 896, 1024]
    """
    step = 2 ** max(0, math.ceil(math.log2(max(count, 1))) - 3)
    return -(-count // step) * step


def load_patients(scenario: Scenario, count: int | None, seed: int, posterior: Path | None = None) -> Patients:
    """The patients that a scenario describes.

    Args:
        scenario: with a [cohort] table, unless a posterior is given.
        count: how many, P; the number of a table, or of a table of risks, when left out, or `DRAWN`.
        seed: of the numbers that are drawn; a patient's numbers depend on the seed and on its index alone.
        posterior: file of draws in place of what [cohort] says.

    Raises:
        ScenarioError: no [cohort], or draws that cannot be read.
        DataError: a table that cannot be read, or keys that are unknown.
    """
    plan = CohortPlan(posterior=str(posterior)) if posterior is not None else scenario.plan.cohort
    if plan is None:
        wanted = "a [cohort] table (vary, table, posterior or risk), or --posterior"
        raise ScenarioError([f"{scenario.file}: cohort: wanted {wanted}; got none"])
    if count is not None and count < 1:
        raise ScenarioError([f"--patients: wanted at least 1; got {count}"])
    if count is not None and count > MOST:
        cost = f"about {count * _BYTES_EACH / 2**30:,.0f} GiB of memory and {count * _SECONDS_EACH / 86400.0:,.0f} days"
        raise ScenarioError([f"--patients: wanted at most {MOST:,}; got {count:,}, which would take {cost}"])
    folder, risks = Path() if posterior is not None else scenario.folder, None
    if plan.table is not None:
        places, values, names = _patients_of(scenario, folder / plan.table, count)
    elif plan.posterior is not None:
        places, values = _of_posterior(scenario, folder / plan.posterior, count or DRAWN, seed)
        names = _numbered(len(values))
    else:
        risks = None if plan.risk is None else read_risks(scenario, plan.risk, count)
        places = tuple(find(scenario.plan.model, scenario.plan.drugs, vary.key) for vary in plan.vary)
        values = _drawn(plan, places, len(risks.names) if risks else count or DRAWN, seed)
        names = risks.names if risks else _numbered(len(values))
        if plan.risk is not None and risks is not None:
            clone = find(scenario.plan.model, scenario.plan.drugs, plan.risk.key)
            places = (*places, clone)
            values = np.column_stack([values, drawn_cells(plan.risk, clone.value, risks, seed)])
    apart = float(np.diff(scenario.plan.edges).min())
    faults = _faults(places, values, names, apart)
    return Patients(places, values, names, faults, None if risks is None else risks.probability)


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(str(i) for i in range(count))


def _faults(places: tuple[Place, ...], values: np.ndarray, names: tuple[str, ...], apart: float) -> dict[int, str]:
    """Patients with a number that is not finite or outside its range; a lag is less than the time between decisions."""
    found: dict[int, str] = {}
    for place, column in zip(places, values.T, strict=True):
        least = -np.inf if place.info.minimum is None else place.info.minimum
        most = np.inf if place.info.maximum is None else place.info.maximum
        if place.steps[-1] == "lag":
            most = min(most, float(np.nextafter(apart, 0.0)))
        below = (column <= 0.0) if place.info.positive else (column < least)
        for i in np.flatnonzero(~np.isfinite(column) | below | (column > most)):
            lowest = "above 0" if place.info.positive else f"of at least {least:g}" if np.isfinite(least) else ""
            highest = f"of at most {most:g}" if np.isfinite(most) else ""
            wanted = " and ".join(part for part in (lowest, highest) if part)
            sentence = f"wanted a finite number{' ' + wanted if wanted else ''}; got {column[i]:g}"
            found.setdefault(int(i), f"patient {names[i]}: {place.key}: {sentence}")
    return found


@jax.jit
def _normals(seed: jax.Array, indices: jax.Array, like: jax.Array) -> jax.Array:
    """Standard normal numbers [P, V] of these patients."""

    def one(i: jax.Array) -> jax.Array:
        return jax.random.normal(jax.random.fold_in(jax.random.key(seed), i), like.shape)

    return jax.vmap(one)(indices)


def root_of(covariance: Float[np.ndarray, "V V"]) -> Float[np.ndarray, "V V"]:
    """Symmetric root by eigenvalues: correlations of 1 leave no Cholesky factor."""
    sizes, axes = np.linalg.eigh(covariance)
    return (axes * np.sqrt(np.maximum(sizes, 0.0))) @ axes.T


def _drawn(plan: CohortPlan, places: tuple[Place, ...], count: int, seed: int) -> np.ndarray:
    """Correlated normal or lognormal numbers [P, V] about the scenario's."""
    normals = np.asarray(_normals(np.uint32(seed), np.arange(stepped(count)), np.zeros(len(places))))[:count]
    # Row by row, not as a matrix product: that one's rounding depends on how many patients there are.
    mixed = np.sum(normals[:, None, :] * root_of(plan.correlation), axis=-1)
    typical = np.array([place.value for place in places])
    spread = np.array([vary.sd for vary in plan.vary])
    is_log = np.array([vary.distribution == "lognormal" for vary in plan.vary])
    moved = spread * mixed
    return np.where(is_log, typical * np.exp(np.where(is_log, moved, 0.0)), typical + moved)


# --- a table ----------------------------------------------------------------------------------------------------------


def _of_table(scenario: Scenario, path: Path, is_posterior: bool = False) -> tuple[tuple[Place, ...], Table]:
    """The numbers of a file of patients, or of draws: a header of key paths with units, then one row each."""
    sheet = read_sheet(path)
    found: dict[str, Place] = {}
    faults, columns = (
        [],
        [Column("patient", ("patient", "id", "name", "subject"), "text", required=False, empty="kept")],
    )
    for header in sheet.header:
        key = split_bracket(header)[0]
        # In a posterior, a number of the tumor may go without its first step.
        path_of = f"model.{key}" if is_posterior and "." not in key else key
        try:
            place = find(scenario.plan.model, scenario.plan.drugs, path_of)
        except QuantityError as error:
            if _PATH.search(key):
                wanted, _, got = str(error).removeprefix("wanted ").rpartition("; got ")
                faults.append(Fault(str(path), sheet.header_line, header, wanted, got))
            continue
        unit = place.unit if place.unit in ("1", "cell") else ""
        more = {"required": False, "empty": "kept", "low": -math.inf, "is_finite": False}
        columns.append(Column(place.key, (plain(key),), f"in {place.unit}", unit=unit, **more))
        found[place.key] = place
    if not faults and not found:
        wanted, got = "a column of a number of the tumor or of a drug, such as model.clone[0].cells", sheet.header
        faults.append(Fault(str(path), sheet.header_line, "", wanted, f"the columns {', '.join(got)}"[:200]))
    if not faults and not len(sheet.lines):
        faults.append(Fault(str(path), sheet.header_line, "", "a header and a row for each patient", "no row"))
    DataError.stop(faults)
    table = interpret(sheet, Schema("a table of patients", tuple(columns)))
    for note in table.notes:
        warnings.warn(note, TableWarning, stacklevel=3)
    return tuple(found.values()), table


def _values(places: tuple[Place, ...], table: Table) -> Float[np.ndarray, "P V"]:
    """The numbers in internal units."""
    return np.stack([table.inside(place.key, place.unit) for place in places], axis=1)


def _patients_of(
    scenario: Scenario, path: Path, count: int | None
) -> tuple[tuple[Place, ...], np.ndarray, tuple[str, ...]]:
    """The first so many patients of a table, and their names."""
    places, table = _of_table(scenario, path)
    if count is not None and count > len(table):
        raise DataError(f"{path}: wanted at least {count} rows, one a patient; got {len(table)}")
    kept = slice(None if count is None else count)
    names = table["patient"][kept].tolist() if "patient" in table else _numbered(len(table))[kept]
    return places, _values(places, table)[kept], tuple(names)


# --- draws of a posterior ---------------------------------------------------------------------------------------------


def _of_posterior(scenario: Scenario, path: Path, count: int, seed: int) -> tuple[tuple[Place, ...], np.ndarray]:
    """A draw for each patient [P, V], picked by its index, of every parameter that the scenario's model has."""
    if path.suffix.lower() in (".csv", ".tsv", ".txt", ".parquet"):
        listed, table = _of_table(scenario, path, is_posterior=True)
        return listed, _values(listed, table)[_picks(count, seed, len(table))]
    try:
        draws = read_netcdf(path, "posterior")
    except DataError as error:
        raise ScenarioError([f"{scenario.file}: cohort.posterior: {error}"]) from None
    file = f"{scenario.file}: cohort.posterior: {path.name}"
    found, columns, ignored = [], [], []
    for name, variable in draws.items():
        meant = _meant(scenario, name) if variable.dims == ("chain", "draw") else []
        if not meant:
            ignored.append(name)
        for place in meant:
            found.append(place)
            columns.append(_converted(variable.values.ravel(), place, variable.unit, file))
    if not found:
        got = ", ".join(ignored) or "none"
        raise ScenarioError([f"{file}: wanted draws of a number of the scenario's model, such as ec50_max; got {got}"])
    table = np.stack(columns, axis=1)
    return tuple(found), table[_picks(count, seed, len(table))]


def _meant(scenario: Scenario, name: str) -> list[Place]:
    """Where a parameter of a fit stands in the scenario; nowhere when it is no number of its model.

    Cells of a fit are those of the first clone, and of every further clone that has the same number; a clone with a
    number of its own keeps it.
    """
    plan = scenario.plan
    if name.startswith("model.") or "." not in name:
        name = name.removeprefix("model.")
        known = {place.key: place for place in places(plan.model, plan.drugs)}
        of_clones = [known.get(f"model.clone[{i}].{name}") for i in range(len(plan.model.clones))]
        first = of_clones[0] if of_clones else None
        if len(of_clones) > 1 and first is not None:
            return [place for place in of_clones if place is not None and place.value == first.value]
        name = f"model.{name}"
    try:
        return [find(plan.model, plan.drugs, name)]
    except QuantityError:
        return []


def _picks(count: int, seed: int, draws: int) -> np.ndarray:
    """The draw of each patient [P]."""
    key = jax.random.key(np.uint32(seed))
    pick = jax.vmap(lambda i: jax.random.randint(jax.random.fold_in(key, i), (), 0, draws))
    return np.asarray(pick(np.arange(stepped(count))))[:count]


def _converted(values: np.ndarray, place: Place, unit: str, file: str) -> np.ndarray:
    """Draws in internal units."""
    if unit == place.unit or (unit in ("1", "") and place.unit in ("1", "cell")):
        return values
    try:
        one = parse_quantity(f"1 {unit}".replace(" 1/", " / "), place.unit)
    except QuantityError as error:
        raise ScenarioError([f"{file}: {place.key}: the attribute units: {error}"]) from None
    return values * one


def source_digest(scenario: Scenario, posterior: Path | None = None) -> str | None:
    """SHA-256 of the files that the patients come from; None where they are drawn from the scenario's spreads alone."""
    plan = scenario.plan.cohort
    if posterior is None and plan is not None and plan.risk is not None:
        return hashlib.sha256(b"".join(risk_sources(scenario, plan.risk))).hexdigest()
    name = None if plan is None else plan.table or plan.posterior
    return digest(posterior or (None if name is None else scenario.folder / name))
