"""Held concentrations at which clones shrink: published windows, equations by hand, closed forms, a user's mistakes."""

import json
import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq
from typer.testing import CliRunner

from optimizer.analysis.held import shrinks_below
from optimizer.analysis.intervals import responses
from optimizer.analysis.window import windows
from optimizer.cli import app
from optimizer.report.plots import window_figure
from optimizer.scenario import Scenario
from tests.oracle import stromal_scipy as oracle
from tests.oracle.stromal_scipy import CAF, GENERAL

ROOT = Path(__file__).parents[2]

DRUG = {
    "name": "cetuximab",
    "role": "inhibitor",
    "route": "bolus",
    "pk": {"kind": "first_order", "elimination": "0.144 / day"},
    "dose": {"min": "0 ug/mL", "max": "3 ug/mL"},
}
BLOCKER = {**DRUG, "name": "anti-EGF", "role": "ligand_blocker"}

OWN = '''
from typing import ClassVar
import jax.numpy as jnp
from optimizer.axes import Scalar
from optimizer.fields import parameter
from optimizer.models.base import AbstractModel


class Mine(AbstractModel):
    """A number that the drug lowers."""

    kind: ClassVar[str] = "mine"
    rate: Scalar = parameter(unit="1/day", doc="net growth rate")

    def initial_state(self):
        return jnp.ones(())

    def vector_field(self, t, y, conc):
        return (self.rate - conc[0]) * y

    def burden(self, y):
        return y

    def resistant(self, y):
        return 0.0 * y

    def fastest_rate(self):
        return jnp.abs(self.rate)
'''
SAYS = """
    def held_growth(self, conc):
        return jnp.stack([self.rate - conc[0], self.rate])
"""


def scenario(preset: str, *others: dict, **model: object) -> Scenario:
    tables = {
        "model": {"kind": "stromal", "preset": preset, **model},
        "drug": [DRUG, *others],
        "decision": {"every": "7 day", "horizon": "35 day"},
        "objective": {"burden": 1.0},
    }
    return Scenario.from_tables(tables, preset)


def adose(*arguments: str):
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def general():
    return windows(scenario("kraut2025_general"))


@pytest.fixture(scope="module")
def caf():
    return windows(scenario("kraut2025_caf", BLOCKER), vary=["anti-EGF=0,0.45 ug/mL"])


def by_hand(parameters, *others):
    """Net growth at a held concentration, the growth factor at its steady state, from the equations as printed."""

    def growth(conc):
        level = [conc, *others]
        return oracle.net_growth(parameters, level, oracle.steady_growth_factor(parameters, level))[0]

    return growth


def test_the_window_of_the_general_set(general):
    (response,) = general.clones
    assert [interval.word for interval in response.intervals] == ["grows", "shrinks", "grows", "shrinks"]
    assert [f"{c:.8f}" for c in response.crossings[:1]] == ["0.00292019"]
    assert [f"{c:.7f}" for c in response.crossings[1:2]] == ["0.7501596"]
    assert [f"{c:.6f}" for c in response.crossings[2:]] == ["14.160805"]
    assert response.intervals[-1].end == math.inf
    brackets = [(1e-3, 1e-1), (0.1, 5.0), (5.0, 50.0)]
    wanted = [brentq(by_hand(GENERAL), *bracket, xtol=1e-300, rtol=1e-14) for bracket in brackets]
    assert response.crossings == pytest.approx(wanted, rel=1e-10)


def test_more_drug_is_worse_in_the_general_set_only(general, caf):
    rise = general.clones[0].rise
    assert rise is not None
    growth = by_hand(GENERAL)
    assert rise.by == pytest.approx(growth(rise.end) - growth(rise.start), rel=1e-9)
    assert growth(rise.end) > max(growth(0.9 * rise.end), growth(1.1 * rise.end))
    assert growth(rise.start) < min(growth(0.9 * rise.start), growth(1.1 * rise.start))
    assert any("more cetuximab is worse between" in said for said in general.warnings())
    assert caf.clones[0].rise is None
    assert caf.warnings() == []


def test_the_threshold_of_the_caf_set_moves_with_the_blocker(caf):
    assert [interval.word for interval in caf.clones[0].intervals] == ["grows", "shrinks"]
    assert f"{caf.clones[0].crossings[0]:.7f}" == "0.8615974"
    both = {**CAF, "drugs": [*CAF["drugs"], oracle.BLOCKER]}
    (varied,) = caf.varied
    assert (varied.key, varied.values, varied.unit) == ("anti-EGF", (0.0, 0.45), "mg/L")
    for blocker, clones in zip(varied.values, varied.clones, strict=True):
        wanted = brentq(by_hand(both, blocker), 0.1, 5.0, xtol=1e-300, rtol=1e-14)
        assert clones[0].crossings == pytest.approx([wanted], rel=1e-10)


