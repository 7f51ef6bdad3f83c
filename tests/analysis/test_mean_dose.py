"""The dose for a mean concentration: quadrature for all kinetics, and a sum by hand of all doses with their tails."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from optimizer.analysis.levels import dose_for_mean, dose_times, mean_concentration
from optimizer.pharmacology.base import AbstractPK
from optimizer.pharmacology.first_order import FirstOrder
from optimizer.pharmacology.oral import Oral
from optimizer.registry import discover
from tests.analysis.by_hand import mean_of_boluses
from tests.laws.factory import make

KINETICS = list(discover("optimizer.pharmacology", AbstractPK).values())
ROUTES = [(cls, route) for cls in KINETICS for route in cls.routes]


@pytest.mark.parametrize(("cls", "route"), ROUTES, ids=lambda part: part if isinstance(part, str) else part.kind)
def test_the_dose_gives_the_mean_by_quadrature(cls, route):
    pk, rng = make(cls, np.random.default_rng(5), {}), np.random.default_rng(1)
    wanted, every, horizon, delay = 0.7, float(rng.uniform(2.0, 5.0)), 23.0, 1.5
    dose = dose_for_mean(pk, wanted, every, horizon, delay, route)
    times = [delay] if route == "infusion" else dose_times(every, horizon, delay)
    level = jax.jit(lambda state, rate, tau: pk.concentration(pk.evolve(state, rate, tau), rate))
    state, total, lag = pk.initial(), 0.0, 0.0 if pk.delay() is None else float(pk.delay())
    for start, end in zip(times, [*times[1:], horizon], strict=True):
        state, rate = (state, dose) if route == "infusion" else (pk.bolus(state, dose), 0.0)
        total += quad(lambda t, s=state, r=rate: float(level(s, r, t)), 0, end - start, points=[lag], epsrel=1e-11)[0]
        state = pk.evolve(state, rate, end - start)
    assert total / horizon == pytest.approx(wanted, rel=1e-8)


def test_of_first_order_it_is_the_sum_of_all_doses_with_their_tails():
    for every, horizon, delay in ((7.0, 180.0, 0.0), (10.0, 90.0, 4.0), (400.0, 180.0, 0.0), (0.5, 3.0, 0.2)):
        times = np.arange(delay, horizon - 1e-9, every).tolist()
        dose = dose_for_mean(FirstOrder(elimination=0.144), 1.3, every, horizon, delay)
        assert dose == pytest.approx(1.3 / mean_of_boluses(0.144, times, horizon), rel=1e-13)


def test_padding_counts_for_nothing_and_every_schedule_has_a_mean():
    pk = Oral(volume=50.0, clearance=10.0, absorption=3.0, bioavailability=0.5, lag=0.2)
    edges, doses = jnp.array([0.0, 1.0, 3.0, 7.0, 8.0, 9.0]), jnp.array([2.0, 0.0, 5.0, 9.0, 9.0])
    whole = mean_concentration(pk, "bolus", edges[:4], doses[:3])
    assert float(mean_concentration(pk, "bolus", edges, doses, 3)) == pytest.approx(float(whole), rel=1e-14)
    assert float(whole) < 7.0 * 0.5 / 10.0 / 7.0


def test_a_first_dose_after_the_horizon_is_refused():
    with pytest.raises(ValueError, match="delay: wanted a first dose before the horizon, 30 day; got 30 day"):
        dose_for_mean(FirstOrder(elimination=0.1), 1.0, 7.0, 30.0, 30.0)
