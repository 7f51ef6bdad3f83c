"""SBML files: BioModels against roadrunner where that installs, constructs one by one, and hostile files."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from optimizer.equations.sbml import read_sbml
from optimizer.files.faults import DataError
from optimizer.models.equations import Equations

pytest.importorskip("libsbml")
HERE = Path(__file__).parent / "sbml"
MATH = '<math xmlns="http://www.w3.org/1998/Math/MathML">{}</math>'
# States of BioModels at half a day and at one, by roadrunner (CVODE, 1e-11) from the same files.
WANTED = json.loads((HERE / "roadrunner.json").read_text())


def model_of(found):
    """The model with NumPy's numbers."""
    numbers = {name: np.float64(value) for name, value in found.parameters.items()}
    return Equations(numbers, found.states, found.rates, found.outputs)


def course(found, days, drugs=()):
    """Values of the states at days [T, n], by SciPy."""
    model = model_of(found)

    def slope(t, y):
        return model.slope(np.float64(t), y, np.array(drugs), np)

    ends = solve_ivp(slope, (0.0, days[-1]), model.start(np), method="LSODA", rtol=1e-11, atol=1e-13, t_eval=days).y.T
    return np.array([[model.values(0.0, y, xp=np)[name] for name in found.states] for y in ends])


@pytest.mark.parametrize("name", WANTED)
def test_biomodels_are_those_of_roadrunner(name):
    found = read_sbml(HERE / f"{name}.xml", time_unit="day")
    values = course(found, [0.5, 1.0])
    assert list(found.states) == list(WANTED[name])
    wanted = np.array(list(WANTED[name].values())).T
    assert np.allclose(values, wanted, rtol=1e-6, atol=1e-9 * np.abs(wanted).max())


def sbml(body, level=3, version=1, units=""):
    """A file's text."""
    core = f"http://www.sbml.org/sbml/level{level}/version{version}/core"
    core = core if level == 3 else f"http://www.sbml.org/sbml/level{level}/version{version}"
    head = f'<?xml version="1.0" encoding="UTF-8"?><sbml xmlns="{core}" level="{level}" version="{version}">'
    return f'{head}<model id="m" name="a model"{units}>{body}</model></sbml>'


PARAMETER = '<parameter id="{}" value="{}" constant="{}"/>'
X, K = PARAMETER.format("x", 2, "false"), PARAMETER.format("k", 3, "true")
EVENT = (
    '<listOfEvents><event id="e" useValuesFromTriggerTime="true"><trigger initialValue="false" persistent="true">{}'
    '</trigger>{}<listOfEventAssignments><eventAssignment variable="x">{}</eventAssignment></listOfEventAssignments>'
    "</event></listOfEvents>"
)


def rated(math, more="", parameters=X + K):
    """A model with a rate rule."""
    rule = f'<listOfRules><rateRule variable="x">{MATH.format(math)}</rateRule></listOfRules>'
    return sbml(f"<listOfParameters>{parameters}</listOfParameters>{rule}{more}")


def written(tmp_path, text):
    """A file with that text."""
    path = tmp_path / "model.xml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(tmp_path, text, **more):
    """The model of a text."""
    return read_sbml(written(tmp_path, text), time_unit=more.pop("time_unit", "day"), **more)


TIMES = "<apply><times/><ci>k</ci><ci>x</ci></apply>"


def test_compartments_stoichiometry_and_local_parameters(tmp_path):
    text = sbml(
        '<listOfCompartments><compartment id="V" size="4" constant="true" spatialDimensions="3"/></listOfCompartments>'
        '<listOfSpecies><species id="A" compartment="V" initialAmount="8" hasOnlySubstanceUnits="false" '
        'constant="false" boundaryCondition="false"/><species id="B" compartment="V" initialConcentration="0" '
        'constant="false" hasOnlySubstanceUnits="true" boundaryCondition="false"/></listOfSpecies>'
        '<listOfReactions><reaction id="R" reversible="false" fast="false"><listOfReactants><speciesReference '
        'species="A" stoichiometry="1" constant="true"/></listOfReactants><listOfProducts><speciesReference species="B"'
        ' stoichiometry="2" constant="true"/></listOfProducts><kineticLaw>'
        + MATH.format("<apply><times/><ci>V</ci><ci>k</ci><ci>A</ci></apply>")
        + '<listOfLocalParameters><localParameter id="k" value="0.5"/></listOfLocalParameters></kineticLaw></reaction>'
        "</listOfReactions>"
    )
    found = read(tmp_path, text)
    assert found.states == {"A": 2.0, "B": 0.0}
    assert found.parameters == {"V": 4.0, "R_k": 0.5}
    values = course(found, [1.0])[0]
    assert values == pytest.approx([2.0 * np.exp(-0.5), 16.0 * (1.0 - np.exp(-0.5))], rel=1e-8)


