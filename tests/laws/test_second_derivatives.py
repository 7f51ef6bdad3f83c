"""Second derivatives interval by interval are those of the whole rollout, for every entry of every registry."""

from itertools import chain

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.constraints.base import AbstractStateLimit
from optimizer.mesh import Mesh
from optimizer.objectives.base import AbstractTerm, Objective
from optimizer.problem import Task
from optimizer.registry import discover
from optimizer.search import stages
from optimizer.search.elimination import Chain
from optimizer.search.landscape import Lagrangian
from optimizer.search.merit import dense, derivatives, evaluate
from optimizer.simulate import Grid
from tests.laws.factory import VISITED, make, registry, system

GRID = Grid(jnp.array([0.0, 7.0, 14.0, 17.0]))
ROOMS = registry()
TERMS = list(discover("optimizer.objectives", AbstractTerm).values())
LIMITS = list(discover("optimizer.constraints", AbstractStateLimit).values())
# A system whose populations are left to themselves, and as many as the fullest room has entries: each is in one.
COUNT = 1 + max(len(kinds) for kinds in ROOMS.values())


def entries(case):
    """One entry of each room; in the first case, populations do not feel each other."""
    found = {room: kinds[(case - 1) % len(kinds)] for room, kinds in ROOMS.items()}
    return {room: kind for room, kind in found.items() if case or room not in ("growth", "transition")}


def parts(case):
    """System, terms and limits of a case."""
    rng = np.random.default_rng(case)
    built = system(entries(case), rng, Mesh(4, 2, 20.0))
    names = set(built.model.observable_names)

    def mine(kinds):
        fitting = [cls for cls in kinds if set(cls.needs) <= names]
        return [cls for cls in fitting if cls.needs or kinds.index(cls) % COUNT == case]

    observable = sorted(names)[0] if names else ""
    around = {"drug": 0, "observable": observable, "term": "burden", **VISITED}
    return built, [make(c, rng, around) for c in mine(TERMS)], [make(c, rng, around) for c in mine(LIMITS)]


def task(case, terms=None, limits=None, built=None):
    """A task with a sum over intervals, the terms and limits of a case, and nothing that limits the doses."""
    if built is None:
        built, terms, limits = parts(case)
    terms = [*terms, make(TERMS[0], np.random.default_rng(0), {})] if TERMS[0] not in map(type, terms) else terms
    size = GRID.count * len(built.drugs)
    objective = Objective(tuple(terms), jnp.linspace(1.0, 2.0, len(terms)))
    scale = jnp.linspace(1.0, 3.0, len(built.drugs))
    return Task(
        built,
        GRID,
        objective,
        tuple(limits),
        scale,
        jnp.zeros(size),
        jnp.ones(size),
        jnp.zeros((0, size)),
        jnp.zeros(0),
    )


def apart(one, other):
    """Largest difference relative to the largest number."""
    one, other = np.asarray(one), np.asarray(other)
    assert np.all(np.isfinite(other))
    return np.max(np.abs(one - other), initial=0.0) / max(np.max(np.abs(other), initial=0.0), 1e-300)


# Most of the time goes into compiling the whole rollout's: one case is checked each time, all of them on request.
@pytest.mark.parametrize("case", [0, *(pytest.param(case, marks=pytest.mark.slow) for case in range(1, COUNT))])
def test_derivatives_are_those_of_the_whole_rollout(case):
    same_derivatives(task(case), np.random.default_rng(case))


def same_derivatives(own, rng):
    """Interval by interval and of the whole rollout; the Hessian as it was found."""
    shares = jnp.asarray(rng.uniform(0.1, 0.9, own.lower.size))
    size = GRID.count * own.system.mesh.size
    multipliers = tuple(jnp.asarray(rng.uniform(0.0, 1.0, size)) for _ in own.state_limits)
    lagrangian = Lagrangian(multipliers, jnp.asarray(5.0), jnp.asarray(0.3))
    both = jax.jit(lambda x: derivatives(own, x, evaluate(own, x, lagrangian.temperature)[2], lagrangian))
    value, excesses, slope, found = both(shares)
    hessian = found.whole()

    def rolled_out(x):
        value, excesses = own.evaluate(x, lagrangian.temperature)
        return lagrangian.merit(value, excesses), excesses

    wanted = jax.jit(lambda x: dense(rolled_out, x))(shares)
    assert apart(value, wanted[0]) < 1e-13
    for one, other in zip(excesses, wanted[1], strict=True):
        assert apart(one, other) < 1e-12
    assert apart(slope, wanted[2]) < 1e-10
    assert apart(hessian, wanted[3]) < 1e-8
    # Doses meet: what would be left of the Hessian were intervals apart is not enough.
    drugs = len(own.system.drugs)
    assert apart(hessian * np.kron(np.eye(GRID.count), np.ones((drugs, drugs))), wanted[3]) > 1e-4
    return found


def test_terms_and_limits_on_single_times_leave_blocks_of_intervals(monkeypatch):
    """All of them at once: what they hand from one interval to the next is in the blocks, too."""
    built = system(entries(0), np.random.default_rng(0), Mesh(4, 2, 20.0))
    rng, around = np.random.default_rng(1), {"drug": 0, "observable": "", "term": "burden", **VISITED}
    terms = [c for c in TERMS if (c.is_sum or c.carried or c.is_linear) and not c.needs and c.kind != "mean_observable"]
    limits = [c for c in LIMITS if c.is_local and not c.needs]
    assert {c.kind for c in terms} >= {"burden", "progression", "drug_use"}
    assert {c.kind for c in limits} >= {"burden_ceiling", "concentration_window"}
    own = task(0, [make(c, rng, around) for c in terms], [make(c, rng, around) for c in limits], built)
    monkeypatch.setattr(stages, "_LONG", 1)
    assert isinstance(same_derivatives(own, rng), Chain)


def test_every_entry_is_in_a_case():
    seen = {kind for case in range(COUNT) for kind in entries(case).values()}
    assert seen == set(chain(*ROOMS.values()))
    met = {type(part) for case in range(COUNT) for part in chain(*parts(case)[1:])}
    assert met >= {*TERMS, *LIMITS}
