"""Every objective term and every constraint of the registry on one trajectory that has all they read."""

import dataclasses
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.constraints.base import AbstractDoseLimit, AbstractStateLimit, DoseFrame
from optimizer.constraints.term import Term
from optimizer.fields import describe
from optimizer.mechanisms.base import AbstractMechanism
from optimizer.mesh import Mesh
from optimizer.objectives.base import AbstractTerm, Objective, Scene
from optimizer.pharmacology.roles import Inhibitor
from optimizer.policies.schedule import Schedule
from optimizer.registry import discover
from optimizer.simulate import Grid, rollout
from tests.laws.factory import VISITED, Unbuildable, make, system

TERMS = list(discover("optimizer.objectives", AbstractTerm).values())
LIMITS = list(discover("optimizer.constraints", AbstractStateLimit).values())
DOSE_LIMITS = list(discover("optimizer.constraints", AbstractDoseLimit).values())
GRID = Grid(jnp.array([0.0, 7.0, 14.0, 17.0, 28.0]))
# Settings of limits on doses that their defaults leave open.
SETTINGS = {"dose_levels": {"quantum": 0.5}, "dose_bounds": {"maximum": 2.0}}
BY_NAME = {"drug": "first", "limit": 1.5, "start": 7.0, "stop": 14.0, "window": 14.0}


@cache
def scene():
    """A treated patient with every mechanism of the registry."""
    rng = np.random.default_rng(3)
    kinds = discover("optimizer.mechanisms", AbstractMechanism).values()
    built = system({"mechanism": next(iter(kinds))}, rng, Mesh(12, 8, 20.0))
    mechanisms = tuple(make(cls, rng, {"roles": built.model.roles, "drug": 0}) for cls in kinds)
    built = eqx.tree_at(lambda s: s.model.mechanisms, built, mechanisms)
    doses = jnp.asarray(rng.uniform(0.0, 1.0, (4, len(built.drugs))))
    trajectory = eqx.filter_jit(lambda s, d: rollout(s, Schedule(d), GRID))(built, doses)
    return Scene(trajectory, GRID, jnp.full(len(built.drugs), 2.0), built.model.floor(), system=built)


def built(cls):
    """A term or state limit; drugs are asked for by number, a quantity that the model reports by its name."""
    return make(cls, np.random.default_rng(1), {"drug": 0, "observable": "effectors", "term": "burden", **VISITED})


def test_all_observables_are_there():
    needed = {name for cls in (*TERMS, *LIMITS) for name in cls.needs}
    assert needed <= set(scene().trajectory.observables)


@pytest.mark.parametrize("cls", TERMS, ids=lambda cls: cls.kind)
def test_terms_are_finite_add_and_scale(cls):
    term, other = built(cls), built(TERMS[0])
    value, constant = float(term.evaluate(scene())), float(other.evaluate(scene()))
    assert np.isfinite(value)
    assert float((0.7 * term).evaluate(scene())) == pytest.approx(0.7 * value, rel=1e-14)
    assert float((term * 0.7 + 0.3 * other).evaluate(scene())) == pytest.approx(0.7 * value + 0.3 * constant, rel=1e-13)
    whole = term + other
    assert isinstance(whole, Objective)
    assert float((2.0 * whole).evaluate(scene())) == pytest.approx(2.0 * (value + constant), rel=1e-13)
    assert whole.values(scene()).keys() == {cls.kind, TERMS[0].kind}


@pytest.mark.parametrize("cls", TERMS, ids=lambda cls: cls.kind)
def test_what_is_searched_tends_to_what_is_reported(cls):
    term = built(cls)
    exact = float(term.evaluate(scene()))
    away = [abs(float(term.smooth(scene(), t)) - exact) for t in (1.0, 0.1, 0.01)]
    if cls.is_smooth:
        assert away == [0.0] * 3
    else:
        assert away[0] > away[1] > away[2]
        assert away[2] < 0.02 * max(1.0, abs(exact))


