"""Models that are written down, and model files: what a scenario says of them, and what it refuses."""

import copy
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import optimizer as opt
from optimizer.cli import app
from optimizer.policies.schedule import Schedule
from optimizer.report.document import dataset
from optimizer.scenario import Scenario, ScenarioError
from optimizer.scenario.build import build_system
from optimizer.scenario.keys import find, substituted

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples" / "equations").glob("*.toml"))
SBML, STREAMS = (ROOT / "tests" / "equations" / name for name in ("sbml", "nonmem"))
GREENE = {
    "kind": "sbml",
    "file": "BIOMD0000000825.xml",
    "control": ["u"],
    "time_unit": "day",
    "burden": "Sensitive_tumor_S + Resistant_tumor_R",
    "resistant": "Resistant_tumor_R",
}


def tables(**changes):
    """A small scenario, keys of its model replaced or left out (None)."""
    model = {
        "kind": "equations",
        "parameters": {"r": "0.01 / hour", "K": "1e9 cell", "k": "0.5 L/mg/day"},
        "states": {"N": "1e8 cell", "E": "0 mg"},
        "rates": {"N": "r*N*(1 - N/K) - k*u*N", "E": "-1*E"},
        "outputs": {"burden": "N"},
    } | changes
    drug = {
        "name": "u",
        "route": "bolus",
        "pk": {"kind": "first_order", "elimination": "0.3 / day"},
        "dose": {"max": "3 mg/L"},
    }
    return {
        "model": {key: value for key, value in model.items() if value is not None},
        "drug": [drug],
        "decision": {"every": "7 day", "horizon": "14 day"},
    }


def with_greene(**changes):
    """A scenario over the file of Greene et al. 2019."""
    model = {key: value for key, value in (GREENE | changes).items() if value is not None}
    drug = {"name": "u", "route": "infusion", "pk": {"kind": "direct"}, "dose": {"max": 1.5}}
    return {"model": model, "drug": [drug], "decision": {"every": "3 day", "horizon": "30 day"}}


def load(data, folder=SBML):
    """The scenario of tables."""
    return Scenario.from_tables(copy.deepcopy(data), "test", folder=folder)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_what_an_example_means_is_a_scenario_again(path):
    scenario = Scenario.load(path)
    resolved = scenario.resolved()
    again = Scenario.from_tables(json.loads(json.dumps(resolved, allow_nan=False))["scenario"], scenario.name)
    assert again.resolved() == resolved
    assert scenario.doi


