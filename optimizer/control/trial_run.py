"""A trial from its patients to its tables, chunk by chunk, to the same bytes after an interruption."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from optimizer.analysis.bounds import ideal_containment
from optimizer.control.assays import trial_assays
from optimizer.control.closed_loop import PatientOutcome
from optimizer.control.comparators import CLAIRVOYANT, REPLAN
from optimizer.control.receding_horizon import PlanDiagnostics
from optimizer.control.trial import Trial, source_of
from optimizer.control.trial_table import decision_columns, patient_columns
from optimizer.ensemble.ensemble import Cores
from optimizer.files.run import Columns, Run, columns_of, digest, joined, table_bytes
from optimizer.files.run_directory import check_writable
from optimizer.search.feasible import make_feasible, satisfies
from optimizer.search.multistart import Progress

FORMAT = "adose-trial-2"
# Excess of a limit that is not taken for one.
_KEPT = 1e-6


class PatientRecord(NamedTuple):
    """All that is recorded of one patient.

    Attributes:
        outcomes: by policy.
        plans: how each plan of `replan` came about, arrays with a leading axis [K]; None without it.
        copied: whether the best policy's schedule is the best that was found.
        bound: the longest possible time to progression, where theory knows it [day]; else NaN.
    """

    outcomes: dict[str, PatientOutcome]
    plans: PlanDiagnostics | None
    copied: bool
    bound: float


@dataclass(frozen=True)
class TrialResult:
    """What a trial found.

    Attributes:
        trial: what was asked.
        table: one row for each patient and policy.
        decisions: one row for each patient, policy and decision.
    """

    trial: Trial
    table: Columns
    decisions: Columns


def manifest(trial: Trial, versions: dict[str, str]) -> dict[str, Any]:
    """What the bytes of a trial depend on."""
    own = vars(trial.settings)
    plain = (
        "seed",
        "alpha",
        "particles",
        "plan_particles",
        "plan_iterations",
        "plan_temperature",
        "plan_change",
        "restarts",
        "chunk",
    )
    return {
        "format": FORMAT,
        "scenario": trial.scenario.resolved()["scenario"],
        "truth": None if trial.truth is trial.scenario else trial.truth.resolved()["scenario"],
        "policies": list(trial.policies),
        "patients": len(trial.ensemble.names),
        "risk": trial.settings.risk.value,
        **{name: own[name] for name in plain},
        "changes": vars(trial.settings.changes),
        "belief_sha256": digest(source_of(trial.scenario)),
        "truth_sha256": digest(source_of(trial.truth)),
        "platform": jax.default_backend(),
        "versions": versions,
    }


def run_trial(
    trial: Trial,
    out: Path,
    versions: dict[str, str] | None = None,
    tell: Callable[[Progress], None] | None = None,
) -> TrialResult:
    """Try all policies in all patients, writing each chunk when it is done; go on where the same stopped earlier.

    Args:
        trial: what is asked.
        out: directory of the run.
        versions: of the packages that the numbers depend on; a run is not continued with others.
        tell: hears how it goes.

    Raises:
        ScenarioError: visits on days that are no decisions.
        DirectoryError: the directory holds something else, or a run of which a field differs.
    """
    tell = tell or (lambda _: None)
    check_writable(out)
    runner = Runner(trial)
    run = Run(out, manifest(trial, versions or {}))
    total, size = len(trial.ensemble.names), trial.settings.chunk
    tables, logs = dict[Path, Columns](), dict[Path, Columns]()
    for first in range(0, total, size):
        names = [f"{kind}/{first:09d}.parquet" for kind in ("decisions", "chunks")]
        rows = range(first, min(first + size, total))

        def make(rows: range = rows) -> list[bytes]:
            found = list(runner.patients(rows, lambda done: tell(Progress("patients", rows.start + done, total, None))))
            made = decision_columns(trial, rows, found), patient_columns(trial, rows, found)
            return [table_bytes(columns) for columns in made]

        log, table = (out / name for name in names)
        kept = run.parts(names, make)
        whose = {"patient": np.repeat(rows, len(trial.rows)), "policy": [*trial.rows] * len(rows)}
        each = len(trial.rows) * trial.ensemble.task.grid.count
        simulated = {"patient": np.repeat([i for i in rows if trial.ensemble.included[i]], each).tolist()}
        logs[log], tables[table] = columns_of(kept[0], log, simulated), columns_of(kept[1], table, whose)
        tell(Progress("patients", rows.stop, total, None))
    return TrialResult(trial, joined(tables), joined(logs))


class Runner:
    """Patients of a trial, one at a time on each core; a patient's numbers do not depend on who the others are."""

    def __init__(self, trial: Trial):
        self.trial, self.programs = trial, trial.programs
        self.assays, self._cores = trial_assays(trial.scenario, trial.channels, trial.settings.seed), Cores()
        # Before anything is traced that uses them.
        assert self.programs.tuned is not None

    def patients(self, rows: range, tell: Callable[[int], None]) -> Iterator[PatientRecord | None]:
        """What is recorded of these patients; None of one who is excluded."""
        included = self.trial.ensemble.included
        found = self._cores.map(self.one, [i for i in rows if included[i]])
        for done, i in enumerate(rows):
            record = next(found) if included[i] else None
            tell(done + 1)
            yield record

    def one(self, i: int) -> PatientRecord:
        """One patient under every policy."""
        trial, programs = self.trial, self.programs
        system = trial.ensemble.system(i)
        own = self.assays, system, np.uint32(i)
        found = numbers(programs.rules(*own))
        plans = None
        if REPLAN in trial.policies:
            found[REPLAN], plans = numbers(programs.replan(*own))
        copied = False
        if trial.settings.restarts:
            found[CLAIRVOYANT], copied = self._best(own, found)
        bound = ideal_containment(system, trial.scenario.progression_factor)
        found = {name: found[name] for name in trial.rows}
        return PatientRecord(found, plans, copied, np.nan if bound is None else bound.value)

    def _best(self, own: Any, found: dict[str, PatientOutcome]) -> tuple[PatientOutcome, bool]:
        """Who knows the truth: the best that a search finds, or the best of the policies that keep the limits."""
        trial, programs, problem = self.trial, self.programs, self.trial.ensemble.problem
        allowed = [one for one in found.values() if keeps(one)]
        known = min(allowed or found.values(), key=lambda one: _rank(one.evaluation.objective))
        tolerance = np.asarray(trial.scenario.tolerance)
        doses = np.asarray(programs.best(own[1], trial.points, trial.middle, known.doses, tolerance))
        if not np.all(np.isfinite(doses)):
            return known, True
        best = numbers(programs.live(*own, make_feasible(problem, doses, trial.middle)))
        is_behind = bool(allowed) and known.evaluation.objective < best.evaluation.objective
        is_worse = is_behind or not keeps(best) or not satisfies(problem, best.doses)
        return (known, True) if is_worse else (best, False)


def numbers(tree: Any) -> Any:
    """Arrays outside of JAX."""
    return jax.tree.map(np.asarray, tree)


def _rank(value: Any) -> float:
    return float(value) if np.isfinite(value) else np.inf


def keeps(one: PatientOutcome) -> bool:
    """Whether a policy kept all limits in a patient who could be simulated."""
    return bool(one.evaluation.ok) and float(one.excess) <= _KEPT