@pytest.mark.parametrize(("found", "parameters", "most"), [("caf", CAF, 27.1), ("general", GENERAL, 350.0)])
def test_critical_concentrations_are_the_closed_form(found, parameters, most, request):
    critical = request.getfixturevalue(found).critical
    assert [c.growth_factor for c in critical] == pytest.approx([0.0, most], rel=1e-15)
    wanted = [oracle.critical_concentration(parameters["clones"][0], g) for g in (0.0, most)]
    assert [c.conc for c in critical] == pytest.approx(wanted, rel=1e-10)


def test_windows_move_with_numbers_of_the_stroma():
    keys = ["model.stromal_cells=500,1200", "model.secretion_midpoint=1.4 ug/mL", "model.shift_midpoint=350 pg/mL"]
    found = windows(scenario("kraut2025_general"), vary=keys)
    fewer, more = found.varied[0].clones
    # Half the stroma secretes too little for a second interval of growth.
    assert [len(fewer[0].crossings), len(more[0].crossings)] == [1, 3]
    for varied, changed in zip(found.varied[1:], ({"secretion_midpoint": 1.4}, {"shift_midpoint": 350.0}), strict=True):
        own = {**GENERAL, "stroma": {**GENERAL["stroma"]}, "clones": [{**GENERAL["clones"][0]}]}
        (own["stroma"] if "secretion_midpoint" in changed else own["clones"][0]).update(changed)
        growth, (response,) = by_hand(own), varied.clones[0]
        assert [growth(c) for c in response.crossings] == pytest.approx([0.0] * len(response.crossings), abs=1e-11)
        assert len(response.crossings) == 3


def test_clones_of_the_tumor_with_crowding_and_a_pump():
    kill = [{"drug": "cetuximab", "law": "hill", "emax": "0.2 / day", "ec50": "1 mg/L", "hill": 2.0}]
    clone = {"growth_rate": "0.1 / day", "effect": kill}
    pump = {"kind": "efflux", "drug": "cetuximab", "basal": 1, "induced": 3, "turnover": "1 / day", "ec50": "2 mg/L"}
    model = {
        "kind": "tumor",
        "growth": {"law": "logistic", "capacity": 1e9},
        "clone": [{"name": "no pump", "cells": 4e8, **clone}, {"name": "pump", "cells": 1e8, **clone}],
        "mechanism": [{**pump, "expression": [0, 1]}],
    }
    tables = {"model": model, "drug": [DRUG], "objective": {"burden": 1.0}}
    found = windows(Scenario.from_tables(tables | {"decision": {"every": "7 day", "horizon": "35 day"}}, "pump"))
    plain, pumped = found.clones
    # Half the capacity is taken: 0.05 = 0.2 x^2 / (1 + x^2) at x = 3^-0.5, and the pump is 1 + 2 c / (c + 2).
    assert plain.crossings == pytest.approx([3.0**-0.5], rel=1e-12)
    wanted = brentq(lambda c: c / (2.0 + 2.0 * c / (c + 2.0)) - 3.0**-0.5, 0.1, 10.0, xtol=1e-300, rtol=1e-14)
    assert pumped.crossings == pytest.approx([wanted], rel=1e-12)


@pytest.mark.parametrize(
    "name", ["crc_caf_cetuximab_mg", "pgp_efflux_inhibitor", "immune_checkpoint", "bistable_general"]
)
def test_held_growth_is_what_the_equations_say_once_the_fast_factors_rest(name):
    """The vector field at the held state: clones that none feeds grow at just that rate, and G and the pump stay."""
    system = Scenario.load(ROOT / "scenarios" / f"{name}.toml").system()
    model, conc = system.model, jnp.full(len(system.drugs), 0.3)
    held = model.held_states(conc)
    state = model.initial_state()._replace(mechanisms=held)
    slope = model.vector_field(0.0, state, conc)
    has_inflow = np.array(model.has_inflow or [False] * len(model.names))
    assert not has_inflow.all()
    growth = np.asarray(model.held_growth(conc))
    assert np.asarray(slope.log_cells)[~has_inflow] == pytest.approx(growth[~has_inflow], rel=1e-12)
    for one in slope.mechanisms:
        for fast in ("growth_factor", "pump"):
            assert float(getattr(one, fast, 0.0)) == pytest.approx(0.0, abs=1e-9)


