"""Mechanisms, interactions, transitions and shared effects in a scenario: what is built, and what is refused."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.pharmacology.interactions import Bliss, MuSyC, Pooled
from optimizer.scenario import Scenario
from optimizer.scenario.schema import classes
from optimizer.simulate import rollout

from .conftest import COMPETING, STROMAL
from .helpers import faults, load

# One clone for each way out; two inhibitors, and a drug for each role that helps them.
WAYS_OUT = """
[model]
kind = "tumor"
interaction = { law = "musyc", first = "a", second = "b", potency_second = 2.0, efficacy = 0.3 }

[model.growth]
law = "competitive_logistic"
capacity = 1e10
competition = [[1, 0.7, 1, 1], [0.9, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]

[[model.effect]]
drug = "a"
law = "hill"
emax = "0.5 / day"
ec50 = "1 mg/L"
hill = 2

[[model.effect]]
drug = "b"
law = "hill"
emax = "0.3 / day"
ec50 = "0.1 mg/L"

[[model.clone]]
name = "sensitive"
cells = 1e9
growth_rate = "0.2 / day"

[[model.clone]]
name = "shifted"
resistant = true
cells = 1e3
growth_rate = "0.2 / day"
cost = "20 percent"
ec50_factor = [{ drug = "a", factor = 50 }]
mutation = { from = "sensitive", rate = 1e-8 }

[[model.clone]]
name = "bypass"
resistant = true
cells = 1e2
growth_rate = "0.15 / day"
ignores = ["a"]
effect = [{ drug = "b", law = "log_kill", decades = "0.4 L/mg/day" }]

[[model.clone]]
name = "persister"
resistant = true
cells = 0
growth_rate = "0.01 / day"
ignores = ["a", "b"]

[[model.transition]]
from = "sensitive"
to = "persister"
law = "hill"
drug = "a"
saturated = "0.02 / day"
ec50 = "1 ug/mL"

[[model.transition]]
from = "persister"
to = "sensitive"
rate = "0.05 / day"

[[model.mechanism]]
kind = "efflux"
drug = "a"
induced = 5
turnover = "0.3 / day"
ec50 = "1 mg/L"
expression = [1, 1, 1, 0]

[[model.mechanism]]
kind = "immune"
inflow = "1.3e4 cell / day"
recruitment = "0.1245 / day"
half_recruitment = 2.019e7
inactivation = "3.422e-10 / cell / day"
loss = "0.0412 / day"
kill = "1e-8 / cell / day"

[[model.mechanism]]
kind = "myelosuppression"
drug = "a"
baseline = "5e9 cell/L"
transit_time = "88 hour"
feedback = 0.16
slope = "0.1 L/mg"

[[drug]]
name = "a"
dose = { max = "20 mg" }

[drug.pk]
kind = "two_compartment"
volume = "5 L"
clearance = "2 L/day"
peripheral_volume = "10 L"
exchange = "3 L/day"

[[drug]]
name = "b"
dose = { max = "20 mg" }

[drug.pk]
kind = "oral"
volume = "50 L"
half_life = "12 hour"
absorption = "10 / day"
bioavailability = 0.5
lag = "30 min"

[[drug]]
name = "pump blocker"
role = "efflux_inhibitor"
ki = "1 mg/L"
pk = { kind = "sustained_release", release = "0.2 / day", volume = "10 L", half_life = "6 hour" }
dose = { max = "20 mg" }

[[drug]]
name = "epigenetic"
role = "resensitizer"
rise = 10
ec50 = 0.5
pk = { kind = "direct" }
dose = { max = 1 }

[[drug]]
name = "checkpoint"
role = "checkpoint_inhibitor"
efficacy = 0.9
ec50 = "1 mg/L"
pk = { kind = "one_compartment", volume = "5 L", half_life = "20 day" }
dose = { max = "200 mg" }

[decision]
every = "7 day"
horizon = "42 day"

[[constraint]]
kind = "nadir"
limit = "1e9 cell/L"
"""


def test_everything_in_one_scenario():
    scenario = load(WAYS_OUT)
    model = scenario.system().model
    assert isinstance(model.interaction, MuSyC)
    assert (model.interaction.first, model.interaction.second) == (0, 1)
    assert [[None if e is None else e.kind for e in row[:2]] for row in model.effects] == [
        ["hill", "hill"],
        ["hill", "hill"],
        [None, "log_kill"],
        [None, None],
    ]
    assert [float(row[0].ec50) for row in model.effects[:2]] == [1.0, 50.0]
    assert model.cost.tolist() == [0.0, 0.2, 0.0, 0.0]
    assert [(t.kind, t.source, t.target) for t in model.transitions] == [("hill", 0, 3), ("constant", 3, 0)]
    assert model.has_inflow == (True, True, False, True)
    assert model.growth.competition.shape == (4, 4)
    assert model.growth.capacity.tolist() == [1e10] * 4
    assert [m.kind for m in model.mechanisms] == ["efflux", "immune", "myelosuppression"]
    assert model.mechanisms[0].expression.tolist() == [1.0, 1.0, 1.0, 0.0]
    assert model.mechanisms[1].kill.tolist() == [1e-8] * 4
    assert [role.kind for role in model.roles][3] == "resensitizer"
    assert [pk.kind for pk in scenario.system().pharmacokinetics][:3] == [
        "two_compartment",
        "oral",
        "sustained_release",
    ]
    assert float(scenario.system().pharmacokinetics[1].clearance) == pytest.approx(np.log(2) / 0.5 * 50)


def test_everything_simulates():
    problem = load(WAYS_OUT).problem()
    from optimizer.policies.schedule import Schedule

    trajectory, report = problem.simulate(Schedule(0.5 * problem.upper))
    assert report.finite
    assert set(trajectory.observables) == {"pump", "effectors", "neutrophils"}
    assert float(np.min(trajectory.cells)) >= 0.0
    assert [check.name for check in report.constraints][-1] == "nadir"


def test_everything_is_written_out_again():
    resolved = load(WAYS_OUT).resolved()
    again = Scenario.from_tables(json.loads(json.dumps(resolved))["scenario"], "test")
    assert again.resolved() == resolved
    assert again.plan.drugs == load(WAYS_OUT).plan.drugs
    model = resolved["scenario"]["model"]
    assert "effect" not in model
    assert model["clone"][1]["effect"][0]["ec50"] == "50.0 mg/L"
    assert model["transition"][1] == {"from": "persister", "to": "sensitive", "law": "constant", "rate": "0.05 / day"}
    assert model["interaction"]["first"] == "a"


def test_words_of_every_family():
    assert set(classes("growth")) >= {
        "exponential", "logistic", "gompertz", "von_bertalanffy", "competitive_logistic", "competitive_gompertz"
    }  # fmt: skip
    assert set(classes("effect")) >= {"hill", "norton_simon", "linear", "log_kill"}
    assert set(classes("transition")) >= {"constant", "linear", "hill", "division"}
    assert set(classes("interaction")) >= {"bliss", "hsa", "loewe", "musyc", "pooled"}
    assert {"stroma", "efflux", "immune", "myelosuppression"} <= set(classes("mechanism"))
    assert {"two_compartment", "oral", "sustained_release"} <= set(classes("pk"))
    assert {"resensitizer", "efflux_inhibitor", "checkpoint_inhibitor"} <= set(classes("role"))
    assert "nadir" in classes("limit")


def test_stroma_pools_its_inhibitors():
    second = STROMAL.split("[[drug]]")[1].split("[decision]")[0].replace("cetuximab", "other")
    text = STROMAL.replace("[decision]", f"[[drug]]{second}potency = 4\n[decision]")
    text += '[[model.transition]]\nfrom = "tumor"\nto = "tumor"\nrate = "1 / day"\n'
    assert faults(text)[0].startswith("test: model.transition[0].to: wanted the name of another clone")
    built = load(text.split("[[model.transition]]")[0]).system().model
    assert isinstance(built.interaction, Pooled)
    # One mg/L of the second drug is four of the first, on the clone and in the stroma.
    drives = [
        built.drive((built.mechanisms[0].initial_state(),), jnp.array(c)) for c in ([4.0, 1.0], [8.0, 0.0], [0.0, 2.0])
    ]
    assert np.allclose([float(d.loss[0]) for d in drives], float(drives[0].loss[0]), rtol=1e-13)
    assert float(built.mechanisms[0].inhibitor(jnp.array([1.0, 2.0]))) == 9.0


def test_direct_level_without_unit_simulates():
    scenario = load(
        COMPETING.replace("1500 day", "30 day")
        + '[[regimen]]\nname = "full"\n[[regimen.dose]]\ndrug = "drug"\namount = 1\n'
    )
    model = scenario.system().model
    assert isinstance(model.interaction, Bliss)
    regimen = scenario.regimens()[0]
    cells = np.asarray(rollout(scenario.system(), regimen.policy, regimen.grid).cells[-1])
    from scipy.integrate import solve_ivp

    def field(_, y):
        crowd = 0.027 * (1.0 - y.sum())
        return [crowd * (1.0 - 1.5) * y[0], crowd * y[1]]

    exact = solve_ivp(field, (0.0, 30.0), [0.2475, 0.0025], rtol=1e-11, atol=1e-14).y[:, -1]
    assert np.allclose(cells, exact, rtol=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('first = "a"', 'first = "c"', 'model.interaction.first: wanted one of "a", "b"'),
        ('second = "b"', 'second = "a"', "model.interaction.second: wanted another drug than the first"),
        (
            'ignores = ["a"]',
            'ignores = ["epigenetic"]',
            'model.clone[2].ignores[0]: wanted one of "a", "b"; got',
        ),
        ('drug = "a", factor = 50', 'drug = "a", factor = 0', "factor: wanted more than 0"),
        ('from = "persister"', 'from = "nobody"', "model.transition[1].from: wanted one of"),
        ('to = "sensitive"', 'to = "shifted"', "drug[3].role: wanted a [[model.transition]] from a"),
        ("[1, 1, 1, 0]", "[1, 1]", "model.mechanism[0].expression: wanted one quantity, or one for each of 4 clones"),
        (
            "[[1, 0.7, 1, 1], [0.9, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]",
            "[[1, 0.7], [1, 1]]",
            "wanted 4 rows of 4 numbers",
        ),
        ("[[1, 0.7, 1, 1], [0.9,", "[[1, 0.7, 1], [0.9,", "wanted a list of as many rows as clones"),
        ("[[1, 0.7, 1, 1], [0.9,", "[[1, -0.7, 1, 1], [0.9,", "model.growth.competition: wanted at least 0"),
        ('kind = "myelosuppression"', 'kind = "odd"', "model.mechanism[2].kind: wanted one of"),
        ('lag = "30 min"', 'lag = "1 day"', "lag: wanted at most 0.5 day"),
        ('every = "7 day"', 'every = "20 min"', "drug[1].pk.lag: wanted less than the time between two decisions"),
    ],
)
def test_refused(old, new, said):
    text = WAYS_OUT.replace(old, new)
    assert text != WAYS_OUT
    found = faults(text.replace('"42 day"', '"2 day"') if "min" in new else text)
    assert 1 <= len(found) <= 2
    assert said in found[0]


@pytest.mark.parametrize(("size", "factor"), [("1e308", "50"), ("1e-300", "1e-50")])
def test_a_factor_stays_within_the_range_of_numbers(size, factor):
    text = WAYS_OUT.replace('ec50 = "1 mg/L"', f'ec50 = "{size} mg/L"', 1).replace("factor = 50", f"factor = {factor}")
    (said,) = faults(text)
    assert "ec50_factor[0].factor: wanted a factor that leaves ec50 within the range of numbers; got" in said


@pytest.mark.parametrize("spread", ["cv = 1e308", 'sd = "1e300 mg/L"'])
def test_a_spread_stays_within_the_range_of_numbers(spread):
    vary = f'[[cohort.vary]]\nkey = "model.ec50_max"\ndistribution = "lognormal"\n{spread}\n'
    (said,) = faults(STROMAL + vary)
    assert "cohort.vary[0]: wanted a spread of at most 1e+06 times the number, which is" in said


def test_nadir_needs_neutrophils():
    text = STROMAL + '[[constraint]]\nkind = "nadir"\nlimit = "1e9 cell/L"\n'
    assert "such as one with the myelosuppression mechanism" in faults(text)[0]


def test_musyc_needs_curves():
    text = WAYS_OUT.replace('ignores = ["a"]\n', "")
    assert "model.clone[2]: wanted Hill effects of both drugs" in faults(text)[0]
