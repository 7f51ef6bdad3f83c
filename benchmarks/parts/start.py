"""From process start to a written schedule: the README's main job beside a CasADi + IPOPT script for the same problem.

Each is a process of its own: ours with an empty compilation cache, ours with a filled one, and the script with the
growth factor at its quasi-steady level (its default) and in full. Ours also audits, compares four regimens and draws a
figure, which the script does not.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.parts import Options
from benchmarks.rows import Row

SCENARIO = "scenarios/crc_caf_cetuximab.toml"
_OURS = """
import collections, json, sys, time
began = time.perf_counter()
from optimizer.report.terminal import numerics
numerics()
import jax
from pathlib import Path
from optimizer.analysis.comparison import compare
from optimizer.report.plots import overview
from optimizer.report.document import write_run
from optimizer.scenario import Scenario
from optimizer.search.optimize import optimize
spent = collections.Counter()
def listen(event, seconds, **_):
    for name, part in (("trace", "jaxpr_trace"), ("lower", "jaxpr_to_mlir"), ("compile", "backend_compile")):
        if part in event:
            spent[name] += seconds
jax.monitoring.register_event_duration_secs_listener(listen)
split = {"import": time.perf_counter() - began}
def lap(name, began=[time.perf_counter()]):
    now = time.perf_counter()
    split[name] = now - began[0]
    began[0] = now
scenario = Scenario.load(sys.argv[1]); problem = scenario.problem(); lap("load")
result = optimize(problem, seed=scenario.seed, restarts=scenario.restarts); lap("optimize")
entries = compare(problem, scenario.regimens(), result); lap("compare")
write_run(scenario, result, entries, Path(sys.argv[2])); lap("plot and write")
objective = result.audit.report.total
print(json.dumps({"split": split, "search": result.search.seconds, "jax": spent, "objective": objective}))
"""


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, str]:
    """Wall time of a process [s] and its stdout."""
    began = time.perf_counter()
    done = subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    return time.perf_counter() - began, done.stdout


def measure(options: Options) -> Iterator[Row]:
    """Ours once with an empty cache, the rest in alternation."""
    with tempfile.TemporaryDirectory() as folder:
        base = os.environ | {"ADOSE_CACHE": str(Path(folder) / "cache")}
        ours = [sys.executable, "-c", _OURS, SCENARIO, str(Path(folder) / "run")]
        script = [sys.executable, "-m", "benchmarks.contenders.casadi_shooting", "--out", str(Path(folder) / "s.csv")]
        empty, words = timed(ours, base)
        yield Row("-", "ours", "main job, empty cache", empty, "s", _split(words))
        spent: dict[str, list[float]] = {"ours": [], "quasi-steady": []}
        for _ in range(options.repeats):
            seconds, words = timed(ours, base)
            spent["ours"].append(seconds)
            spent["quasi-steady"].append(timed(script, base)[0])
        full, _ = timed([*script, "--growth-factor", "full"], base)
    yield Row("-", "ours", "main job, filled cache", statistics.median(spent["ours"]), "s", _split(words))
    note = "quasi-steady growth factor; neither audited nor drawn"
    yield Row("-", "casadi", "main job", statistics.median(spent["quasi-steady"]), "s", note)
    yield Row("-", "casadi", "main job, full growth factor", full, "s", "measured once")


def _split(words: str) -> str:
    """Where the time went, from what the process printed."""
    return ", ".join(f"{part} {seconds:.2f} s" for part, seconds in json.loads(words)["split"].items())
