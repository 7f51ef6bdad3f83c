"""Conduct of a trial: missed and late doses, moved visits, toxicity, and patients who leave."""

import tomllib
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.control.assays import trial_assays
from optimizer.control.conduct import Lives
from optimizer.control.receding_horizon import as_taken
from optimizer.control.trial import Settings, prepare
from optimizer.control.trial_run import run_trial
from optimizer.control.trial_summary import followed, held, of_policy, summary
from optimizer.ensemble.survival import compared, survival
from optimizer.scenario import Scenario, ScenarioError
from tests.control.conftest import SMALL


class SimpleState(NamedTuple):
    """A plan [K, N]."""

    plan: Any


PLAIN = {"missed_dose": 0.0, "late_dose": 0.0, "visit_jitter": 0.0, "dropout": 0.0, "toxicity": 0.0, "reduction": 0.25}
DAYS = 7.0 * np.arange(41)


def small(conduct="", **replaced):
    text = SMALL.read_text().replace("final_burden = 1.0", "progression = 1.0")
    for old, new in replaced.values():
        assert old in text
        text = text.replace(old, new)
    return Scenario.from_tables(tomllib.loads(text + (f"\n[conduct]\n{conduct}\n" if conduct else "")), "small")


def lives(routes=("infusion",), **numbers):
    asked = {name: jnp.asarray(value) for name, value in (PLAIN | numbers).items()}
    return Lives(asked, jnp.ones(len(routes)), jnp.asarray(DAYS), routes)


def taken(adherence, asked=1.0):
    """Doses that are taken of a constant one [K]."""
    last, most, out = jnp.zeros(adherence.scale.shape), jnp.ones(()), []
    for k in range(40):
        last, most = adherence.given(jnp.asarray(k), jnp.full(adherence.scale.shape, asked), last, most)
        out.append(np.asarray(last))
    return np.array(out)


def test_doses_are_missed_by_their_probability_and_never_otherwise():
    many = [lives(missed_dose=0.2)(jax.random.key(i)) for i in range(50)]
    share = np.mean([taken(one)[:, 0] == 0.0 for one in many[:5]])
    assert share == pytest.approx(np.mean([np.asarray(one.missed) for one in many[:5]]))
    assert np.mean([np.asarray(one.missed) for one in many]) == pytest.approx(0.2, abs=0.03)
    assert (taken(lives()(jax.random.key(0))) == 1.0).all()


@pytest.mark.parametrize(("route", "wanted"), [("infusion", 0.6), ("bolus", 0.0)])
def test_a_late_dose_leaves_the_one_before_until_the_next_decision(route, wanted):
    one = lives((route,))(jax.random.key(0))._replace(late=jnp.arange(40) == 1)
    dose, _ = one.given(jnp.asarray(1), jnp.ones(1), jnp.full(1, 0.6), jnp.ones(()))
    assert float(dose[0]) == pytest.approx(wanted)
    dose, _ = one.given(jnp.asarray(2), jnp.ones(1), dose, jnp.ones(()))
    assert float(dose[0]) == 1.0


def test_toxicity_holds_back_a_dose_and_lowers_those_after_it():
    rate = 0.02
    one = lives(toxicity=rate, reduction=0.25)(jax.random.key(3))
    doses = taken(one)[:, 0]
    toxic = [bool(one.is_toxic(k, jnp.asarray(doses[k - 1 : k]))) for k in range(1, 40)]
    steps = np.cumsum(toxic)
    assert 1 < steps[-1] < 20
    np.testing.assert_allclose(doses[1:], np.where(toxic, 0.0, 0.75**steps))
    found = one.counted(doses[:, None], 100.0, DAYS[:-1])
    assert found == [0, 0, int(np.sum(np.array(toxic)[DAYS[1:-1] < 100.0]))]
    # Without drug there is none; at full dose as many as the rate says.
    assert not any(bool(one.is_toxic(k, jnp.zeros(1))) for k in range(40))
    full = [float(np.mean(np.asarray(lives(toxicity=rate)(jax.random.key(i)).lots[1:]))) for i in range(3)]
    assert np.mean(full) == pytest.approx(0.5, abs=0.1)
    often = np.mean([lives(toxicity=rate)(jax.random.key(i)).is_toxic(jnp.asarray(5), jnp.ones(1)) for i in range(400)])
    assert often == pytest.approx(-np.expm1(-rate * 7.0), abs=0.05)


def test_visits_are_moved_to_decisions_nearby_but_the_first():
    scenario = small("visit_jitter = '7 day'", every=("noise = 0.3", "noise = 0.3\nevery = '14 day'"))
    assays = trial_assays(scenario, scenario.channels(), 0)
    found = np.stack([np.asarray(assays(jnp.asarray(i)).visits.taken)[:, 0] for i in range(40)])
    assert found[:, 0].all()
    assert len({tuple(row) for row in found}) > 3
    # Visits on days 14 and 28 may come a week before or after: none is lost unless two fall together.
    assert found.sum(axis=1).max() == 3
    assert found[:, 5].any()
    plain = trial_assays(small("dropout = '0 / day'"), scenario.channels(), 0)
    again = np.asarray(plain(jnp.asarray(7)).visits.taken)[:, 0]
    assert again.tolist() == [True, False, True, False, True, False]


