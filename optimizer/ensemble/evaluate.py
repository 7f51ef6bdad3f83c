"""What a way of dosing comes to in a patient, and in many of them; without a search."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.constraints.toxicity_grade import ToxicityGrade, has_grades
from optimizer.endpoints.base import AtVisits, Progressed
from optimizer.ensemble.ensemble import BATCH, Ensemble, by_chunk, with_system
from optimizer.objectives.base import Scene
from optimizer.objectives.progression import day_of
from optimizer.problem import Task
from optimizer.simulate import System

# Arrays of JAX inside a program, of NumPy outside.
Numbers = Any


class Evaluation(NamedTuple):
    """What a way of dosing comes to in a patient."""

    objective: Numbers  #: as reported
    terms: Float[Numbers, "terms"]  #: unweighted value of each term [terms]
    progression: Numbers  #: its day by the endpoint; infinite when never
    #: the last day that is known to be without it: the visit before, or that very day where it is read at any time;
    #: without progression the end of what is known
    after: Numbers
    change: Numbers  #: log10 of the cells at the end over those at the start
    excess: Numbers  #: worst relative excess of a limit on states; at least 0
    grade: Numbers  #: worst grade of neutropenia; NaN where the model has no counts
    ok: Numbers  #: whether the simulation gave finite numbers


def evaluation(task: Task, scene: Scene, progressed: Progressed) -> Evaluation:
    """What was simulated comes to in a patient."""
    burden = scene.trajectory.burden
    day, after = day_of(progressed, task.system, scene.trajectory)
    graded = has_grades(task.system.model)
    worst = [jnp.max(reading.excess) for reading in task.readings(scene)]
    return Evaluation(
        objective=task.objective.evaluate(scene),
        terms=jnp.stack(list(task.objective.values(scene).values())),
        progression=day,
        after=after,
        change=jnp.log10(burden[-1] / burden[0]),
        excess=jnp.max(jnp.stack([jnp.zeros(()), *worst])),
        grade=ToxicityGrade(3).read(scene).value if graded else jnp.asarray(jnp.nan),
        ok=scene.trajectory.ok,
    )


def evaluate_doses(task: Task, doses: Float[Array, "K N"], progressed: Progressed) -> Evaluation:
    """What doses come to in a patient."""
    return evaluation(task, task.simulate((doses / task.scale).ravel()), progressed)


@jax.jit
def _evaluated(task: Task, systems: System, doses: Array, progressed: Progressed) -> Evaluation:
    def one(system: System) -> Evaluation:
        return jax.vmap(lambda d: evaluate_doses(with_system(task, system), d, progressed))(doses)

    return jax.lax.map(one, systems, batch_size=BATCH)


def evaluate(
    ensemble: Ensemble,
    schedules: Float[np.ndarray, "S K N"],
    factor: float | AtVisits = 1.2,
    tell: Callable[[int], None] = lambda done: None,
) -> Evaluation:
    """Objective, terms and time to progression of every patient under every schedule.

    Memory grows by the answers alone, and a patient's numbers do not depend on who the others are.

    Args:
        ensemble: P patients.
        schedules: doses that all patients are given [S, K, N].
        factor: progression is more than this multiple of the cells at the start, or `scenario.progression()`.
        tell: hears how many patients are done.

    Returns:
        Arrays [P, S, ...]; NaN for a patient who is excluded.

    Raises:
        ValueError: schedules that are not on the decision grid.

    Example:
        >>> from optimizer.scenario import Scenario
        >>> from optimizer.ensemble import build_ensemble, load_patients
        >>> scenario = Scenario.load("scenarios/crc_caf_patients.toml")
        >>> ensemble = build_ensemble(scenario, load_patients(scenario, 5, seed=0))
        >>> evaluate(ensemble, np.ones((2, 12, 1))).objective.shape
        (5, 2)
    """
    shape = ensemble.problem.lower.shape
    if schedules.ndim != 3 or schedules.shape[1:] != shape:
        raise ValueError(f"schedules: wanted the shape [S, {shape[0]}, {shape[1]}]; got {list(schedules.shape)}")
    task, doses, progressed = ensemble.task, jnp.asarray(schedules), jax.tree.map(jnp.asarray, factor)

    def evaluated(part: System) -> Evaluation:
        return jax.tree.map(np.asarray, _evaluated(task, part, doses, progressed))

    whole = by_chunk(evaluated, ensemble.systems, len(ensemble.names), tell)
    for leaf in whole:
        leaf[~ensemble.included] = np.nan if leaf.dtype.kind == "f" else False
    return whole
