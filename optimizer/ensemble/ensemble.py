"""Virtual population: one task that all members share, and the system, weight and name of each of them."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from optimizer import mesh as _mesh
from optimizer.ensemble.patients import Patients, stepped
from optimizer.problem import Problem, Task
from optimizer.scenario import Scenario, ScenarioError
from optimizer.scenario.build import build_system
from optimizer.scenario.keys import Place, substituted
from optimizer.scenario.plan import Plan
from optimizer.search.multistart import cores
from optimizer.simulate import System

# Members to a call, at most, and to a step of it: more than this falls out of a CPU's cache.
_CHUNK = 1024
BATCH = 32
_SHAPES = 200
_MOST_PANELS = 16


class Members(eqx.Module):
    """Members of an ensemble as one pytree: what a compiled program takes."""

    task: Task  #: of the typical member; grid, objective and limits are everybody's
    systems: System  #: each leaf with a leading axis [P]
    index: Int[Array, "P"]  #: number of each member, which decides what chance adds [P]

    @property
    def count(self) -> int:
        """Number of members P."""
        return self.index.shape[0]

    def map(self, function: Callable[[Task, Array], Any], batch: int = BATCH) -> Any:
        """What a function of a member's task and number gives for each [P, ...], `batch` of them at a time."""
        inputs = (self.systems, self.index)
        return jax.lax.map(
            lambda pair: function(with_system(self.task, pair[0]), pair[1]), inputs, batch_size=min(batch, self.count)
        )


@dataclass(frozen=True)
class Ensemble:
    """P patients of one problem; a single patient is an ensemble of one.

    Attributes:
        problem: of the typical patient, who has the scenario's own numbers; limits on doses are everybody's.
        systems: of the patients, each leaf with a leading axis [P]; one who is excluded has the typical one.
        patients: their numbers and names.
        excluded: why a patient is not simulated, by index; the sentence names the patient.
    """

    problem: Problem
    systems: System
    patients: Patients
    excluded: dict[int, str]

    @property
    def task(self) -> Task:
        """The typical patient's task."""
        return self.problem.task

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the patients [P]."""
        return self.patients.names

    @cached_property
    def included(self) -> np.ndarray:
        """Who is simulated with numbers of his or her own [P]."""
        return without(np.ones(len(self.names), bool), self.excluded)

    @property
    def weights(self) -> Float[np.ndarray, "P"]:
        """What each patient counts, summing to 1; 0 for one who is excluded."""
        return self.included / self.included.sum()

    def system(self, i: int) -> System:
        """The system of a patient."""
        return jax.tree.map(lambda leaf: jnp.asarray(leaf[i]), self.systems)

    def of(self, i: int) -> Task:
        """The task of a patient."""
        return with_system(self.task, self.system(i))

    def members(self, first: int = 0, last: int | None = None) -> Members:
        """Patients `first` up to `last`, those left out who are excluded."""
        rows = first + np.flatnonzero(self.included[first:last])
        return Members(self.task, jax.tree.map(lambda leaf: jnp.asarray(leaf[rows]), self.systems), jnp.asarray(rows))

    def require(self, file: str, who: str = "a patient", first: int = 0, last: int | None = None) -> None:
        """Refuse an ensemble in which nobody from `first` up to `last` can be simulated.

        Raises:
            ScenarioError: there is nobody; with the first reason.
        """
        rows = self.included[first:last]
        if rows.size and not rows.any():
            why = self.excluded[min(self.excluded)]
            raise ScenarioError([f"{file}: cohort: wanted {who} who can be simulated; got none: {why}"])


def with_system(task: Task, system: System) -> Task:
    """The task with another patient."""
    return eqx.tree_at(lambda t: t.system, task, system)


def system_at(plan: Plan, places: Sequence[Place], values: Float[Array, "V"], mesh: _mesh.Mesh) -> System:
    """The system of one member: numbers in the place of the scenario's, on given nodes; may be traced."""
    return build_system(substituted(plan, places, list(values)), mesh)


def build_ensemble(scenario: Scenario, patients: Patients) -> Ensemble:
    """An ensemble from key paths and values.

    All patients are simulated on the same nodes: as many as the most demanding of those with the smallest or the
    largest of a number needs. Who needs far more than the typical patient is left out, not waited for by everybody.

    Raises:
        ScenarioError: limits that do not fit the drugs, or that no schedule satisfies.
    """
    plan, places = scenario.plan, patients.places
    typical = np.array([place.value for place in places])
    problem = scenario.problem()
    healthy = patients.healthy
    # Before anything is solved: one patient who is not a number makes a whole batch slow, and poisons its gradient.
    values = np.where(healthy[:, None], patients.values, typical)
    mesh, failed = _common_mesh(
        lambda v: build_system(substituted(plan, places, v)).mesh,
        values,
        np.flatnonzero(healthy),
        patients.names,
        problem.task.system.mesh,
    )
    problem = replace(problem, task=eqx.tree_at(lambda t: t.system.mesh, problem.task, mesh))
    healthy = without(healthy, failed)
    values = np.where(healthy[:, None], values, typical)
    # The nodes are chosen outside: how many there are cannot depend on traced numbers.
    build = jax.jit(jax.vmap(lambda v: system_at(plan, places, v, mesh)))
    systems = by_chunk(lambda part: jax.tree.map(np.asarray, build(part)), values, len(values))
    is_simulated = by_chunk(lambda part: np.asarray(_simulated(problem.task, part)), systems, len(values))
    failed |= {
        int(i): f"patient {patients.names[i]}: wanted a tumor that stays finite; got one that does not"
        for i in np.flatnonzero(healthy & ~is_simulated)
    }
    systems = _typical_where(~without(healthy, failed), systems, problem.task.system)
    return Ensemble(problem, systems, patients, patients.faults | failed)


