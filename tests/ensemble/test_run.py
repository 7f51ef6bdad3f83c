"""Schedules of a cohort: each patient's own, the one for all, in chunks that do not matter and that resume."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import LinearConstraint, minimize

import optimizer as opt
from optimizer.ensemble.ensemble import build_ensemble, with_system
from optimizer.ensemble.patients import load_patients
from optimizer.ensemble.personalise import Solver, _together
from optimizer.ensemble.program import build_program
from optimizer.ensemble.risk import Risk, risk_of
from optimizer.ensemble.run import Settings, run_chunks
from optimizer.ensemble.summary import counted, summary
from optimizer.files.chunks import Workers
from optimizer.files.run import table_bytes
from optimizer.files.run_directory import DirectoryError
from optimizer.files.toml import toml_text
from optimizer.report.terminal import numerics
from optimizer.scenario import Scenario, ScenarioError
from optimizer.search import multistart
from optimizer.search.phase_one import center

from .conftest import HEADER, ROWS, SICK, four_doses, of_table

ROOT = Path(__file__).parents[2]

VERSIONS = {"jax": "1"}


def test_a_patients_schedule_is_the_best_of_a_search_alone(run_few):
    cohort, _ = run_few
    table = cohort.table
    for i in (0, 3, 6):
        _, ec50, rate, growth = ROWS[i].split(",")
        alone = four_doses()
        alone["model"] |= {"ec50_max": f"{ec50} ug/mL", "net_growth_max": f"{growth} / hour"}
        alone["drug"][0]["pk"]["elimination"] = f"{rate} / hour"
        result = opt.optimize(Scenario.from_tables(alone, "alone").problem(), seed=0)
        assert table["personalised.objective"][i] == pytest.approx(result.report.total, abs=2e-7)
        doses = table["doses.cetuximab [mg/L]"][i]
        assert doses == pytest.approx(np.asarray(result.policy.doses)[:, 0], abs=2e-3)


def test_sick_patients_are_named_and_cost_the_others_nothing(run_few, tmp_path):
    cohort, _ = run_few
    states = dict(zip(cohort.table["name"], cohort.table["status"], strict=True))
    assert states["cyd"] == "bad_parameters"
    assert states["eve"] == "simulation_failed"
    assert {states[name] for name in states if name not in SICK} == {"solved"}
    assert "cyd" in cohort.table["reason"][2]
    assert np.isnan(cohort.table["personalised.objective"][[2, 4]]).all()
    well = [row for row in ROWS if row[:3] not in SICK]
    others = run_chunks(of_table(tmp_path, well), Settings(chunk=3), tmp_path / "run", VERSIONS).table
    keep = [i for i, row in enumerate(ROWS) if row[:3] not in SICK]
    for name in ("personalised.objective", "population.objective", "doses.cetuximab [mg/L]", "residual"):
        assert np.array_equal(others[name], np.asarray(cohort.table[name])[keep]), name


def test_a_patient_is_judged_as_one_patients_search_is(few, run_few):
    """Where hardly any schedule is worse than another a residual is large: what could be gained counts."""
    cohort, _ = run_few
    shared = cohort.shared
    solver = Solver(cohort.ensemble, shared.points, few.tolerance, shared.doses, few.progression_factor)
    solved, doses, evaluated = solver._one(0)
    apart = solved._replace(done=np.asarray(False))
    assert solver._status((apart, doses, evaluated), 0) == "solved"
    far = apart._replace(shares=0.9 * solved.shares)
    assert solver._status((far, doses, evaluated), 0) == "not_converged"


@pytest.mark.slow
@pytest.mark.parametrize(("count", "bad"), [(1_000, 10), (10_000, 100)])
def test_exactly_the_sick_among_many_are_flagged(tmp_path, count, bad):
    """The others' doses are bitwise the same as without them."""
    rng = np.random.default_rng(count)
    numbers = np.array([7.34, 0.006, 0.0147]) * np.exp(rng.normal(0.0, 0.2, (count, 3)))
    rows = [f"p{i},{ec50!r},{rate!r},{growth!r}" for i, (ec50, rate, growth) in enumerate(numbers.tolist())]
    sick = sorted(rng.choice(count, bad, replace=False).tolist())
    for k, i in enumerate(sick):
        rows[i] = (
            f"p{i}," + (",0.006,0.0147", "-1,0.006,0.0147", "7.0,inf,0.0147", "7.0,0.003,1e6", "7.0,0,0.0147")[k % 5]
        )
    once = {"restarts": 1}
    (tmp_path / "well").mkdir()
    all_ = run_chunks(of_table(tmp_path, rows, search=once), Settings(chunk=500), tmp_path / "all", VERSIONS).table
    flagged = [i for i, status in enumerate(all_["status"]) if status in ("bad_parameters", "simulation_failed")]
    assert flagged == sick
    well = [row for i, row in enumerate(rows) if i not in set(sick)]
    scenario = of_table(tmp_path / "well", well, search=once)
    others = run_chunks(scenario, Settings(chunk=500), tmp_path / "others", VERSIONS).table
    keep = np.setdiff1d(np.arange(count), sick)
    for name in ("doses.cetuximab [mg/L]", "personalised.objective", "population.objective"):
        assert others[name].tobytes() == all_[name][keep].tobytes(), name


