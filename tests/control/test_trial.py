"""Trials: the same noise for all, rules as their regimens, replay, resumption to the same bytes, refusals, regret."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import CensoredData, logrank

from optimizer.cli.trial import write
from optimizer.control.assays import Changes, plan_visits
from optimizer.control.trial import Settings, prepare
from optimizer.control.trial_run import Runner, run_trial
from optimizer.control.trial_summary import counted, summary
from optimizer.ensemble.ensemble import with_system
from optimizer.ensemble.evaluate import evaluate_doses
from optimizer.ensemble.survival import survival
from optimizer.files.chunks import Workers
from optimizer.files.run_directory import DirectoryError
from optimizer.models.growth import Gompertz
from optimizer.outcome import outcome
from optimizer.policies.schedule import Schedule
from optimizer.scenario import Scenario, ScenarioError
from optimizer.simulate import rollout

from .hidden import POLICIES, ROWS, SICK, cheap, files, of_table, shared, tables

VERSIONS = {"jax": "1"}


@pytest.fixture(scope="module")
def trial():
    return shared()


@pytest.fixture(scope="module")
def result(trial, tmp_path_factory):
    """What it found, and the directory with the report."""
    out = tmp_path_factory.mktemp("trial") / "run"
    found = run_trial(trial, out, VERSIONS)
    write(found, out, plot=True)
    return found, out


def system_of(trial, i):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[i]), trial.ensemble.systems)


def rows_of(table, patient, policy):
    return (np.asarray(table["patient"]) == patient) & (np.array(table["policy"]) == policy)


def rules(trial, i, **changes):
    runner = Runner(trial.with_changes(Changes(**changes)))
    return trial.programs.rules(runner.assays, system_of(trial, i), np.uint32(i))


def test_without_noise_a_rule_is_its_regimen(trial):
    scenario, problem = trial.scenario, trial.scenario.problem()
    grid = problem.task.grid
    named = {regimen.name: problem.limited(regimen.policy) for regimen in scenario.regimens()}
    play = {name: jax.jit(lambda system, p=policy: rollout(system, p, grid)) for name, policy in named.items()}
    for i in (0, 1, 3):
        found = rules(trial, i, noise=0.0)
        for name in ("AT50", "continuous"):
            plain = play[name](system_of(trial, i))
            assert np.array_equal(found[name].doses, plain.doses)
            day = outcome(plain, grid, ("drug",), ("infusion",), scenario.progression_factor).time_to_progression_day
            assert float(found[name].evaluation.progression) == pytest.approx(np.inf if day is None else day)
    assert 0.0 < float(np.mean(found["AT50"].doses)) < 1.0


def test_all_policies_see_the_same_noise(result):
    log = result[0].decisions
    error = np.log(log["measured.burden [cell]"] / log["burden"])
    for patient in (0, 1, 3):
        own = [error[rows_of(log, patient, name)] for name in (*POLICIES, "clairvoyant")]
        assert np.std(own[0]) > 0.02
        for other in own[1:]:
            assert other == pytest.approx(own[0], abs=1e-9)
    assert error[rows_of(log, 0, "AT50")] != pytest.approx(error[rows_of(log, 1, "AT50")], abs=1e-3)


def test_each_channel_has_its_own_visits(result):
    log = result[0].decisions
    seen = log["seen.variant_fraction.resistant"][rows_of(log, 0, "AT50")]
    assert (seen[::2] > 0).all()
    assert (seen[1::2] == 0).all()


def test_a_run_can_be_replayed(result):
    found, _ = result
    trial, log = found.trial, found.decisions
    grid = trial.ensemble.task.grid
    play = jax.jit(lambda system, doses: rollout(system, Schedule(doses), grid))
    for patient in (0, 1, 3):
        for name in trial.rows:
            own = rows_of(log, patient, name)
            again = play(system_of(trial, patient), jnp.asarray(log["dose.drug [1]"][own])[:, None])
            burden = np.interp(log["day"][own], again.times, again.burden)
            assert burden == pytest.approx(log["burden"][own], rel=1e-9)


def test_every_decision_of_replan_says_what_it_thought(result):
    log = result[0].decisions
    own = rows_of(log, 0, "replan")
    planned = log["replan.planned"][own] > 0
    assert planned[0]
    assert (log["replan.ess"][own][planned] >= 1.0).all()
    assert (log["replan.predicted"][own][planned] > 0.0).all()
    assert np.isnan(log["replan.ess"][rows_of(log, 0, "AT50")]).all()


def test_replan_stops_once_the_tumor_has_progressed(result):
    found, _ = result
    log, table = found.decisions, found.table
    for patient in (0, 1, 3):
        own = rows_of(log, patient, "replan")
        day = table["progression_day"][rows_of(table, patient, "replan")][0]
        assert np.array_equal(log["replan.planned"][own] > 0, log["day"][own] < day)


def test_sick_patients_are_named_and_cost_the_others_nothing(trial, result, tmp_path):
    table = result[0].table
    states = {(i, p): s for i, p, s in zip(table["patient"], table["policy"], table["status"], strict=True)}
    assert states[2, "replan"] == "bad_parameters"
    assert states[4, "AT50"] == "simulation_failed"
    assert "cyd" in table["reason"][rows_of(table, 2, "AT50").argmax()]
    assert np.isnan(table["objective"][np.isin(table["patient"], SICK)]).all()
    assert not np.isin(result[0].decisions["patient"], SICK).any()
    assert counted(table).sum() == 3 * len(trial.rows)
    well = of_table(tmp_path, ROWS[:2])
    alone = run_trial(cheap(well, policies=("AT50",), restarts=0), tmp_path / "run", VERSIONS)
    mine = [table["objective"][rows_of(table, i, "AT50")][0] for i in (0, 1)]
    assert alone.table["objective"] == pytest.approx(mine, rel=1e-9)


def test_nobody_does_better_than_who_knows_the_patient(result):
    table = result[0].table
    used = counted(table)
    assert (table["violation"][used] <= 1e-6).all()
    assert (table["regret"][used] >= -1e-12).all()
    assert (table["regret"][rows_of(table, 0, "continuous")] > 1e-3).all()
    known = np.array(table["policy"]) == "clairvoyant"
    assert (table["progression_day"][used] <= table["ideal_bound_day"][used] * (1 + 1e-9)).all() or np.isinf(
        table["progression_day"][used]
    ).any()
    assert (table["regret"][known & used] == 0.0).all()


def test_the_table_is_what_its_doses_come_to(result):
    found, _ = result
    trial, log, table = found.trial, found.decisions, found.table
    doses = jnp.asarray(log["dose.drug [1]"][rows_of(log, 1, "replan")])[:, None]
    task = with_system(trial.ensemble.task, system_of(trial, 1))
    again, row = jax.jit(evaluate_doses)(task, doses, jnp.asarray(1.2)), rows_of(table, 1, "replan").argmax()
    assert float(again.objective) == pytest.approx(table["objective"][row], rel=1e-9)
    assert table["cumulative_dose.drug [day]"][row] == pytest.approx(28.0 * float(jnp.sum(doses)))


def test_a_run_goes_on_to_the_same_bytes(trial, result, tmp_path):
    _, finished = result
    whole = files(finished)
    assert {"manifest.json", "trial.json", "patients.parquet", "kaplan_meier.png", "swimmers.png"} <= whole.keys()

    def stop(event):
        if event.done > 2:
            raise KeyboardInterrupt

    place = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        run_trial(trial, place, VERSIONS, stop)
    assert [path.name for path in (place / "chunks").iterdir()] == ["000000000.parquet"]
    # What a kill leaves: a log whose chunk is missing, and half of a file under another name.
    (place / "chunks" / "000000000.parquet").unlink()
    (place / "chunks" / ".000000002.parquet.x.part").write_bytes(b"half")
    again = run_trial(trial, place, VERSIONS)
    assert not (place / "chunks" / ".000000002.parquet.x.part").exists()
    write(again, place, plot=True)
    assert files(place) == whole


def test_parts_make_the_directory_of_one_process(trial, result, tmp_path):
    finished, place = result[1], tmp_path / "parts"
    for i in (2, 1, 2):
        assert run_trial(trial, place, VERSIONS, workers=Workers(part=(i, 2))) is None
    write(run_trial(trial, place, VERSIONS), place, plot=True)
    assert files(place) == files(finished)


@pytest.mark.parametrize(("change", "field"), [({"seed": 9}, "seed"), ({"plan_iterations": 3}, "plan_iterations")])
def test_other_inputs_do_not_continue_a_run(trial, result, change, field):
    other = dataclasses.replace(trial, settings=dataclasses.replace(trial.settings, **change))
    with pytest.raises(DirectoryError, match=f"wanted {field} = .*, as in the run that is there; got"):
        run_trial(other, result[1], VERSIONS)


def test_another_assay_does_not_continue_a_run(trial, result):
    with pytest.raises(DirectoryError, match=r"changes\.noise"):
        run_trial(trial.with_changes(Changes(noise=0.2)), result[1], VERSIONS)


def test_a_delayed_result_is_seen_later(trial):
    edges = np.asarray(trial.ensemble.task.grid.edges)
    late = plan_visits("x", trial.with_changes(Changes(delay=30.0)).channels, edges)
    assert np.asarray(late.counts)[:4, 0].tolist() == [2, 3, 4, 5]
    now, then = (np.asarray(rules(trial, 0, noise=0.0, delay=delay)["AT50"].doses) for delay in (0.0, 56.0))
    assert now[0] == then[0] == 1.0
    off = [int(np.argmax(doses[:, 0] == 0.0)) for doses in (now, then)]
    assert off[1] == off[0] + 2


def test_missing_results_are_missing_for_all(trial):
    runner = Runner(trial.with_changes(Changes(missing=0.5)))
    found = rules(trial, 0, missing=0.5)
    seen = [np.asarray(found[name].results.seen)[:, 0] for name in ("AT50", "continuous")]
    assert np.array_equal(*seen)
    assert seen[0][0] > 0
    assert 0 < np.sum(seen[0] == 0) < len(seen[0])
    assert np.asarray(runner.assays.visits.taken)[:, 0].all()


def test_the_report_counts_what_the_table_holds(result):
    found, _ = result
    table, body = found.table, summary(found)
    assert (body["patients"], body["counted"]) == (5, 3)
    days = {name: table["progression_day"][counted(table) & (np.array(table["policy"]) == name)] for name in POLICIES}
    for name, own in days.items():
        assert body["policies"][name]["progressed"] == np.isfinite(own).sum()
    pair = next(p for p in body["comparisons"] if p["policies"] == ["AT50", "continuous"])
    one, other = (
        CensoredData(uncensored=own[np.isfinite(own)], right=np.full(np.isinf(own).sum(), 336.0))
        for own in (days["AT50"], days["continuous"])
    )
    assert pair["log_rank"]["p"] == pytest.approx(logrank(one, other).pvalue)


def test_a_median_that_is_not_reached_is_said_in_words():
    few = survival(np.array([50.0, np.inf, np.inf]), 100.0)
    assert few.median is None
    assert few.share[-1] == pytest.approx(2 / 3)
    assert (few.low <= few.share).all()
    assert (few.high >= few.share).all()
    assert survival(np.array([10.0, 20.0, 30.0]), 100.0).median == 20.0


def test_what_cannot_be_tried_is_refused(tmp_path, trial):
    scenario = trial.scenario

    def refused(what, **settings):
        with pytest.raises(ScenarioError, match=what):
            prepare(scenario, Settings(**settings))

    refused('--policies: wanted one of "replan", "AT50"', policies=("AT5",))
    refused("--policies: wanted different names", policies=("AT50", "AT50"))
    refused("--chunk: wanted at least 1; got 0", chunk=0)
    refused("--particles: wanted at least 8", particles=1)
    with pytest.raises(
        ScenarioError, match=r"observation\[0\]: wanted visits of a trial on days of decisions .* day 10"
    ):
        Runner(trial.with_changes(Changes(visit_every=10.0)))
    blind = Scenario.from_tables(tables(observation=[]), "blind")
    with pytest.raises(ScenarioError, match="observation: wanted some"):
        prepare(blind, Settings(policies=("AT50",)))
    noisy = {"name": "noisy", "policy": {"kind": "threshold", "stop_below": 0.5, "restart_above": 1.0, "noise": 0.1}}
    with pytest.raises(ScenarioError, match="wanted no noise and delay of its own"):
        prepare(Scenario.from_tables(tables(regimen=[noisy]), "noisy"), Settings(policies=("noisy",)))


OTHER = """
[model]
kind = "tumor"
growth = {{ law = "gompertz", capacity = 1.0 }}
cell_floor = 1e-9
[[model.clone]]
name = "sensitive"
cells = 0.5
growth_rate = "0.01 / day"
death_rate = "0 / day"
effect = [{{ drug = "drug", law = "linear", strength = "0.05 / day" }}]
[[model.clone]]
name = "{name}"
resistant = true
cells = 0.01
growth_rate = "0.01 / day"
death_rate = "0 / day"
[[drug]]
name = "drug"
route = "infusion"
pk = {{ kind = "direct" }}
dose = {{ min = 0, max = 1 }}
[decision]
every = "{every} day"
horizon = "336 day"
[objective]
burden = 1.0
"""


def other(folder, name="resistant", every=28):
    path = folder / "other.toml"
    path.write_text(OTHER.format(name=name, every=every))
    return path


def test_the_truth_may_be_another_model(trial, tmp_path):
    wrong = cheap(trial.scenario, policies=("AT50", "none"), truth=other(tmp_path), patients=3, restarts=0)
    found = run_trial(wrong, tmp_path / "run", VERSIONS)
    assert isinstance(wrong.ensemble.task.system.model.growth, Gompertz)
    assert [term.kind for term in wrong.ensemble.task.objective.terms] == ["drug_use", "progression"]
    # Alike but for the noise.
    none = rows_of(found.table, 0, "none") | rows_of(found.table, 1, "none")
    assert len(set(found.table["objective"][none])) == 1
    error = np.log(found.decisions["measured.burden [cell]"] / found.decisions["burden"])
    assert error[rows_of(found.decisions, 0, "none")] != pytest.approx(error[rows_of(found.decisions, 1, "none")])


@pytest.mark.parametrize(
    ("changes", "what"),
    [({"every": 14}, "decision: wanted 12 decisions"), ({"name": "tough"}, r'wanted the clone "resistant"')],
)
def test_a_truth_that_does_not_fit_is_refused(trial, tmp_path, changes, what):
    with pytest.raises(ScenarioError, match=what):
        cheap(trial.scenario, policies=("AT50",), truth=other(tmp_path, **changes))
