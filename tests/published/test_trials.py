"""Scenarios of trials: what the model gives is what docs/trials.md says beside the published figures."""

import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.analysis.comparison import compare
from optimizer.scenario import Scenario

ROOT = Path(__file__).parents[2]
MONTH = 365.25 / 12
TURNED = [
    (r"^growth = .*", 'growth = { law = "logistic", capacity = 2.5e10 }'),
    (r"^cost = .*", "cost = 0.7"),
    (r"effect = \[ +# turned.*?\n\]", "effect = []"),
]


def days_to_progression(path):
    """By regimen, None where there is none."""
    scenario = Scenario.load(path)
    problem = scenario.problem()
    found = compare(problem, scenario.regimens(), None, scenario.endpoint())
    return {row.name: row.outcome.time_to_progression_day for row in found}


def test_continuous_dosing_was_better_in_melanoma():
    found = days_to_progression(ROOT / "scenarios" / "trial_braf_intermittent.toml")
    lead_in = 56.0
    assert (found["continuous"] - lead_in) / MONTH == pytest.approx(9.0, abs=0.5)
    assert (found["3 weeks off, 5 on"] - lead_in) / MONTH == pytest.approx(5.5, abs=0.5)


def test_a_cost_and_competition_turn_the_answer(tmp_path):
    text = (ROOT / "scenarios" / "trial_braf_intermittent.toml").read_text(encoding="utf-8")
    for old, new in TURNED:
        text, count = re.subn(old, new, text, flags=re.M | re.S if "turned" in old else re.M)
        assert count == 1, old
    path = tmp_path / "turned.toml"
    path.write_text(text)
    found = days_to_progression(path)
    assert found["3 weeks off, 5 on"] == pytest.approx(392.0)
    assert found["continuous"] == pytest.approx(336.0)


def test_lead_in_and_cycles_are_those_of_the_trial():
    """Eight weeks on, then three off and five on."""
    scenario = Scenario.load(ROOT / "scenarios" / "trial_braf_intermittent.toml")
    regimen = next(regimen for regimen in scenario.regimens() if regimen.name == "3 weeks off, 5 on")
    trajectory, _ = scenario.problem().simulate(regimen.policy, regimen.grid)
    given = np.asarray(trajectory.doses)[:, 0]
    weeks = np.arange(given.size)
    np.testing.assert_array_equal(given, (weeks < 8) | ((weeks - 8) % 8 >= 3))


def test_the_share_of_time_off_treatment_in_prostate_cancer():
    """The numbers of the file are near the medians of the patients: half of the time off, as in the trial (53 %)."""
    scenario = Scenario.load(ROOT / "scenarios" / "trial_iadt.toml")
    regimen = next(regimen for regimen in scenario.regimens() if regimen.name.startswith("36 weeks"))
    trajectory, _ = scenario.problem().simulate(regimen.policy, regimen.grid)
    given = np.asarray(trajectory.doses)[:, 0]
    assert np.all(given[:9] == 1.0)
    assert np.mean(given == 0.0) == pytest.approx(0.53, abs=0.08)
    # Every later treatment lasts nine visits or more.
    edges = np.flatnonzero(np.diff(np.concatenate([[0], given, [0]])))
    lengths = edges[1::2] - edges[::2]
    assert np.all(lengths[:-1] >= 9)


def test_a_pause_until_the_first_psa_at_monthly_visits():
    """ANZadapt: off below half, on again at the first level, decided at visits alone."""
    scenario = Scenario.load(ROOT / "scenarios" / "trial_anzadapt.toml")
    regimen = next(regimen for regimen in scenario.regimens() if regimen.name == "pause and restart")
    trajectory, _ = scenario.problem().simulate(regimen.policy, regimen.grid)
    given, edges = np.asarray(trajectory.doses)[:, 0], np.asarray(regimen.grid.edges)
    np.testing.assert_allclose(np.diff(edges), 30.0)
    burden = np.asarray(trajectory.burden).reshape(given.size, -1)[:, 0]
    share, on = burden / burden[0], True
    for k, dose in enumerate(given):
        on = share[k] >= 0.5 if on else share[k] > 1.0
        assert dose == float(on)
    assert np.sum(np.diff(given) > 0.0) >= 1


def test_carboplatin_is_dosed_by_its_exposure():
    """AUC 5 is 5 mg/mL min; CA-125 is 263 U/mL at first, and sensitive cells alone halve it in 15.8 days."""
    scenario = Scenario.load(ROOT / "scenarios" / "trial_ovarian_carboplatin.toml")
    system, problem = scenario.system(), scenario.problem()
    pk, six = system.pharmacokinetics[0], scenario.regimens()[0]
    exposure = float(pk.exposure(pk.initial(), 366.7))
    assert exposure * 24.0 * 60.0 / 1000.0 == pytest.approx(5.0, rel=1e-3)
    assert problem.upper.max() == 366.7
    np.testing.assert_array_equal(np.asarray(six.policy.doses)[:, 0], np.where(np.arange(52) < 6, 366.7, 0.0))
    trajectory, _ = problem.simulate(six.policy, six.grid)
    channel, sensitive = scenario.channels()[0], np.asarray(trajectory.cells)[:, 0]
    shown = float(channel.value(channel.expected(system, trajectory, jnp.zeros(1)))[0])
    assert shown == pytest.approx(263.0, rel=0.01)
    falls = np.log(2.0) * 21.0 / np.log(sensitive[0] / np.interp(21.0, trajectory.times, sensitive))
    assert falls == pytest.approx(15.8, abs=0.8)


def test_the_ovarian_rule_progresses_as_the_table_says():
    found = days_to_progression(ROOT / "scenarios" / "trial_ovarian_carboplatin.toml")
    assert found["six cycles at AUC 5"] == pytest.approx(462.0)
    assert found["up to twelve by CA-125"] == pytest.approx(357.0)
