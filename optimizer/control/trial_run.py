"""A trial from its patients to its tables, chunk by chunk, to the same bytes after an interruption."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optimizer.analysis.bounds import ideal_containment
from optimizer.control.assays import trial_assays
from optimizer.control.closed_loop import PatientOutcome
from optimizer.control.comparators import CLAIRVOYANT, REPLAN
from optimizer.control.conduct import Adherence
from optimizer.control.trial import Asked, Trial, prepare
from optimizer.control.trial_tables import PatientRecord, decision_columns, patient_columns
from optimizer.ensemble.ensemble import Cores
from optimizer.ensemble.patients import source_digest
from optimizer.files.chunks import HERE, AbstractJob, Workers, collected, slices
from optimizer.files.run import Columns, Run, table_bytes
from optimizer.files.run_directory import check_writable
from optimizer.search.feasible import make_feasible, satisfies
from optimizer.search.multistart import Progress
from optimizer.settings import Changes

FORMAT = "adose-trial-2"
# Excess of a limit that is not taken for one.
_KEPT = 1e-6


@dataclass(frozen=True)
class TrialResult:
    """What a trial found."""

    trial: Trial  #: what was asked
    table: Columns  #: one row for each patient and policy
    decisions: Columns  #: one row for each patient, policy and decision


def manifest(trial: Trial, versions: dict[str, str]) -> dict[str, Any]:
    """What the bytes of a trial depend on."""
    apart = ("patients", "policies", "truth", "sweep", "risk", "changes")
    return {
        "format": FORMAT,
        "scenario": trial.scenario.resolved()["scenario"],
        "truth": None if trial.truth is trial.scenario else trial.truth.resolved()["scenario"],
        "policies": list(trial.policies),
        "patients": len(trial.ensemble.names),
        "risk": trial.settings.risk.value,
        **{name: value for name, value in vars(trial.settings).items() if name not in apart},
        "changes": vars(trial.settings.changes),
        "belief_sha256": source_digest(trial.scenario),
        "truth_sha256": source_digest(trial.truth),
        "platform": jax.default_backend(),
        "versions": versions,
    }


class TrialJob(AbstractJob):
    """A trial that is ready to be run, chunk by chunk.

    Raises:
        ScenarioError: visits on days that are no decisions.
    """

    run: Run

    def __init__(
        self,
        trial: Trial,
        out: Path,
        versions: dict[str, str],
        tell: Callable[[Progress], None] = lambda _: None,
        is_shared: bool = False,
    ):
        self.trial, self._tell = trial, tell
        check_writable(out)
        self._runner = Runner(trial)
        self.run = Run(out, manifest(trial, versions), is_shared)
        super().__init__(slices(len(trial.ensemble.names), trial.settings.chunk), ("decisions", "chunks"))

    def make(self, number: int) -> list[bytes]:
        """The decisions and the patients of a chunk."""
        rows = self.rows[number]
        found = list(self._runner.patients(rows, lambda done: self.tell(rows.start + done)))
        columns = decision_columns(self.trial, rows, found), patient_columns(self.trial, rows, found)
        return [table_bytes(each) for each in columns]

    def keys(self, number: int) -> list[dict[str, Any]]:
        """The patients of a chunk, in its decisions and by policy."""
        trial, rows = self.trial, self.rows[number]
        whose = {"patient": np.repeat(rows, len(trial.rows)), "policy": [*trial.rows] * len(rows)}
        each = len(trial.rows) * trial.ensemble.task.grid.count
        simulated = {"patient": np.repeat([i for i in rows if trial.ensemble.included[i]], each).tolist()}
        return [simulated, whose]

    def tell(self, done: int) -> None:
        """Say how many patients are done."""
        self._tell(Progress("patients", done, len(self.trial.ensemble.names), None))


def run_trial(
    trial: Trial,
    out: Path,
    versions: dict[str, str] | None = None,
    tell: Callable[[Progress], None] | None = None,
    workers: Workers = HERE,
) -> TrialResult | None:
    """Try all policies in all patients, writing each chunk when it is done; go on where the same stopped earlier.

    Of a part nothing comes back. Raises as `TrialJob` does.
    """
    given = out, versions or {}
    job = TrialJob(trial, *given, tell or (lambda _: None), workers.is_shared)
    found = collected(job, workers, partial(_opened, trial.asked, trial.settings.changes, *given))
    return None if found is None else TrialResult(trial, found[1], found[0])


def _opened(asked: Asked, changes: Changes, out: Path, versions: dict[str, str]) -> TrialJob:
    """The job on a worker."""
    return TrialJob(prepare(*asked).with_changes(changes), out, versions, is_shared=True)


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
        level = trial.scenario.progression()
        bound = ideal_containment(system, level) if isinstance(level, float) else None
        is_conducted = self.assays.lives is not None
        adherence = numbers(self.assays(jnp.asarray(np.uint32(i))).adherence) if is_conducted else None
        found = {name: seen_until(found[name], adherence) for name in trial.rows}
        return PatientRecord(found, plans, copied, np.nan if bound is None else bound.value, adherence)

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


def seen_until(one: PatientOutcome, adherence: Adherence | None) -> PatientOutcome:
    """An outcome without the progression that is found after a patient has left."""
    if adherence is None:
        return one
    found = one.evaluation
    day = np.where(found.progression > adherence.leaves, np.inf, found.progression)
    return one._replace(evaluation=found._replace(progression=day, after=np.minimum(found.after, adherence.leaves)))


def numbers(tree: Any) -> Any:
    """Arrays outside of JAX."""
    return jax.tree.map(np.asarray, tree)


def _rank(value: Any) -> float:
    return float(value) if np.isfinite(value) else np.inf


def keeps(one: PatientOutcome) -> bool:
    """Whether a policy kept all limits in a patient who could be simulated."""
    return bool(one.evaluation.ok) and float(one.excess) <= _KEPT
