"""What a scenario builds is what its author meant."""

import math

import pytest

from optimizer.models.stromal import PRESETS
from optimizer.models.tumor import Tumor
from optimizer.scenario import Scenario, ScenarioError
from optimizer.simulate import rollout

from .conftest import COMPETING, EXAMPLE, ROOT, STROMAL
from .helpers import faults, load

WEEKLY = '[[regimen]]\nname = "r"\n[[regimen.dose]]\ndrug = "cetuximab"\namount = "{} ug/mL"\nevery = "7 day"\n'
BLOCKER = """
[[drug]]
name = "anti-EGF"
role = "ligand_blocker"
pk = { kind = "first_order", elimination = "0.004 / hour" }
dose = { max = "1 ug/mL" }
"""


def final(scenario, index=0):
    """log10 of the cells at the end, and at their most, under a regimen."""
    regimen = scenario.regimens()[index]
    burden = rollout(scenario.system(), regimen.policy, regimen.grid).burden
    return math.log10(float(burden[-1])), math.log10(float(burden.max()))


# --- the paper's numbers ----------------------------------------------------------------------------------------------


def test_published_boluses():
    last, peak = final(load(STROMAL + WEEKLY.format(1)))
    assert last == pytest.approx(7.8342163, rel=1e-6)
    assert peak == pytest.approx(8.1503035, rel=1e-6)
    assert final(load(STROMAL + WEEKLY.format(0.85)))[0] == pytest.approx(8.5566753, rel=1e-6)


def test_published_combination():
    doses = WEEKLY.format(0.85) + '[[regimen.dose]]\ndrug = "anti-EGF"\namount = "0.45 ug/mL"\nevery = "7 day"\n'
    assert final(load(STROMAL + BLOCKER + doses))[0] == pytest.approx(8.0179714, rel=1e-6)


def test_published_general():
    text = STROMAL.replace("caf", "general").replace("0.006 / hour", "0.03 / hour").replace('"7 day"', '"10 day"')
    text += WEEKLY.format(1.4).replace('"7 day"', '"10 day"')
    assert final(load(text))[0] == pytest.approx(6.3953297, rel=1e-6)


def test_presets_are_the_papers_table():
    caf, general = PRESETS["kraut2025_caf"].values, PRESETS["kraut2025_general"].values
    assert set(caf) ^ set(general) == {"growth_factor_max", "growth_factor_max_per_cell"}
    model = load(STROMAL).system().model
    stroma = model.mechanisms[0]
    assert float(model.growth_rate[0]) == pytest.approx(0.0147 * 24)
    assert float(model.effects[0][0].emax) == pytest.approx((0.0147 + 0.0079) * 24)
    assert float(stroma.secretion_rate) == pytest.approx(0.024)
    assert float(stroma.growth_factor_decay) == pytest.approx(120.0)
    assert float(stroma.growth_factor_max) == 27.1
    assert float(stroma.shift_slope[0]) == 0.0078


# --- models -----------------------------------------------------------------------------------------------------------


def test_overrides_go_from_preset_to_model_to_clone():
    clones = '[[model.clone]]\nname = "a"\ncells = 1e8\n[[model.clone]]\nname = "b"\ncells = 10\nec50_max = "3 ug/mL"\n'
    text = STROMAL.replace("[[drug]]", f'ec50_max = "2 ug/mL"\nshift_midpoint = "100 pg/mL"\n{clones}\n[[drug]]')
    model = load(text).system().model
    assert isinstance(model, Tumor)
    assert [float(row[0].ec50) for row in model.effects] == [2.0, 3.0]
    assert model.mechanisms[0].shift_midpoint.tolist() == [100.0, 100.0]
    assert model.initial_cells.tolist() == [1e8, 10.0]
    assert model.growth.kind == "exponential"


def test_example():
    scenario = load(EXAMPLE)
    assert scenario.system().model.names == ("sensitive", "resistant")
    assert [float(row[0].ec50) for row in scenario.system().model.effects] == [7.34, 73.4]
    assert float(scenario.system().model.growth.capacity) == 1e9
    assert scenario.objective().weights.tolist() == [1.0, 0.05, 0.3]
    assert scenario.problem().rows[0].limit == 26.0
    assert scenario.grid().count == 26
    shipped = Scenario.load(ROOT / "crc_caf_cetuximab.toml").resolved()["scenario"]
    own = scenario.resolved()["scenario"]
    assert own.pop("regimen")[0] == shipped.pop("regimen")[0]
    assert own == shipped


def test_default_clone():
    model = load(STROMAL).system().model
    assert model.names == ("tumor",)
    assert model.initial_cells.tolist() == [1e8]
    assert model.cell_floor == 1.0


def test_mutation_feeds_the_clone():
    clones = '[[model.clone]]\nname = "a"\ncells = 1e8\n[[model.clone]]\nname = "b"\ncells = 0\nresistant = true\n'
    clones += 'mutation = { from = "a", rate = 1e-7 }\n'
    model = load(STROMAL.replace("[[drug]]", f"{clones}\n[[drug]]")).system().model
    assert model.mutation.tolist() == [[0.0, 1e-7], [0.0, 0.0]]
    assert model.has_inflow == (False, True)
    assert model.is_resistant == (False, True)


def test_clones_without_mutation_are_not_fed():
    assert load(STROMAL).system().model.has_inflow == ()
    assert load(STROMAL).system().model.mutation is None


