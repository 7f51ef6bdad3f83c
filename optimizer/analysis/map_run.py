"""A map from its numbers to its quantities, chunk by chunk: all points as a few batches."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optimizer.analysis.batch import WIDTH, Frame, build_systems, doses_of, judge_batch
from optimizer.analysis.map import Map, Quantity, Request, request
from optimizer.analysis.repeated import batches, repeated_drugs
from optimizer.files.chunks import HERE, AbstractJob, Workers, collected, slices
from optimizer.files.run import Columns, Run, table_bytes
from optimizer.scenario import Scenario
from optimizer.search.multistart import cores
from optimizer.simulate import System

FORMAT = "adose-map-1"
# Points of a chunk, a multiple of what is judged at once: nobody's numbers depend on where a chunk ends.
_CHUNK = 32 * WIDTH
_WEEK = 7.0

Progress = Callable[[int, int], None]


def regimen_map(
    scenario: Scenario, x: str, y: str, at: Sequence[str] = (), regimen: str | None = None, last: float = 30.0
) -> Map:
    """Read the options of a map, as `request` does, and evaluate it."""
    found = compute(scenario, request(scenario, x, y, at, regimen, last))
    assert found is not None
    return found


class MapJob(AbstractJob):
    """A map that is ready to be evaluated, chunk by chunk: some points of one batch, which all share its nodes.

    Raises:
        OptionError: numbers with which no model can be built.
        ScenarioError: a model of one's own that does not take the numbers given.
    """

    def __init__(
        self,
        scenario: Scenario,
        asked: Request,
        out: Path | None = None,
        versions: Mapping[str, str] = {},
        progress: Progress = lambda done, total: None,
        is_shared: bool = False,
    ):
        plan, self.scenario, self.asked = scenario.plan, scenario, asked
        self.values, self._progress, self._done = asked.points(), progress, 0
        task = scenario.problem().task
        shared = (scenario.progression(), plan.horizon, plan.horizon - asked.last)
        self._frame = Frame(task.objective, task.scale, *jax.tree.map(jnp.asarray, shared))
        self.batches = batches(plan, asked.numbers, self.values, plan.every or _WEEK, asked.regimen)
        own = [(b, rows) for b, batch in enumerate(self.batches) for rows in slices(len(batch.points), _CHUNK)]
        ends = np.cumsum([len(rows) for _, rows in own]).tolist()
        super().__init__([range(end - len(rows), end) for end, (_, rows) in zip(ends, own, strict=True)])
        self.own, self.at_once = own, cores()
        self.run = None if out is None else Run(out, self._manifest(versions), is_shared)
        self._built: dict[int, tuple[System, np.ndarray, np.ndarray]] = {}
        self._locks, self._lock = [Lock() for _ in self.batches], Lock()

    def _manifest(self, versions: Mapping[str, str]) -> dict[str, Any]:
        asked, name = self.asked, None if self.asked.regimen is None else self.asked.regimen.name
        axes = {axis.number.key: axis.values for axis in (asked.x, asked.y)}
        held = {number.key: value for number, value in asked.fixed}
        how = {"axes": axes, "at": held, "regimen": name, "last": asked.last, "precision": _precision()}
        machine = {"platform": jax.default_backend(), "versions": versions}
        return {"format": FORMAT, "scenario": self.scenario.resolved()["scenario"], **how, **machine}

    def make(self, number: int) -> list[bytes]:
        """The table of a chunk."""
        b, rows = self.own[number]
        # A batch is built and its program compiled once, by whoever comes first; the batches go side by side.
        with self._locks[b]:
            if b not in self._built:
                self._built[b] = self._build(b)
                return [table_bytes(self._judged(b, rows))]
        return [table_bytes(self._judged(b, rows))]

    def _build(self, b: int) -> tuple[System, np.ndarray, np.ndarray]:
        batch, plan, numbers = self.batches[b], self.scenario.plan, self.asked.numbers
        own = self.values[batch.points]
        systems = build_systems(self.scenario, numbers, own, batch.longest)
        return systems, *doses_of(plan, numbers, own, batch, systems)

    def _judged(self, b: int, rows: range) -> Columns:
        systems, amounts, doses = self._built[b]
        kept = slice(rows.start, rows.stop)
        own = jax.tree.map(lambda leaf: leaf[kept], systems)
        batch, drugs = self.batches[b].part(kept), self.scenario.plan.drugs
        found = judge_batch(self._frame, own, batch, doses[kept], self._more)
        repeated = repeated_drugs(self.asked.numbers)
        return {"point": batch.points, **found, **{f"amount {drugs[j].name}": amounts[kept, j] for j in repeated}}

    def keys(self, number: int) -> list[dict[str, Any]]:
        """The points of a chunk."""
        b, rows = self.own[number]
        return [{"point": self.batches[b].points[rows.start : rows.stop].tolist()}]

    def _more(self, count: int) -> None:
        with self._lock:
            self._done += count
            self.tell(self._done)

    def tell(self, done: int) -> None:
        """Say how many points are done."""
        self._done = max(self._done, done)
        self._progress(self._done, len(self.values))


def compute(
    scenario: Scenario,
    asked: Request,
    progress: Progress = lambda done, total: None,
    out: Path | None = None,
    versions: Mapping[str, str] = {},
    workers: Workers = HERE,
) -> Map | None:
    """Evaluate every point of a map; of a part nothing comes back. Raises as `MapJob` does."""
    job = MapJob(scenario, asked, out, versions, progress, workers.is_shared)
    job.tell(0)
    found = collected(job, workers, partial(MapJob, scenario, asked, out, versions, is_shared=True))
    if found is None:
        return None
    (columns,) = found
    order = np.argsort(columns["point"])
    return _map(scenario, asked, {name: column[order] for name, column in columns.items()})


def _precision() -> str:
    return str(jnp.asarray(0.0).dtype)


def _map(scenario: Scenario, asked: Request, columns: Mapping[str, np.ndarray]) -> Map:
    shape = asked.y.values.size, asked.x.values.size
    days = f"the last {asked.last:g} of {scenario.plan.horizon:g} days"
    known = {
        "objective": ("objective", "1", True),
        "mean_last": (f"mean of log10 of all cells over {days}", "1", True),
        "peak_last": (f"peak of log10 of all cells in {days}", "1", True),
        "progression_day": ("time to progression; none where it is not reached", "day", False),
    }
    quantities = {}
    for name in asked.quantities(scenario):
        if name.startswith("amount "):
            drug = name.removeprefix("amount ")
            text, unit, small = f"dose of {drug}", scenario.dose_units[drug], None
        else:
            text, unit, small = known.get(name, (f"term {name}", "1", True))
        quantities[name] = Quantity(name, text, unit, columns[name].reshape(shape), small)
    fixed = {number.key: (value, number.unit) for number, value in asked.fixed}
    failed = int(np.sum(columns["ok"] == 0.0))
    name = "" if asked.regimen is None else asked.regimen.name
    return Map(asked.x, asked.y, fixed, name, asked.last, quantities, failed, _precision())