def test_units_are_converted():
    values = load(tables()).plan.model.alone.values
    assert values["parameters"] == pytest.approx({"r": 0.24, "K": 1e9, "k": 0.5})
    assert values["states"] == {"N": 1e8, "E": 0.0}
    assert values["linear"] == ["E"]
    assert values["cell_floor"] == 1.0
    said = load(tables()).resolved()["scenario"]["model"]
    assert said["parameters"] == {"r": "0.24 / day", "K": 1e9, "k": "0.5 L/day/mg"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"outputs": {}}, 'outputs: wanted an output burden, the size of the tumor, such as "S + R"; got none'),
        ({"rates": {"N": "r*N"}}, 'rates: wanted a rate for each state; got none for "E"'),
        ({"rates": {"N": "r*N", "E": "0", "M": "0"}}, 'rates: wanted one of "N", "E"; got "M"'),
        ({"rates": {"N": "r*n", "E": "0"}}, 'rates.N: wanted a parameter, a state, an output, a drug or time; got "n"'),
        ({"rates": {"N": "r*N*", "E": "0"}}, 'rates.N: wanted a number, a name or "("; got the end in "r*N*"'),
        ({"rates": {"N": "__import__('os')", "E": "0"}}, "rates.N: wanted names, numbers"),
        (
            {"rates": {"N": "r*N + k", "E": "0"}},
            'rates.N: wanted one unit in "r * N + k"; got cell count / time beside',
        ),
        ({"rates": {"N": "r", "E": "0"}}, "rates.N: wanted a rate in cell count / time, as the state is in cell count"),
        ({"rates": {"N": "exp(u)*N", "E": "0"}}, 'wanted one unit in "exp(u)"; got mass / volume beside pure number'),
        ({"rates": {"N": "r*N/(N/N - 1)", "E": "0"}}, "rates.N: wanted a finite value at the start; got inf"),
        ({"rates": {"N": "1e300^2", "E": "0"}}, "rates: wanted equations that can be worked out, not nested too deep"),
        ({"states": {"N": "2*u", "E": 0}}, 'states.N: wanted a quantity such as "1e8 cell", or parameters; got "u"'),
        ({"states": {"N": 0, "E": 0}}, "outputs.burden: wanted a tumor at the start, more than 0; got 0"),
        ({"states": {}}, "states: wanted at least one state; got none"),
        ({"states": {"N": True, "E": 0}}, "wanted an equation as text, or a number; got true"),
        ({"states": "N"}, 'wanted a table of at most 1000 names; got "N"'),
        ({"parameters": {"r": "0.1 / month", "K": 1, "k": 1}}, "parameters.r: wanted a number with a unit"),
        ({"parameters": {"u": 1}}, 'parameters: wanted a name of its own; got "u", which is a name in drug too'),
        ({"parameters": {"exp": 1}}, "parameters: wanted a name of letters, digits and _"),
        ({"parameters": {"a b": 1}}, 'got "a b"'),
        (
            {"outputs": {"burden": "a", "a": "b + N", "b": "a"}},
            "outputs.a: wanted an output that does not hang on itself",
        ),
        ({"outputs": {"burden": "N*u"}}, "outputs.burden: wanted what hangs on states that no dose enters"),
        ({"doses": {"E": "u"}}, 'doses.E: wanted parameters and drugs whose pk has the kind "given"; got "u"'),
        ({"doses": {"M": "1"}}, 'doses: wanted one of "N", "E"; got "M"'),
        ({"linear": ["M"]}, 'linear: wanted one of "N", "E"; got "M"'),
        ({"stats": {}}, 'wanted a known key; got "stats", did you mean "states"'),
        ({"cell_floor": 0}, "cell_floor: wanted more than 0; got 0"),
    ],
)
def test_faults(changes, said):
    with pytest.raises(ScenarioError) as refused:
        load(tables(**changes))
    assert said in str(refused.value)
    assert all(line.startswith("test: model") and "\n" not in line for line in refused.value.faults)


def test_doses_are_in_proportion():
    data = tables(doses={"E": "u^2"})
    data["drug"][0] |= {"pk": {"kind": "given"}, "dose": {"max": "3 mg"}}
    with pytest.raises(ScenarioError, match=r"doses.E: wanted what is proportional to the amount given"):
        load(data)
    data["model"]["doses"]["E"] = "2*u"
    scenario = load(data)
    trajectory, _ = scenario.problem().simulate(Schedule(np.array([[3.0], [0.0]])))
    assert float(trajectory.observables["E"][0]) == pytest.approx(6.0)


def test_what_hangs_on_the_time_is_no_observable():
    outputs = {"burden": "N", "fading": "exp(-0.1*time)", "twice": "2*fading", "free": "K - N"}
    data = tables(outputs=outputs, rates={"N": "r*N - 0.1*fading*N", "E": "0"})
    scenario = load(data)
    assert scenario.plan.model.observables == ("N", "E", "burden", "free")
    assert scenario.system().model.observable_names == ("N", "E", "burden", "free")
    assert scenario.notes == ("u is in no equation",)
    data["objective"] = {"mean_observable": {"weight": 1, "observable": "twice"}}
    with pytest.raises(ScenarioError, match=r'wanted one of "N", "E", "burden", "free"; got "twice"'):
        load(data)


def test_a_drug_that_equations_cannot_name():
    data = tables()
    data["drug"][0]["name"] = "5-FU"
    with pytest.raises(ScenarioError, match=r'wanted a drug whose name equations can hold.*got "5-FU"'):
        load(data)


def test_patients_differ_in_parameters():
    plan = load(tables()).plan
    place = find(plan.model, plan.drugs, "model.parameters.r")
    assert (place.value, place.unit) == (pytest.approx(0.24), "1/day")
    model = build_system(substituted(plan, [place], [0.5])).model
    assert float(model.parameters["r"]) == 0.5
    with pytest.raises(ValueError, match=r"wanted a number of the tumor or of a drug: one of model.parameters.r"):
        find(plan.model, plan.drugs, "model.states.N")


# --- model files ------------------------------------------------------------------------------------------------------


def test_a_file_is_equations():
    scenario = load(with_greene(parameters={"alpha": 0.1}))
    assert scenario.title.startswith("Greene2019 - Differentiate Spontaneous and Induced Evolution")
    assert scenario.notes == ("BIOMD0000000825.xml: the event treatment, which writes u, was left out",)
    model = scenario.resolved()["scenario"]["model"]
    assert model["kind"] == "equations"
    assert model["parameters"]["alpha"] == 0.1
    assert model["outputs"]["drug_induced_death"] == "compartment * ((d * u) * Sensitive_tumor_S)"


