"""PEtab problems: parameters that are known come back, likelihoods and priors by hand, and what is refused."""

import json
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

pytest.importorskip("libsbml")
pytest.importorskip("yaml")

from optimizer.calibrate.likelihood import Likelihood, log_prior
from optimizer.calibrate.petab_report import log_density
from optimizer.calibrate.run import calibrate
from optimizer.calibrate.space import Parameter, Space
from optimizer.ensemble.patients import load_patients
from optimizer.equations.model_file import imported_text
from optimizer.equations.petab_fit import Estimated, read_measurements
from optimizer.files.faults import DataError
from optimizer.report.plots.calibration import calibration_figures
from optimizer.scenario import Scenario

HERE = Path(__file__).parents[1] / "equations" / "petab"
TRUTH = {"growth": 0.1, "kill": 0.3, "scale": 2.0, "noise": 0.1}
HEAD = "parameterId\tlowerBound\tupperBound\tnominalValue\testimate\tpriorDistribution\tpriorParameters\n"
PARAMETERS = f"""{HEAD}growth\t0\t1\t0.5\ttrue\tnormal\t0.1;0.5
kill\t0.001\t3\t1\ttrue\t\t
start\t\t\t5\tfalse\t\t
scale\t0.1\t10\t\ttrue\t\t
noise\t0.001\t1\t0.5\ttrue\tlog-normal\t-2;2
"""
OBSERVABLES = (
    "observableId\tobservableFormula\tnoiseFormula\tnoiseDistribution\tnoisePlaceholders\n"
    "obs_size\tscale * tumor + log10(100)\tsd\tlog-normal\tsd\n"
)


def size(experiment, t):
    """What is measured without noise: the tumor starts at 4 scale, doses of 1.5 in `low` at days 2 and 5."""
    area = sum(3.0 * (1.0 - np.exp(-0.5 * (t - day))) for day in (2.0, 5.0) if t > day) if experiment == "low" else 0.0
    return 16.0 * np.exp(0.1 * t - 0.3 * area) + 2.0


def rows(deviations):
    times = [("low", float(t)) for t in range(11)] + [("high", 2.0 * t) for t in range(6)]
    return [(name, t, size(name, t) * np.exp(e)) for (name, t), e in zip(times, deviations, strict=True)]


def problem(folder, measured, parameters=PARAMETERS, observables=OBSERVABLES):
    shutil.copytree(HERE, folder, dirs_exist_ok=True)
    (folder / "parameters.tsv").write_text(parameters)
    (folder / "observables.tsv").write_text(observables)
    lines = [f"obs_size\t{name}\t{t}\t{float(y)!r}\tnoise" for name, t, y in measured]
    head = "observableId\texperimentId\ttime\tmeasurement\tnoiseParameters"
    (folder / "measurements.tsv").write_text("\n".join([head, *lines]) + "\n")
    return folder / "problem.yaml"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("petab")
    # Deviations of two normal quantiles, so that their square is the noise's.
    deviations = 0.1 * np.resize([1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 0.5, -0.5, 1.4, -1.4], 17)
    file = problem(folder / "problem", rows(deviations))
    report = calibrate(file, "petab", folder / "fit", time_unit="day", starts=4, draws=50)
    return file, folder / "fit", report


def test_parameters_that_are_known_come_back(fitted):
    _, _, report = fitted
    for entry in report.parameters:
        low, high = entry.interval
        assert low < TRUTH[entry.name] < high
        assert high - low < 1.2 * TRUTH[entry.name]
    assert report.starts_at_optimum >= 2


def test_the_optimum_is_one(fitted):
    file, _, report = fitted
    likelihood = Likelihood(read_measurements(file, "day"))
    best = np.array([report.value(name) for name in likelihood.names])
    top = likelihood.log_likelihood(best) + likelihood.log_prior(best)
    assert report.derived["log_posterior"] == pytest.approx(top, abs=1e-9)
    for i in range(len(best)):
        for factor in (0.99, 1.01):
            other = best * np.where(np.arange(len(best)) == i, factor, 1.0)
            assert likelihood.log_likelihood(other) + likelihood.log_prior(other) < top


