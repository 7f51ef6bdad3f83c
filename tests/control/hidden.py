"""A trial that is quick: twelve decisions, five patients of a table, one of them not a number and one who overflows."""

import tomllib
from functools import cache
from pathlib import Path

from optimizer.control.trial import Settings, prepare
from optimizer.scenario import Scenario

ROOT = Path(__file__).parents[2]
HEADER = "patient,model.clone[sensitive].cells,model.clone[resistant].cells,model.clone[resistant].cost [1]\n"
# As in hidden.csv.
ROWS = ["ann,0.5,0.01,0.2", "bob,0.4,0.02,0.1", "cyd,,0.01,0.2", "dan,0.6,0.01,0.3", "eve,0.5,1e300,0.2"]
SICK = (2, 4)
POLICIES = ("replan", "AT50", "continuous")
CHEAP = {"particles": 16, "plan_particles": 2, "plan_iterations": 2, "restarts": 1, "chunk": 2}


def tables(**changes):
    """The example of a trial with fewer decisions."""
    data = tomllib.loads((ROOT / "scenarios" / "competing_clones_trial.toml").read_text())
    del data["cohort"]
    data["observation"][1]["every"] = "56 day"
    return data | {"decision": {"every": "28 day", "horizon": "336 day"}} | changes


def of_table(folder, rows=ROWS, **changes):
    """A scenario whose hidden patients stand in a file of these rows."""
    (folder / "patients.csv").write_text(HEADER + "\n".join(rows) + "\n")
    return Scenario.from_tables(tables(cohort={"table": "patients.csv"}, **changes), "hidden", folder=folder)


def cheap(scenario, **settings):
    """A trial with little effort."""
    return prepare(scenario, Settings(**(CHEAP | {"policies": POLICIES} | settings)))


@cache
def shared():
    """The one trial of these tests, compiled once."""
    tables_ = tables(cohort={"table": "hidden.csv"})
    return cheap(Scenario.from_tables(tables_, "hidden", folder=Path(__file__).parent))


def files(folder):
    """All files of a run with their bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
