"""How time and memory grow with the patients: one schedule evaluated in all of them, without a search."""

import resource
import statistics
import time
from collections.abc import Iterator

from benchmarks.contenders.ours import ensemble_of
from benchmarks.parts import Options
from benchmarks.problems import BENCHMARKS
from benchmarks.rows import Row
from optimizer.ensemble.evaluate import evaluate

_PROBLEM, _FEW, _MANY, _MOST = "colorectal", 1_000, 10_000, 100_000


def peak() -> float:
    """Largest memory of this process so far [GB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def measure(options: Options) -> Iterator[Row]:
    """Seconds at two sizes in alternation, and the peak memory of the largest above that of the imports."""
    imported = peak()
    benchmark = BENCHMARKS[_PROBLEM]
    schedule = benchmark.setting.start()[None]
    most = min(options.patients or _MOST, _MOST)
    few, many = min(_FEW, most), min(_MANY, most)
    ensembles = {size: ensemble_of(benchmark, size)[0] for size in (few, many)}
    seconds: dict[int, list[float]] = {size: [] for size in ensembles}
    evaluate(ensembles[few], schedule)
    for _ in range(options.repeats):
        for size, ensemble in ensembles.items():
            began = time.perf_counter()
            evaluate(ensemble, schedule)
            seconds[size].append(time.perf_counter() - began)
    for size, times in seconds.items():
        yield Row(_PROBLEM, "ours", f"evaluate {size} patients", statistics.median(times), "s", "evaluation path")
    del ensembles
    began = time.perf_counter()
    evaluate(ensemble_of(benchmark, most)[0], schedule)
    spent = time.perf_counter() - began
    yield Row(_PROBLEM, "ours", f"draw and evaluate {most} patients", spent, "s", "evaluation path")
    yield Row(
        _PROBLEM, "ours", f"peak memory above import, {most} patients", peak() - imported, "GB", "evaluation path"
    )
