"""Every closed form that is fitted is what the simulator's own model shows in that experiment."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.calibrate.curves import kill_curve, plateau, secretion, stromal_rate
from optimizer.calibrate.growth import CLOSED, closed_form, simulated
from optimizer.mechanisms.stroma import Stroma, StromaState
from optimizer.mesh import Mesh
from optimizer.models.growth import Exponential
from optimizer.models.stromal import StromalClone, stromal
from optimizer.models.tumor import Tumor
from optimizer.pharmacology.direct import Direct
from optimizer.pharmacology.effects import Hill
from optimizer.pharmacology.roles import Inhibitor
from optimizer.policies.schedule import Schedule
from optimizer.simulate import Grid, System, rollout

DOSES = np.array([0.0, 1e-3, 0.02, 0.3, 1.0, 10.0])
FACTORS = np.array([0.0, 50.0, 300.0, 379.4, 700.0])
STROMA = {
    "cells": 1e3,
    "secretion_slope": 65.7,
    "secretion_midpoint": 0.0049,
    "secretion_rate": 0.024,
    "growth_factor_decay": 120.0,
    "growth_factor_max": 27.1,
}
THETA = jnp.asarray([7.34, 379.4, 0.0078, 0.35, -0.19, 0.93])


def stroma() -> Stroma:
    return Stroma(**STROMA, shift_slope=jnp.ones(1), shift_midpoint=jnp.ones(1), roles=(Inhibitor(),))


def test_rates_are_the_stromal_tumors_growth_at_a_growth_factor():
    ec50, midpoint, slope, high, low, hill = THETA
    clone = StromalClone("tumor", False, 1e8, ec50, high, low, hill, slope, midpoint)
    model = stromal([clone], [Inhibitor()], STROMA)
    drug, factor = (part.ravel() for part in np.meshgrid(DOSES, FACTORS))
    states = (StromaState(jnp.full(len(factor), jnp.log(1e3)), jnp.asarray(factor)),)
    own = jax.vmap(model.net_growth)(states, jnp.asarray(drug)[:, None])[:, 0]
    np.testing.assert_allclose(
        stromal_rate(THETA, (jnp.asarray(drug), jnp.asarray(factor))), own, rtol=1e-9, atol=1e-12
    )


def test_secretion_is_the_steady_growth_factor_of_the_stroma():
    model = stroma()
    own = jax.vmap(lambda c: model.steady_growth_factor(1e3, c))(jnp.asarray(DOSES)[:, None])
    theta = jnp.asarray([65.7, 0.0049, 27.1])
    closed = secretion(theta, (jnp.asarray(DOSES), jnp.zeros(len(DOSES), int)))
    np.testing.assert_allclose(closed, own, rtol=1e-12)


def test_the_rise_to_a_plateau_is_the_stromas_after_a_change_of_medium():
    model, times = stroma(), np.asarray(Mesh(2).nodes(0.05))
    conc = jnp.full((9, 1), 0.02)
    path = model.advance(StromaState(jnp.log(1e3), jnp.asarray(0.0)), jnp.asarray(times), conc)
    top = model.steady_growth_factor(1e3, conc[0])
    theta = jnp.stack([jnp.asarray(120.0 + 0.024 * 1e3), top])
    closed = plateau(theta, (jnp.asarray(times), jnp.zeros(9, int)))
    np.testing.assert_allclose(closed, path.growth_factor, rtol=1e-9)


def test_the_curve_of_an_assay_is_what_the_simulator_leaves_of_the_vehicle():
    emax, ec50, hill, days = 0.8, 0.6, 1.7, 3.0
    model = Tumor(
        names=("tumor",),
        is_resistant=(False,),
        initial_cells=jnp.asarray([1e6]),
        growth_rate=jnp.asarray([0.7]),
        death_rate=jnp.zeros(1),
        effects=((Hill(emax, ec50, hill),),),
        growth=Exponential(),
    )
    system = System(model, (Direct(),), ("drug",), ("infusion",), Mesh(2))
    grid = Grid.regular(every=1.0, horizon=days)
    left = [float(rollout(system, Schedule(jnp.full((3, 1), d)), grid).burden[-1]) for d in DOSES]
    closed = kill_curve(jnp.asarray([1.0, emax * days, ec50, hill]), jnp.asarray(DOSES))
    np.testing.assert_allclose(closed, np.array(left) / left[0], rtol=1e-9)


TIMES = jnp.asarray([0.0, 3, 7, 20, 45, 90, 120])
BOLUSES = (jnp.asarray([0.0, 7, 14, 14.5, 60]), jnp.asarray([100.0, 50, 100, 20, 80]))
LEVELS = (jnp.asarray([0.0, 20, 45, 90]), jnp.asarray([1.0, 0, 1, 0]))
PATIENT = jnp.asarray([500.0, 0.05, 2000.0, 0.2, 15.0, 0.2, 1.7])


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize(("growth", "effect"), CLOSED)
def test_time_series_are_the_simulators(growth, effect, held):
    events = LEVELS if held else BOLUSES
    closed = jax.jit(closed_form(growth, effect, held))(PATIENT, TIMES, events)
    own = jax.jit(simulated(growth, effect, held))(PATIENT, TIMES, events)
    np.testing.assert_allclose(own, closed, rtol=2e-6)