def test_roles_take_their_own_keys():
    text = STROMAL + BLOCKER.replace('role = "ligand_blocker"', 'role = "ligand_blocker"\nefficacy = "0.5 mL/ug"')
    stroma = load(text).system().model.mechanisms[0]
    assert [role.kind for role in stroma.roles] == ["inhibitor", "ligand_blocker"]
    assert float(stroma.roles[1].efficacy) == 0.5
    assert load(text).system().model.effects[0][1] is None


def test_competing_clones():
    scenario = load(COMPETING)
    system = scenario.system()
    assert system.routes == ("infusion",)
    assert system.pharmacokinetics[0].kind == "direct"
    assert float(system.model.effects[0][0].strength) == 1.5
    assert system.model.effects[1] == (None,)
    assert float(system.model.growth.capacity) == 1.0
    assert system.model.cell_floor == 1e-9
    assert scenario.progression_factor == 1.2
    assert [term.kind for term in scenario.objective().terms] == ["progression"]
    assert scenario.grid().count == 1500


def test_strength_has_a_unit_where_the_level_has_one():
    text = COMPETING.replace('"direct"', '"first_order", half_life = "1 day"')
    text = text.replace("min = 0, max = 1", 'max = "1 mg/L/day"')
    assert faults(text) == (
        'test: model.clone[0].effect[0].strength: wanted a quantity in "L/mg" such as "1.0 L/mg"; got 1.5: '
        "a bare number has no unit, write it as text with one",
    )
    assert float(load(text.replace("1.5", '"1.5 mL/ug"')).system().model.effects[0][0].strength) == 1.5


def test_mechanism_of_a_tumor():
    keys = (
        "cells = 1000, secretion_slope = 60, secretion_midpoint = 0.005, growth_factor_max = '27.1 pg/mL'",
        "secretion_rate = '0.001 / cell / hour', growth_factor_decay = '5 / hour'",
        "shift_slope = '0.0078 mL/pg', shift_midpoint = ['379 pg/mL', \"100 pg/mL\"]",
    )
    stroma = f"mechanism = [{{ kind = 'stroma', {', '.join(keys)} }}]\n[[model.clone]]"
    text = COMPETING.replace("[[model.clone]]", stroma, 1) + "[objective]\nprotection = 1.0\n"
    built = load(text).system().model.mechanisms[0]
    assert built.shift_slope.tolist() == [0.0078, 0.0078]
    assert built.shift_midpoint.tolist() == [379.0, 100.0]
    assert [role.kind for role in built.roles] == ["inhibitor"]
    assert len(faults(text.replace('"100 pg/mL"]', '"100 pg/mL", "1 pg/mL"]'))) == 1


OWN = '''
from typing import ClassVar
import jax.numpy as jnp
from optimizer.axes import Scalar
from optimizer.fields import parameter
from optimizer.models.base import AbstractModel

class Decay(AbstractModel):
    """Cells that a drug kills."""
    kind: ClassVar[str] = "decay"
    kill: Scalar = parameter(unit="L/mg/day", doc="kill rate", positive=True)
    start: Scalar = parameter(unit="cell", doc="cells", default=100.0)
    def initial_state(self): return jnp.log(self.start)
    def vector_field(self, t, y, conc): return -self.kill * conc[0] * jnp.ones_like(y)
    def burden(self, y): return jnp.exp(y)
    def resistant(self, y): return jnp.zeros_like(y)
    def fastest_rate(self): return self.kill
'''


def own(tmp_path, code=OWN, model='kind = "own.py:Decay"\nkill = "2 L/mg/day"'):
    """A scenario with a model of one's own."""
    (tmp_path / "own.py").write_text(code)
    rest = STROMAL.split("[[drug]]")[1]
    (tmp_path / "s.toml").write_text(f"[model]\n{model}\n[[drug]]{rest}")
    return tmp_path / "s.toml"


def test_model_of_ones_own(tmp_path):
    path = own(tmp_path)
    scenario = Scenario.load(path, allow_code=True)
    assert float(scenario.system().model.kill) == 2.0
    assert scenario.problem().task.system.model.kind == "decay"
    assert scenario.resolved()["scenario"]["model"] == {"kind": "own.py:Decay", "kill": "2.0 L/mg/day", "start": 100.0}
    with pytest.raises(ScenarioError, match=r"model\.kind: wanted --allow-code"):
        Scenario.load(path)


@pytest.mark.parametrize(
    ("code", "model", "said"),
    [
        (OWN, 'kind = "other.py:Decay"', "wanted a Python file relative to the scenario"),
        (OWN, 'kind = "own.py:Missing"', "wanted a subclass of AbstractModel in own.py"),
        (OWN, 'kind = "own.py:jnp"', "wanted a subclass of AbstractModel in own.py"),
        (OWN, 'kind = "own.py:AbstractModel"', "to define "),
        (OWN, 'kind = "own.py:Decay"', "model.kill: wanted this key"),
        (OWN, 'kind = "own.py:Decay"\nkill = "2 / day"', "model.kill: wanted a quantity in"),
        ("1 / 0", 'kind = "own.py:Decay"', "wanted Python that runs; got ZeroDivisionError: division by zero"),
        ("def", 'kind = "own.py:Decay"', "wanted Python that runs; got SyntaxError"),
    ],
)
def test_model_of_ones_own_refused(tmp_path, code, model, said):
    with pytest.raises(ScenarioError) as caught:
        Scenario.load(own(tmp_path, code, model), allow_code=True)
    assert said in str(caught.value)