def test_what_is_written(fitted):
    _, folder, _ = fitted
    said = json.loads((folder / "fit.json").read_text())
    assert set(said["files"]) >= {"problem.yaml", "model.xml", "parameters.tsv", "measurements.tsv"}
    assert any("adose import makes one of an experiment, with --parameter growth=" in text for text in said["warnings"])
    assert (folder / "measurements.csv").read_text().startswith("observable,experiment,time,measurement,fitted,noise")
    assert (folder / "posterior.nc").stat().st_size > 0


def test_measurements_lie_within_what_is_simulated(fitted):
    """Quantiles of the log-normal noise around the curve, a little wider as the parameters are not known."""
    _, _, report = fitted
    assert "vpc" in calibration_figures(report)
    sd = report.value("noise")
    for panel in report.panels:
        low, middle, high = panel.simulated
        assert middle == pytest.approx(panel.curve, rel=0.03)
        for end, reach in ((low, -1.645), (high, 1.645)):
            away = np.log(end / panel.curve) / (reach * sd)
            assert np.all((away > 0.95) & (away < 1.6))
        assert panel.covered().mean() >= 0.8
    assert len(report.panels) == 2


def test_draws_are_patients_of_the_imported_scenario(fitted):
    file, folder, report = fitted
    asked = {"burden": "tumor", "time_unit": "day", "doses": {"drug": "cisplatin"}, "experiment": "low"}
    asked["parameters"] = {name: report.value(name) for name in TRUTH}
    scenario = Scenario.from_tables(tomllib.loads(imported_text(file, asked)), "imported")
    patients = load_patients(scenario, 7, 0, folder / "posterior.nc")
    assert [place.key for place in patients.places] == [f"model.parameters.{n}" for n in ("growth", "kill", "scale")]
    drawn = np.stack([report.draws.values[place.key.rpartition(".")[2]].ravel() for place in patients.places], -1)
    assert all(any(np.array_equal(row, draw) for draw in drawn) for row in np.asarray(patients.values))


def test_likelihood_is_that_of_the_closed_form(tmp_path):
    measured = rows(np.linspace(-0.2, 0.3, 17))
    likelihood = Likelihood(read_measurements(problem(tmp_path, measured), "day"))
    theta = np.array([TRUTH[name] for name in likelihood.names])
    e, y = np.linspace(-0.2, 0.3, 17), np.array([y for *_, y in measured])
    by_hand = -0.5 * np.sum((e / 0.1) ** 2) - 17 * np.log(0.1 * np.sqrt(2.0 * np.pi)) - np.sum(np.log(y))
    assert likelihood.log_likelihood(theta) == pytest.approx(by_hand, rel=1e-6)
    assert likelihood.chi2(theta) == pytest.approx(np.sum((e / 0.1) ** 2), rel=1e-6)


@pytest.mark.parametrize("distribution", ["normal", "log-normal", "laplace", "log-laplace"])
def test_squares_are_the_posterior_and_slopes_are_theirs(tmp_path, distribution):
    observables = OBSERVABLES.replace("log-normal", distribution).replace("\tsd\t", "\tsd + 0.1 * obs_size\t", 1)
    measured = rows(np.linspace(-0.2, 0.3, 17))
    likelihood = Likelihood(read_measurements(problem(tmp_path, measured, observables=observables), "day"))
    first, other = np.array([0.12, 0.25, 1.9, 0.2]), np.array([0.1, 0.35, 2.1, 0.15])

    def posterior(theta):
        return likelihood.log_likelihood(theta) + likelihood.log_prior(theta)

    squares = [np.sum(likelihood.residuals(theta)[0] ** 2) for theta in (first, other)]
    assert squares[1] - squares[0] == pytest.approx(-2.0 * (posterior(other) - posterior(first)), rel=1e-5)
    slopes = likelihood.residuals(first)[1]
    for i in range(4):
        step = 1e-4 * first[i] * (np.arange(4) == i)
        ends = [likelihood.residuals(first + sign * step, sensitive=False)[0] for sign in (1.0, -1.0)]
        assert slopes[:, i] == pytest.approx((ends[0] - ends[1]) / (2.0 * step[i]), rel=1e-4, abs=1e-4)