def test_time_units_and_the_time_itself(tmp_path):
    text = rated("<csymbol encoding='text' definitionURL='http://www.sbml.org/sbml/symbols/time'>t</csymbol>")
    assert course(read(tmp_path, text, time_unit="hour"), [1.0])[0] == pytest.approx([2.0 + 24.0**2 / 2.0])
    second = (
        '<listOfUnitDefinitions><unitDefinition id="h"><listOfUnits><unit kind="second" exponent="1" scale="0"'
        ' multiplier="3600"/></listOfUnits></unitDefinition></listOfUnitDefinitions>'
    )
    stated = text.replace('name="a model">', f'name="a model" timeUnits="h">{second}')
    assert read(tmp_path, stated, time_unit="").days == pytest.approx(1.0 / 24.0)
    with pytest.raises(DataError, match=r"wanted time_unit, such as \"day\", as the file does not say.*; got none"):
        read(tmp_path, text, time_unit="")
    with pytest.raises(DataError, match="time_unit: wanted"):
        read(tmp_path, text, time_unit="month")


def test_functions_are_inlined_and_initial_assignments_worked_out(tmp_path):
    functions = (
        '<listOfFunctionDefinitions><functionDefinition id="f">'
        + MATH.format(
            "<lambda><bvar><ci>k</ci></bvar><bvar><ci>y</ci></bvar><apply><minus/><ci>k</ci><ci>y</ci></apply></lambda>"
        )
        + "</functionDefinition></listOfFunctionDefinitions>"
    )
    start = "<listOfInitialAssignments><initialAssignment symbol='x'>{}</initialAssignment></listOfInitialAssignments>"
    text = rated("<apply><ci>f</ci><ci>x</ci><ci>k</ci></apply>")
    text = text.replace("<listOfParameters>", functions + "<listOfParameters>")
    text = text.replace(
        "<listOfRules>", start.format(MATH.format("<apply><plus/><ci>k</ci><cn>1</cn></apply>")) + "<listOfRules>"
    )
    found = read(tmp_path, text)
    assert found.states == {"x": 4.0}
    assert found.rates == {"x": "x - k"}


def at(time):
    """A trigger."""
    symbol = "<csymbol encoding='text' definitionURL='http://www.sbml.org/sbml/symbols/time'>t</csymbol>"
    return MATH.format(f"<apply><geq/>{symbol}<cn>{time}</cn></apply>")


ADDED = MATH.format("<apply><plus/><ci>x</ci><cn>5</cn></apply>")


def test_dose_events_are_doses_and_events_of_the_control_are_left_out(tmp_path):
    text = rated(TIMES, EVENT.format(at(48), "", ADDED))
    found = read(tmp_path, text, time_unit="hour")
    assert found.doses == [("x", 2.0, 5.0)]
    more = X + K + PARAMETER.format("y", 1, "false")
    text = rated(TIMES, EVENT.format(at(48), "", ADDED).replace('variable="x"', 'variable="y"'), more)
    found = read(tmp_path, text, control=["y"])
    assert found.doses == []
    assert found.notes == ["the event e, which writes y, was left out"]
    assert "y" not in found.parameters


def test_units_that_do_not_fit_together_are_said():
    found = read_sbml(HERE / "BIOMD0000000909.xml", time_unit="day")
    assert [note for note in found.notes if "units of 3 equations do not fit together, the first at line" in note]
    assert read_sbml(HERE / "BIOMD0000000762.xml", time_unit="day").notes == []


def test_names_of_the_grammar_are_renamed(tmp_path):
    text = rated("<apply><times/><ci>hill</ci><ci>x</ci></apply>", parameters=X + PARAMETER.format("hill", 3, "true"))
    found = read(tmp_path, text)
    assert found.parameters == {"hill_": 3.0}
    assert found.rates == {"x": "hill_ * x"}
    assert found.notes == ["hill is called hill_, as that is a word of the grammar"]
    for word in ("lambda", "class", "None", "import"):
        text = rated(
            f"<apply><times/><ci>{word}</ci><ci>x</ci></apply>", parameters=X + PARAMETER.format(word, 3, "true")
        )
        assert read(tmp_path, text).parameters == {word: 3.0}


DELAY = (
    "<apply><csymbol encoding='text' definitionURL='http://www.sbml.org/sbml/symbols/delay'>d</csymbol>"
    "<ci>x</ci><cn>1</cn></apply>"
)
ALGEBRAIC = f"<listOfRules><algebraicRule>{MATH.format(TIMES)}</algebraicRule></listOfRules>"


