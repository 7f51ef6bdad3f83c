"""Growth laws: against closed forms, SciPy and central differences; cost, turnover and crowding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.models.growth import (
    AbstractGrowth,
    CompetitiveGompertz,
    CompetitiveLogistic,
    Exponential,
    Gompertz,
    Logistic,
    VonBertalanffy,
)
from optimizer.pharmacology.effects import LogKill
from optimizer.registry import discover

from .helpers import assert_gradient, final_cells, reference, system, tumor

MATRIX = jnp.array([[1.0, 0.6], [1.3, 1.0]])
DOSES = np.array([[1.0], [0.4]])


def logistic(y):
    """Crowd of each clone under each law, written down again."""
    return 1.0 - y.sum() / 3e9


LAWS = [
    (Exponential(), lambda y: 1.0),
    (Logistic(3e9), logistic),
    (Gompertz(3e9), lambda y: np.log(3e9 / y.sum())),
    (VonBertalanffy(3e9), lambda y: (3e9 / y.sum()) ** (1 / 3) - 1.0),
    (VonBertalanffy(3e9, 0.25), lambda y: (3e9 / y.sum()) ** 0.25 - 1.0),
    (CompetitiveLogistic(jnp.array([3e9, 2e9]), MATRIX), lambda y: 1.0 - np.asarray(MATRIX) @ y / [3e9, 2e9]),
    (CompetitiveGompertz(jnp.array([3e9, 2e9]), MATRIX), lambda y: np.log([3e9, 2e9] / (np.asarray(MATRIX) @ y))),
]


def test_every_law_is_here():
    # A law that somebody adds has the tests of tests/laws.
    assert {law.kind for law, _ in LAWS} <= set(discover("optimizer.models", AbstractGrowth))


@pytest.mark.parametrize(("law", "crowd"), LAWS, ids=lambda x: getattr(x, "kind", ""))
def test_laws(law, crowd):
    kill = LogKill(0.2)
    clones = [(1e8, 0.12, 0.02, [kill]), (2e7, 0.1, 0.01, [None])]
    built = system(tumor(clones, growth=law, cost=jnp.array([0.0, 0.3])))

    def field(y, c):
        rates = np.array([0.12, 0.7 * 0.1]) * crowd(y) - [0.02, 0.01]
        return (rates - [np.log(10.0) * 0.2 * c[0], 0.0]) * y

    assert np.allclose(final_cells(built, DOSES), reference(field, [1e8, 2e7], DOSES), rtol=1e-5)
    if law.kind == "competitive_gompertz":
        assert_gradient(built, DOSES)


def test_von_bertalanffy_closed_form():
    # n^(1/3) relaxes linearly: (N / K)^(1/3) = 1 - (1 - (N0 / K)^(1/3)) exp(-g t / 3).
    built = system(tumor([(1e6, 0.3, 0.0, None)], growth=VonBertalanffy(1e9)))
    times = 7.0 * np.arange(1, 5)
    exact = 1e9 * (1.0 - (1.0 - 0.1) * np.exp(-0.1 * times)) ** 3
    assert np.allclose(np.asarray(final_cells(built, np.zeros((4, 1))))[:, 0], exact, rtol=1e-6)


def test_von_bertalanffy_tends_to_gompertz():
    cells, rate = jnp.array([3e7]), jnp.array([0.2])
    small = VonBertalanffy(1e9, 1e-7)(rate / 1e-7, cells)
    assert float(small[0]) == pytest.approx(float(Gompertz(1e9)(rate, cells)[0]), rel=1e-5)


def test_one_for_all_is_the_shared_capacity():
    ones = jnp.ones((2, 2))
    cells, rate = jnp.array([3e8, 1e8]), jnp.array([0.2, 0.1])
    for shared, competing in ((Logistic, CompetitiveLogistic), (Gompertz, CompetitiveGompertz)):
        both = [shared(1e9)(rate, cells), competing(jnp.full(2, 1e9), ones)(rate, cells)]
        assert np.allclose(*both, rtol=1e-12)


def test_coexistence():
    # Each clone holds back itself more than the other: both live on where the two lines of no growth cross.
    law = CompetitiveLogistic(jnp.array([1e9, 8e8]), jnp.array([[1.0, 0.5], [0.6, 1.0]]))
    built = system(tumor([(1e6, 0.5, 0.0, None), (1e6, 0.4, 0.0, None)], growth=law), longest=30.0)
    from .helpers import simulate

    late = np.asarray(simulate(built, jnp.zeros((8, 1)), every=30.0).cells[-1])
    exact = np.linalg.solve([[1.0, 0.5], [0.6, 1.0]], [1e9, 8e8])
    assert np.allclose(late, exact, rtol=1e-3)


def test_gradient_with_respect_to_cost():
    def final(cost):
        built = tumor([(1e8, 0.12, 0.0, None), (1e7, 0.12, 0.0, None)], growth=Logistic(1e9), cost=cost)
        state, net = built.initial_state(), built.vector_field
        return net(jnp.zeros(()), state, jnp.zeros(1)).log_cells[1]

    slope = jax.grad(final)(jnp.array([0.0, 0.3]))
    assert np.allclose(slope, [0.0, -0.12 * (1.0 - 0.11)], rtol=1e-12)
