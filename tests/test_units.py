"""Quantities: what is read, to which number, and the sentence that refuses the rest."""

import ast
import contextlib
import math
import re
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from optimizer import units
from optimizer.units import (
    UNITS,
    Dimension,
    QuantityError,
    Unit,
    dose_to_internal,
    format_quantity,
    parse_quantity,
    parse_unit,
)

INTERNAL = (
    "1",
    "1/day",
    "1/cell/day",
    "L",
    "L/day",
    "L/mg",
    "L/mg/day",
    "cell",
    "day",
    "mL/pg",
    "mg",
    "mg/L",
)
INTERNAL += (
    "mg/day",
    "mg/kg_bw",
    "mg/m2_bsa/day",
    "pg/mL",
    "pg/mL/cell",
    "percent",
    "umol/L",
    "kg_bw",
    "m2_bsa",
)


@pytest.mark.parametrize(
    ("text", "unit", "number"),
    [
        ("7 day", "day", 7.0),
        ("7day", "day", 7.0),
        ("  7   days ", "day", 7.0),
        ("2 weeks", "day", 14.0),
        ("12 h", "day", 0.5),
        ("90 min", "day", 0.0625),
        ("43200 s", "day", 0.5),
        ("0.006 / hour", "1/day", 0.144),
        ("0.006/hour", "1/day", 0.144),
        ("1 / week", "1/day", 1 / 7),
        ("5 percent / day", "1/day", 0.05),
        ("1 ug/mL", "mg/L", 1.0),
        ("73.4 ug/mL", "mg/L", 73.4),
        ("1 ug / mL / day", "mg/L/day", 1.0),
        ("2 pg/mL", "pg/mL", 2.0),
        ("1 ug/mL", "pg/mL", 1e6),
        ("1 pg/mL", "mg/L", 1e-6),
        ("1 g", "mg", 1000.0),
        ("250 ng", "mg", 0.00025),
        ("3 dL", "L", 0.3),
        ("1 uL", "L", 1e-6),
        ("5 mL/min", "L/day", 7.2),
        ("2 mL/min/kg_bw", "L/day/kg_bw", 2.88),
        ("5 mg/kg_bw", "mg/kg_bw", 5.0),
        ("70 kg_bw", "kg_bw", 70.0),
        ("1e8 cells", "cell", 1e8),
        ("1e8", "cell", 1e8),
        (100_000_000, "cell", 1e8),
        ("1e-9 / cell / day", "1/cell/day", 1e-9),
        ("250 nmol/L", "umol/L", 0.25),
        ("30 percent", "1", 0.3),
        ("30%", "1", 0.3),
        ("0.3", "1", 0.3),
        (0.3, "1", 0.3),
        (1, "1", 1.0),
        ("-1.5e+2 mg", "mg", -150.0),
        ("+0.5E-1 mg", "mg", 0.05),
        ("1e007 mg", "mg", 1e7),
        ("0e-999 mg", "mg", 0.0),
    ],
)
def test_reads(text, unit, number):
    assert parse_quantity(text, unit) == number


def test_zero_has_no_sign():
    assert math.copysign(1.0, parse_quantity("-0 mg", "mg")) == 1.0
    assert format_quantity(-0.0, "mg") == "0.0 mg"