@pytest.mark.slow
@pytest.mark.parametrize("weeks", [4, 11])
def test_neighbors_in_a_group_do_not_matter(tmp_path, weeks):
    """A patient's schedule and what it comes to have the same bits whoever is searched beside."""
    numbers = np.array([7.34, 0.006, 0.0147]) * np.exp(np.random.default_rng(0).normal(0.0, 0.2, (150, 3)))
    rows = [f"p{i},{ec50!r},{rate!r},{growth!r}" for i, (ec50, rate, growth) in enumerate(numbers.tolist())]
    decision = {"every": "7 day", "horizon": f"{7 * weeks} day"}
    scenario = of_table(tmp_path, rows, search={"restarts": 1}, decision=decision)
    ensemble = build_ensemble(scenario, load_patients(scenario, None, seed=0))
    begun, shared = np.asarray(center(ensemble.task))[None], np.zeros((1, weeks, 1))
    solver = Solver(ensemble, begun, scenario.tolerance, shared, 1.2)
    assert solver.quick is not None
    all_, shifted = solver.chunk(0, 150), solver.chunk(3, 147)
    for one, other in zip(jax.tree.leaves(all_), jax.tree.leaves(shifted), strict=True):
        if isinstance(one, np.ndarray):
            assert one[3:].tobytes() == other.tobytes()
    assert all_.status[3:] == shifted.status
    assert all_.doses[3:].tobytes() == shifted.doses.tobytes()


def test_chunks_do_not_matter(few, run_few, tmp_path):
    other = run_chunks(few, Settings(chunk=5), tmp_path / "five", VERSIONS)
    assert table_bytes(other.table) == table_bytes(run_few[0].table)


def test_a_run_goes_on_to_the_same_bytes(few, run_few, tmp_path):
    _, finished = run_few
    broken = tmp_path / "broken"
    shutil.copytree(finished, broken)
    names = sorted(path.name for path in (finished / "chunks").iterdir())
    assert names == ["000000000.parquet", "000000003.parquet", "000000006.parquet"]
    # What a kill leaves: a chunk that is missing, and half of a file under another name.
    (broken / "chunks" / names[1]).unlink()
    (broken / "chunks" / f".{names[1]}.x.part").write_bytes(b"half")
    run_chunks(few, Settings(chunk=3), broken, VERSIONS)
    for name in names:
        assert (broken / "chunks" / name).read_bytes() == (finished / "chunks" / name).read_bytes()
    assert (broken / "shared.json").read_bytes() == (finished / "shared.json").read_bytes()


