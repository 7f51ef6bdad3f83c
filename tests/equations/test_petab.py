"""PEtab problems: experiments against closed forms, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("libsbml")
pytest.importorskip("yaml")

from optimizer.equations.petab import read_petab
from optimizer.files.faults import DataError
from tests.oracle.sbml_suite import course

HERE = Path(__file__).parent / "petab"


def observed(experiment, times, **more):
    """Observables by time, and the model as it was read."""
    found = read_petab(HERE / "problem.yaml", time_unit="day", experiment=experiment, **more)
    model, states = course(found, times)
    return [model.values(np.float64(t), y, np.zeros(0), np) for t, y in zip(times, states, strict=True)], found


def test_conditions_at_the_start_and_doses_on_the_way():
    values, found = observed("low", [1.0, 4.0, 7.0])
    assert found.doses == [("drug", 2.0, 1.5), ("drug", 5.0, 1.5)]
    # start = 4 scale by the condition, and the tumor begins there.
    area = np.array([0.0, 1.5 * (1 - np.exp(-1.0)) / 0.5, 1.5 * (2 - np.exp(-2.5) - np.exp(-1.0)) / 0.5])
    size = 8.0 * np.exp(0.1 * np.array([1.0, 4.0, 7.0]) - 0.3 * area)
    assert np.allclose([value["obs_size"] for value in values], 2.0 * size + 2.0, rtol=1e-7)
    assert values[0]["obs_log"] == pytest.approx(np.log(size[0]), rel=1e-7)
    assert values[1]["obs_log"] == pytest.approx(np.log(size[1]) + 4.0, rel=1e-7)


def test_other_experiments_and_other_numbers():
    values, found = observed("high", [3.0], values={"scale": 3.0})
    assert found.parameters["elimination"] == 0.25
    assert values[0]["obs_size"] == pytest.approx(3.0 * 12.0 * np.exp(0.3) + 2.0, rel=1e-7)
    values, found = observed("plain", [3.0])
    assert (found.parameters["elimination"], found.states["tumor"], found.doses) == (0.5, 5.0, [])
    assert found.notes == [
        "obs_log is no [[observation]]: wanted log-normal noise that is a number, of what does not hang on the time; "
        "got normal noise 0.5 and the time",
        'the observable obs_place was left out: wanted an equation over the model and parameters; got "offset"',
        "growth, kill, scale have their nominal values; bounds and priors were left out (adose calibrate fits them)",
        "2 measurements were left out",
    ]


def test_a_parameter_without_a_nominal_value_may_be_given(tmp_path):
    shutil.copytree(HERE, tmp_path, dirs_exist_ok=True)
    table = (tmp_path / "parameters.tsv").read_text()
    (tmp_path / "parameters.tsv").write_text(table.replace("scale\t0\t10\t2", "scale\t0\t10\t"))
    found = read_petab(tmp_path / "problem.yaml", time_unit="day", experiment="low", values={"scale": 3.0})
    assert found.parameters["scale"] == 3.0
    with pytest.raises(DataError, match='a number as nominalValue; got "" of scale'):
        read_petab(tmp_path / "problem.yaml", time_unit="day", experiment="low")


@pytest.mark.parametrize(
    ("noise", "distribution", "sd"),
    [
        ("0.1", "log-normal", 0.1),
        ("0.1 * scale", "log-normal", 0.2),
        # The coefficient of variation of exp(sd e) is sqrt(exp(sd^2) - 1).
        ("0.1 * obs_size", "normal", np.sqrt(np.log(1.01))),
        ("obs_size * 0.1", "normal", np.sqrt(np.log(1.01))),
        ("0.1", "normal", None),
        ("0.1 * tumor", "log-normal", None),
        ("0.1 * obs_size", "laplace", None),
        ("0", "log-normal", None),
        ("offset", "log-normal", None),
    ],
)
def test_noise_of_the_logarithm_is_an_observation(tmp_path, noise, distribution, sd):
    shutil.copytree(HERE, tmp_path, dirs_exist_ok=True)
    table = (tmp_path / "observables.tsv").read_text()
    (tmp_path / "observables.tsv").write_text(table.replace("0.1\tlog-normal", f"{noise}\t{distribution}"))
    found = read_petab(tmp_path / "problem.yaml", time_unit="day", experiment="low")
    assert found.observed == ({} if sd is None else {"obs_size": pytest.approx(sd, rel=1e-12)})
    named = f"got {distribution} noise {noise}"
    assert any(note.startswith("obs_size is no [[observation]]") and note.endswith(named) for note in found.notes) == (
        sd is None
    )


def test_starts_follow_free_parameters(tmp_path):
    _, found = observed("low", [1.0])
    assert found.states == {"tumor": "4.0 * scale", "drug": 0.0}
    assert found.parameters["scale"] == 2.0
    # A condition that sets a parameter by its own name in the table: the tumor begins at 3 scale.
    shutil.copytree(HERE, tmp_path, dirs_exist_ok=True)
    table = (tmp_path / "parameters.tsv").read_text().replace("start\t\t\t5\tfalse", "start\t1\t9\t5\ttrue")
    (tmp_path / "parameters.tsv").write_text(table)
    (tmp_path / "conditions.tsv").write_text(
        "conditionId\ttargetId\ttargetValue\nlarge\tstart\t3*start\nslow\telimination\t0.25\ngiven\tdrug\tdrug+1\n"
    )
    found = read_petab(tmp_path / "problem.yaml", time_unit="day", experiment="low")
    assert (found.states["tumor"], found.parameters["start"]) == ("3.0 * start", 5.0)


def test_time_of_observables_is_that_of_the_model():
    found = read_petab(HERE / "problem.yaml", time_unit="hour", experiment="low")
    assert [day for _, day, _ in found.doses] == pytest.approx([2.0 / 24.0, 5.0 / 24.0])
    assert "time / 0.041666666666666664" in found.outputs["obs_log"]


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (
            "conditions.tsv",
            "conditionId\ttargetId\ttargetValue\nlarge\tstart\t1\ngiven\tdrug\t2\n",
            'got "2.0" for "drug" at',
        ),
        ("problem.yaml", "a: [", "wanted YAML; got"),
        ("problem.yaml", "!!python/object/apply:os.system ['true']", "wanted YAML; got could not determine"),
        ("problem.yaml", "- 1", "wanted a problem with format_version 2; got none"),
        ("problem.yaml", "format_version: 1", "wanted a problem with format_version 2; got 1"),
        ("problem.yaml", "format_version: 2\nextensions: {sciml: {}}", "wanted a problem without extensions"),
        ("problem.yaml", "format_version: 2\nmodel_files: 5", "wanted one model in SBML; got 0 models"),
        ("problem.yaml", "format_version: 2\nparameter_files: 5", "wanted a list parameter_files; got int"),
        ("problem.yaml", "format_version: 2\nparameter_files: [/etc/passwd]", 'the problem; got "/etc/passwd"'),
        ("problem.yaml", "format_version: 2\nparameter_files: [../x.tsv]", 'the problem; got "../x.tsv"'),
        ("problem.yaml", "format_version: 2\nparameter_files: [https://a.b/x]", 'the problem; got "https://a.b/x"'),
        ("problem.yaml", "format_version: 2\nparameter_files: [{}]", 'the problem; got "{}"'),
        ("problem.yaml", b"\xff", "wanted UTF-8 text in problem.yaml; got the byte 0xff"),
        ("parameters.tsv", "parameterId\tnominalValue\na\tmany\n", 'a number as nominalValue; got "many" of a'),
        ("parameters.tsv", "id\n", "wanted a column parameterId in parameters.tsv; got id"),
        ("parameters.tsv", "", "wanted a column parameterId in parameters.tsv; got none"),
        (
            "conditions.tsv",
            "conditionId\ttargetId\ttargetValue\nlarge\tstart\teval(1)\n",
            "condition large: wanted one",
        ),
        ("conditions.tsv", "conditionId\ttargetId\ttargetValue\n", 'conditions that the problem has; got "large"'),
        (
            "conditions.tsv",
            "conditionId\ttargetId\ttargetValue\nlarge\tstart\tnone\ngiven\tdrug\t1\n",
            "a value of start over parameters",
        ),
        (
            "conditions.tsv",
            "conditionId\ttargetId\ttargetValue\nlarge\tstart\t1/0\ngiven\tdrug\t1\n",
            "a finite value of start",
        ),
        (
            "experiments.tsv",
            "experimentId\ttime\tconditionId\nlow\t-inf\tlarge\nlow\t0\t\n",
            "got a steady state before",
        ),
        ("experiments.tsv", "experimentId\ttime\tconditionId\nlow\t5\t\n", "that starts at time 0; got one at 5"),
        (
            "experiments.tsv",
            "experimentId\ttime\tconditionId\nlow\t0\t\nlow\t3\tlarge\n",
            'got "4.0 * scale" for "start"',
        ),
        ("experiments.tsv", "experimentId\ttime\tconditionId\nhigh\t0\t\n", 'experiment, one of high; got "low"'),
        ("model.xml", "<sbml", "model.xml: wanted XML; got a fault at line 1"),
    ],
)
def test_refused(tmp_path, file, text, said):
    shutil.copytree(HERE, tmp_path, dirs_exist_ok=True)
    (tmp_path / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError) as refused:
        read_petab(tmp_path / "problem.yaml", time_unit="day", experiment="low")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_condition_that_would_do_nothing_or_a_compartment_is_refused(tmp_path):
    shutil.copytree(HERE, tmp_path, dirs_exist_ok=True)
    head = "conditionId\ttargetId\ttargetValue\n"
    (tmp_path / "conditions.tsv").write_text(f"{head}large\tstrat\t4\ngiven\tdrug\tdrug+1\n")
    with pytest.raises(
        DataError, match='conditions that set parameters and states of the model; got one that sets "st'
    ):
        read_petab(tmp_path / "problem.yaml", time_unit="day", experiment="low")


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    shutil.copytree(HERE, tmp_path / "in")
    (tmp_path / "in" / "parameters.tsv").rename(tmp_path / "parameters.tsv")
    (tmp_path / "in" / "parameters.tsv").symlink_to(tmp_path / "parameters.tsv")
    with pytest.raises(DataError, match="a link out of it"):
        read_petab(tmp_path / "in" / "problem.yaml", time_unit="day", experiment="low")


def test_levels_of_a_control_are_those_of_the_scenario():
    found = read_petab(HERE / "problem.yaml", ["elimination"], "day", experiment="high")
    assert "elimination" not in found.parameters
    assert "the level of elimination from the start on was left out" in found.notes


def test_several_experiments_ask_for_one():
    with pytest.raises(DataError, match="wanted experiment, one of low, high, plain; got none"):
        read_petab(HERE / "problem.yaml", time_unit="day")