def test_draws_by_nuts_are_of_the_posterior(tmp_path, monkeypatch):
    file = problem(tmp_path / "problem", rows(0.1 * np.resize([1.0, -1.0, 0.7, -0.4], 17)))
    likelihood = Likelihood(read_measurements(file, "day"))
    space = Space.of(tuple(Parameter(n, "1", 1e-3, 5.0, log=n == "kill") for n in likelihood.names))
    first, other = np.array([0.12, 0.25, 1.9, 0.2]), np.array([0.1, 0.35, 2.1, 0.15])
    (one, slope), (two, _) = (log_density(likelihood, space, space.scaled(theta)) for theta in (first, other))
    posterior = [likelihood.log_likelihood(x) + likelihood.log_prior(x) + np.log(x[1]) for x in (first, other)]
    assert one - two == pytest.approx(posterior[0] - posterior[1], rel=1e-5)
    for i in range(4):
        step = 1e-4 * (np.arange(4) == i)
        ends = [log_density(likelihood, space, space.scaled(first) + sign * step)[0] for sign in (1.0, -1.0)]
        assert slope[i] == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-4, abs=1e-3)
    monkeypatch.setattr("optimizer.calibrate.posterior.OUTSIDE_WARMUP", 10)
    report = calibrate(file, "petab", tmp_path / "fit", time_unit="day", starts=2, draws=10, chains=1, bayes=True)
    assert report.draws.source.startswith("NUTS (numpyro), 1 x 10 draws")
    assert set(report.draws.diagnostics) == set(TRUTH)
    assert any(text.startswith("only ") and "effective draws of growth" in text for text in report.warnings)
    with xr.open_datatree(tmp_path / "fit" / "posterior.nc", engine="h5netcdf") as tree:
        posterior = tree["posterior"]
        assert posterior.attrs["source"] == report.draws.source
        assert np.array_equal(posterior["model.parameters.growth"], report.draws.values["growth"])


@pytest.mark.parametrize(
    ("prior", "numbers", "density"),
    [
        ("uniform", (0.0, 8.0), 1 / 8),
        ("log-uniform", (1.0, np.e), 0.5),
        ("normal", (1.0, 2.0), np.exp(-1 / 8) / np.sqrt(8 * np.pi)),
        ("log-normal", (np.log(2.0), 0.5), 1 / np.sqrt(2 * np.pi)),
        ("laplace", (3.0, 2.0), np.exp(-0.5) / 4),
        ("log-laplace", (np.log(2.0), 0.25), 1.0),
        ("cauchy", (1.0, 1.0), 1 / (2 * np.pi)),
        ("gamma", (2.0, 1.0), 2 * np.exp(-2.0)),
        ("chisquare", (2.0,), 0.5 * np.exp(-1.0)),
        ("exponential", (2.0,), 0.5 * np.exp(-1.0)),
        ("rayleigh", (2.0,), 0.5 * np.exp(-0.5)),
    ],
)
def test_densities_of_priors_at_two(prior, numbers, density):
    low = -1e12 if prior in ("normal", "laplace", "cauchy", "uniform") else 0.0
    one = Estimated("p", low, 1e12, 1.0, prior, numbers)
    assert np.exp(log_prior(one, 2.0)) == pytest.approx(density, rel=1e-9)


