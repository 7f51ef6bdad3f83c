"""Who the patients are: spreads and correlations, tables, draws of a posterior, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr
from jax.flatten_util import ravel_pytree

from optimizer.ensemble.ensemble import build_ensemble
from optimizer.ensemble.patients import load_patients
from optimizer.ensemble.program import build_program
from optimizer.ensemble.risk import Risk
from optimizer.files.faults import DataError, TableWarning
from optimizer.scenario import Scenario, ScenarioError
from optimizer.scenario.keys import places
from optimizer.units import parse_quantity

from .conftest import HEADER, ROWS, four_doses, of_table

VARY = [
    {"key": "model.ec50_max", "distribution": "lognormal", "cv": 0.4},
    {"key": "drug[cetuximab].pk.elimination", "distribution": "normal", "sd": "0.001 / hour"},
]
TOGETHER = [{"keys": ["model.ec50_max", "drug[cetuximab].pk.elimination"], "value": -0.6}]


def drawn(**cohort):
    return Scenario.from_tables(four_doses(cohort={"vary": VARY, "correlation": TOGETHER} | cohort), "drawn")


def numbers(ensemble, i):
    """All numbers of a patient."""
    return np.asarray(ravel_pytree(ensemble.of(i).system)[0])


def posterior(folder, **variables):
    """A file as `adose calibrate` writes it."""
    kept = {name: xr.Variable(("chain", "draw"), values, {"units": unit}) for name, (values, unit) in variables.items()}
    path = folder / "posterior.nc"
    xr.DataTree.from_dict({"posterior": xr.Dataset(kept)}).to_netcdf(path, engine="h5netcdf")
    return path


def test_spreads_and_correlation_are_those_of_the_scenario():
    patients = load_patients(drawn(), 4000, seed=1)
    ec50, rate = patients.values.T
    assert np.median(ec50) == pytest.approx(7.34, rel=0.03)
    assert np.std(ec50) / np.mean(ec50) == pytest.approx(0.4, rel=0.06)
    assert np.mean(rate) == pytest.approx(0.144, rel=0.02)
    assert np.std(rate) == pytest.approx(0.024, rel=0.05)
    assert np.corrcoef(np.log(ec50), rate)[0, 1] == pytest.approx(-0.6, abs=0.04)


def test_a_patients_numbers_belong_to_its_index_and_the_seed():
    many, few = load_patients(drawn(), 40, seed=1), load_patients(drawn(), 7, seed=1)
    assert (many.values[:7] == few.values).all()
    assert (load_patients(drawn(), 7, seed=2).values != few.values).all()
    assert len(load_patients(drawn(), None, seed=1).names) == 100


def test_a_correlation_of_one_leaves_one_number():
    together = [{"keys": ["model.ec50_max", "model.hill"], "value": 1.0}]
    vary = [{"key": key, "distribution": "normal", "cv": 0.1} for key in together[0]["keys"]]
    values = load_patients(drawn(vary=vary, correlation=together), 9, seed=0).values
    relative = values / np.array([7.34, 0.93]) - 1.0
    assert relative[:, 0] == pytest.approx(relative[:, 1], abs=1e-12)
    assert np.ptp(relative[:, 0]) > 0.05


def test_a_patient_is_the_scenario_with_these_numbers(few):
    ensemble = build_ensemble(few, load_patients(few, None, seed=0))
    alone = four_doses()
    alone["model"] |= {"ec50_max": "15.1 ug/mL", "net_growth_max": "0.012 / hour"}
    alone["drug"][0]["pk"]["elimination"] = "0.009 / hour"
    task = Scenario.from_tables(alone, "dan").problem().task
    doses = jnp.asarray([[2.0], [0.5], [1.0], [0.0]])
    # The nodes of all patients are at least those of one.
    assert float(ensemble.of(3).loss(doses)) == pytest.approx(float(task.loss(doses)), abs=1e-7)
    assert ensemble.of(3).system.mesh.uniform >= task.system.mesh.uniform
    own = ravel_pytree(task.system.model)[0]
    # A column is converted as a whole, a quantity of the scenario from its decimals: the last bit may differ.
    np.testing.assert_array_max_ulp(np.asarray(ravel_pytree(ensemble.of(3).system.model)[0]), np.asarray(own), 1)


@pytest.mark.parametrize("name", ["competing_clones", "her2_lapatinib_pi3k", "docetaxel_neutropenia"])
def test_every_key_of_a_shipped_scenario_reaches_the_numbers(name):
    base = Scenario.load(f"scenarios/{name}.toml")
    known = list(places(base.plan.model, base.plan.drugs))
    assert len(known) >= 8
    # Keys that stand for the same number are one; a number that is the largest allowed cannot be drawn around.
    chosen = list({p.steps: p for p in known if p.value and p.value != p.info.maximum}.values())[:6]
    vary = [{"key": place.key, "distribution": "normal", "cv": 0.01} for place in chosen]
    scenario = Scenario.from_tables(base.resolved()["scenario"] | {"cohort": {"vary": vary}}, name)
    ensemble = build_ensemble(scenario, load_patients(scenario, 2, seed=0))
    assert np.count_nonzero(numbers(ensemble, 0) != ravel_pytree(ensemble.task.system)[0]) >= len(chosen)


def test_who_cannot_be_simulated_has_the_typical_numbers(few):
    ensemble = build_ensemble(few, patients := load_patients(few, None, seed=0))
    assert patients.faults == {2: "patient cyd: model.ec50_max: wanted a finite number above 0; got nan"}
    assert ensemble.excluded[4] == "patient eve: wanted a tumor that stays finite; got one that does not"
    # Nobody waits for eve.
    assert ensemble.task.system.mesh.panels < 100
    assert ensemble.included.tolist() == [True, True, False, True, False, True, True]
    typical = ravel_pytree(ensemble.task.system)[0]
    assert np.array_equal(numbers(ensemble, 2), typical)
    assert np.array_equal(numbers(ensemble, 4), typical)
    assert all(np.isfinite(numbers(ensemble, i)).all() for i in range(7))


def test_draws_of_a_posterior_come_in_its_units(tmp_path):
    draws = np.linspace(1.0, 2.0, 20).reshape(2, 10)
    path = posterior(tmp_path, ec50_max=(draws, "ug/mL"), net_growth_max=(draws / 24.0, "1/h"), sigma=(draws, "1"))
    patients = load_patients(Scenario.from_tables(four_doses(), "plain"), 50, seed=0, posterior=path)
    assert [place.key for place in patients.places] == ["model.ec50_max", "model.net_growth_max"]
    # 24 hours a day: the same number again, and of the same draw.
    assert patients.values[:, 1] == pytest.approx(patients.values[:, 0])
    assert set(patients.values[:, 0]) <= set(draws.ravel())
    assert len(set(patients.values[:, 0])) > 10
    again = Scenario.from_tables(four_doses(cohort={"posterior": "posterior.nc"}), "plain", folder=tmp_path)
    assert np.array_equal(load_patients(again, 50, seed=0).values, patients.values)


def test_draws_go_to_the_clones_without_a_number_of_their_own(tmp_path):
    draws = np.linspace(1.0, 2.0, 20).reshape(2, 10)
    path = posterior(tmp_path, ec50_max=(draws, "mg/L"), hill=(draws, "1"))
    patients = load_patients(Scenario.load("scenarios/crc_caf_cetuximab.toml"), 9, seed=0, posterior=path)
    # The resistant clone of that file has an EC50 of its own, and the other's steepness.
    keys = ["model.clone[0].ec50_max", "model.clone[0].hill", "model.clone[1].hill"]
    assert [place.key for place in patients.places] == keys
    assert (patients.values[:, 1] == patients.values[:, 2]).all()


def test_what_calibrate_writes_is_read(tmp_path):
    from optimizer.calibrate import calibrate

    calibrate("data/crc_birth_death_rates.csv", "rates", tmp_path / "fit", "direct", starts=5)
    plain = Scenario.from_tables(four_doses(), "plain")
    patients = load_patients(plain, 30, seed=0, posterior=tmp_path / "fit" / "posterior.nc")
    keys = {place.key: i for i, place in enumerate(patients.places)}
    assert {"model.ec50_max", "model.net_growth_max", "model.net_growth_min", "model.hill"} <= set(keys)
    rates = patients.values[:, keys["model.net_growth_max"]]
    assert np.median(rates) == pytest.approx(0.0147 * 24.0, rel=0.3)


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        (
            "model.ec50 [ug/mL]\n",
            ["1"],
            r'csv:1: column model.ec50 \[ug/mL\]: wanted a number.*did you mean "model.ec50_max"',
        ),
        ("model.ec50_max\n", ["1"], r"column model.ec50_max: wanted a unit in the header, such as .* \[mg/L\]"),
        ("model.ec50_max [1/day]\n", ["1"], r"wanted a unit in the header, such as .* \[mg/L\]"),
        (HEADER, ["ann,7.34,0.006"], r"patients.csv:2: wanted 4 cells, as in the header; got 3"),
        (HEADER, [ROWS[0], "bob,much,0.004,0.01"], r'csv:3: column model.ec50_max \[ug/mL\]: wanted .*got "much"'),
        (HEADER, [], "wanted a header and a row for each patient; got no row"),
        (
            "patient,age\n",
            ["ann,50"],
            r"wanted a column of a number of the tumor or .* got the columns patient, age",
        ),
    ],
)
def test_tables_are_refused_with_the_place(tmp_path, header, rows, message):
    with pytest.raises(DataError, match=message):
        load_patients(of_table(tmp_path, rows, header), None, seed=0)


@pytest.mark.parametrize("name", ["patients.csv", "patients.parquet"])
def test_covariates_are_ignored_by_name_and_other_units_read(tmp_path, name):
    columns = {"ID": ["ann", "bob"], "age": [50, 60], "model.ec50_max [ng/mL]": [7340.0, 3200.0]}
    if name.endswith("csv"):
        rows = zip(*columns.values(), strict=True)
        text = "\n".join(";".join(map(str, row)) for row in [columns, *rows])
        (tmp_path / name).write_bytes(text.replace("7340.0", "7340,0").replace("3200.0", "3200,0").encode("utf-16"))
    else:
        pq.write_table(pa.table(columns), tmp_path / name)
    scenario = Scenario.from_tables(four_doses(cohort={"table": name}), "few", folder=tmp_path)
    with pytest.warns(TableWarning) as said:
        found = load_patients(scenario, None, seed=0)
    assert "columns that are not read: age" in str(said[0].message)
    assert found.names == ("ann", "bob")
    assert found.values[:, 0] == pytest.approx([7.34, 3.2], rel=1e-15)


@pytest.mark.parametrize(
    ("unit", "texts"), [("1/hour", ("0.001", "0.0123", "0.3")), ("1/week", ("0.7", "0.33", "0.029"))]
)
def test_a_number_of_a_table_is_what_a_scenario_reads(tmp_path, unit, texts):
    """To the last bit: products of floats would be one unit in the last place beside."""
    key = "drug[cetuximab].pk.elimination"
    scenario = of_table(tmp_path, [f"{i},{text}" for i, text in enumerate(texts)], f"patient,{key} [{unit}]\n")
    found = load_patients(scenario, None, seed=0).values[:, 0].tolist()
    assert found == [parse_quantity(f"{text} {unit}".replace(" 1/", " / "), "1/day") for text in texts]


def test_a_posterior_may_be_a_table(tmp_path):
    path = tmp_path / "draws.csv"
    path.write_text("ec50_max [ug/L],model.hill\n" + "".join(f"{1000 + i},0.9\n" for i in range(20)))
    found = load_patients(Scenario.from_tables(four_doses(), "plain"), 50, seed=0, posterior=path)
    assert [place.key for place in found.places] == ["model.ec50_max", "model.hill"]
    assert set(np.round(found.values[:, 0], 9)) <= {round(1.0 + i / 1000.0, 9) for i in range(20)}
    assert len(set(found.values[:, 0])) > 10


def test_other_faults_are_sentences(tmp_path, few):
    plain = Scenario.from_tables(four_doses(), "plain")
    with pytest.raises(ScenarioError, match=r"plain: cohort: wanted a \[cohort\] table .*; got none"):
        load_patients(plain, 3, seed=0)
    with pytest.raises(DataError, match="wanted at least 9 rows, one a patient; got 7"):
        load_patients(few, 9, seed=0)
    with pytest.raises(ScenarioError, match="--patients: wanted at least 1; got 0"):
        load_patients(drawn(), 0, seed=0)
    with pytest.raises(ScenarioError, match="wanted a NetCDF file as adose calibrate writes it; got nothing there"):
        load_patients(plain, 3, seed=0, posterior=tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("no")
    with pytest.raises(ScenarioError, match="wanted NetCDF with a group posterior; got:"):
        load_patients(plain, 3, seed=0, posterior=tmp_path / "text.nc")
    other = posterior(tmp_path, sigma=(np.ones((1, 2)), "1"))
    with pytest.raises(ScenarioError, match=r"wanted draws of a number of the scenario's model.*got sigma"):
        load_patients(plain, 3, seed=0, posterior=other)
    wrong = posterior(tmp_path, ec50_max=(np.ones((1, 2)), "1/day"))
    with pytest.raises(ScenarioError, match=r"model.ec50_max: the attribute units: wanted a quantity"):
        load_patients(plain, 3, seed=0, posterior=wrong)


def test_other_numbers_and_seeds_find_the_programs_of_the_first(own_cache):
    scenario = Scenario.load("scenarios/crc_caf_patients.toml")
    kept = []
    for count, seed in ((37, 0), (40, 1), (38, 0)):
        ensemble = build_ensemble(scenario, load_patients(scenario, count, seed))
        build_program(ensemble, Risk.MEAN, 0.9, np.asarray(ensemble.task.lower))
        kept.append({path.name for path in own_cache.iterdir()})
    assert len(kept[0]) > 5
    assert kept[0] == kept[1] == kept[2]


def test_a_number_too_large_for_its_unit_is_a_fault_of_its_patient(tmp_path):
    patients = load_patients(of_table(tmp_path, [ROWS[0], "bob,7.34,1e308,0.0147"]), None, 0)
    assert list(patients.faults) == [1]
    assert "bob" in patients.faults[1]


def test_too_many_patients_are_told_what_they_would_cost():
    with pytest.raises(ScenarioError, match=r"at most 10,000,000; got 1,000,000,000, which would take about .* GiB"):
        load_patients(drawn(), 1_000_000_000, 0)


def test_who_fills_up_changes_nobody():
    scenario = Scenario.load("scenarios/crc_caf_patients.toml")
    few, many = (build_ensemble(scenario, load_patients(scenario, count, 0)) for count in (33, 37))
    assert few.task.system.mesh == many.task.system.mesh
    for one, other in zip(jax.tree.leaves(few.systems), jax.tree.leaves(many.systems), strict=True):
        assert np.array_equal(one, other[:33])