def test_a_jitter_within_a_decision_is_refused():
    scenario = small("visit_jitter = '3 day'")
    with pytest.raises(ScenarioError, match=r"conduct\.visit_jitter: wanted 0 or at least 3\.5 day"):
        trial_assays(scenario, scenario.channels(), 0)


@pytest.mark.parametrize(
    ("conduct", "message"),
    [
        ("missed_dose = 1.5", "conduct.missed_dose: wanted at most 1; got 1.5"),
        ("dropout = '-1 / day'", "conduct.dropout: wanted at least 0"),
        ("late = 1", 'conduct: wanted a known key; got "late"'),
    ],
)
def test_wrong_numbers_get_one_clear_message(conduct, message):
    with pytest.raises(ScenarioError) as caught:
        small(conduct)
    assert message in str(caught.value)


def test_it_resolves_to_itself():
    resolved = small("missed_dose = 0.1\ndropout = '0.01 / day'").resolved()["scenario"]
    assert resolved["conduct"]["dropout"] == "0.01 / day"
    assert Scenario.from_tables(resolved, "again").resolved()["scenario"] == resolved
    assert "conduct" not in small().resolved()["scenario"]


def test_who_leaves_is_censored_on_that_day():
    """Kaplan-Meier by hand: of four at risk one progresses, one leaves, of two one progresses."""
    days, until = np.array([10.0, np.inf, 30.0, np.inf]), np.array([100.0, 20.0, 100.0, 100.0])
    found = survival(days, until)
    assert found.days.tolist() == [0.0, 10.0, 30.0]
    assert found.share == pytest.approx([1.0, 0.75, 0.375])
    whole = compared(days, np.array([15.0, np.inf, 25.0, 40.0]), until)
    # At day 25 the one who left is at risk under neither policy.
    assert whole["hazard_ratio"]["ratio"] == pytest.approx(HAZARD, rel=1e-6)


# The root of sum over days (own - events share) = 0 with 4 4, 3 4, 2 2, 2 1, 1 1 at risk, found by bisection.
def _score(ratio):
    at_risk = [(4, 4), (3, 4), (2, 2), (2, 1), (1, 1)]
    return sum(own - a * ratio / (a * ratio + b) for own, (a, b) in zip([1, 0, 0, 1, 0], at_risk, strict=True))


LOW, HIGH = 0.01, 100.0
for _ in range(200):
    MIDDLE = np.sqrt(LOW * HIGH)
    LOW, HIGH = (MIDDLE, HIGH) if _score(MIDDLE) > 0.0 else (LOW, MIDDLE)
HAZARD = LOW


# --- a whole trial ---

SETTINGS = Settings(
    policies=("replan", "AT50", "continuous"),
    patients=6,
    particles=8,
    plan_particles=1,
    plan_iterations=2,
    restarts=1,
    seed=1,
)
LIVED = "missed_dose = 0.3\nlate_dose = 0.2\ndropout = '0.02 / day'\ntoxicity = '0.02 / day'"


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    trial = prepare(small(LIVED), SETTINGS)
    return run_trial(trial, tmp_path_factory.mktemp("lived") / "run", {})


def test_every_policy_meets_the_same_patients(lived):
    days = [of_policy(lived, name, "dropout_day").tolist() for name in lived.trial.rows]
    assert all(own == days[0] for own in days)
    assert len(set(days[0])) == 6
    log = lived.decisions
    for name in ("replan", "AT50", "continuous"):
        own = [np.array(log["policy"]) == name]
        doses = log["dose.drug [1]"][own[0]].reshape(6, 6)
        missed = np.stack([np.asarray(_adherence(lived, i).missed) for i in range(6)])
        assert (doses[missed] == 0.0).all()
    assert missed.any()


def _adherence(found, i):
    trial = found.trial
    return trial_assays(trial.scenario, trial.channels, trial.settings.seed)(jnp.asarray(np.uint32(i))).adherence


def test_the_report_counts_what_was_not_kept(lived):
    body = summary(lived)
    assert body["conduct"]["missed_dose"] == 0.3
    for name in ("replan", "AT50", "continuous"):
        found = body["policies"][name]["conduct"]
        left = np.isinf(of_policy(lived, name, "progression_day")) & (followed(lived, name) < 42.0)
        assert found["dropped_out"] == left.sum()
        assert found["missed_doses"] == pytest.approx(np.mean(of_policy(lived, name, "missed_doses")))
        assert (held(lived, name) <= of_policy(lived, name, "dropout_day")).all()
    assert body["policies"]["clairvoyant"]["conduct"]["missed_doses"] is None
    assert sum(found["conduct"]["dropped_out"] for found in body["policies"].values()) > 0


def test_a_plan_keeps_what_was_taken_after_progression_too():
    """The loop's own step: what a plan asks for is replaced by what the patient takes, whatever was decided."""
    one = lives()(jax.random.key(0))._replace(missed=jnp.arange(40) == 2, late=jnp.arange(40) == 4)
    step = as_taken(lambda own, k: (own, k), SimpleNamespace(adherence=one))
    carry = ((SimpleState(plan=jnp.arange(40.0)[:, None] / 40.0),), jnp.ones(()))
    for k in range(6):
        carry, _ = step(carry, jnp.asarray(k))
    wanted = np.arange(40.0) / 40.0
    wanted[[2, 4]] = 0.0, 3.0 / 40.0
    np.testing.assert_allclose(carry[0][0].plan[:, 0], wanted)
