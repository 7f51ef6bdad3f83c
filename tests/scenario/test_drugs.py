"""Drugs: their kinetics, and the units of their doses."""

import math

import pytest

from optimizer.scenario import Scenario

from .conftest import COMPETING, STROMAL
from .helpers import faults, load


def test_half_life():
    half = load(STROMAL.replace('elimination = "0.006 / hour"', 'half_life = "5 day"')).system().pharmacokinetics[0]
    assert float(half.elimination) == pytest.approx(math.log(2) / 5)
    text = STROMAL.replace(
        '"first_order", elimination = "0.006 / hour"', '"one_compartment", volume = "4 L", half_life = "48 h"'
    )
    two = load(text.replace("3 ug/mL", "3 mg")).system().pharmacokinetics[0]
    assert float(two.clearance) == pytest.approx(4 * math.log(2) / 2)
    assert float(two.elimination_rate()) == pytest.approx(math.log(2) / 2)


FIRST = 'kind = "first_order", half_life = "5 day"'
ONE = 'kind = "one_compartment", volume = "4 L", clearance = "1 L/day"'
PER_SURFACE = 'kind = "one_compartment", volume = "2 L/m2_bsa", half_life = "1 day"'


@pytest.mark.parametrize(
    ("route", "pk", "dose", "total", "unit", "total_unit"),
    [
        ("bolus", FIRST, "3 ug/mL", "26 ug/mL", "mg/L", "mg/L"),
        ("infusion", FIRST, "3 ug/mL/day", "26 ug/mL", "mg/L/day", "mg/L"),
        ("bolus", ONE, "3 mg", "26 mg", "mg", "mg"),
        ("bolus", ONE, "1.5 mg/m2_bsa", "13 mg/m2_bsa", "mg", "mg"),
        ("bolus", ONE, "50 ug/kg_bw", "26 mg", "mg", "mg"),
        ("infusion", ONE, "125 ug/h", "26 mg", "mg/day", "mg"),
        ("infusion", PER_SURFACE, "1.5 mg/m2_bsa/day", "26 mg", "mg/day", "mg"),
    ],
)
def test_units_of_doses(route, pk, dose, total, unit, total_unit):
    text = STROMAL.replace('kind = "first_order", elimination = "0.006 / hour"', pk).replace("3 ug/mL", dose)
    text = text.replace('name = "cetuximab"', f'name = "cetuximab"\nroute = "{route}"')
    text += '[patient]\nbody_surface = "2 m2_bsa"\nbody_weight = "60 kg_bw"\n[[constraint]]\nkind = "cumulative_dose"\n'
    scenario = load(text + f'drug = "cetuximab"\nlimit = "{total}"\n')
    drug = scenario.plan.drugs[0]
    assert (drug.dose_unit, drug.total_unit) == (unit, total_unit)
    assert drug.maximum == pytest.approx(3.0)
    assert scenario.plan.constraints[0].values["limit"] == pytest.approx(26.0)
    scenario.problem()


def test_total_of_a_direct_drug_is_time():
    text = COMPETING + '[[constraint]]\nkind = "cumulative_dose"\ndrug = "drug"\nlimit = "100 day"\n'
    assert load(text).plan.constraints[0].values["limit"] == 100.0
    assert 'wanted a quantity in "day"' in faults(text.replace('"100 day"', "100"))[0]


def test_drug_file_with_overriding_keys(tmp_path):
    (tmp_path / "d.toml").write_text(
        'name = "cetuximab"\npk = { kind = "first_order", half_life = "5 day" }\ndose = { max = "3 ug/mL" }\n'
    )
    head, rest = STROMAL.split("[[drug]]")
    rest = rest[rest.index("[decision]") :]
    (tmp_path / "s.toml").write_text(f'{head}[[drug]]\nfile = "d.toml"\ndose = {{ max = "1 ug/mL" }}\n{rest}')
    drug = Scenario.load(tmp_path / "s.toml").plan.drugs[0]
    assert drug.maximum == 1.0
    assert drug.pk.values["elimination"] == pytest.approx(math.log(2) / 5)
