"""200 random patients and schedules against SciPy: value to 1e-6, gradient to 1e-5, none NaN.

The reference is on file (`tests.oracle.random_cases`); the `slow` tests compute it anew. All patients of a family are
simulated by one compiled program, on the mesh that the search would choose for the most demanding of them; the `slow`
tests simulate each on its own.
"""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.mesh import common
from optimizer.simulate import Grid
from tests.oracle import random_cases as oracle
from tests.simulate.systems import mean_log_burden, system_of, value_and_slope

RECORD = json.loads(oracle.RECORD.read_text())
GRID = Grid(jnp.asarray(oracle.EDGES))
batched = eqx.filter_jit(eqx.filter_vmap(eqx.filter_value_and_grad(mean_log_burden), in_axes=(0, 0, None)))


def stacked(systems):
    """Systems that differ in numbers only, as one with a leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *systems)


def simulated(family):
    """Values [P] and gradients [P, K, N] of all cases of a family."""
    cases = oracle.cases(family)
    systems = [system_of(case.parameters) for case in cases]
    mesh = common([s.mesh for s in systems])
    systems = [eqx.tree_at(lambda s: s.mesh, s, mesh) for s in systems]
    return batched(jnp.stack([case.doses for case in cases]), stacked(systems), GRID)


def recorded(family):
    """Reference values [P] and gradients [P, K, N], NaN where the differences say nothing."""
    cases = RECORD[family]
    slopes = [[[np.nan if s is None else s for s in row] for row in case["gradient"]] for case in cases]
    return np.array([case["value"] for case in cases]), np.array(slopes)


def off(slopes, wanted):
    """Largest error of a gradient [..., K, N] relative to its largest entry, where the differences say something."""
    said = np.isfinite(wanted)
    error = np.where(said, np.abs(slopes - wanted), 0.0).max((-2, -1))
    size = np.where(said, np.abs(wanted), 0.0).max((-2, -1))
    # An untreated patient's differences say something of the blocker only, and that is 0.
    return error / np.maximum(size, 1e-2)


@pytest.mark.parametrize("family", oracle.FAMILIES)
def test_value_and_gradient(family):
    values, slopes = simulated(family)
    wanted, wanted_slopes = recorded(family)
    assert wanted.shape == (oracle.CASES,)
    assert np.max(np.abs(values / wanted - 1.0)) < 1e-6
    assert np.all(np.isfinite(slopes))
    assert np.isfinite(wanted_slopes).mean() > 0.7
    assert np.max(off(slopes, wanted_slopes)) < 1e-5


def test_all_shapes_of_schedule_are_there():
    shapes = {(family, case.shape) for family in oracle.FAMILIES for case in oracle.cases(family)}
    assert shapes == {
        (f, s) for f in oracle.FAMILIES for s in ("random", "zero", "constant", "alternating", "sparse", "tapered")
    }
    hills = [case.parameters["clones"][0]["hill"] for case in oracle.cases("caf") if case.shape == "zero"]
    assert min(hills) < 1.0


@pytest.mark.parametrize("family", oracle.FAMILIES)
def test_record_is_what_scipy_says(family):
    for i in (2, 9):
        assert oracle.value(oracle.cases(family)[i]) == pytest.approx(RECORD[family][i]["value"], rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("family", oracle.FAMILIES)
def test_each_on_its_own_mesh(family):
    wanted = recorded(family)
    for case, reference, slopes in zip(oracle.cases(family), *wanted, strict=True):
        value, slope = value_and_slope(jnp.asarray(case.doses), system_of(case.parameters), GRID)
        assert float(value) == pytest.approx(reference, rel=1e-6)
        assert off(np.asarray(slope), slopes) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("family", oracle.FAMILIES)
def test_whole_record_is_what_scipy_says(family):
    _, wanted = recorded(family)
    for i, case in enumerate(oracle.cases(family)):
        assert oracle.value(case) == pytest.approx(RECORD[family][i]["value"], rel=1e-8)
        if i % 10 == 3:
            assert np.allclose(oracle.gradient(case), wanted[i], rtol=1e-7, atol=1e-9, equal_nan=True)
