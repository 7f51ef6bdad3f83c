"""A cohort, each patient's own schedule: ours on all of it, the others looped over the first few and scaled.

A loop takes one patient after the other, on two cores as on one. The others start from the even schedule; ours from
what scores best in the patient, of the typical patient's optima and promising starts, whose search is counted once.
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks import contenders
from benchmarks.contenders.ours import TOLERANCE, ensemble_of
from benchmarks.judge import GOOD, Judge, gap
from benchmarks.parts import Options
from benchmarks.problems import BENCHMARKS
from benchmarks.problems.base import Benchmark
from benchmarks.rows import Row
from optimizer.ensemble.alone import typical_starts
from optimizer.ensemble.ensemble import Ensemble
from optimizer.ensemble.personalise import Solver
from optimizer.search.phase_one import center, off_the_limits

_LOOPED = ("casadi", "expert")
# Ours is timed on fewer patients where all of them would take longer than this [s].
_LONGEST = 4.0
_FIRST = 16
# Descents of the typical patient.
_TYPICAL = 4
# Patients that a contender is looped over however slow it is.
_LEAST = 2


def measure(options: Options) -> Iterator[Row]:
    """Seconds of the whole cohort, and the gaps on the patients that all of them have solved."""
    benchmark = BENCHMARKS[options.problem]
    size = min(options.patients or benchmark.patients, benchmark.patients)
    subset = min(options.subset, size)
    ensemble, values = ensemble_of(benchmark, size)
    setting = benchmark.setting
    _starts(ensemble)  # compiled
    points, once = _starts(ensemble)
    solver = Solver(ensemble, points, TOLERANCE, np.zeros((0, *setting.start().shape)), 1.2, restarts=1)
    looped = {name: contenders.build(name, benchmark) for name in _LOOPED}
    solver.chunk(0, 1)  # compiled
    first, seconds = _timed(solver, min(_FIRST, size))
    count = int(np.clip(min(size, _LONGEST / (seconds / len(first))), len(first), size))
    doses: dict[str, Any] = {"ours": np.asarray(first)[:subset]}
    spent: dict[str, list[float]] = {"ours": []}
    for repeat in range(options.repeats):
        found, seconds = _timed(solver, count)
        spent["ours"].append(once + seconds * size / count)
        doses["ours"] = found[:subset]
        for name, contender in looped.items():
            if repeat and np.sum(spent[name]) * len(doses[name]) / size > options.cap:
                continue
            doses[name], seconds = _loop(contender, values[:subset], options.cap)
            spent.setdefault(name, []).append(seconds * size / len(doses[name]))
    for name, times in spent.items():
        measured = count if name == "ours" else len(doses[name])
        note = f"{size} patients" + (f", scaled from {measured}" if measured < size else "")
        yield Row(benchmark.name, name, "cohort", float(np.median(times)), "s", f"{note}; median of {len(times)}")
    if options.cores > 1:
        yield from _gaps(benchmark, values, doses)


def _loop(contender: Any, values: np.ndarray, cap: float) -> tuple[list[np.ndarray], float]:
    """Doses of the patients one after the other until the time is up, and the seconds that they took."""
    found: list[np.ndarray] = []
    began = time.perf_counter()
    for row in values:
        if len(found) >= _LEAST and time.perf_counter() - began > cap:
            break
        found.append(contender.solve(row).doses)
    return found, time.perf_counter() - began


def _starts(ensemble: Ensemble) -> tuple[np.ndarray, float]:
    """Where patients may begin, and the seconds of the typical patient's search that they are from."""
    began = time.perf_counter()
    optima, known = typical_starts(ensemble.task, _TYPICAL, TOLERANCE, 0, lambda _: None)
    ends = off_the_limits(np.array([state.x for state in optima]), center(ensemble.task))
    return np.concatenate([ends, known]), time.perf_counter() - began


def _timed(solver: Solver, count: int) -> tuple[np.ndarray, float]:
    began = time.perf_counter()
    found = solver.chunk(0, count)
    return found.doses, time.perf_counter() - began


def _gaps(benchmark: Benchmark, values: np.ndarray, doses: dict[str, Any]) -> Iterator[Row]:
    """Each patient's gap to the best of the contenders that have solved him or her, of which there are two at least."""
    count = max(len(found) for name, found in doses.items() if name != "ours")
    doses["ours"] = doses["ours"][:count]
    table = {name: np.full(count, np.inf) for name in doses}
    for i in range(count):
        judge = Judge(benchmark, values[i])
        for name, found in doses.items():
            if i < len(found):
                table[name][i] = judge.objective(found[i])
    best = np.min(list(table.values()), axis=0)
    for name, found in table.items():
        gaps = np.array([gap(found[i], best[i]) for i in range(len(doses[name]))])
        note = f"of {len(gaps)} patients, to the best of {', '.join(table)}"
        yield Row(benchmark.name, name, "share of patients with gap <= 0.1 %", float(np.mean(gaps <= GOOD)), "1", note)
        yield Row(benchmark.name, name, "largest gap", float(np.max(gaps)), "1", note)
