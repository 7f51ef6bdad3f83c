"""Given schedules in many patients: the same numbers as in a run, whoever the others are."""

import sys

import numpy as np
import pytest

from optimizer.ensemble import Settings, build_ensemble, evaluate, load_patients
from optimizer.ensemble.summary import counted

from .conftest import ROWS, of_table


def test_a_patient_under_a_schedule_is_that_of_a_run(few, run_few):
    cohort, _ = run_few
    found = evaluate(cohort.ensemble, cohort.shared.doses, few.progression_factor)
    used = counted(cohort)
    for s, name in enumerate(("population", "typical")):
        assert found.objective[used, s] == pytest.approx(cohort.table[f"{name}.objective"][used], abs=1e-12)
        assert found.progression[used, s] == pytest.approx(cohort.table[f"{name}.progression_day"][used], abs=1e-9)
    assert np.isnan(found.objective[~used]).all()
    assert not found.ok[~used].any()


def test_the_others_do_not_matter(tmp_path, monkeypatch):
    """Ten times the same five patients, in one call and in two: the same bytes each time."""
    doses = np.array([[[2.0], [0.5], [1.0], [0.0]]])
    well = [row for row in ROWS if row[:3] not in ("cyd", "eve")]
    many = [f"{row[:3]}{i}{row[3:]}" for i in range(10) for row in well]
    scenario = of_table(tmp_path, many)
    heard = []
    ensemble = build_ensemble(scenario, load_patients(scenario, None, 0))
    at_once = evaluate(ensemble, doses).objective[:, 0]
    monkeypatch.setattr(sys.modules[build_ensemble.__module__], "_CHUNK", 32)
    found = evaluate(ensemble, doses, tell=heard.append).objective[:, 0]
    assert heard == [32, 50]
    assert (found == at_once).all()
    assert (found.reshape(10, 5) == found[:5]).all()
    assert len(set(found)) == 5


def test_schedules_off_the_grid_are_refused(few):
    ensemble = build_ensemble(few, load_patients(few, None, 0))
    with pytest.raises(ValueError, match=r"schedules: wanted the shape \[S, 4, 1\]; got \[2, 5, 1\]"):
        evaluate(ensemble, np.zeros((2, 5, 1)))


def test_the_room_is_public():
    import optimizer as opt

    assert opt.ensemble.Settings is Settings
