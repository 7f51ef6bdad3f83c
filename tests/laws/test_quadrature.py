"""The search's shorter way to derivatives is plain differentiation of a simulation on dense nodes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.mesh import Mesh
from optimizer.objectives.base import Objective
from optimizer.objectives.burden import Burden
from optimizer.objectives.drug_use import DrugUse
from optimizer.objectives.resistance import Resistance
from optimizer.problem import Task
from optimizer.search.direction import direction
from optimizer.search.merit import dense
from optimizer.search.quadrature import quadrature_program
from optimizer.simulate import Grid
from optimizer.simulate.resolution import choose_mesh
from tests.laws.factory import registry, system
from tests.laws.test_second_derivatives import apart
from tests.small import small, tables

GRID, MESH = Grid(jnp.array([0.0, 7.0, 14.0, 17.0])), Mesh(4)
ROOMS = {room: kinds for room, kinds in registry().items() if room in ("pk", "effect", "interaction")}
ROOMS["pk"] = [kind for kind in ROOMS["pk"] if kind.is_linear]
COUNT = max(len(kinds) for kinds in ROOMS.values())
TERMS = Objective((Burden(), Resistance(), DrugUse()), jnp.array([1.0, 0.5, 0.1]))
SHARED = {"objective": {"burden": 1.0, "drug_use": 0.3}, "decision": {"every": "7 day", "horizon": "17 day"}}


def blocker():
    """A stroma under an inhibitor and a ligand blocker, whose levels are sometimes above the kink."""
    antibody = {**tables()["drug"][0], "name": "anti-EGF", "role": "ligand_blocker", "efficacy": "1 mL/ug"}
    return small(drug=[tables()["drug"][0], antibody], **SHARED).task


def of_registry(case):
    """Two clones left to themselves, under drugs of the registry's kinetics, effects and interactions in turn."""
    built = system({room: kinds[case % len(kinds)] for room, kinds in ROOMS.items()}, np.random.default_rng(case), MESH)
    size = GRID.count * len(built.drugs)
    limits = jnp.zeros(size), jnp.ones(size), jnp.ones((1, size)) / size, jnp.ones(1)
    return Task(built, GRID, TERMS, (), jnp.linspace(1.0, 3.0, len(built.drugs)), *limits)


def with_mesh(own, refinement):
    system, longest = own.system, float(jnp.max(own.grid.lengths))
    fine = choose_mesh(system.model, system.pharmacokinetics, longest, refinement)
    return eqx.tree_at(lambda t: t.system.mesh, own, fine)


def whole(blocks):
    """The Hessian of all doses from its blocks: every interval's start moves with all earlier doses."""
    hessians, onwards = np.asarray(blocks.hessians), np.asarray(blocks.onwards)
    count, width, size = onwards.shape
    drugs = size - width
    moved, total = np.zeros((width, count * drugs)), 0.0
    for k in range(count):
        own = np.concatenate([moved, np.eye(drugs, count * drugs, k * drugs)])
        total = total + own.T @ hessians[k] @ own
        moved = onwards[k] @ own
    return total


CASES = {"stroma and blocker": blocker, **{f"registry {i}": lambda i=i: of_registry(i) for i in range(COUNT)}}
QUICK = ("stroma and blocker", "registry 0")


@pytest.mark.parametrize("name", [c if c in QUICK else pytest.param(c, marks=pytest.mark.slow) for c in CASES])
def test_value_gradient_and_hessian_are_those_of_a_dense_rollout(name):
    own = with_mesh(CASES[name](), 1.0)
    quick = quadrature_program(own, 8, 8)
    assert quick is not None
    rng = np.random.default_rng(0)
    shares = jnp.asarray(rng.uniform(0.1, 0.9, own.lower.size))
    value, slope, blocks = jax.jit(lambda q, x: q.derivatives(x))(quick, shares)
    fine = with_mesh(own, 3.0)
    wanted = jax.jit(lambda t, x: dense(lambda z: t.evaluate(z, 1.0), x))(fine, shares)
    assert apart(value, wanted[0]) < 1e-7
    assert apart(slope, wanted[2]) < 1e-6
    assert apart(whole(blocks), wanted[3]) < 1e-5
    assert float(quick.evaluate(shares, 1.0)[0]) == pytest.approx(float(value), rel=1e-13)


def test_block_elimination_is_the_dense_solution():
    """With limits on sums, a dose that is fixed, and blocks that bend downwards but for these limits."""
    own = blocker()
    quick = quadrature_program(own, 3, 2)
    rng = np.random.default_rng(1)
    size = own.lower.size
    _, _, blocks = jax.jit(lambda q, x: q.derivatives(x))(quick, jnp.asarray(rng.uniform(0.1, 0.9, size)))
    free = jnp.asarray(np.arange(size) != 3)
    weights = jnp.asarray(rng.uniform(1.0, 100.0, own.matrix.shape[0]))
    downhill = jnp.where(free, rng.normal(size=size), 0.0)
    hessian = np.where(np.outer(free, free), whole(blocks), 0.0)
    limits = np.where(np.outer(free, free), (own.matrix.T * weights) @ own.matrix, 0.0)
    most = 2.0 * np.abs(np.linalg.eigvalsh(hessian)).max()
    for shift, is_bowl in ((most, True), (-most, False)):
        diagonal = jnp.where(free, shift + rng.uniform(size=size), 1.0)
        matrix = jnp.asarray(hessian + np.diag(diagonal) + limits)
        args = jnp.asarray(0.0), jnp.asarray(False)
        x, lowest = blocks.direction(diagonal, weights, free, downhill, *args)
        assert (float(lowest) > 0.0) is is_bowl
        assert float(x @ downhill) > 0.0
        if is_bowl:
            assert apart(jnp.where(free, x, 0.0), direction(matrix, downhill, *args)[0]) < 1e-8


def test_what_is_no_quadrature_goes_the_general_way():
    crowded = small(model={**tables()["model"], "carrying_capacity": "1e10"})
    limited = small(constraint=[{"kind": "burden_ceiling", "factor": 1e3}])
    rough = small(objective={"burden": 1.0, "roughness": 0.1})
    assert quadrature_program(small().task, 3, 2) is not None
    assert [quadrature_program(p.task, 3, 2) for p in (crowded, limited, rough)] == [None, None, None]