def test_parts_make_the_directory_of_one_process(few, run_few, tmp_path):
    out = tmp_path / "parts"
    for i in (3, 1, 3, 2):
        assert run_chunks(few, Settings(chunk=3), out, VERSIONS, workers=Workers(part=(i, 3))) is None
    cohort = run_chunks(few, Settings(chunk=3), out, VERSIONS)
    assert table_bytes(cohort.table) == table_bytes(run_few[0].table)
    for path in run_few[1].rglob("*"):
        assert path.is_dir() or (out / path.relative_to(run_few[1])).read_bytes() == path.read_bytes(), path
    assert len([*out.rglob("*")]) == len([*run_few[1].rglob("*")])
    with pytest.raises(DirectoryError, match="wanted seed = 0, as in the run that is there; got 9"):
        run_chunks(few, Settings(chunk=3, seed=9), out, VERSIONS, workers=Workers(part=(1, 3)))


@pytest.mark.slow
def test_workers_of_a_cluster_make_the_same_bytes(few, run_few, tmp_path):
    distributed = pytest.importorskip("distributed")
    prepare = partial(numerics, "float64")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        workers = Workers(dask=True, cluster=cluster.scheduler_address, prepare=prepare)
        run_chunks(few, Settings(chunk=3), tmp_path / "run", VERSIONS, workers=workers)
    for path in run_few[1].rglob("*"):
        assert path.is_dir() or (tmp_path / "run" / path.relative_to(run_few[1])).read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_a_cluster_of_our_own_makes_the_same_bytes(tmp_path):
    """The command without an address: it starts workers on this machine, and ends them."""
    pytest.importorskip("distributed")
    (tmp_path / "patients.csv").write_text(HEADER + "\n".join(ROWS) + "\n")
    (tmp_path / "few.toml").write_text(toml_text(four_doses(cohort={"table": "patients.csv"})))
    for engine in ("threads", "dask"):
        asked = [
            sys.executable,
            "-m",
            "optimizer",
            "cohort",
            "few.toml",
            "--chunk",
            "3",
            "--no-plot",
            "--engine",
            engine,
        ]
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [*asked, "--out", engine], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    files = {path.relative_to(tmp_path / "threads") for path in (tmp_path / "threads").rglob("*") if path.is_file()}
    assert len([path for path in files if path.parent.name == "chunks"]) == 3
    for path in files:
        one, other = ((tmp_path / engine / path).read_bytes() for engine in ("threads", "dask"))
        assert one == other or path.name == "report.json", path


def test_a_kill_in_the_middle_loses_nothing(few, run_few, tmp_path):
    def stop(event):
        if event.phase == "patients" and event.done > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_chunks(few, Settings(chunk=3), tmp_path / "run", VERSIONS, stop)
    assert [path.name for path in (tmp_path / "run" / "chunks").iterdir()] == ["000000000.parquet"]
    cohort = run_chunks(few, Settings(chunk=3), tmp_path / "run", VERSIONS)
    assert table_bytes(cohort.table) == table_bytes(run_few[0].table)


@pytest.mark.parametrize(
    ("change", "field"),
    [({"seed": 9}, "seed"), ({"chunk": 5}, "chunk"), ({"risk": Risk.WORST}, "risk"), ({"restarts": 1}, "restarts")],
)
def test_other_inputs_do_not_continue_a_run(few, run_few, change, field):
    with pytest.raises(DirectoryError, match=f"wanted {field} = .*, as in the run that is there; got"):
        run_chunks(few, Settings(**({"chunk": 3} | change)), run_few[1], VERSIONS)


def test_another_table_does_not_continue_a_run(run_few, tmp_path):
    other = of_table(tmp_path, [ROWS[0].replace("7.34", "7.35"), *ROWS[1:]])
    with pytest.raises(DirectoryError, match="source_sha256"):
        run_chunks(other, Settings(chunk=3), run_few[1], VERSIONS)