def test_the_file_is_what_was_written_down_by_hand():
    ours = Scenario.load(ROOT / "examples" / "equations" / "greene2019.toml")
    data = with_greene()
    data["drug"][0]["dose"]["max"], data["decision"]["horizon"] = 5, "60 day"
    doses = np.linspace(0.0, 2.0, 20)[:, None]
    one, other = (s.problem().simulate(Schedule(doses))[0] for s in (ours, load(data)))
    assert np.allclose(one.burden[-1], other.burden[-1], rtol=1e-6)
    assert np.allclose(one.resistant[-1], other.resistant[-1], rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"file": "none.xml"}, "model.file: none.xml: wanted an SBML file; got nothing there"),
        (
            {"file": "/etc/passwd"},
            'model.file: wanted an .xml or .sbml file relative to the scenario; got "/etc/passwd"',
        ),
        ({"file": "roadrunner.json"}, "wanted an .xml or .sbml file"),
        ({"control": ["w"]}, "BIOMD0000000825.xml: wanted a control that the file has, such as compartment"),
        ({"control": None}, 'got the event "treatment" of u'),
        ({"burden": "S"}, 'model.outputs.burden: wanted a parameter, a state, an output, a drug or time; got "S"'),
        ({"burden": None}, "model.burden: wanted this key"),
        (
            {"parameters": {"beta": 1}},
            "model.parameters: wanted numbers of the file (compartment, epsilon, d, p_r, alpha",
        ),
        ({"rates": {}}, 'wanted a known key; got "rates"'),
    ],
)
def test_faults_of_files(changes, said):
    with pytest.raises(ScenarioError) as refused:
        load(with_greene(**changes))
    assert said in str(refused.value)


ORAL = {"kind": "nonmem", "file": "oral.ctl", "time_unit": "hour", "burden": "1 + V", "parameters": {"WT": 84}}


def with_stream(**changes):
    """A scenario over a control stream."""
    model = {key: value for key, value in (ORAL | {"doses": {"A1": "pill"}} | changes).items() if value is not None}
    drug = {"name": "pill", "route": "bolus", "pk": {"kind": "given"}, "dose": {"max": "100 mg"}}
    return {"model": model, "drug": [drug], "decision": {"every": "1 day", "horizon": "3 day"}}


def test_a_control_stream_is_equations_and_a_cohort():
    scenario = load(with_stream(parameters={"WT": 84, "THETA2": 40}), STREAMS)
    model = scenario.resolved()["scenario"]["model"]
    assert (model["kind"], model["doses"]) == ("equations", {"A1": "(0.8) * (pill)"})
    assert (model["parameters"]["THETA2"], model["parameters"]["WT"]) == (40.0, 84.0)
    assert scenario.title == "One compartment, taken by mouth"
    assert [vary.sd for vary in scenario.plan.cohort.vary] == pytest.approx([0.3, 0.2])
    assert scenario.plan.cohort.correlation[0, 1] == pytest.approx(0.5)
    trajectory, _ = scenario.problem().simulate(Schedule(np.array([[100.0], [0.0], [0.0]])))
    ka, ke, last = 26.4, 24.0 * 5.2 * 1.2**0.75 / 40.0, float(trajectory.times[-1])
    wanted = 80.0 * ka / (ka - ke) * (np.exp(-ke * last) - np.exp(-ka * last))
    assert float(trajectory.observables["A2"][-1]) == pytest.approx(wanted, rel=1e-4)
    # A cohort that the scenario has counts.
    own = with_stream() | {"cohort": {"vary": [{"key": "model.parameters.THETA1", "distribution": "normal", "sd": 1}]}}
    assert [vary.key for vary in load(own, STREAMS).plan.cohort.vary] == ["model.parameters.THETA1"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"doses": None}, 'model.doses: wanted A1 = "DRUG", or another state that doses enter, or a control; got none'),
        ({"doses": {"A3": "pill"}}, 'model.doses: wanted one of "A1", "A2"; got "A3"'),
        ({"parameters": None}, "model.file: oral.ctl: line 6: wanted names that are defined above; parameters = { WT"),
        ({"parameters": {"WT": 84, "THETA9": 1}}, "model.parameters: wanted numbers of the file (WT, THETA1"),
        ({"time_unit": None}, 'model.file: oral.ctl: wanted time_unit, such as "hour"'),
        ({"file": "oral.xml"}, 'model.file: wanted an .ctl or .mod file relative to the scenario; got "oral.xml"'),
        ({"file": "../nonmem/none.mod"}, "none.mod: wanted a NONMEM control stream; got nothing there"),
    ],
)
def test_faults_of_streams(changes, said):
    with pytest.raises(ScenarioError) as refused:
        load(with_stream(**changes), STREAMS)
    assert said in str(refused.value)