BOTH = sbml(
    '<listOfCompartments><compartment id="V" size="1" constant="true" spatialDimensions="3"/></listOfCompartments>'
    '<listOfSpecies><species id="A" compartment="V" initialAmount="1" hasOnlySubstanceUnits="false" constant="false" '
    f'boundaryCondition="false"/></listOfSpecies><listOfRules><rateRule variable="A">{MATH.format("<cn>1</cn>")}'
    '</rateRule></listOfRules><listOfReactions><reaction id="R" reversible="false" fast="false"><listOfProducts>'
    '<speciesReference species="A" stoichiometry="1" constant="true"/></listOfProducts>'
    f"<kineticLaw>{MATH.format('<cn>1</cn>')}</kineticLaw></reaction></listOfReactions>"
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (rated(DELAY), 'rule of x: wanted arithmetic and exp, tanh, sin, cos, abs, log, sqrt; got "d"'),
        (rated("<apply><floor/><ci>x</ci></apply>"), 'log, sqrt; got "floor"'),
        (sbml(f"<listOfParameters>{X}{K}</listOfParameters>{ALGEBRAIC}"), "rate rules; got an algebraic rule"),
        (rated(TIMES, EVENT.format(at(4), f"<delay>{MATH.format('<cn>1</cn>')}</delay>", ADDED)), 'the event "e" of x'),
        (rated(TIMES, EVENT.format(MATH.format("<apply><gt/><ci>x</ci><cn>9</cn></apply>"), "", ADDED)), 'event "e"'),
        (rated(TIMES, EVENT.format(at(4), "", MATH.format("<cn>1</cn>"))), 'the event "e" of x'),
        (sbml(f"<listOfParameters>{X}{K}</listOfParameters>"), "wanted a model with something that changes; got none"),
        (rated(TIMES, parameters=X + '<parameter id="k" constant="true"/>'), "wanted a finite value of k at the start"),
        (rated("<ci>nobody</ci>"), 'wanted equations of names in the file; got "nobody" for x'),
        (BOTH, 'wanted species that either a rule or reactions change; got both for "A"'),
        ("<sbml", "wanted XML; got a fault at line 1"),
        ("", "wanted XML; got a fault at line 1: no element found"),
        ("<html/>", "wanted valid SBML; got a fault"),
        (b"\xff\xfe<\x00", "wanted UTF-8 text; got the byte 0xff at place 0"),
        ('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><sbml/>', "wanted XML without a document type"),
    ],
)
def test_refused(tmp_path, text, said):
    with pytest.raises(DataError) as refused:
        read(tmp_path, text)
    assert str(refused.value).startswith("model.xml: ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


SQUARE = '<functionDefinition id="f">' + MATH.format(
    "<lambda><bvar><ci>y</ci></bvar><apply><times/><ci>y</ci><ci>y</ci></apply></lambda>"
)
SQUARE += "</functionDefinition>"
BOMB = '<!DOCTYPE s [<!ENTITY a "aaaa">' + "".join(
    f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB + "]><sbml>&i;</sbml>", "document type"),
        ('<!DOCTYPE s [<!ENTITY f SYSTEM "file:///etc/passwd">]><sbml>&f;</sbml>', "document type"),
        (rated("<apply><minus/>" * 100_000 + "<ci>x</ci>" + "</apply>" * 100_000), "elements at most 150 deep"),
        (rated("<apply><plus/>" + "<ci>x</ci>" * 500_000 + "</apply>"), "an equation of at most 20000 parts"),
        (rated(TIMES).replace("</model>", "<a/>" * 500_000 + "</model>"), "wanted at most 400000 elements; got more"),
        (rated("<apply><plus/>" + "<ci>x</ci>" * 3_500_000 + "</apply>"), "wanted at most 8388608 bytes; got more"),
        (rated("<apply><plus/>" + "<ci>x</ci>" * 30_000 + "</apply>"), "an equation of at most 20000 parts"),
        (
            rated("<apply><ci>f</ci>" * 50 + "<ci>x</ci>" + "</apply>" * 50).replace(
                "<listOfParameters>",
                f"<listOfFunctionDefinitions>{SQUARE}</listOfFunctionDefinitions><listOfParameters>",
            ),
            "wanted an equation of at most 20000 parts; got one of more",
        ),
    ],
)
def test_hostile_files_are_refused_at_once(tmp_path, text, said):
    path, began = written(tmp_path, text), time.process_time()
    with pytest.raises(DataError) as refused:
        read_sbml(path, time_unit="day")
    assert said in str(refused.value)
    assert len(str(refused.value)) < 300
    assert time.process_time() - began < 5.0


def test_functions_that_call_each_other_end(tmp_path):
    call = "<apply><ci>f{1}</ci><ci>y</ci></apply>"
    head, end = (
        '<functionDefinition id="f{0}"><math xmlns="http://www.w3.org/1998/Math/MathML">',
        "</functionDefinition>",
    )
    body = f"{head}<lambda><bvar><ci>y</ci></bvar><apply><times/>{call}{call}</apply></lambda></math>{end}"
    first = head.format(0) + f"<lambda><bvar><ci>y</ci></bvar><ci>y</ci></lambda></math>{end}"
    chain = first + "".join(body.format(i, i - 1) for i in range(1, 19))
    text = rated("<apply><ci>f18</ci><ci>x</ci></apply>")
    text = text.replace(
        "<listOfParameters>", f"<listOfFunctionDefinitions>{chain}</listOfFunctionDefinitions><listOfParameters>"
    )
    with pytest.raises(DataError, match="an equation of at most 20000 parts"):
        read(tmp_path, text)


def test_a_file_that_is_no_file(tmp_path):
    with pytest.raises(DataError, match="wanted an SBML file; got a folder"):
        read_sbml(tmp_path)
    with pytest.raises(DataError, match="wanted an SBML file; got nothing there"):
        read_sbml(tmp_path / "none.xml")
