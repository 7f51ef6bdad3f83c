"""Competing clones that differ, seen every four weeks; and one small training that all tests look at."""

import pytest

from optimizer.control import TrainSettings, learn
from optimizer.scenario import Scenario

STEPS = 80
SCENARIO = """
title = "Clones that differ"
[model]
kind = "tumor"
growth = { law = "logistic", capacity = 1.0 }
cell_floor = 1e-9
[[model.clone]]
name = "sensitive"
cells = 0.5
growth_rate = "0.02 / day"
death_rate = "0 / day"
effect = [{ drug = "drug", law = "norton_simon", strength = 1.5 }]
[[model.clone]]
name = "resistant"
resistant = true
cells = 0.005
growth_rate = "0.02 / day"
death_rate = "0 / day"
[[drug]]
name = "drug"
route = "infusion"
pk = { kind = "direct" }
dose = { max = 1 }
[decision]
every = "28 day"
horizon = "1008 day"
[objective]
progression = 1.0
"""
COHORT = """
[[cohort.vary]]
key = "model.clone[resistant].cells"
distribution = "lognormal"
cv = 0.8
[[cohort.vary]]
key = "model.clone[sensitive].growth_rate"
distribution = "lognormal"
cv = 0.2
"""


def scenario_of(folder, text=SCENARIO + COHORT):
    """The scenario as a file."""
    path = folder / "clones.toml"
    path.write_text(text)
    return Scenario.load(path)


@pytest.fixture(scope="session")
def clones(tmp_path_factory):
    return scenario_of(tmp_path_factory.mktemp("clones"))


@pytest.fixture(scope="session")
def settings():
    return TrainSettings(patients=24, held_out=24, steps=STEPS, hidden=8)


@pytest.fixture(scope="session")
def learned(clones, settings):
    return learn(clones, settings)