@pytest.mark.parametrize("cls", TERMS, ids=lambda cls: cls.kind)
def test_slopes_are_finite(cls):
    term = built(cls)

    def of(burden, doses):
        trajectory = dataclasses.replace(scene().trajectory, burden=burden, doses=doses)
        return term.smooth(scene()._replace(trajectory=trajectory), 0.1)

    trajectory = scene().trajectory
    for slope in jax.grad(of, argnums=(0, 1))(trajectory.burden, 0.0 * trajectory.doses):
        assert np.all(np.isfinite(slope))


@pytest.mark.parametrize("cls", LIMITS, ids=lambda cls: cls.kind)
def test_state_limits_read_what_they_limit(cls):
    limit = built(cls)
    reading = limit.read(scene())
    assert reading.excess.shape in (scene().trajectory.times.shape, (1,))
    assert np.all(np.isfinite(reading.excess))
    assert np.isfinite(float(reading.value))
    # The worst excess is positive just where the reported value is on the wrong side of its limit.
    value, bound = float(reading.value), float(reading.limit)
    worst = float(jnp.max(reading.excess))
    assert worst != 0.0
    assert abs(worst) <= 2.0 * abs(np.log(max(value, 1e-300) / bound)) + 1e-9
    assert limit.label()


@pytest.mark.parametrize("cls", TERMS, ids=lambda cls: cls.kind)
def test_every_term_is_a_limit(cls):
    term = built(cls)
    value = float(term.evaluate(scene()))
    for limit, is_broken in ((value - 0.1, True), (value + 0.1, False)):
        factor = getattr(term, "factor", 1.2)
        made = Term(term=cls.kind, limit=limit, factor=factor, observable="effectors", **VISITED)
        reading = made.read(scene())
        assert float(reading.value) == pytest.approx(value, rel=1e-14)
        if cls.excess is AbstractTerm.excess:  # a limit on a chance, or at visits, is one on another scale
            assert float(jnp.max(reading.excess)) == pytest.approx((value - limit) / max(abs(limit), 1e-3), rel=1e-9)
        assert (float(jnp.max(reading.excess)) > 0.0) == is_broken
        assert made.label().startswith(cls.kind)


def frame():
    shape = (GRID.count, 2)
    return DoseFrame(
        ("first", "second"), ("bolus", "infusion"), np.asarray(GRID.edges), np.zeros(shape), np.full(shape, 3.0)
    )


def dose_limit(cls):
    """A limit on doses from its settings."""
    values = {}
    for field in dataclasses.fields(cls):
        if field.name in SETTINGS.get(cls.kind, {}):
            values[field.name] = SETTINGS[cls.kind][field.name]
        elif field.default is dataclasses.MISSING:
            if field.name not in BY_NAME:
                raise Unbuildable(f"{cls.__name__}.{field.name}: add a value to BY_NAME in tests/laws/test_terms.py")
            values[field.name] = BY_NAME[field.name]
    return cls(**values)


@pytest.mark.parametrize("cls", DOSE_LIMITS, ids=lambda cls: cls.kind)
def test_limits_on_doses_are_linear_and_no_drug_satisfies_them(cls):
    assert describe(cls)
    before, after = frame(), frame()
    dose_limit(cls).apply(after)
    changed = bool(after.rows or after.levels) or not np.array_equal(after.upper, before.upper)
    assert changed, "a limit that limits nothing"
    assert np.array_equal(after.lower, before.lower)
    assert np.all(after.upper >= 0.0)
    for row in after.rows:
        assert row.coefficients.shape == after.lower.shape
        assert np.all(np.isfinite(row.coefficients))
        assert np.any(row.coefficients != 0.0)
        assert row.limit >= 0.0
        assert row.name.startswith(row.key)
    for drug, levels in after.levels.items():
        assert drug in after.drugs
        assert levels[0] == 0.0
        assert np.all(np.diff(levels) > 0.0)
    # Once more is the same limit.
    count = len(after.rows)
    dose_limit(cls).apply(after)
    assert len(after.rows) == 2 * count


def test_inhibitors_come_first():
    assert isinstance(system({}, np.random.default_rng(0), Mesh(2)).model.roles[0], Inhibitor)
