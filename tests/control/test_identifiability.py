"""What measurements tell of a patient's numbers, and whether they decide the next dose."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

from optimizer.cli import app
from optimizer.control.identifiability import Identifiability, information, widths
from tests.control.conftest import DAYS, DOSES, NOISE, SMALL


def design(inference, count):
    """Slopes of ln N by (ln N0, growth), as those of the prior's standard normal numbers."""
    return np.stack([np.ones(count), DAYS[:count]], axis=1) @ np.asarray(inference.prior.root) / NOISE


def informed(inference, record, count):
    own = record._replace(seen=jnp.where(jnp.arange(6)[:, None] < count, record.seen, 0))
    return information(inference, inference.begin(0), jnp.asarray(DOSES), own)


def test_the_information_is_that_of_the_line(inference, record):
    slopes = design(inference, 4)
    np.testing.assert_allclose(informed(inference, record, 4), slopes.T @ slopes, rtol=1e-6, atol=1e-6)


def test_the_widths_are_those_of_the_exact_posterior(inference, record, exact):
    found, root = informed(inference, record, 4), np.asarray(inference.prior.root)
    _, by_data, width = widths(found, root)
    prior = np.linalg.norm(root, axis=1)
    np.testing.assert_allclose(width, np.sqrt(np.diag(exact[1])) / prior, rtol=1e-5)
    lines = np.stack([np.ones(4), DAYS], axis=1)
    alone = np.sqrt(np.diag(np.linalg.inv(lines.T @ lines))) * NOISE
    np.testing.assert_allclose(by_data, alone / prior, rtol=1e-5)
    assert np.all(width < by_data)


def test_of_one_visit_the_growth_is_not_told(inference, record):
    values, by_data, width = widths(informed(inference, record, 1), np.asarray(inference.prior.root))
    found = Identifiability(values, by_data, width, np.zeros((5, 1)))
    assert found.rank == 1
    assert np.isfinite(by_data[0])
    assert np.isinf(by_data[1])
    assert width[1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("doses", "decides", "said"),
    [
        ([0.0, 0.0, 0.4, 1.0, 1.0], False, "cannot decide between stop and go: across the 95 % band"),
        ([0.0, 0.0, 0.0, 0.2, 0.2], True, "the best next dose is 0 to 20 % of the largest"),
        ([0.3, 0.4, 0.4, 0.9, 1.0], True, "the best next dose is 30 to 100 % of the largest"),
    ],
)
def test_the_verdict_is_in_words(doses, decides, said):
    found = Identifiability(np.ones(1), np.ones(1), np.ones(1), np.array(doses)[:, None])
    assert found.decides == decides
    assert said in found.sentence


def test_a_tumor_that_may_grow_or_shrink_decides_nothing(tmp_path):
    """Whether drug is needed at all hangs on the sign of the growth: three visits with 30 % noise do not tell it."""
    text = SMALL.read_text().replace('death_rate = "0 / day"', 'death_rate = "0.05 / day"')
    text = text.replace("final_burden = 1.0\nroughness = 0.2", "progression = 1.0\ndrug_use = 0.02")
    (tmp_path / "sign.toml").write_text(text)
    (tmp_path / "obs.csv").write_text("day,burden [cell]\n0,1e8\n7,1.1e8\n14,1.17e8\n")
    options = ["--observations", str(tmp_path / "obs.csv"), "--particles", "64", "--plan-particles", "4"]
    options += ["--restarts", "1", "--no-plot", "--json", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["replan", str(tmp_path / "sign.toml"), *options])
    document = json.loads(result.stdout)
    found = document["identifiability"]
    assert not found["decides"]
    assert found["rank"] == found["of"] == 2
    assert "The data cannot decide between stop and go" in found["sentence"]
    assert document["status"] == "solved"
