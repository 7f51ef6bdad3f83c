"""Where a patient's descents begin, and when they are begun again."""

import numpy as np
import pytest

from optimizer.ensemble import alone
from optimizer.ensemble.alone import search
from optimizer.ensemble.slots import End
from optimizer.search.phase_one import center
from tests.small import small

MIDDLE, NONE = np.full(6, 0.3), np.zeros(6)


def ended(point):
    """A descent that stays where it is."""
    return End(np.asarray(point), *map(np.asarray, (1e-9, 5, True, 0.0)))


@pytest.fixture
def scored(monkeypatch):
    """An objective that is known: how far a schedule is from one dose late."""
    best = np.array([0.0, 0.0, 0.0, 0.0, 0.9, 0.0])
    monkeypatch.setattr(alone, "evaluate", lambda task, x: (np.abs(x - best).sum(axis=1), np.zeros(len(x))))
    monkeypatch.setattr(alone, "inside", lambda task, screened, x: x)
    return best


def test_a_patient_begins_at_the_best_of_the_known_starts_and_goes_on_where_a_shift_of_the_end_is_better(scored):
    task, begun = small().task, []
    early = np.roll(scored, -2)
    known = np.array([MIDDLE, early, np.full(6, 0.05) + early])

    def descend(point):
        begun.append(np.asarray(point))
        return ended(point)

    found = search(task, known, 1, np.asarray(center(task)), descend)
    assert np.array_equal(begun[0], early)
    assert np.abs(found.shares - scored).sum() <= 1e-12
    assert found.converged == len(begun) == 2


def test_as_many_starts_as_restarts_are_all_begun_from_and_no_others(scored):
    known = np.array([MIDDLE, np.roll(scored, -2)])
    task, begun = small().task, []

    def descend(point):
        begun.append(np.asarray(point))
        return ended(point)

    found = search(task, known, 2, np.asarray(center(task)), descend)
    assert np.array_equal(begun, known)
    assert np.array_equal(found.shares, known[1])
    assert found.converged == 2


def test_the_best_end_keeps_the_limits_on_states(monkeypatch):
    monkeypatch.setattr(alone, "evaluate", lambda task, x: (x.sum(axis=1), np.where(x.sum(axis=1) < 1.0, 0.1, 0.0)))
    found = alone.best_end(small().task, [ended(NONE), ended(MIDDLE)])
    assert np.array_equal(found.shares, MIDDLE)
    assert found.converged == 1