def test_a_density_is_that_within_the_bounds():
    assert np.exp(log_prior(Estimated("p", 0.0, np.inf, 1.0, "normal", (0.0, 1.0)), 0.0)) == pytest.approx(
        2.0 / np.sqrt(2.0 * np.pi)
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("0\t1\t0.5\ttrue", "0\t1\t0.5\tyes", 'true or false as estimate of growth; got "yes"'),
        ("0\t1\t0.5\ttrue", "1\t0\t0.5\ttrue", "a lower bound of growth below the upper; got 1 and 0"),
        ("start\t\t\t5", "growth\t\t\t5", 'each parameter once; got "growth" twice'),
        ("kill\t0.001", "kil\t0.001", 'parameters that the model or a table has; got "kil"'),
        ("normal\t0.1;0.5", "beta\t0.1;0.5", "a prior of growth, one of uniform, log-uniform, normal"),
        ("normal\t0.1;0.5", "normal\t0.1", '2 numbers of the prior normal of growth; got "0.1"'),
        ("normal\t0.1;0.5", "normal\tnan;1", '2 numbers of the prior normal of growth; got "nan;1"'),
        ("normal\t0.1;0.5", "normal\t0.1;0", "a prior of growth with a density; got normal 0.1;0"),
        ("true", "false", "a parameter with estimate true; got none"),
        (
            "obs_size\tscale * tumor",
            "obs_size\tscale * tumour",
            "an equation of obs_size over the model and parameters",
        ),
        ("log-normal\tsd\n", "normals\tsd\n", "noise of obs_size, one of normal, log-normal, laplace"),
        ("log-normal\tsd\n", "log-normal\tsd;more\n", "2 noiseParameters in rows of obs_size; got 1"),
        ("obs_size\tlow\t1.0", "obs_size\tlow\t-1.0", "measurements of obs_size from time 0 on; got one at -1"),
        ("obs_size\tlow\t1.0", "obs_size\tlow\tinf", "measurements of obs_size from time 0 on; got one at inf"),
        ("obs_size\tlow\t1.0", "obs_dose\tlow\t1.0", 'that the problem has; got one of "obs_dose"'),
        ("obs_size\tlow\t1.0", "obs_size\tmiddle\t1.0", "experiment, one of low, high, plain; got"),
        (
            "obs_size\tlow\t1.0\t",
            "obs_size\tlow\t1.0\t-",
            "a value above 0 under log-normal noise measured of obs_size",
        ),
        ("slow\telimination\t0.25", "slow\tgone\t0.25", 'one that sets "gone"'),
        (
            "slow\telimination\t0.25",
            "slow\telimination\ttumor",
            "a value of elimination over parameters of the problem",
        ),
    ],
)
def test_refused(tmp_path, old, new, said):
    problem(tmp_path, rows(np.zeros(17)))
    changed = 0
    for path in tmp_path.glob("*.tsv"):
        text = path.read_text()
        path.write_text(text.replace(old, new))
        changed += old in text
    assert changed
    with pytest.raises(DataError) as refused:
        Likelihood(read_measurements(tmp_path / "problem.yaml", "day"))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_no_finite_likelihood_and_options_of_other_kinds_are_refused(tmp_path):
    file = problem(tmp_path / "problem", rows(np.zeros(17)), observables=OBSERVABLES.replace("scale *", "-scale *"))
    how = {"time_unit": "day", "starts": 3}
    with pytest.raises(DataError, match="a likelihood at one of 3 starts within the bounds; got none"):
        calibrate(file, "petab", tmp_path / "fit", **how)
    for option, said in (
        ({"loss": "cauchy"}, "loss: wanted linear for petab"),
        ({"hierarchical": True}, "hierarchical: wanted kind plate"),
    ):
        with pytest.raises(DataError, match=said):
            calibrate(file, "petab", tmp_path / "fit", **how, **option)
    assert not (tmp_path / "fit").exists()
