"""Clones that switch: every law against SciPy and central differences; nearly empty pools are not stiff."""

import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.models.growth import Logistic
from optimizer.models.transitions import Constant, Division, HillSwitch, LinearSwitch, clones_with_inflow
from optimizer.pharmacology.effects import Hill
from optimizer.pharmacology.roles import Inhibitor, Resensitizer
from optimizer.simulate import adaptive
from optimizer.simulate.rollout import Grid

from .helpers import assert_gradient, final_cells, reference, system, tumor

DOSES = np.array([[2.0], [0.5], [0.0], [3.0]])
SENSITIVE = (1e8, 0.2, 0.0, [Hill(0.7, 0.5, 1.5)])
PERSISTER = (0.0, 0.01, 0.02, None)


def kill(c):
    """The sensitive clone's kill rate."""
    x = (c / 0.5) ** 1.5
    return 0.7 * x / (1.0 + x)


def persisters(forth, back, **more):
    """Sensitive cells that turn into persisters and back."""
    return tumor([SENSITIVE, PERSISTER], transitions=(forth, back), has_inflow=(True, True), **more)


@pytest.mark.parametrize(
    ("forth", "rate"),
    [
        (Constant(1e-3), lambda c: 1e-3),
        (LinearSwitch(0, slope=0.02, rate=1e-4), lambda c: 1e-4 + 0.02 * c),
        (
            HillSwitch(0, saturated=0.05, ec50=0.3, hill=2.0, rate=1e-5),
            lambda c: 1e-5 + (0.05 - 1e-5) * c**2 / (c**2 + 0.09),
        ),
    ],
    ids=lambda x: getattr(x, "kind", ""),
)
def test_persisters(forth, rate):
    model = persisters(forth, Constant(0.03, source=1, target=0))

    def field(y, c):
        leaving, returning = rate(c[0]) * y[0], 0.03 * y[1]
        return [(0.2 - kill(c[0])) * y[0] - leaving + returning, -0.01 * y[1] + leaving - returning]

    built = system(model)
    expected = reference(field, [1e8, 0.0], DOSES)
    assert np.allclose(final_cells(built, DOSES), expected, rtol=1e-5)
    if forth.kind == "hill":
        assert_gradient(built, DOSES)


def test_empty_pool_is_filled_without_overshoot():
    # 1e8 cells feed an empty pool at 0.1 a day: as ln(cells + 1) the pool's rate would begin at 1e7 a day.
    model = persisters(Constant(0.1), Constant(0.0, source=1, target=0))
    built = system(model)
    cells = np.asarray(final_cells(built, np.zeros((1, 1))))[0]
    net, other = 0.2 - 0.1, -0.01
    exact = 1e8 * np.array([np.exp(7 * net), 0.1 * (np.exp(7 * net) - np.exp(7 * other)) / (net - other)])
    assert np.allclose(cells, exact, rtol=1e-6)


def test_audit_agrees():
    model = persisters(HillSwitch(0, saturated=0.05, ec50=0.3, rate=1e-5), Constant(0.03, source=1, target=0))
    built = system(model)
    audit = adaptive.solve(built, jnp.asarray(DOSES), Grid(7.0 * jnp.arange(5)))
    assert bool(audit.ok)
    own = final_cells(built, DOSES)
    last = np.asarray(audit.cells).reshape(4, -1, 2)[:, -1]
    assert np.allclose(own, last, rtol=1e-5)


def test_resensitizer_raises_only_the_way_back():
    role = Resensitizer(rise=4.0, ec50=0.5, hill=1.0)
    switches = (Constant(0.01), Constant(0.02, source=1, target=0))
    model = tumor(
        [(1e8, 0.2, 0.0, [Hill(0.7, 0.5, 1.5), None]), (1e4, 0.01, 0.02, [None, None])],
        transitions=switches,
        has_inflow=(True, True),
        roles=(Inhibitor(), role),
    )
    doses = np.array([[2.0, 1.0], [2.0, 0.0]])

    def field(y, c):
        leaving, returning = 0.01 * y[0], 0.02 * (1.0 + 4.0 * c[1] / (c[1] + 0.5)) * y[1]
        return [(0.2 - kill(c[0])) * y[0] - leaving + returning, -0.01 * y[1] + leaving - returning]

    built = system(model, (0.3, 0.2))
    assert np.allclose(final_cells(built, doses), reference(field, [1e8, 1e4], doses, (0.3, 0.2)), rtol=1e-5)


def test_stem_cells_feed_differentiated_ones():
    # Half the divisions of a stem cell are asymmetric; crowding holds both back.
    model = tumor(
        [(1e6, 0.0, 0.05, None), (1e5, 0.4, 0.0, [Hill(0.3, 0.5)])],
        growth=Logistic(1e9),
        transitions=(Division(0.5, source=1, target=0),),
        has_inflow=(True, False),
    )

    def field(y, c):
        births = 0.4 * (1.0 - (y[0] + y[1]) / 1e9)
        divided = 0.5 * max(births, 0.0) * y[1]
        return [-0.05 * y[0] + divided, (births - 0.3 * c[0] / (c[0] + 0.5)) * y[1] - divided]

    built = system(model)
    assert np.allclose(final_cells(built, DOSES), reference(field, [1e6, 1e5], DOSES), rtol=1e-5)


def test_a_loop_of_switches_keeps_the_cells():
    model = tumor(
        [(1e6, 0.0, 0.0, None), (0.0, 0.0, 0.0, None), (0.0, 0.0, 0.0, None)],
        transitions=(Constant(0.2, 0, 1), Constant(0.3, 1, 2), Constant(0.1, 2, 0)),
        has_inflow=(True, True, True),
    )
    cells = np.asarray(final_cells(system(model), np.zeros((20, 1))))
    assert np.allclose(cells.sum(-1), 1e6, rtol=1e-5)
    # Long after, each clone's share is one over the rate at which it is left.
    assert np.allclose(cells[-1] / 1e6, np.array([5.0, 10 / 3, 10.0]) / (5.0 + 10 / 3 + 10.0), rtol=1e-5)


def test_which_clones_are_fed():
    assert clones_with_inflow(2, None, ()) == ()
    assert clones_with_inflow(2, [[0.0, 1e-6], [0.0, 0.0]], ()) == (False, True)
    assert clones_with_inflow(3, None, (Constant(0.1, 2, 0),)) == (True, False, False)


def test_transitions_to_nowhere_are_refused():
    for source, target in ((0, 0), (0, 2), (-1, 0)):
        with pytest.raises(ValueError, match="transitions: wanted two of 2 clones"):
            persisters(Constant(0.1, source, target), Constant(0.1))


def test_cells_are_changed_by_factors_whether_others_feed_them_or_not():
    change = jnp.log(jnp.asarray([2.0, 0.5]))
    fed = tumor([SENSITIVE, (1e3, 0.01, 0.02, None)], has_inflow=(False, True))
    for model in (fed, tumor([SENSITIVE, (1e3, 0.01, 0.02, None)])):
        moved = model.changed(model.initial_state(), change)
        np.testing.assert_allclose(model.cells(moved), [2e8, 500.0], rtol=1e-9)
    # A clone that is empty stays empty.
    empty = persisters(Constant(1e-3), Constant(0.03, source=1, target=0))
    moved = empty.changed(empty.initial_state(), change)
    np.testing.assert_allclose(empty.cells(moved), [2e8, 0.0], rtol=1e-9, atol=1e-9)
