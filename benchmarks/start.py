"""From process start to a written schedule: the README's main job beside a CasADi + IPOPT script for the same problem.

    python -m benchmarks.start

Each line is a process of its own: ours with an empty compilation cache, ours with a filled one, and the script with the
growth factor at its quasi-steady level (its default) and in full. Ours also audits, compares four regimens and draws a
figure, which the script does not.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCENARIO = "scenarios/crc_caf_cetuximab.toml"
_OURS = """
import collections, json, sys, time
began = time.perf_counter()
from optimizer.console import numerics
numerics()
import jax
from pathlib import Path
from optimizer.comparison import compare
from optimizer.plots import overview
from optimizer.report import write_run
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


def main() -> None:
    """Run all and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        base = os.environ | {"ADOSE_CACHE": str(Path(folder) / "cache")}
        ours = [sys.executable, "-c", _OURS, SCENARIO, str(Path(folder) / "run")]
        script = [sys.executable, "-m", "benchmarks.contenders.casadi_shooting", "--out", str(Path(folder) / "s.csv")]
        runs = [("ours, empty cache", *timed(ours, base))]
        runs += [("ours, filled cache", *timed(ours, base)) for _ in range(3)]
        runs += [("CasADi, quasi-steady growth factor", *timed(script, base)) for _ in range(3)]
        runs += [("CasADi, full growth factor", *timed([*script, "--growth-factor", "full"], base))]
    for name, seconds, text in runs:
        print(f"{name:40s} {seconds:7.2f} s")
        if name.startswith("ours"):
            for part, values in json.loads(text).items():
                print(f"    {part}: {values}")
    warm = min(seconds for name, seconds, _ in runs if name == "ours, filled cache")
    for name in ("CasADi, quasi-steady growth factor", "CasADi, full growth factor"):
        other = min(seconds for label, seconds, _ in runs if label == name)
        print(f"ratio to {name}: empty cache {runs[0][1] / other:.1f}, filled cache {warm / other:.1f}")


if __name__ == "__main__":
    main()