@pytest.mark.parametrize(
    ("value", "unit", "sentence"),
    [
        ("0.006 hour", "1/day", 'wanted a quantity in "1/day" such as "0.006 / hour"; got "0.006 hour"'),
        ("0.006 hour", "1/day", "its dimension is time, not 1 / time"),
        (
            "7 mg",
            "day",
            'wanted a quantity in "day" such as "7 day"; got "7 mg": its dimension is mass, not time',
        ),
        ("7 mg", "mg/L", 'in "mg/L" such as "1 ug/mL"; got "7 mg": its dimension is mass, not mass / volume'),
        ("7 day", "mg", 'wanted a quantity in "mg" such as "1.0 mg"; got "7 day"'),
        ("1 day", "1", 'wanted a pure number such as 0.3 or "30 percent"; got "1 day"'),
        ("1 day", "cell", 'wanted a number of cells such as 1e8; got "1 day"'),
        ("30 percent", "mg", "its dimension is pure number, not mass"),
        ("30 percent", "cell", "its dimension is pure number, not cell count"),
        ("1 mg/kg_bw", "mg", "its dimension is mass / body weight, not mass"),
        ("1 mg/m2_bsa", "mg/kg_bw", "mass / body surface, not mass / body weight"),
        ("5 umol/L", "mg/L", "an amount in mol becomes a mass only with a molar mass, so write it in mg"),
        ("5 nmol", "mg", "an amount in mol becomes a mass only with a molar mass"),
        ("5 nmol", "day", "its dimension is amount in mol, not time"),
        ("5", "mg", 'got "5": the unit is missing'),
        (5, "mg", "got 5: a bare number has no unit, write it as text with one"),
        (0.3, "percent", "a bare number has no unit"),
        ("", "mg", 'got "": it does not begin with a plain decimal number such as 0.5 or 1e8'),
        ("mg", "mg", "does not begin with a plain decimal number"),
        ("nan mg", "mg", "does not begin with a plain decimal number"),
        ("inf", "1", "does not begin with a plain decimal number"),
        ("-inf mg", "mg", "does not begin with a plain decimal number"),
        (".5 mg", "mg", "does not begin with a plain decimal number"),
        ("per hour", "1/day", "does not begin with a plain decimal number"),
        ("/ hour", "1/day", "does not begin with a plain decimal number"),
        ("--5 mg", "mg", "does not begin with a plain decimal number"),
        ("5. mg", "mg", '". mg" is not a unit'),
        ("0x10 mg", "mg", '"x10 mg" is not a unit'),
        ("1_000 mg", "mg", '"_000 mg" is not a unit'),
        ("1 2 mg", "mg", '"2 mg" is not a unit'),
        ("1 mg mL", "mg", '"mg mL" is not a unit'),
        ("1 day-1", "1/day", '"day-1" is not a unit'),
        ("1 - 2 mg", "mg", '"- 2 mg" is not a unit'),
        ("5 1/day", "1/day", 'after the number comes a unit or "/ UNIT"'),
        ("5 1", "1", 'after the number comes a unit or "/ UNIT"'),
        ("5 mg//L", "mg/L", 'a unit is missing beside "/"'),
        ("5 mg/", "mg/L", 'a unit is missing beside "/"'),
        ("1,000 mg", "mg", '"," has no place in NUMBER UNIT, which is not an expression'),
        ("10**10 mg", "mg", '"*" has no place in NUMBER UNIT'),
        ("10^10 mg", "mg", '"^" has no place in NUMBER UNIT'),
        ("(1) mg", "mg", '"(" has no place in NUMBER UNIT'),
        ("1\tmg", "mg", r'got "1\tmg": "\t" has no place in NUMBER UNIT'),
        ("1 mg\n", "mg", r'got "1 mg\n": "\n" has no place in NUMBER UNIT'),
        ("3 µg", "mg", 'only plain ASCII is read, so write "ug" for microgram'),
        ("٣ mg", "mg", "only plain ASCII is read"),
        ("1" * 65, "1", 'got "1111111111111111111111111111111111111...": it is longer than 64 characters'),
        ("1e400 mg", "mg", "the number is beyond what a float holds"),
        ("1e308 g", "mg", "the number is beyond what a float holds"),
        ("1e-400 mg", "mg", "the number is beyond what a float holds"),
        ("1e999999999999 mg", "mg", "the number is beyond what a float holds"),
        (10**400, "1", "got an integer of more than 40 digits: the number is beyond what a float holds"),
        (math.nan, "1", "got nan: a number must be finite"),
        (-math.inf, "cell", "got -inf: a number must be finite"),
        (True, "1", "got True: a quantity is text or a number"),
        (None, "1", "got a NoneType: a quantity is text or a number"),
        (["1 mg"], "mg", "got a list: a quantity is text or a number"),
        ("1 month", "day", '"month" has no fixed length, write days or weeks'),
        ("1 years", "day", '"years" has no fixed length, write days or weeks'),
        ("5 mg/kg", "mg", '"kg" is not a unit here, write "kg_bw" for body weight, "g" for mass'),
        ("5 mg/m2", "mg", '"m2" is not a unit here, write "m2_bsa" for body surface'),
        ("5 uM", "mg/L", '"uM" is not a unit here, write "umol/L" or "nmol/L"'),
        ("5 mcg", "mg", '"mcg" is not a unit here, write "ug"'),
        ("5 ml", "L", '"ml" is not an allowed unit, did you mean "mL"'),
        ("5 Mg", "mg", '"Mg" is not an allowed unit, did you mean "mg"'),
        ("5 hrs", "day", '"hrs" is not an allowed unit, did you mean "hours"'),
        ("5 parsec", "day", '"parsec" is not an allowed unit$'),
    ],
)
def test_refuses_in_one_sentence(value, unit, sentence):
    pattern = re.escape(sentence.removesuffix("$")) + ("$" if sentence.endswith("$") else "")
    with pytest.raises(QuantityError, match=pattern) as caught:
        parse_quantity(value, unit)
    text = str(caught.value)
    assert text.startswith("wanted a ")
    assert "; got " in text
    assert len(text) < 300
    assert "\n" not in text