def test_a_dip_between_grid_points_and_a_clone_without_effect_are_seen():
    def growth(conc):
        dip = (np.log(np.maximum(conc, 1e-300)) - 0.123) ** 2 - 1e-6
        # Below 1e-9, as at no drug, the first rate is as at 1e-9.
        return np.stack([np.where(conc < 1e-9, 1.0, np.minimum(dip, 1.0)), np.zeros_like(conc), 0.0 * conc + 2.0], -1)

    dips, none, grows = responses(growth, ("dips", "none", "grows"))
    assert dips.crossings == pytest.approx(np.exp([0.122, 0.124]), rel=1e-9)
    assert [interval.sign for interval in dips.intervals] == [1, -1, 1]
    assert dips.rise is not None
    assert [interval.word for interval in none.intervals] == ["holds"]
    assert [interval.word for interval in grows.intervals] == ["grows"]


def test_time_shares_of_a_repeated_bolus_are_the_closed_form(tmp_path):
    (tmp_path / "weekly.csv").write_text("TIME,AMT,II,ADDL\n0,1.2,7,4\n")
    found = windows(scenario("kraut2025_caf"), schedule=tmp_path / "weekly.csv")
    limit, rate = found.clones[0].crossings[0], 0.144
    peaks = 1.2 * np.cumsum(np.exp(-rate * 7.0 * np.arange(5)))
    above = np.clip(np.log(peaks / limit) / rate, 0.0, 7.0).sum() / 35.0
    assert found.shares()[0] == pytest.approx([1.0 - above, above], rel=1e-10)
    assert found.profile.troughs == pytest.approx(peaks[:4] * math.exp(-rate * 7.0), rel=1e-12)
    assert found.profile.peaks == pytest.approx(peaks[:4], rel=1e-12)
    low = int(np.sum(peaks[:4] * math.exp(-rate * 7.0) < limit))
    assert 0 < low < 5
    said = f"tumor: {low} of 4 troughs of cetuximab lie where the clone grows, from 0 to {limit:.4g} mg/L"
    assert said in found.warnings()


def test_levels_that_fall_through_an_interval_of_growth_are_said(tmp_path):
    (tmp_path / "high.csv").write_text("TIME,AMT,II,ADDL\n0,20,28,1\n")
    found = windows(scenario("kraut2025_general"), schedule=tmp_path / "high.csv")
    # 20 exp(-0.144 x 28) is 0.36: past the interval of growth and within the lower one of shrinkage.
    limits = found.clones[0].crossings
    assert found.profile.troughs == pytest.approx([20.0 * math.exp(-0.144 * 28.0)])
    where = f"where the clone grows, from {limits[1]:.4g} to {limits[2]:.4g} mg/L"
    assert f"tumor: after 1 of 1 doses cetuximab falls through levels {where}" in found.warnings()
    assert sum(found.shares()[0]) == pytest.approx(1.0, rel=1e-12)


def test_the_command_writes_what_it_prints(folder):
    (folder / "doses.csv").write_text("TIME,AMT,II,ADDL\n0,1,7,24\n")
    file = str(ROOT / "scenarios" / "bistable_general.toml")
    options = ["--schedule", "doses.csv", "--vary", "model.stromal_cells=800,1000"]
    result = adose("window", file, *options, "--json", "--out", "w")
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in (folder / "w").iterdir()) == [
        "report.html",
        "window.json",
        "window.png",
        "window.svg",
    ]
    assert (folder / "w" / "window.json").read_text() == result.stdout
    document = json.loads(result.stdout)
    assert document["format"] == "adose-report-1"
    (clone,) = document["clones"]
    assert clone["monotone"] is False
    assert clone["intervals"][3]["to"] is None
    assert sum(document["schedule"]["time_shares"]["tumor"]) == pytest.approx(1.0)
    assert [len(v["clones"][0]["crossings"]) for v in document["vary"][0]["values"]] == [3, 3]
    assert "Research use only" in result.stderr
    plain = adose("window", file, *options)
    for text in ("0.00292019", "0.75016", "14.1608", "no bound", "Critical levels", "warning: tumor: more drug is"):
        assert text in plain.stdout
    assert adose("window", file, "--out", "doses.csv").exit_code == 2


def test_a_figure_for_every_clone_and_number(caf):
    axes = window_figure(caf, "caf").axes
    assert axes[0].get_ylabel() == "net growth [1/day]"
    assert axes[1].get_xlabel() == "held level of cetuximab [mg/L]"
    assert axes[2].get_xlabel() == "anti-EGF [mg/L]"
    assert [text.get_text() for text in axes[2].get_xticklabels()] == ["0", "0.45"]
    assert [text.get_text() for text in axes[0].texts] == ["0.8616"]


