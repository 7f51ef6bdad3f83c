"""Chances of survival against closed forms, a master equation, other integrators, and runs of single cells."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.sparse import dok_matrix
from scipy.sparse.linalg import expm_multiply

from optimizer.mesh import Mesh
from optimizer.models.base import Branching
from optimizer.models.transitions import Constant
from optimizer.models.tumor import Tumor
from optimizer.pharmacology.direct import Direct
from optimizer.pharmacology.effects import Linear
from optimizer.policies.schedule import Schedule
from optimizer.programs import program
from optimizer.simulate import Grid, System, rollout
from optimizer.simulate.adaptive import solve
from optimizer.simulate.branching import backwards, log_absence, survival
from optimizer.simulate.stochastic import simulate_cells

# A supercritical clone that mutates at division and switches there and back with a slow one.
TWO = Branching(
    jnp.array([0.9, 0.5]),
    jnp.array([0.4, 0.3]),
    jnp.array([[0.0, 0.02], [0.0, 0.0]]),
    jnp.array([[0.0, 0.05], [0.1, 0.0]]),
)


def held(rates: Branching, length: float, panels: int) -> tuple[jax.Array, Branching]:
    """Times and rates of one interval in which nothing changes."""
    tau = Mesh(panels).nodes(length)[None]
    return tau, jax.tree.map(lambda a: jnp.broadcast_to(a, (1, tau.size, *a.shape)), rates)


def one(birth, death) -> Branching:
    none = jnp.zeros((*jnp.shape(birth), 1, 1))
    return Branching(jnp.asarray(birth)[..., None], jnp.asarray(death)[..., None], none, none)


@pytest.mark.parametrize(("birth", "death"), [(1.0, 0.1), (0.5, 0.1), (0.1, 0.6), (1.0, 3.1), (0.0, 0.7)])
def test_one_clone_at_constant_rates_is_kendalls(birth, death):
    tau, rates = held(one(birth, death), 5.0, 150)
    alive = float(backwards(tau, rates, jnp.ones(1))[0])
    grown = np.exp((birth - death) * 5.0)
    assert alive == pytest.approx((birth - death) * grown / (birth * grown - death), rel=1e-10)


def test_one_clone_at_piecewise_rates_is_kendalls():
    pieces = [(1.0, 0.1, 2.0), (1.0, 2.1, 3.0), (0.5, 0.1, 4.0)]
    mesh, edges = Mesh(150), np.cumsum([0.0, *(length for *_, length in pieces)])
    tau = jnp.stack([start + mesh.nodes(length) for start, (*_, length) in zip(edges, pieces, strict=False)])
    birth, death = (jnp.broadcast_to(jnp.array([p[i] for p in pieces])[:, None], tau.shape) for i in (0, 1))

    def fallen(t):  # integral of death - birth from 0
        return sum((d - b) * np.clip(t - at, 0.0, n) for at, (b, d, n) in zip(edges, pieces, strict=False))

    gone = [
        quad(lambda t, d=d: d * np.exp(fallen(t)), at, at + n, epsabs=0, epsrel=1e-13)[0]
        for at, (_, d, n) in zip(edges, pieces, strict=False)
    ]
    alive = float(backwards(tau, one(birth, death), jnp.ones(1))[0])
    assert alive == pytest.approx(1.0 / (1.0 + sum(gone)), rel=1e-10)


def test_a_chance_of_one_in_a_trillion_keeps_its_digits():
    tau, rates = held(one(0.1, 1.1), 27.5, 700)
    assert float(backwards(tau, rates, jnp.ones(1))[0]) == pytest.approx(np.exp(-27.5) / 1.1, rel=1e-10)
    assert np.exp(-27.5) / 1.1 < 1.1e-12


@pytest.mark.parametrize("counted", [(1.0, 1.0), (0.0, 1.0)])
def test_two_clones_are_as_scipy_integrates_them(counted):
    def slope(_, q):
        b, d, e, s = (np.asarray(a) for a in TWO)
        return d - (b + d + (e + s).sum(1)) * q + b * q**2 + q * (e @ q) + s @ q

    tau, rates = held(TWO, 6.0, 60)
    alive = np.asarray(backwards(tau, rates, jnp.array(counted)))
    gone = solve_ivp(slope, (0.0, 6.0), 1.0 - np.array(counted), method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]
    assert alive == pytest.approx(1.0 - gone, rel=1e-9)


def test_two_clones_are_as_the_master_equation_has_them():
    size, length = 36, 1.0  # so many cells of a clone are next to impossible in a day
    index = lambda i, j: i * size + j  # noqa: E731
    matrix = dok_matrix((size**2, size**2))
    b, d, e, s = (np.asarray(a) for a in TWO)
    for i in range(size):
        for j in range(size):
            moves = [((1, 0), b[0] * i), ((0, 1), b[1] * j + e[0, 1] * i), ((-1, 0), d[0] * i), ((0, -1), d[1] * j)]
            for (x, y), rate in [*moves, ((-1, 1), s[0, 1] * i), ((1, -1), s[1, 0] * j)]:
                matrix[index(i, j), index(i, j)] -= rate
                if 0 <= i + x < size and 0 <= j + y < size:
                    matrix[index(i + x, j + y), index(i, j)] += rate
    start = np.zeros(size**2)
    start[index(1, 0)] = 1.0
    shares = expm_multiply(matrix.tocsr() * length, start).reshape(size, size)
    tau, rates = held(TWO, length, 20)
    for counted, absent in (((1.0, 1.0), shares[0, 0]), ((0.0, 1.0), shares[:, 0].sum())):
        assert float(backwards(tau, rates, jnp.array(counted))[0]) == pytest.approx(1.0 - absent, abs=1e-9)


def two_clones(cells=(8.0, 2.0)) -> System:
    """The rates of `TWO` as a tumor, with a drug that kills the first clone."""
    model = Tumor(
        names=("sensitive", "resistant"),
        is_resistant=(False, True),
        initial_cells=jnp.array(cells),
        growth_rate=TWO.birth,
        death_rate=TWO.death,
        effects=((Linear(strength=1.0),), (None,)),
        mutation=jnp.array([[0.0, 0.02 / 0.9], [0.0, 0.0]]),
        transitions=(Constant(rate=0.05, source=0, target=1), Constant(rate=0.1, source=1, target=0)),
        has_inflow=(True, True),
    )
    return System(model, (Direct(),), ("drug",), ("infusion",), Mesh(4))


GRID = Grid(jnp.array([0.0, 1.0, 2.0, 3.0, 4.0]))


def hazard(doses, system: System):
    """H of no cell at all, of doses [4]."""
    course = rollout(system, Schedule(doses[:, None]), GRID)
    return log_absence(system, course, jnp.ones(2))


@program
def hazards(doses, system: System):
    """The same of several schedules [B, 4]."""
    return jax.vmap(hazard, (0, None))(doses, system)


@program
def slopes(doses, system: System):
    """Gradients of several schedules [B, 4]."""
    return jax.vmap(jax.grad(hazard), (0, None))(doses, system)


@program
def bends(doses, system: System):
    """Hessian at one schedule [4, 4]."""
    return jax.hessian(hazard)(doses, system)


def test_the_course_of_a_tumor_gives_its_rates():
    system = two_clones()
    found = system.model.branching(system.model.initial_state(), jnp.array([0.7]))
    for own, wanted in zip(found, TWO._replace(death=TWO.death + jnp.array([0.7, 0.0])), strict=True):
        assert np.asarray(own) == pytest.approx(np.asarray(wanted), rel=1e-12)


def test_slopes_and_second_derivatives_in_the_doses_are_those_of_differences():
    system, doses, step = two_clones(), jnp.array([0.3, 1.2, 0.1, 0.6]), 1e-4
    away = step * jnp.eye(4)
    above, below = (np.asarray(hazards(doses + sign * away, system)) for sign in (1.0, -1.0))
    own = np.asarray(slopes(doses + 0.0 * away, system))[0]
    assert own == pytest.approx((above - below) / (2.0 * step), rel=1e-6)
    above, below = (np.asarray(slopes(doses + sign * away, system)) for sign in (1.0, -1.0))
    assert np.asarray(bends(doses, system)) == pytest.approx((above - below) / (2.0 * step), rel=1e-6, abs=1e-8)


def test_many_schedules_at_once_are_each_alone():
    system, doses = two_clones(), jnp.array([[0.0] * 4, [1.0, 0.0, 2.0, 0.5]])
    together = np.asarray(hazards(doses, system))
    alone = [float(hazards(each[None], system)[0]) for each in doses]
    assert together == pytest.approx(alone, rel=1e-13)
    assert together[1] < 0.9 * together[0]


def test_the_nodes_of_the_audit_say_the_same():
    system, doses = two_clones(), jnp.array([[0.3], [1.2], [0.0], [0.6]])
    own = survival(system, rollout(system, Schedule(doses), GRID), jnp.ones(2))
    dense = survival(system, solve(system, doses, GRID), jnp.ones(2))
    assert np.asarray(own) == pytest.approx(np.asarray(dense), rel=1e-6)


@pytest.mark.parametrize("runs", [3000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_runs_of_single_cells_die_out_as_often(runs):
    system, doses = two_clones((2.0, 1.0)), jnp.array([[0.3], [1.2], [0.0], [0.6]])
    course = rollout(system, Schedule(doses), GRID)
    found = simulate_cells(system, course, runs, 0, 1e9)
    end = found.cells[:, -1]
    for counted, gone in (((1.0, 1.0), end.sum(1) == 0.0), ((0.0, 1.0), end[:, 1] == 0.0)):
        wanted = float(jnp.exp(-log_absence(system, course, jnp.array(counted))))
        error = np.sqrt(wanted * (1.0 - wanted) / runs)
        assert 0.05 < wanted < 0.95
        assert abs(float(np.mean(gone)) - wanted) < 3.0 * error
    assert (np.isfinite(found.extinction) == (end.sum(1) == 0.0)).all()


def test_leaps_have_the_mean_and_the_spread_of_single_events():
    cells, runs = 5000.0, 800
    system = two_clones((cells, 0.0))
    course = rollout(system, Schedule(jnp.zeros((4, 1))), GRID)
    wanted, got = np.asarray(course.cells[-1]), simulate_cells(system, course, runs, 1, 1e9).cells[:, -1]
    # Var N = C (b + d) / r (e^(2 r t) - e^(r t)) for one clone; two that mix differ by a few percent.
    for m in range(2):
        assert abs(got[:, m].mean() - wanted[m]) < 3.5 * got[:, m].std() / np.sqrt(runs)
    rate = 0.45
    spread = np.sqrt(cells * 1.35 / rate * (np.exp(8.0 * rate) - np.exp(4.0 * rate)))
    assert got[:, 0].std() == pytest.approx(spread, rel=0.1)


def test_a_run_depends_on_the_seed_and_its_number_alone():
    system = two_clones()
    course = rollout(system, Schedule(jnp.ones((4, 1))), GRID)
    few, more = (simulate_cells(system, course, n, 3, 1e9) for n in (3, 7))
    assert np.array_equal(few.cells, more.cells[:3])
    assert np.array_equal(few.extinction, more.extinction[:3])
    assert not np.array_equal(few.cells, simulate_cells(system, course, 3, 4, 1e9).cells)
    assert not np.array_equal(more.cells[0], more.cells[1])