def test_without_libsbml_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr("optimizer.equations.sbml_file.find_spec", lambda name: None)
    with pytest.raises(
        ScenarioError, match=r"wanted the package python-libsbml \(pip install 'adose\[models\]'\); got none"
    ):
        load(with_greene())


def run(*words):
    """Exit code and words of the command line."""
    done = CliRunner().invoke(app, list(map(str, words)))
    return done.exit_code, done.stderr


def test_import_writes_a_scenario(tmp_path):
    shutil.copy(SBML / "BIOMD0000000825.xml", tmp_path)
    out = tmp_path / "out.toml"
    asked = [
        "import",
        tmp_path / "BIOMD0000000825.xml",
        "--to",
        out,
        "--burden",
        "Tumor_Volume_V",
        "--time-unit",
        "day",
    ]
    assert run(*asked)[0] == 3
    assert not out.exists()
    code, said = run(*asked, "--control", "u", "--resistant", "Resistant_tumor_R")
    assert (code, said) == (0, f"Written to {out}: adose check says what it means.\n")
    text = out.read_text()
    assert "# Left out or assumed: the event treatment, which writes u, was left out.\n" in text
    assert tomllib.loads(text)["model"]["outputs"]["resistant"] == "Resistant_tumor_R"
    (regimen,) = Scenario.load(out).regimens()
    assert (regimen.name, float(regimen.policy.doses[3, 0])) == ("half doses", 0.5)
    wanted = load(with_greene()).resolved()["scenario"]["model"]["rates"]
    assert Scenario.load(out).resolved()["scenario"]["model"]["rates"] == wanted
    # What is there is kept.
    assert run(*asked, "--control", "u")[0] == 2
    assert out.read_text() == text


def test_import_loads_no_jax(tmp_path):
    asked = ["--to", str(tmp_path / "out.toml"), "--burden", "Tumor_Volume_V", "--time-unit", "day", "--control", "u"]
    words = [sys.executable, "-X", "importtime", "-m", "optimizer", "import", str(SBML / "BIOMD0000000825.xml"), *asked]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert " numpy\n" in done.stderr
    assert " jax\n" not in done.stderr
    assert " scipy\n" not in done.stderr


@pytest.mark.parametrize(
    ("burden", "said"),
    [
        ("nobody", "burden: wanted an equation of names in the file, such as compartment, epsilon, d, p_r, alpha"),
        ("1 +", "burden: wanted a number, a name or"),
        ("Resistant_tumor_R", "burden: wanted a tumor at the start, more than 0; got 0"),
        ("1 / Resistant_tumor_R", "burden: wanted a tumor at the start, more than 0; got inf"),
        ("burden", "burden: wanted an output that does not hang on itself; got one that does"),
    ],
)
def test_a_burden_that_is_none_writes_nothing(tmp_path, burden, said):
    out, path = tmp_path / "out.toml", SBML / "BIOMD0000000825.xml"
    found = run("import", path, "--to", out, "--burden", burden, "--time-unit", "day", "--control", "u")
    assert found[0] == 3
    assert found[1].startswith(f"BIOMD0000000825.xml: {said}")
    assert found[1].count("\n") == 1
    assert not out.exists()


