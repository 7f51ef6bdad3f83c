"""One small scenario, whose posterior is known in closed form, compiled once."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.control import Effort, Inference, RecedingHorizonController, load_prior
from optimizer.observations import MEASURED, Record
from optimizer.scenario import Scenario

SMALL = Path(__file__).parent / "small.toml"
KILL, NOISE = 0.08, 0.3
# What was given each week, and when it was measured; the tumor grows at 0.07 a day from 1.4e8 cells.
DOSES = np.array([[1.0], [0.0], [1.0], [0.5], [0.0], [0.0]])
DAYS = np.array([0.0, 7.0, 14.0, 21.0])


def log_cells(days, start, growth, doses=DOSES):
    """Logarithm of the cells on days of decisions."""
    given = np.concatenate([[0.0], np.cumsum(7.0 * doses[:, 0])])
    return start + growth * days - KILL * np.interp(days, 7.0 * np.arange(7), given)


@pytest.fixture(scope="session")
def inference():
    scenario = Scenario.load(SMALL)
    return Inference(scenario, load_prior(scenario), scenario.channels(), particles=1024)


@pytest.fixture(scope="session")
def controller(inference):
    return RecedingHorizonController(inference, Effort(particles=16, restarts=1), rows=6)


@pytest.fixture(scope="session")
def record():
    shown = log_cells(DAYS, np.log(1.4e8), 0.07) + NOISE * np.array([0.5, -0.8, 0.3, 0.9])
    empty = np.zeros(2)
    seen = np.r_[np.full(4, MEASURED), 0, 0]
    return Record(
        jnp.asarray(np.r_[DAYS, empty]), jnp.asarray(np.r_[shown, empty])[:, None], jnp.asarray(seen)[:, None]
    )


@pytest.fixture(scope="session")
def exact(inference, record):
    """Mean and covariance of (ln N0, growth) given the record: a linear model with normal errors."""
    prior = inference.prior
    mean = np.array([float(prior.mean[0]), float(prior.mean[1])])
    precision = np.linalg.inv(prior.root @ prior.root.T)
    design = np.stack([np.ones(4), DAYS], axis=1)
    offset = log_cells(DAYS, 0.0, 0.0)
    covariance = np.linalg.inv(precision + design.T @ design / NOISE**2)
    pulled = design.T @ (np.asarray(record.shown)[:4, 0] - offset) / NOISE**2
    return covariance @ (precision @ mean + pulled), covariance