def test_a_figure_of_clones_that_no_level_stops_and_of_rates_without_a_floor():
    found = windows(Scenario.load(ROOT / "scenarios" / "docetaxel_neutropenia.toml"))
    low, high = window_figure(found).axes[0].get_ylim()
    assert -0.1 < low < 0.0 < high < 0.03
    alone = windows(Scenario.load(ROOT / "scenarios" / "immune_checkpoint.toml"), "pembrolizumab")
    assert [r.crossings for r in alone.clones] == [(), ()]
    assert window_figure(alone).axes[0].get_xlim() == (1e-2, 1e2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--drug", "cetuximb"], '--drug: wanted one of "cetuximab", "anti-EGF"; got "cetuximb", did you mean'),
        (["--at", "anti-EGF=1 / day"], '--at anti-EGF: wanted a quantity in "mg/L"'),
        (["--at", "anti-EGF=-1 ug/mL"], "--at anti-EGF: wanted at least 0; got"),
        (["--at", "anti-EGF=0.1,0.2 ug/mL"], "--at anti-EGF: wanted one level"),
        (["--at", "cetuximab=1 ug/mL"], '--at: wanted "anti-EGF"; got "cetuximab"'),
        (["--vary", "model.stromal_cels=1"], 'did you mean "model.stromal_cells"'),
        (["--vary", "model.hill=1,-1"], '--vary model.hill: wanted more than 0; got "-1"'),
        (["--vary", "model.ec50_max=1,2"], "--vary model.ec50_max: wanted a quantity"),
        (["--vary", "model.hill"], "--vary: wanted KEY=VALUE"),
        (["--vary", "model.hill=1,,2"], "--vary: wanted KEY=VALUE"),
    ],
)
def test_a_mistake_in_an_option_is_a_sentence(folder, options, message):
    result = adose("window", str(ROOT / "scenarios" / "crc_caf_combination.toml"), *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_a_bad_schedule_or_file_is_refused(folder):
    (folder / "doses.csv").write_text("TIME,AMT,DRUG\n0,1,aspirin\n")
    file = str(ROOT / "scenarios" / "crc_caf_combination.toml")
    result = adose("window", file, "--schedule", "doses.csv")
    assert result.exit_code == 3
    assert "doses.csv:2: column DRUG: wanted one of cetuximab, anti-EGF" in result.stderr
    assert adose("window", "missing.toml").exit_code == 3


def test_a_model_of_ones_own_says_its_growth_or_is_refused(folder):
    head = '[model]\nkind = "mine.py:Mine"\nrate = "0.3 / day"\n'
    drug = '[[drug]]\nname = "d"\nroute = "bolus"\npk = { kind = "first_order", elimination = "1 / day" }\n'
    rest = 'dose = { max = "1 mg/L" }\n[decision]\nevery = "7 day"\nhorizon = "14 day"\n[objective]\nburden = 1.0\n'
    (folder / "own.toml").write_text(head + drug + rest)
    (folder / "mine.py").write_text(OWN)
    result = adose("window", "own.toml", "--allow-code")
    assert result.exit_code == 3
    assert "own.toml: model: wanted a model that says the net growth of its clones at a held level" in result.stderr
    (folder / "mine.py").write_text(OWN + SAYS)
    result = adose("window", "own.toml", "--allow-code", "--json")
    assert result.exit_code == 0, result.stderr
    sensitive, resistant = json.loads(result.stdout)["clones"]
    assert sensitive["crossings"] == pytest.approx([0.3], rel=1e-12)
    assert resistant["crossings"] == []


def test_the_growth_factor_below_which_a_clone_shrinks_is_where_the_window_has_its_critical_level():
    scenario = Scenario.load(ROOT / "scenarios" / "bistable_general.toml")
    model = scenario.system().model
    without, most = windows(scenario).critical
    conc = jnp.asarray(
        [0.5 * without.conc, 0.5 * (without.conc + most.conc), (1.0 - 1e-6) * most.conc, 2.0 * most.conc]
    )[:, None]
    none, some, edge, any_ = np.asarray(shrinks_below(model, conc))[:, 0]
    assert (none, any_) == (0.0, math.inf)
    assert 0.0 < some < edge
    assert edge == pytest.approx(most.growth_factor, rel=1e-4)
    assert shrinks_below(Scenario.load(ROOT / "scenarios" / "competing_clones.toml").system().model, conc) is None
