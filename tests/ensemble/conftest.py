"""A cohort that is quick to search: four doses, seven patients, one of them not a number and one who overflows."""

import pytest

from optimizer.ensemble.run import Settings, run_chunks
from optimizer.scenario import Scenario
from tests.small import tables

HEADER = "patient,model.ec50_max [ug/mL],drug[cetuximab].pk.elimination [1/hour],model.net_growth_max [1/hour]\n"
ROWS = [
    "ann,7.34,0.006,0.0147",
    "bob,3.2,0.004,0.0147",
    "cyd,,0.006,0.0147",
    "dan,15.1,0.009,0.012",
    "eve,7.0,0.003,1e6",
    "fay,5.5,0.0075,0.016",
    "gus,22.0,0.005,0.01",
]
SICK = ("cyd", "eve")


def four_doses(**changes):
    """Tables of a scenario with four doses."""
    base = {
        "decision": {"every": "7 day", "horizon": "28 day"},
        "constraint": [{"kind": "cumulative_dose", "drug": "cetuximab", "limit": "4 ug/mL"}],
        "search": {"restarts": 3},
    }
    return tables() | base | changes


def of_table(folder, rows=ROWS, header=HEADER, **changes):
    """A scenario whose patients stand in a file of these rows."""
    (folder / "patients.csv").write_text(header + "\n".join(rows) + "\n")
    return Scenario.from_tables(four_doses(cohort={"table": "patients.csv"}, **changes), "few", folder=folder)


@pytest.fixture(scope="session")
def few(tmp_path_factory):
    """Seven patients of a table."""
    return of_table(tmp_path_factory.mktemp("few"))


@pytest.fixture(scope="session")
def run_few(few, tmp_path_factory):
    """Their schedules, in chunks of three, and the directory."""
    out = tmp_path_factory.mktemp("run") / "three"
    return run_chunks(few, Settings(chunk=3), out, {"jax": "1"}), out
