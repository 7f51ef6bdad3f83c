"""A large trial resumes after a kill to the same bytes; its time beside that of a loop over patients and visits."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.control.assays import Assays, belief_keys
from optimizer.control.receding_horizon import Measurement, RecedingHorizonController
from optimizer.control.trial import Settings, prepare
from optimizer.control.trial_run import Runner
from optimizer.observations import MISSING
from optimizer.scenario import Scenario

from .hidden import ROOT, files

PATIENTS, LOOPED = 500, 4
EFFORT = {"particles": 64, "plan_particles": 8, "plan_iterations": 4}
POLICIES = ("replan", "AT50", "continuous")


def scenario_of(folder):
    """The example of a trial with forty visits."""
    text = (ROOT / "scenarios" / "competing_clones_trial.toml").read_text()
    path = folder / "forty.toml"
    path.write_text(text.replace('horizon = "700 day"', 'horizon = "560 day"'))
    return path


def start(path, out, patients):
    """The command, begun."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in EFFORT.items()]
    asked = ["--policies", ",".join(POLICIES), "--patients", str(patients), "--restarts", "0", "--out", str(out)]
    asked += ["--chunk", str(max(1, patients // 32))]
    command = [sys.executable, "-m", "optimizer", "trial", str(path), *asked, *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def killed_after(process, chunks, out):
    """Kill it once so many chunks are there."""
    while len(list((out / "chunks").glob("*.parquet"))) < chunks:
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def looped(trial, runner, i):
    """Patient by patient and visit by visit in Python, with the same pieces compiled."""
    system, grid = trial.ensemble.system(i), trial.ensemble.task.grid
    assays, edges = runner.assays(np.uint32(i)), grid.edges
    first, steps = belief_keys(runner.assays.seed, np.uint32(i))
    state = runner.controller.init(runner.controller.inference.begun(first), 0)._replace(key=steps)
    for k in range(grid.count):
        found, trajectory = runner.sample(assays, system, state.plan, grid)
        burden = trajectory.burden
        if bool(jnp.any((burden > trial.programs.factor * burden[0]) & (trajectory.times <= edges[k]))):
            break
        seen = jnp.where(assays.visits.counts == k, found.seen, MISSING)
        state, _ = runner.controller.step(state, Measurement(jnp.asarray(k), state.plan, edges[:-1], found.shown, seen))
    return np.asarray(state.plan)


def times(path):
    """Seconds of a patient under `replan`, in the trial on all cores and in a loop, once all is compiled."""
    trial = prepare(Scenario.load(path), Settings(policies=POLICIES, patients=2 * LOOPED, restarts=0, **EFFORT))
    runner = Runner(trial)
    runner.controller = RecedingHorizonController(
        trial.programs.inference.measured_by(runner.assays.channels), trial.programs.effort, trial.programs.rows
    )
    runner.sample = jax.jit(Assays.under)
    list(runner.patients(range(1), lambda done: None))
    looped(trial, runner, 0)
    began = time.perf_counter()
    rows = range(LOOPED, 2 * LOOPED)
    seen = list(runner.patients(rows, lambda done: None))
    ours = (time.perf_counter() - began) / LOOPED
    began = time.perf_counter()
    plain = [looped(trial, runner, i) for i in rows]
    theirs = (time.perf_counter() - began) / LOOPED
    for one, doses in zip(seen, plain, strict=True):
        assert one.outcomes["replan"].doses == pytest.approx(doses, abs=1e-3)
    return ours, theirs


@pytest.mark.slow
@pytest.mark.parametrize("patients", [PATIENTS])
def test_a_large_trial_resumes_after_a_kill_to_the_same_bytes(tmp_path, patients):
    path = scenario_of(tmp_path)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    began = time.perf_counter()
    assert start(path, whole, patients).wait() == 0
    took = time.perf_counter() - began
    count = len(list((whole / "chunks").iterdir()))
    for chunks in (max(1, count // 3), max(1, 2 * count // 3)):
        killed_after(start(path, broken, patients), chunks, broken)
    assert start(path, broken, patients).wait() == 0
    left = partial(filter, lambda item: not item[0].endswith(".part"))
    assert dict(left(files(broken).items())) == dict(left(files(whole).items()))
    ours, theirs = times(path)
    print(f"{patients} patients x {len(POLICIES)} policies x 40 visits: {took:.0f} s; a loop over patients takes")
    print(f"{theirs / ours:.2f} times as long: {theirs:.2f} against {ours:.2f} s a patient, compiled")
    assert theirs > ours
