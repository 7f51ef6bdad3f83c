"""What the tests of scenarios share."""

from pathlib import Path

import jax
import pytest

jax.config.update("jax_enable_x64", True)

ROOT = Path(__file__).parents[2] / "scenarios"
SHIPPED = sorted(ROOT.glob("*.toml"))
INVALID = sorted((ROOT / "invalid").glob("*.toml"))

# The example that a user is shown first, which has to load as it stands.
EXAMPLE = """
#:schema ./scenario.schema.json
title = "Weekly cetuximab against colorectal cancer cells that fibroblast-secreted EGF protects"
doi = ["10.1038/s41540-025-00495-0"]

[model]
kind = "stromal"
preset = "kraut2025_caf"
carrying_capacity = 1e9            # illustrative, as is the resistant clone

[[model.clone]]
name = "sensitive"
cells = 1e8

[[model.clone]]
name = "resistant"
resistant = true
cells = 1e3
ec50_max = "73.4 ug/mL"
net_growth_max = "0.006 / hour"

[[drug]]
name = "cetuximab"
role = "inhibitor"
route = "bolus"
pk = { kind = "first_order", elimination = "0.006 / hour" }
dose = { min = "0 ug/mL", max = "3 ug/mL" }

[decision]
every = "7 day"
horizon = "180 day"

[objective]
burden = 1.0
resistance = 0.3
drug_use = 0.05

[[constraint]]
kind = "cumulative_dose"
drug = "cetuximab"
limit = "26 ug/mL"

[[regimen]]
name = "weekly 1 ug/mL"

[[regimen.dose]]
drug = "cetuximab"
amount = "1 ug/mL"
every = "7 day"

[search]
restarts = 16
seed = 0
"""
# Two clones under a drug without kinetics; POLICIES belongs to it.
COMPETING = """
title = "Competing clones under continuous and adaptive dosing"

[model]
kind = "tumor"
growth = { law = "logistic", capacity = 1.0 }
cell_floor = 1e-9

[[model.clone]]
name = "sensitive"
cells = 0.2475
growth_rate = "0.027 / day"
death_rate = "0 / day"
effect = [{ drug = "drug", law = "norton_simon", strength = 1.5 }]

[[model.clone]]
name = "resistant"
resistant = true
cells = 0.0025
growth_rate = "0.027 / day"
death_rate = "0 / day"

[[drug]]
name = "drug"
role = "inhibitor"
route = "infusion"
pk = { kind = "direct" }          # the dose rate is the effect-site level, at once
dose = { min = 0, max = 1 }

[decision]
every = "1 day"
horizon = "1500 day"

[progression]
factor = 1.2
"""
POLICIES = """
[[regimen]]
name = "continuous"
policy = { kind = "continuous" }

[[regimen]]
name = "AT50"
policy = { kind = "threshold", stop_below = 0.5, restart_above = 1.0, every = "1 day" }
"""
STROMAL = """
[model]
kind = "stromal"
preset = "kraut2025_caf"

[[drug]]
name = "cetuximab"
pk = { kind = "first_order", elimination = "0.006 / hour" }
dose = { max = "3 ug/mL" }

[decision]
every = "7 day"
horizon = "90 day"
"""


@pytest.fixture
def competing() -> str:
    """A tumor of two clones under a direct drug."""
    return COMPETING


@pytest.fixture
def stromal() -> str:
    """The shortest stromal scenario."""
    return STROMAL
