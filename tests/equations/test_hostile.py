"""Model files that mean no good: one sentence within seconds, nothing run, nothing fetched, no other file opened."""

import builtins
import io
import os
import socket
import time

import pytest

pytest.importorskip("libsbml")

from optimizer.equations.nonmem import read_nonmem
from optimizer.equations.petab import read_petab
from optimizer.equations.sbml import read_sbml
from optimizer.files.faults import DataError
from optimizer.scenario import Scenario, ScenarioError
from tests.equations.test_sbml import MATH, PARAMETER, TIMES, K, X, rated, sbml

READERS = {".xml": read_sbml, ".ctl": read_nonmem, ".yaml": read_petab}


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No socket, no process, and no open file but those of the test's own folder."""

    def refuse(*words, **more):
        raise AssertionError(f"a model file reached out: {words}")

    for place, name in ((socket, "socket"), (socket, "getaddrinfo"), (os, "system"), (os, "fork")):
        monkeypatch.setattr(place, name, refuse)
    inside = str(tmp_path)

    def watched(kept):
        def opened(file, *words, **more):
            path = str(file)
            assert isinstance(file, int) or path.startswith((inside, os.path.dirname(os.__file__))) or ".venv" in path
            return kept(file, *words, **more)

        return opened

    for place, name in ((builtins, "open"), (io, "open"), (os, "open")):
        monkeypatch.setattr(place, name, watched(getattr(place, name)))


def refused(tmp_path, suffix, text, **more):
    """The sentence that refuses a file, at once."""
    path = tmp_path / f"model{suffix}"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    began = time.process_time()
    with pytest.raises(DataError) as fault:
        READERS[suffix](path, time_unit="day", **more)
    said = str(fault.value)
    assert time.process_time() - began < 5.0
    assert said.startswith("model")
    assert "\n" not in said
    assert len(said) < 500
    return said


UNITS = '<listOfUnitDefinitions><unitDefinition id="u"><listOfUnits>{}</listOfUnits></unitDefinition>'
UNITS += "</listOfUnitDefinitions>"
COMP = '<sbml xmlns:comp="http://www.sbml.org/sbml/level3/version1/comp/version1" comp:required="true" '
UNIT = '<unit kind="second" exponent="{}" scale="{}" multiplier="{}"/>'
LIST = "<listOfParameters>"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # 50 MB of MathML.
        (rated("<apply><plus/>" + "<ci>x</ci>" * 5_200_000 + "</apply>"), "wanted at most 8388608 bytes; got more"),
        # As large as may be, and deep within.
        (rated("<apply><plus/>" + "<cn>1</cn>" * 390_000 + "</apply>"), "an equation of at most 20000 parts"),
        # Functions that call themselves, and each other.
        (
            rated("<apply><ci>f</ci><ci>x</ci></apply>").replace(
                LIST,
                "<listOfFunctionDefinitions><functionDefinition id='f'>"
                + MATH.format("<lambda><bvar><ci>y</ci></bvar><apply><ci>f</ci><ci>y</ci></apply></lambda>")
                + "</functionDefinition></listOfFunctionDefinitions>" + LIST,
            ),
            "a function that the file defines, not by itself",
        ),
        # Names that are no names.
        (rated("<ci>__import__('os').system('true')</ci>"), ""),
        (rated(TIMES).replace('id="x"', 'id="x; import os"'), ""),
        # Numbers beyond what there is.
        (rated(TIMES).replace('value="3"', 'value="1e999"'), "wanted"),
        (rated("<cn type='e-notation'>1<sep/>999</cn>"), "wanted"),
        # Includes, external models and processing instructions.
        (
            rated(TIMES).replace("<sbml ", COMP),
            "wanted core SBML; got the package comp",
        ),
        ('<?xml version="1.0"?><!DOCTYPE s SYSTEM "http://127.0.0.1/x.dtd"><sbml/>', "without a document type"),
        ('<?xml version="1.0" encoding="UTF-16"?><sbml/>', "wanted valid SBML"),
        (b"\x00" * 1000, "wanted XML"),
    ],
    ids=range(11),
)  # fmt: skip
def test_sbml(tmp_path, text, said):
    assert said in refused(tmp_path, ".xml", text)


@pytest.mark.parametrize(
    "unit", [(1, 0, "1e999"), (1, 10**6, 1), (1, 0, -1), (1, 0, 0), (10**6, 0, 1), (1, 0, "NaN")], ids=str
)
def test_tricks_with_units_of_time(tmp_path, unit):
    text = rated(TIMES).replace('name="a model">', f'name="a model" timeUnits="u">{UNITS.format(UNIT.format(*unit))}')
    path = tmp_path / "model.xml"
    path.write_text(text)
    with pytest.raises(DataError, match="wanted"):
        read_sbml(path)


