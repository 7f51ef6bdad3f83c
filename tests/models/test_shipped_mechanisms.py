"""The scenarios of the mechanisms: search and audit agree on them; drug files say their sources."""

import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.policies.schedule import Schedule
from optimizer.scenario import Scenario
from optimizer.simulate import adaptive

from .helpers import ROOT

NAMES = (
    "nsclc_osimertinib_t790m",
    "her2_lapatinib_pi3k",
    "prostate_abiraterone",
    "persister_holiday",
    "pgp_efflux_inhibitor",
    "stroma_plus_resistant_clone",
    "docetaxel_neutropenia",
    "immune_checkpoint",
)
DRUGS = sorted((ROOT / "drugs").glob("*.toml"))


def assert_agreement(name):
    """A random schedule and every listed regimen, at the end of every interval."""
    scenario = Scenario.load(ROOT / f"{name}.toml")
    problem, system = scenario.problem(), scenario.system()
    shares = np.random.default_rng(0).uniform(0.0, 1.0, problem.upper.shape)
    runs = [(Schedule(jnp.asarray(shares * problem.upper)), scenario.grid())]
    runs += [(r.policy, r.grid) for r in scenario.regimens() if r.policy.kind == "schedule"]
    for policy, grid in runs:
        own, report = problem.simulate(policy, grid)
        audit = adaptive.solve(system, own.doses, grid)
        assert report.finite
        assert bool(audit.ok)
        ends = [np.asarray(t.cells).reshape(grid.count, -1, own.cells.shape[-1])[:, -1] for t in (own, audit)]
        assert np.allclose(ends[0], ends[1], rtol=1e-5, atol=1e-5 * scenario.plan.model.whole["cell_floor"])
        assert report.total == pytest.approx(problem.report(audit, grid).total, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_search_and_audit_agree(name):
    assert_agreement(name)


def test_search_and_audit_agree_on_one():
    assert_agreement("immune_checkpoint")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_source_is_illustrative(name):
    # Every number of a model stands beside its source or the word; the numbers that structure a file need none.
    text = (ROOT / f"{name}.toml").read_text()
    assert "illustrative" in text or name == "prostate_abiraterone"
    assert "doi = [" in text
    assert Scenario.load(ROOT / f"{name}.toml").grid().count <= 60


def test_there_are_drug_files():
    names = {path.stem for path in DRUGS}
    assert {"cetuximab", "osimertinib", "lapatinib", "abiraterone", "docetaxel"} <= names


@pytest.mark.parametrize("path", DRUGS, ids=lambda path: path.stem)
def test_drug_files_name_their_sources(path):
    text = path.read_text()
    head = text.split("name =")[0]
    assert "Sources." in head
    assert "prescribing information" in head


def test_resistant_lapatinib_lines():
    # The factor in the scenario is the quotient of the two IC50s that were measured, its EC50 the first of them.
    table = np.genfromtxt(ROOT.parent / "data" / "lapatinib_ic50.csv", delimiter=",", skip_header=1, usecols=2)
    sensitive, resistant = table[:2]
    model = Scenario.load(ROOT / "her2_lapatinib_pi3k.toml").system().model
    curves = [row[0] for row in model.effects]
    assert float(curves[0].ec50) == pytest.approx(sensitive * 0.58106, rel=2e-3)
    assert float(curves[1].ec50) / float(curves[0].ec50) == pytest.approx(resistant / sensitive, rel=1e-3)
    assert curves[2] is None
