"""The one judge: our audited adaptive simulation of the doses that a contender returned, put inside their limits."""

import json
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from benchmarks.contenders.ours import problem_of
from benchmarks.problems.base import Benchmark
from optimizer.simulate.adaptive import solve

BEST_KNOWN = Path(__file__).with_name("best_known.json")
# A contender is as good as another when its objective is this near the best known one, relative to its size.
GOOD = 1e-3


class Judge:
    """Judges doses for one patient.

    Args:
        benchmark: what was asked.
        patient: whose numbers; the typical one's when None.
    """

    def __init__(self, benchmark: Benchmark, patient: Sequence[float] | None = None):
        self.setting, self.problem = benchmark.setting, problem_of(benchmark, patient)

    def objective(self, doses: np.ndarray) -> float:
        """At a relative tolerance of 1e-9, every dose edge a boundary; infinite where it fails."""
        task = self.problem.task
        inside = np.nan_to_num(self.setting.inside(doses))
        report = self.problem.report(solve(task.system, jnp.asarray(inside), task.grid))
        return report.total if report.finite else float("inf")


def gap(objective: float, best: float) -> float:
    """How far an objective is above the best known one, relative to that one's size."""
    return (objective - best) / abs(best)


def best_known(benchmark: Benchmark) -> float:
    """The recorded best objective of the typical patient; infinite where none is."""
    return _recorded().get(benchmark.name, {}).get("objective", float("inf"))


def record(benchmark: Benchmark, objective: float, doses: np.ndarray, by: str) -> bool:
    """Keep doses that are better than what is recorded; says whether they were."""
    if not objective < best_known(benchmark) - 1e-9:
        return False
    inside = benchmark.setting.inside(doses)
    known = _recorded() | {benchmark.name: {"objective": objective, "by": by, "doses": inside.round(9).tolist()}}
    lines = [f' "{name}": {json.dumps(known[name])}' for name in sorted(known)]
    BEST_KNOWN.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return True


def _recorded() -> dict[str, dict]:
    return json.loads(BEST_KNOWN.read_text(encoding="utf-8")) if BEST_KNOWN.exists() else {}
