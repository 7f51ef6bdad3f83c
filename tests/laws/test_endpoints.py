"""Every endpoint of the registry on values that wander."""

import numpy as np
import pytest

from optimizer.endpoints.base import AbstractEndpoint
from optimizer.registry import discover

ENDPOINTS = list(discover("optimizer.endpoints", AbstractEndpoint).values())


@pytest.mark.parametrize("cls", ENDPOINTS, ids=lambda cls: cls.kind)
def test_dates_are_visits_that_later_ones_do_not_move(cls):
    endpoint, rng, seen = cls(), np.random.default_rng(0), 0
    days = 28.0 * np.arange(20)
    for _ in range(200):
        values = 50.0 * np.exp(np.cumsum(rng.normal(0.15, 0.3, days.size)))
        values[rng.uniform(size=days.size) < 0.1] = np.nan
        found = endpoint.assess(days, values)
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