@pytest.mark.parametrize("unit", ["", "/day", "2", "mg*L", "5 mg", "mg ^ 2", "mg/", "m" * 70])
def test_refuses_a_unit(unit):
    with pytest.raises(QuantityError, match=r'^wanted a unit such as "mg/L"; got '):
        parse_unit(unit)


def test_an_expression_takes_no_time():
    begin = time.process_time()
    for text in ("10**10**10 mg", "9" * 10**6 + " mg", "1e999999999 mg", "1" + "/day" * 10**5):
        with pytest.raises(QuantityError, match=r"^wanted a quantity"):
            parse_quantity(text, "mg")
    assert time.process_time() - begin < 0.5


def test_dimension_and_scale():
    concentration = Dimension(mass=1) / Dimension(volume=1)
    assert parse_unit("ug/mL") == parse_unit("mg / L") == Unit(Fraction(1), concentration)
    assert parse_unit("pg/mL") == Unit(Fraction(1, 10**6), concentration)
    assert parse_unit("1") == Unit(Fraction(1), Dimension())
    assert parse_unit("mg/mg").dimension == Dimension()
    assert hash(concentration) == hash(Dimension(mass=1, volume=-1))
    assert concentration * Dimension(volume=1) == Dimension(mass=1)
    assert str(parse_unit("1/day/cell").dimension) == "1 / time / cell count"


def test_listing_names_every_unit_once():
    names = [name for entry in UNITS for name in (entry.name, *entry.aliases)]
    assert len(names) == len(set(names)) == 34
    for entry in UNITS:
        assert entry.meaning
        for name in (entry.name, *entry.aliases):
            assert parse_unit(name) == Unit(entry.scale, entry.dimension)


