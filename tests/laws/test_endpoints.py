"""Every endpoint of the registry on values that wander."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.endpoints.base import AbstractEndpoint
from optimizer.objectives.endpoint import Endpoint
from optimizer.observations.base import AbstractQuantity, Assay, Channel
from optimizer.registry import discover
from optimizer.search.iterate import LEAST_TEMPERATURE
from tests.laws.test_terms import scene

ENDPOINTS = list(discover("optimizer.endpoints", AbstractEndpoint).values())


@pytest.mark.parametrize("cls", ENDPOINTS, ids=lambda cls: cls.kind)
def test_dates_are_visits_that_later_ones_do_not_move(cls):
    endpoint, rng, seen = cls(), np.random.default_rng(0), 0
    days, judged = 28.0 * np.arange(20), eqx.filter_jit(endpoint.found)
    for _ in range(200):
        values = 50.0 * np.exp(np.cumsum(rng.normal(0.15, 0.3, days.size)))
        values[rng.uniform(size=days.size) < 0.1] = np.nan
        found = endpoint.assess(days, values)
        inside = [float(part) for part in judged(jnp.nan_to_num(values, nan=1.0), days, ~np.isnan(values))]
        assert inside == [np.inf if found.day is None else found.day, found.after or 0.0]
        if found.day is None:
            # Where nothing has risen for good, a large rise that stays does it.
            more = np.r_[days, 600.0, 700.0], np.r_[values, 1e6, 1e6]
            assert endpoint.assess(*more).day is not None
            continue
        seen += 1
        assert found.day in days[~np.isnan(values)]
        assert found.after is None or found.after < found.day
        assert found.unconfirmed is None
        # What was progression once it was confirmed is so whatever comes later.
        for count in range(1, days.size + 1):
            until = endpoint.assess(days[:count], values[:count])
            assert until.day in (None, found.day)
    assert seen > 20


COURSES, EVERY = 200, 28.0
DAYS = np.linspace(0.0, 20 * EVERY, 81)


def channel(cls):
    """What an endpoint reads, such that 1e8 cells show 26 or so."""
    quantity = discover("optimizer.observations", AbstractQuantity)[cls.reads[0]]
    fields = dataclasses.fields(quantity)
    asked = {field.name: 2.6e-7 for field in fields if field.init and field.default is dataclasses.MISSING}
    secreted = {"production": 1.3e-7, "decay": 0.5}
    more = asked | {field.name: secreted[field.name] for field in fields if field.name in secreted}
    return Channel(quantity(**more, detection_limit=0.0), Assay())


@pytest.mark.parametrize("cls", ENDPOINTS, ids=lambda cls: cls.kind)
def test_what_is_searched_is_the_day_at_visits(cls):
    """Random courses of 20 visits: as reported the very day, as searched within a visit of it, with finite slopes."""
    endpoint, rng = cls(every=EVERY, channel=channel(cls)), np.random.default_rng(5)
    visits = endpoint.visits(DAYS)
    term, base = Endpoint(endpoint, jnp.asarray(visits)), scene()
    saved = base.trajectory.times.size
    cut = jax.tree.map(lambda a: a[: DAYS.size] if a.shape[:1] == (saved,) else a, base.trajectory)
    grid = dataclasses.replace(base.grid, edges=jnp.array([0.0, DAYS[-1]]))

    def course(burden):
        return base._replace(trajectory=dataclasses.replace(cut, times=jnp.asarray(DAYS), burden=burden), grid=grid)

    def both(burden):
        value, slope = jax.value_and_grad(lambda b: term.smooth(course(b), LEAST_TEMPERATURE))(burden)
        return term.evaluate(course(burden)), value, slope

    judged, days = eqx.filter_jit(both), []
    for _ in range(COURSES):
        fall, rise, turn = rng.uniform(0.002, 0.015), rng.uniform(0.005, 0.02), rng.uniform(0.0, 500.0)
        logs = -fall * np.minimum(DAYS, turn) + rise * np.maximum(DAYS - turn, 0.0)
        logs += np.cumsum(rng.normal(0.0, 0.05, DAYS.size))
        burden = jnp.asarray(1e8 * np.exp(logs - logs[0]))
        hard, smooth, slope = judged(burden)
        read = endpoint.read(base.system, course(burden).trajectory, DAYS)
        days.append(DAYS[-1] if read.day is None else read.day)
        assert -hard * DAYS[-1] == pytest.approx(days[-1], abs=1e-9)
        assert abs(smooth - hard) * DAYS[-1] <= EVERY
        assert np.all(np.isfinite(slope))
    assert len(set(days)) > 8
    assert np.mean(np.array(days) < DAYS[-1]) > 0.2