def without(healthy: np.ndarray, excluded: dict[int, str]) -> np.ndarray:
    """Who is left once some are excluded [P]."""
    return healthy & ~np.isin(np.arange(len(healthy)), list(excluded))


def _typical_where(sick: np.ndarray, systems: System, typical: System) -> System:
    def replaced(leaf: np.ndarray, own: Array) -> np.ndarray:
        return np.where(sick.reshape(-1, *[1] * (leaf.ndim - 1)), np.asarray(own), leaf)

    return jax.tree.map(replaced, systems, typical)


class Cores:
    """The cores of this machine as one pool of threads.

    The first item is worked alone: it compiles, which threads that began together would each do.
    """

    def __init__(self):
        self._is_warm = False

    def map(self, work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        """Results in the items' order, as they come; what waits is dropped once nobody asks for more."""
        if items and not self._is_warm:
            yield work(items[0])
            self._is_warm, items = True, items[1:]
        pool = ThreadPoolExecutor(max(1, cores()))
        try:
            yield from pool.map(work, items)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def by_chunk(
    function: Callable[[Any], Any], systems: Any, total: int, tell: Callable[[int], None] = lambda done: None
) -> Any:
    """What a function gives for many members, arrays [P, ...], a chunk of one size at a time.

    Each core takes the next chunk: memory grows by what comes back alone, and a member's numbers do not depend on who
    the others are, if the function takes its members one by one.

    Args:
        function: from the systems of a chunk to arrays of NumPy; takes them `BATCH` by `BATCH`.
        systems: of the members, or other arrays with a leading axis [P].
        total: how many there are, P.
        tell: hears how many are done.
    """

    # Few sizes, each of whole batches: every new one is compiled.
    size = min(_CHUNK, BATCH * 2 ** math.ceil(math.log2(max(1.0, total / BATCH))))

    def work(first: int) -> Any:
        rows = np.minimum(np.arange(first, first + size), total - 1)
        found = function(jax.tree.map(lambda leaf: leaf[rows], systems))
        return jax.tree.map(lambda leaf: leaf[: total - first], found)

    found = []
    for part in Cores().map(work, range(0, total, size)):
        found.append(part)
        tell(min(size * len(found), total))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *found)


@jax.jit
def _simulated(task: Task, systems: System) -> Array:
    """Whether a member gives finite numbers untreated and halfway up to all doses, and there finite slopes [P]."""
    half = 0.5 * (task.lower + task.upper)

    def one(system: System) -> Array:
        own = with_system(task, system)

        def treated(x: Array) -> Any:
            scene = own.simulate(x)
            return own.objective.smooth(scene, jnp.ones(())), scene.trajectory.ok

        (value, ok), slope = jax.value_and_grad(treated, has_aux=True)(half)
        return jnp.isfinite(value) & jnp.all(jnp.isfinite(slope)) & ok & own.simulate(task.lower).trajectory.ok

    return jax.lax.map(one, systems, batch_size=BATCH)


def _common_mesh(
    mesh_of: Callable[[Any], _mesh.Mesh], values: np.ndarray, left: np.ndarray, names: Sequence[str], own: _mesh.Mesh
) -> tuple[_mesh.Mesh, dict[int, str]]:
    """Nodes that are enough for the members at the ends of each number's range, and who needs too many."""
    most, failed = _MOST_PANELS * own.panels, {}
    needs: dict[int, _mesh.Mesh] = {}
    while left.size:
        ends = {int(left[f(column)]) for column in values[left].T for f in (np.argmin, np.argmax)}
        needs |= {i: mesh_of(values[i].tolist()) for i in sorted(ends - needs.keys())[:_SHAPES]}
        heavy = [i for i in ends & needs.keys() if needs[i].panels > most]
        if not heavy:
            break
        for i in heavy:
            failed[i] = (
                f"patient {names[i]}: wanted at most {most} steps an interval ({_MOST_PANELS} times as many "
                f"as the typical patient's); got {needs[i].panels}"
            )
        left = left[~np.isin(left, heavy)]
    shared = _mesh.common([own, *(mesh for i, mesh in needs.items() if i not in failed)])
    uniform, layer = _most(own.uniform, shared.uniform), _most(own.layer, shared.layer)
    return replace(shared, uniform=uniform, layer=layer), failed


def _most(own: int, needed: int) -> int:
    """Enough for all; where the typical patient's number is not, one of a few, whatever was drawn."""
    return own if needed <= own else stepped(needed)