@pytest.mark.parametrize(
    ("text", "unit", "sizes", "number"),
    [
        ("3 ug/mL", "mg/L", {}, 3.0),
        ("50 mg", "mg", {}, 50.0),
        ("5 mg/kg_bw", "mg", {"body_weight_kg": 70.0}, 350.0),
        ("5 mg/kg_bw/day", "mg/day", {"body_weight_kg": 70.0}, 350.0),
        ("500 mg/m2_bsa", "mg", {"body_surface_m2": 1.8}, 900.0),
        ("0.5 g/m2_bsa", "mg", {"body_surface_m2": 1.8, "body_weight_kg": 70.0}, 900.0),
        ("10 mg / m2_bsa / hour", "mg/day", {"body_surface_m2": 2}, 480.0),
        ("5 mg/kg_bw", "mg/kg_bw", {"body_weight_kg": 70.0}, 5.0),
        ("0.25", "1", {}, 0.25),
        (1, "1", {}, 1.0),
    ],
)
def test_doses(text, unit, sizes, number):
    assert dose_to_internal(text, unit, **sizes) == number


@pytest.mark.parametrize(
    ("text", "unit", "sizes", "sentence"),
    [
        ("5 mg/kg_bw", "mg", {}, 'needs a positive patient.body_weight, such as "70 kg_bw", and has None'),
        ("5 mg/kg_bw", "mg", {"body_surface_m2": 1.8}, "the scenario needs a positive patient.body_weight"),
        ("5 mg/kg_bw", "mg", {"body_weight_kg": -1}, "and has -1"),
        ("5 mg/kg_bw", "mg", {"body_weight_kg": math.nan}, "and has nan"),
        (
            "5 mg/m2_bsa",
            "mg",
            {"body_weight_kg": 70.0},
            'patient.body_surface, such as "1.8 m2_bsa", and has None',
        ),
        ("5 mg/m2_bsa", "mg", {"body_surface_m2": math.inf}, "and has inf"),
        (
            "5 mg/kg_bw",
            "mg/L",
            {"body_weight_kg": 70.0},
            "its dimension is mass / body weight, not mass / volume",
        ),
        ("5 mg", "mg/L", {}, "its dimension is mass, not mass / volume"),
        ("-5 mg", "mg", {}, "a dose is not negative"),
        ("-5 mg/kg_bw", "mg", {"body_weight_kg": 70.0}, 'got "-5 mg/kg_bw": a dose is not negative'),
        (5, "mg", {}, "a bare number has no unit"),
    ],
)
def test_refused_doses(text, unit, sizes, sentence):
    with pytest.raises(QuantityError, match=re.escape(sentence)):
        dose_to_internal(text, unit, **sizes)


def test_writes():
    assert format_quantity(0.144, "1/day") == "0.144 / day"
    assert format_quantity(2, "1 / day") == "2.0 / day"
    assert format_quantity(1e-9, "1/cell/day") == "1e-09 / cell/day"
    assert format_quantity(0.3, "1") == "0.3"
    assert format_quantity(7, "day") == "7.0 day"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_writes_only_finite_numbers(number):
    with pytest.raises(QuantityError, match="only finite numbers can be written"):
        format_quantity(number, "mg")


@settings(deadline=None, max_examples=300)
@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(INTERNAL))
def test_round_trip_is_exact(number, unit):
    assert parse_quantity(format_quantity(number, unit), unit) == number


@settings(deadline=None, max_examples=200)
@given(st.floats(1e-100, 1e100), st.sampled_from(["hour", "week", "min", "second"]))
def test_conversion_is_rounded_once(number, unit):
    exact = Fraction(repr(number)) * parse_unit(unit).scale
    assert parse_quantity(f"{number!r} {unit}", "day") == float(exact)


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="0123456789+-.eE/ %_dayhourmgLcell*^(),\nµ", max_size=70), st.sampled_from(INTERNAL))
def test_nothing_but_a_quantity_error_escapes(text, unit):
    with contextlib.suppress(QuantityError):
        assert math.isfinite(parse_quantity(text, unit))


def test_its_own_imports_are_light():
    tree = ast.parse(Path(units.__file__).read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {"re", "fractions"} <= modules <= sys.stdlib_module_names


def test_a_hopelessly_long_integer_is_not_printed():
    with pytest.raises(QuantityError, match="an integer of more than 40 digits: the number is beyond"):
        parse_quantity(10**5000, "1")