def test_a_directory_of_something_else_is_left_alone(few, tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(DirectoryError, match="got other files"):
        run_chunks(few, Settings(chunk=3), tmp_path, VERSIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_levels_and_nobody_are_refused(tmp_path):
    levels = four_doses()["constraint"] + [{"kind": "dose_levels", "drug": "cetuximab", "quantum": "0.5 ug/mL"}]
    with pytest.raises(ScenarioError, match="wanted no dose levels in a cohort; got some"):
        run_chunks(of_table(tmp_path, constraint=levels), Settings(), tmp_path / "a", VERSIONS)
    with pytest.raises(ScenarioError, match="wanted a patient who can be simulated; got none: patient cyd"):
        run_chunks(of_table(tmp_path, [ROWS[2]]), Settings(), tmp_path / "b", VERSIONS)


@pytest.fixture(scope="module")
def ensemble(few):
    return build_ensemble(few, load_patients(few, None, seed=0))


@pytest.fixture(scope="module")
def of_all(ensemble):
    """Objectives of the healthy patients under one schedule, and their slopes."""
    systems = jax.tree.map(lambda leaf: jnp.asarray(leaf[ensemble.included]), ensemble.systems)
    values = jax.jit(lambda x: jax.vmap(lambda s: with_system(ensemble.task, s).evaluate(x, jnp.ones(()))[0])(systems))
    return values, jax.jit(jax.jacrev(values))


def best_of_scipy(ensemble, of_all, risk, alpha):
    """SLSQP on the patients' objectives; the corners of a risk become limits with slacks."""
    task, (values, slopes) = ensemble.task, of_all
    count, size = int(ensemble.included.sum()), task.lower.size
    matrix, bound = np.asarray(task.matrix), np.asarray(task.bound)
    # Unknowns: shares x, a level t, slacks s_p >= f_p(x) - t.
    weight = {Risk.MEAN: None, Risk.CVAR: 1.0 / (1.0 - alpha) / count, Risk.WORST: 2.0}[risk]
    slack = np.r_[np.zeros(size), 1.0, np.full(count, weight or 0.0)]
    limits = [LinearConstraint(np.hstack([matrix, np.zeros((len(matrix), 1 + count))]), -np.inf, bound)]
    if weight is None:

        def goal(z):
            return float(jnp.mean(values(z[:size])))

        def goal_slope(z):
            return np.r_[np.mean(slopes(z[:size]), 0), np.zeros(1 + count)]
    else:

        def goal(z):
            return float(slack @ z)

        def goal_slope(z):
            return slack

        limits.append(
            {
                "type": "ineq",
                "fun": lambda z: z[size + 1 :] + z[size] - np.asarray(values(z[:size])),
                "jac": lambda z: np.hstack([-np.asarray(slopes(z[:size])), np.ones((count, 1)), np.eye(count)]),
            }
        )
    x = center(task)
    f = np.asarray(values(x))
    start = np.r_[x, np.median(f), np.maximum(f - np.median(f), 0.0)]
    bounds = [*zip(np.asarray(task.lower), np.asarray(task.upper), strict=True), (None, None), *[(0.0, None)] * count]
    found = minimize(
        goal, start, jac=goal_slope, method="SLSQP", bounds=bounds, constraints=limits, options={"ftol": 1e-12}
    )
    return found.x[:size], np.asarray(values(found.x[:size]))


@pytest.mark.parametrize("risk", list(Risk))
def test_the_schedule_for_all_is_the_one_of_scipy(ensemble, of_all, risk):
    alpha = 0.5
    _, theirs = best_of_scipy(ensemble, of_all, risk, alpha)
    start = np.asarray(center(ensemble.task))
    population = build_program(ensemble, risk, alpha, start)
    state = multistart.run(population, jnp.asarray(start[None]), 1e-7, lambda event: None).states[0]
    assert bool(state.done)
    ours = np.asarray(population.values(state.x, jnp.ones(()))[0])[: int(ensemble.included.sum())]
    assert risk_of(risk, ours, alpha) == pytest.approx(risk_of(risk, theirs, alpha), abs=1e-6)
    assert risk_of(risk, ours, alpha) <= risk_of(risk, theirs, alpha) + 1e-8


def test_nobody_does_better_with_a_shared_schedule(run_few):
    cohort, _ = run_few
    used = counted(cohort)
    own = cohort.table["personalised.objective"][used]
    for name in ("population", "typical"):
        assert (cohort.table[f"{name}.objective"][used] >= own - 1e-8).all()
    mean = {name: np.mean(cohort.table[f"{name}.objective"][used]) for name in ("population", "typical")}
    assert mean["population"] <= mean["typical"] + 1e-10


def test_the_report_counts_what_the_table_holds(run_few):
    cohort, _ = run_few
    body = summary(cohort)
    assert body["by_status"] == {"bad_parameters": 1, "simulation_failed": 1, "solved": 5}
    assert body["patients"] == 7
    used = counted(cohort)
    gain = cohort.table["population.objective"][used] - cohort.table["personalised.objective"][used]
    assert body["value_of_personalising"]["population"]["mean"] == pytest.approx(np.mean(gain))
    assert body["schedules"]["personalised"]["worst_violation"] == 0.0
    json.dumps(body, allow_nan=False)


def test_doses_meet_every_limit_exactly(run_few):
    cohort, _ = run_few
    doses = cohort.table["doses.cetuximab [mg/L]"][counted(cohort)]
    assert (doses >= 0.0).all()
    assert (doses <= 3.0).all()
    assert (doses.sum(axis=1) <= 4.0).all()


def test_side_by_side_is_one_by_one(few, run_few, ensemble, monkeypatch):
    """What an accelerator does, on this machine: the same optima from searches that share a few slots."""
    cohort, _ = run_few
    assert 7 * len(cohort.shared.points) > 4
    monkeypatch.setattr("optimizer.ensemble.personalise.SLOTS", 4)
    monkeypatch.setattr("optimizer.ensemble.personalise._together", _together.__wrapped__)
    shared = cohort.shared
    solver = Solver(ensemble, shared.points, few.tolerance, shared.doses, few.progression_factor, together=True)
    found = solver.chunk(0, 7, lambda done: None)
    used = counted(cohort)
    theirs = cohort.table["personalised.objective"]
    assert found.evaluated.objective[used, 0] == pytest.approx(theirs[used], abs=1e-8)
    assert [str(status) for status in found.status] == list(cohort.table["status"])


TWO_DEVICES = """
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)
assert jax.device_count() == 2
from optimizer.ensemble.ensemble import build_ensemble
from optimizer.ensemble.patients import load_patients
from optimizer.ensemble.personalise import Solver
from tests.ensemble.conftest import ROWS, of_table

folder = Path(sys.argv[1])
scenario = of_table(folder, ROWS)
given = np.load(folder / "given.npz")
ensemble = build_ensemble(scenario, load_patients(scenario, None, 0))
factor = scenario.progression_factor
solver = Solver(ensemble, given["points"], scenario.tolerance, given["doses"], factor, together=True)
np.save(folder / "objective.npy", solver.chunk(0, 7).evaluated.objective)
"""


def test_several_devices_share_the_patients(run_few, tmp_path):
    """An odd number of patients over two devices: the same optima."""
    cohort, _ = run_few
    np.savez(tmp_path / "given.npz", points=cohort.shared.points, doses=cohort.shared.doses)
    root = Path(__file__).parents[2]
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    two = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", TWO_DEVICES, str(tmp_path)]
    done = subprocess.run(command, cwd=root, env=two, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    used = counted(cohort)
    found = np.load(tmp_path / "objective.npy")
    assert found[used, 0] == pytest.approx(cohort.table["personalised.objective"][used], abs=1e-8)
    assert found[used, 1] == pytest.approx(cohort.table["population.objective"][used], abs=1e-8)