def test_words_of_the_grammar_are_other_names(tmp_path):
    """A drug and a state that doses enter, called as functions of the grammar are; and a rate that is endless."""
    text = (SBML / "BIOMD0000000825.xml").read_text()
    event = text[text.index("<listOfEvents>") : text.index("</listOfEvents>") + len("</listOfEvents>")]
    (tmp_path / "model.xml").write_text(text.replace('"u"', '"exp"').replace("<ci> u </ci>", "<ci> exp </ci>"))
    asked = ["import", tmp_path / "model.xml", "--burden", "Tumor_Volume_V", "--time-unit", "day"]
    code, said = run(*asked, "--to", tmp_path / "a.toml", "--control", "exp")
    assert code == 0, said
    scenario = Scenario.load(tmp_path / "a.toml")
    assert scenario.plan.drugs[0].name == "exp_"
    assert "exp_" in scenario.resolved()["scenario"]["model"]["outputs"]["drug_induced_death"]
    without = text.replace(event, "").replace("Resistant_tumor_R", "sqrt")
    (tmp_path / "model.xml").write_text(without)
    asked[3] = "Sensitive_tumor_S"
    code, said = run(*asked, "--to", tmp_path / "b.toml", "--dose", "sqrt=virus")
    assert code == 0, said
    assert tomllib.loads((tmp_path / "b.toml").read_text())["model"]["doses"] == {"sqrt_": "virus"}
    assert Scenario.load(tmp_path / "b.toml").plan.drugs[0].name == "virus"


def test_a_rate_without_an_end_is_refused_by_name(tmp_path):
    text = (STREAMS / "tumor.ctl").read_text().replace("KE = LOG(2)/THETA(4)", "KE = 1/0")
    (tmp_path / "model.ctl").write_text(text)
    asked = ["import", tmp_path / "model.ctl", "--to", tmp_path / "out.toml", "--burden", "A1"]
    code, said = run(*asked, "--time-unit", "week", "--parameter", "SEX=1")
    assert (code, said) == (3, "model.ctl: KE: wanted a finite value at the start, without drug; got inf\n")
    assert not (tmp_path / "out.toml").exists()


def test_import_of_a_control_stream(tmp_path):
    out = tmp_path / "out.toml"
    asked = ["import", STREAMS / "tumor.ctl", "--to", out, "--burden", "A1 + A3", "--time-unit", "week"]
    assert run(*asked, "--parameter", "SEX")[1] == "--parameter: wanted NAME=NUMBER; got SEX\n"
    assert run(*asked, "--parameter", "SEX=woman")[0] == 2
    code, said = run(*asked, "--parameter", "SEX=1")
    assert code == 0, said
    written = tomllib.loads(out.read_text())
    assert written["model"]["doses"] == {"A2": "drug"}
    assert [entry["sd"] for entry in written["cohort"]["vary"]] == pytest.approx([0.5, 0.3])
    assert (
        "# Left out or assumed: $ERROR at line 31, which says how data are measured, was left out." in out.read_text()
    )
    shutil.copy(STREAMS / "tumor.ctl", tmp_path / "tumor.txt")
    code, said = run("import", tmp_path / "tumor.txt", "--to", tmp_path / "other.toml", "--burden", "A1")
    assert (code, said) == (
        3,
        'tumor.txt: wanted a file with one of the endings .xml, .sbml, .ctl, .mod, .yaml, .yml; got ".txt"\n',
    )


def test_import_of_a_petab_problem(tmp_path):
    out, problem = tmp_path / "out.toml", ROOT / "tests" / "equations" / "petab" / "problem.yaml"
    asked = ["import", problem, "--to", out, "--burden", "tumor", "--time-unit", "day", "--dose", "drug=cisplatin"]
    code, said = run(*asked)
    assert (code, said) == (3, "problem.yaml: wanted experiment, one of low, high, plain; got none\n")
    # The scale is of the observable, and of where the tumor starts.
    code, said = run(*asked, "--experiment", "low", "--parameter", "kill=0.4", "--parameter", "scale=3")
    assert code == 0, said
    written = tomllib.loads(out.read_text())
    assert (written["model"]["parameters"]["kill"], written["model"]["parameters"]["scale"]) == (0.4, 3.0)
    assert written["model"]["states"] == {"tumor": "4.0 * scale", "drug": 0.0}
    assert written["regimen"][0]["dose"][1] == {"drug": "cisplatin", "amount": "1.5 mg", "days": [5.0]}
    assert "# Left out or assumed: 2 measurements were left out.\n" in out.read_text()
    model = {"kind": "petab", "file": "problem.yaml", "experiment": "low", "time_unit": "day", "burden": "obs_size"}
    drug = {"name": "cisplatin", "route": "bolus", "pk": {"kind": "given"}, "dose": {"max": "2 mg"}}
    data = {"model": model | {"doses": {"drug": "cisplatin"}}, "drug": [drug]}
    scenario = load(data | {"decision": {"every": "1 day", "horizon": "7 day"}}, problem.parent)
    assert [r.name for r in scenario.regimens()] == ["as in the file"]
    (channel,) = scenario.channels()
    # The burden itself is what is observed.
    assert (channel.label(), float(channel.assay.noise)) == ("burden", 0.1)
    (channel,) = Scenario.load(out).channels()
    assert (channel.label(), float(channel.assay.noise)) == ("observable.obs_size", 0.1)


