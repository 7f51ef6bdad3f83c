"""One patient, everything built: seconds from the even schedule to the answer, steps, and the gap to the best known."""

import statistics
import time
from collections.abc import Iterator
from typing import Any

from benchmarks import contenders
from benchmarks.judge import GOOD, Judge, best_known, gap, record
from benchmarks.parts import Options
from benchmarks.problems import BENCHMARKS
from benchmarks.rows import Row, nothing

# A contender whose first solve takes longer is not repeated.
_LONG = 5.0
_QUICK = ("slsqp", "casadi", "expert", "fatrop", "ours")


def measure(options: Options) -> Iterator[Row]:
    """All contenders in alternation."""
    benchmark = BENCHMARKS[options.problem]
    built: dict[str, Any] = {}
    # The slow ones once: none of them gains from a second core.
    for name in contenders.NAMES if options.cores == 1 else _QUICK:
        began = time.perf_counter()
        try:
            built[name] = contenders.build(name, benchmark, options.cap)
        except ImportError as error:
            yield nothing(benchmark.name, name, "warm", "s", f"not installed: {error.name}")
            continue
        except NotImplementedError:
            continue
        yield Row(benchmark.name, name, "build", time.perf_counter() - began, "s")
    seconds: dict[str, list[float]] = {name: [] for name in built}
    answers = {}
    for _ in range(options.repeats):
        for name, contender in built.items():
            if seconds[name] and seconds[name][0] > _LONG:
                continue
            began = time.perf_counter()
            answers[name] = contender.solve()
            seconds[name].append(time.perf_counter() - began)
    judge = Judge(benchmark)
    objectives = {name: judge.objective(answer.doses) for name, answer in answers.items()}
    best = min(best_known(benchmark), *objectives.values())
    winner = min(objectives, key=objectives.__getitem__)
    if options.record:
        record(benchmark, objectives[winner], answers[winner].doses, winner)
    yield Row(benchmark.name, "best known", "objective", best, "1")
    for name, answer in answers.items():
        times = seconds[name]
        note = "; ".join(part for part in (f"median of {len(times)}", answer.note) if part)
        yield Row(benchmark.name, name, "warm", statistics.median(times), "s", note)
        yield Row(benchmark.name, name, "gap", gap(objectives[name], best), "1", _words(objectives[name], best))
        if answer.iterations:
            yield Row(benchmark.name, name, "iterations", answer.iterations, "1")
        if answer.evaluations:
            yield Row(benchmark.name, name, "evaluations", answer.evaluations, "1")


def _words(objective: float, best: float) -> str:
    return "" if gap(objective, best) <= GOOD else "worse than the best known by more than 0.1 %"
