"""One patient cold: from process start to the answer, each in a process of its own; nothing is judged here."""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from subprocess import DEVNULL, TimeoutExpired, run

from benchmarks.parts import Options
from benchmarks.rows import Row, nothing

_CODE = """
import sys
from benchmarks import contenders
from benchmarks.problems import BENCHMARKS
if sys.argv[1] in ("ours", "slsqp"):
    from optimizer.report.terminal import numerics
    numerics()
contenders.build(sys.argv[1], BENCHMARKS[sys.argv[2]]).solve()
"""
_LONGEST = 180.0


def measure(options: Options) -> Iterator[Row]:
    """Ours with an empty compilation cache and with a filled one; the CasADi programs as they are."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"ADOSE_CACHE": folder}

        def seconds(name: str) -> float:
            began = time.perf_counter()
            command = [sys.executable, "-c", _CODE, name, options.problem]
            run(command, env=environment, check=True, stdout=DEVNULL, timeout=_LONGEST)
            return time.perf_counter() - began

        plan = {
            ("ours", "cold, empty cache"): 1,
            **{(name, "cold"): options.repeats for name in ("ours", "casadi", "expert")},
        }
        spent: dict[tuple[str, str], list[float]] = {key: [] for key in plan}
        for repeat in range(options.repeats):
            for key, most in plan.items():
                # What takes long is not repeated.
                if repeat < most and sum(spent[key]) < options.cap:
                    try:
                        spent[key].append(seconds(key[0]))
                    except TimeoutExpired:
                        plan[key] = 0
    for (name, figure), times in spent.items():
        if times:
            yield Row(options.problem, name, figure, statistics.median(times), "s", f"median of {len(times)}")
        else:
            yield nothing(options.problem, name, figure, "s", f"stopped after {_LONGEST:g} s")