def test_an_observation_of_what_the_model_reports():
    data = tables() | {"observation": [{"kind": "observable", "observable": "E", "noise": 0.2}, {"kind": "burden"}]}
    scenario = load(data)
    first, second = scenario.channels()
    assert (first.label(), second.label()) == ("observable.E", "burden")
    trajectory, _ = scenario.problem().simulate(Schedule(np.array([[3.0], [0.0]])))
    shown = first.quantity.expected(scenario.system(), trajectory)
    assert np.array_equal(shown, trajectory.observables["E"])
    data["observation"] = [{"kind": "observable", "observable": "E"}] * 2
    with pytest.raises(ScenarioError, match=r'wanted each quantity once; got "observable\.E" twice'):
        load(data)
    data["observation"] = [{"kind": "observable", "observable": "twice"}]
    with pytest.raises(
        ScenarioError, match=r'observation\[0\].observable: wanted one of "N", "E", "burden"; got "twice"'
    ):
        load(data)


def test_import_of_dose_events(tmp_path):
    out = tmp_path / "out.toml"
    text = (SBML / "BIOMD0000000825.xml").read_text()
    text = text[: text.index("<listOfEvents>")] + text[text.index("</listOfEvents>") + len("</listOfEvents>") :]
    symbol = "<csymbol encoding='text' definitionURL='http://www.sbml.org/sbml/symbols/time'>t</csymbol>"
    math = "<math xmlns='http://www.w3.org/1998/Math/MathML'><apply>{}</apply></math>"
    event = (
        "<listOfEvents><event id='e' useValuesFromTriggerTime='true'><trigger initialValue='false' persistent='true'>"
        + math.format(f"<geq/>{symbol}<cn>9</cn>")
        + "</trigger><listOfEventAssignments><eventAssignment variable='Resistant_tumor_R'>"
        + math.format("<plus/><ci>Resistant_tumor_R</ci><cn>0.25</cn>")
        + "</eventAssignment></listOfEventAssignments></event></listOfEvents></model>"
    )
    (tmp_path / "model.xml").write_text(text.replace("</model>", event))
    code, said = run(
        *("import", tmp_path / "model.xml", "--to", out, "--burden", "Sensitive_tumor_S", "--time-unit", "day"),
        *("--dose", "Resistant_tumor_R=virus"),
    )
    assert code == 0, said
    written = tomllib.loads(out.read_text())
    dose = {"drug": "virus", "amount": "0.25 mg", "days": [9.0]}
    assert written["regimen"] == [{"name": "as in the file", "dose": [dose]}]
    assert written["model"]["doses"] == {"Resistant_tumor_R": "virus"}
    regimen = Scenario.load(out).regimens()[0]
    assert np.asarray(regimen.policy.doses).max() == 0.25


def test_states_called_as_parts_of_a_trajectory_are_told_apart():
    """Names of a model of one's own that `trajectory.nc` has for something else."""
    names = ("drug", "dose", "clone", "cells", "concentration", "interval")
    data = tables(
        states={"N": "1e8 cell", **dict.fromkeys(names, 2.0)},
        rates={"N": "r*N*(1 - N/K) - k*u*N", **{name: f"-{i} * {name}" for i, name in enumerate(names)}},
    )
    scenario = load(data)
    problem = scenario.problem()
    trajectory, _ = problem.simulate(Schedule(np.array([[3.0], [1.0]])))
    found = dataset(problem, trajectory, scenario.grid(), scenario.dose_units)
    assert found["dose"].values.tolist() == [[3.0], [1.0]]
    assert list(found["drug"].values) == ["u"]
    for name in names:
        assert np.array_equal(found[f"observable.{name}"], trajectory.observables[name])
    assert "observable.N" not in found


def test_a_burden_below_zero_is_no_solution():
    data = tables(states={"N": "2 cell"}, rates={"N": "-0.5 - k*u"}, parameters={"k": 0.1}, outputs={"burden": "N"})
    result = opt.optimize(load(data).problem(), seed=0, restarts=1)
    assert result.status is opt.Status.SIMULATION_FAILED
    assert result.reason.startswith("the burden falls below zero about day 4")
    assert result.reason.endswith("at least), which no tumor does")