@pytest.mark.parametrize("word", ["lambda", "class", "import", "None", "exec", "__builtins__", "self", "and"])
def test_words_of_python_are_names(tmp_path, word):
    path = tmp_path / "model.xml"
    path.write_text(rated(TIMES).replace('id="k"', f'id="{word}"').replace("<ci>k</ci>", f"<ci>{word}</ci>"))
    found = read_sbml(path, time_unit="day")
    own = word if word != "and" else f"{word}_"
    assert (found.parameters, found.rates) == ({own: 3.0}, {"x": f"{own} * x"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("$PROB a\n$SUBS ADVAN6 OTHER=/etc/passwd\n$PK\n", "no code of its own"),
        ("$PROB a\n$INCLUDE /etc/passwd\n", "got $INCLUDE"),
        ("$PROB a\n$SUBS ADVAN1\n$PK\nK=__import__('os')\n", "line 4: wanted names, numbers"),
        ("$PROB a\n$SUBS ADVAN1\n$PK\nK=1\n$THETA " + "(" * 100_000, "line 5: wanted numbers of $THETA"),
        ("$PROB a\n$SUBS ADVAN1\n$PK\n" + "IF (1.EQ.1) THEN\n" * 20_000, "line 3: wanted ENDIF"),
        ("$PROB a\n$SUBS ADVAN1\n$PK\nK=1\n" + "K=K*K*K\n" * 90 + "F1=K\n", "an equation of at most 20000 parts"),
        ("$PROB a\n$SUBS ADVAN1\n$PK\nK=1D400\n", "line 4: wanted a number that a float holds"),
        ("$PROB a\n$SUBS ADVAN6\n$MODEL NCOMP=999\n", "wanted 1 to 99 compartments"),
        ("$PROB a\n$OMEGA BLOCK(999)\n1\n", "line 2: wanted 499500 numbers of BLOCK(999); got 1"),
        ("$" * 1_000_000, "line 1: wanted one of the records"),
    ],
    ids=range(10),
)
def test_control_streams(tmp_path, text, said):
    assert said in refused(tmp_path, ".ctl", text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &a [x]\n" + "".join(f"b{i}: &b{i} [*a, *a]\n" for i in range(1000)), "format_version 2; got none"),
        ("[" * 100_000, "wanted YAML"),
        ("!!python/name:os.system", "wanted YAML"),
        ("format_version: 2\nmodel_files: {m: {language: sbml, location: /etc/passwd}}", 'got "/etc/passwd"'),
        ("format_version: 2\nmodel_files: {m: {language: sbml, location: 'http://a.b/c'}}", 'got "http://a.b/c"'),
    ],
    ids=range(5),
)
def test_problems(tmp_path, text, said):
    assert said in refused(tmp_path, ".yaml", text)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        # What a model's numbers are and what the scenario says of them do not fit together.
        ({"parameters": {"k": "3 mg"}}, "parameters.k: wanted a number, in the file's unit; got"),
        ({"parameters": {"k": "10**10**10 mg"}}, "parameters.k: wanted a number, in the file's unit; got"),
        ({"time_unit": "mg"}, "time_unit: wanted"),
        ({"time_unit": "10**10**10 day"}, "time_unit: wanted"),
        ({"burden": "x + exp(d)"}, "wanted what hangs on states that no dose enters"),
    ],
    ids=range(5),
)
def test_units_that_disagree(tmp_path, change, said):
    (tmp_path / "model.xml").write_text(rated(TIMES))
    model = {"kind": "sbml", "file": "model.xml", "time_unit": "day", "burden": "x", "doses": {"x": "d"}}
    tables = {
        "model": model | change,
        "drug": [{"name": "d", "route": "bolus", "pk": {"kind": "given"}, "dose": {"max": "1 mg"}}],
        "decision": {"every": "7 day", "horizon": "14 day"},
    }
    with pytest.raises(ScenarioError) as fault:
        Scenario.from_tables(tables, "test", folder=tmp_path)
    assert said in str(fault.value)
    assert all("\n" not in line and len(line) < 500 for line in fault.value.faults)


def test_a_quantity_that_is_called_time_is_not_the_time(tmp_path):
    text = rated(TIMES).replace('id="k"', 'id="time"').replace("<ci>k</ci>", "<ci>time</ci>")
    assert "wanted quantities that are not called time; got one" in refused(tmp_path, ".xml", text)


def test_rules_that_follow_from_each_other(tmp_path):
    rule = '<assignmentRule variable="{}">' + MATH + "</assignmentRule>"
    rules = rule.format("k", "<ci>j</ci>") + rule.format("j", "<ci>k</ci>")
    rules += f'<rateRule variable="x">{MATH.format("<ci>k</ci>")}</rateRule>'
    quantities = X + K.replace("true", "false") + PARAMETER.format("j", 1, "false")
    text = sbml(f"{LIST}{quantities}</listOfParameters><listOfRules>{rules}</listOfRules>")
    (tmp_path / "model.xml").write_text(text)
    tables = {
        "model": {"kind": "sbml", "file": "model.xml", "time_unit": "day", "burden": "x", "doses": {"x": "d"}},
        "drug": [{"name": "d", "route": "bolus", "pk": {"kind": "given"}, "dose": {"max": "1 mg"}}],
        "decision": {"every": "7 day", "horizon": "14 day"},
    }
    with pytest.raises(ScenarioError, match="wanted an output that does not hang on itself"):
        Scenario.from_tables(tables, "test", folder=tmp_path)
