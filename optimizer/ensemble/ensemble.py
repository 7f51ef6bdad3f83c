"""The patients as numbers: one task that all share, and the system of each of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from optimizer import mesh as _mesh
from optimizer.ensemble.patients import Patients, stepped
from optimizer.problem import Problem, Task
from optimizer.scenario import Scenario
from optimizer.scenario.build import build_system
from optimizer.scenario.keys import substituted
from optimizer.search.multistart import cores
from optimizer.simulate import System

# Patients to a call, at most, and to a step of it: more than this falls out of a CPU's cache.
_CHUNK = 1024
BATCH = 32
_SHAPES = 200
_MOST_PANELS = 8


@dataclass(frozen=True)
class Ensemble:
    """P patients of one problem.

    Attributes:
        problem: of the typical patient, who has the scenario's own numbers; limits on doses are everybody's.
        systems: of the patients, each leaf with a leading axis [P]; who cannot be simulated has the typical one.
        healthy: who has numbers of his or her own [P].
        failed: patients with numbers that are allowed and yet cannot be simulated, by index, with a sentence.
    """

    problem: Problem
    systems: System
    healthy: np.ndarray
    failed: dict[int, str]

    @property
    def task(self) -> Task:
        """The typical patient's task."""
        return self.problem.task

    def of(self, i: int) -> Task:
        """The task of a patient."""
        return with_system(self.task, jax.tree.map(lambda leaf: leaf[i], self.systems))


def with_system(task: Task, system: System) -> Task:
    """The task with another patient."""
    return eqx.tree_at(lambda t: t.system, task, system)


def build_ensemble(scenario: Scenario, patients: Patients) -> Ensemble:
    """Put the patients' numbers in the place of the scenario's.

    All patients are simulated on the same nodes: as many as the most demanding of those with the smallest or the
    largest of a number needs. Who needs far more than the typical patient is left out, not waited for by everybody.

    Raises:
        ScenarioError: limits that do not fit the drugs, or that no schedule satisfies.
    """
    plan, places = scenario.plan, patients.places
    typical = np.array([place.value for place in places])
    problem = scenario.problem()
    # Before anything is solved: one patient who is not a number makes a whole batch slow, and poisons its gradient.
    values = np.where(patients.healthy[:, None], patients.values, typical)
    mesh, failed = _common_mesh(
        lambda v: build_system(substituted(plan, places, v)).mesh, values, patients, problem.task.system.mesh
    )
    problem = replace(problem, task=_meshed(problem.task, mesh))
    healthy = _without(patients.healthy, failed)
    values = np.where(healthy[:, None], values, typical)
    # The nodes are chosen outside: how many there are cannot depend on traced numbers.
    build = jax.jit(jax.vmap(lambda v: build_system(substituted(plan, places, list(v)), mesh)))
    systems = by_chunk(lambda part: jax.tree.map(np.asarray, build(part)), values, len(values))
    is_simulated = by_chunk(lambda part: np.asarray(_simulated(problem.task, part)), systems, len(values))
    failed = failed | {
        int(i): f"patient {patients.names[i]}: wanted a tumor that stays finite; got one that does not"
        for i in np.flatnonzero(healthy & ~is_simulated)
    }
    healthy = _without(healthy, failed)
    return Ensemble(problem, _typical_where(~healthy, systems, problem.task.system), healthy, failed)


def _typical_where(sick: np.ndarray, systems: System, typical: System) -> System:
    def replaced(leaf: np.ndarray, own: Array) -> np.ndarray:
        return np.where(sick.reshape(-1, *[1] * (leaf.ndim - 1)), np.asarray(own), leaf)

    return jax.tree.map(replaced, systems, typical)


def _without(healthy: np.ndarray, failed: dict[int, str]) -> np.ndarray:
    return healthy & ~np.isin(np.arange(len(healthy)), list(failed))


def by_chunk(
    function: Callable[[Any], Any], systems: Any, total: int, tell: Callable[[int], None] = lambda done: None
) -> Any:
    """What a function gives for many patients, arrays [P, ...], a chunk of one size at a time.

    Each core takes the next chunk: memory grows by what comes back alone, and a patient's numbers do not depend on who
    the others are, if the function takes its patients one by one.

    Args:
        function: from the systems of a chunk to arrays of NumPy; takes them `BATCH` by `BATCH`.
        systems: of the patients, or other arrays with a leading axis [P].
        total: how many there are, P.
        tell: hears how many are done.
    """

    # Few sizes, each of whole batches: every new one is compiled.
    size = min(_CHUNK, BATCH * 2 ** math.ceil(math.log2(max(1.0, total / BATCH))))

    def work(first: int) -> Any:
        rows = np.minimum(np.arange(first, first + size), total - 1)
        found = function(jax.tree.map(lambda leaf: leaf[rows], systems))
        return jax.tree.map(lambda leaf: leaf[: total - first], found)

    # The first call compiles; threads that began together would each do it.
    found = [work(0)]
    tell(min(size, total))
    with ThreadPoolExecutor(max(1, cores())) as pool:
        for part in pool.map(work, range(size, total, size)):
            found.append(part)
            tell(min(size * len(found), total))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *found)


@jax.jit
def _simulated(task: Task, systems: System) -> Array:
    """Whether a patient gives finite numbers untreated and halfway up to all doses, and there finite slopes [P]."""
    half = 0.5 * (task.lower + task.upper)

    def one(system: System) -> Array:
        own = with_system(task, system)

        def treated(x: Array) -> tuple[Array, Array]:
            scene = own.simulate(x)
            return own.objective.smooth(scene, jnp.ones(())), scene.trajectory.ok

        (value, ok), slope = jax.value_and_grad(treated, has_aux=True)(half)
        return jnp.isfinite(value) & jnp.all(jnp.isfinite(slope)) & ok & own.simulate(task.lower).trajectory.ok

    return jax.lax.map(one, systems, batch_size=BATCH)


def _meshed(task: Task, mesh: _mesh.Mesh) -> Task:
    return eqx.tree_at(lambda t: t.system.mesh, task, mesh)


def _common_mesh(
    mesh_of: Callable[[Any], _mesh.Mesh], values: np.ndarray, patients: Patients, own: _mesh.Mesh
) -> tuple[_mesh.Mesh, dict[int, str]]:
    """Nodes that are enough for the patients at the ends of each number's range, and who needs too many."""
    most, failed, left = _MOST_PANELS * own.panels, {}, np.flatnonzero(patients.healthy)
    needs: dict[int, _mesh.Mesh] = {}
    while left.size:
        ends = {int(left[f(column)]) for column in values[left].T for f in (np.argmin, np.argmax)}
        needs |= {i: mesh_of(values[i].tolist()) for i in sorted(ends - needs.keys())[:_SHAPES]}
        heavy = [i for i in ends & needs.keys() if needs[i].panels > most]
        if not heavy:
            break
        for i in heavy:
            failed[i] = (
                f"patient {patients.names[i]}: wanted at most {most} steps an interval ({_MOST_PANELS} times as many "
                f"as the typical patient's); got {needs[i].panels}"
            )
        left = left[~np.isin(left, heavy)]
    shared = _mesh.common([own, *(mesh for i, mesh in needs.items() if i not in failed)])
    uniform, layer = _most(own.uniform, shared.uniform), _most(own.layer, shared.layer)
    return replace(shared, uniform=uniform, layer=layer), failed


def _most(own: int, needed: int) -> int:
    """Enough for all; where the typical patient's number is not, one of a few, whatever was drawn."""
    return own if needed <= own else stepped(needed)
