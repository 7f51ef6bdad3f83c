"""Time series: the closed forms against an integrator, recovery, pooling, and a model of one's own."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from optimizer.calibrate import DataError, Settings, TimeSeriesModel, read_table
from optimizer.calibrate.growth import CLOSED, closed_form, simulated
from optimizer.calibrate.hierarchical import pool
from optimizer.calibrate.report import part
from optimizer.calibrate.space import Parameter
from optimizer.calibrate.timeseries import builtin, fit_series, patient_series
from optimizer.calibrate.timeseries_report import timeseries_report
from optimizer.report.plots import calibration_figures

from .synthetic import patient_rows, write_csv

RATE = np.log(2) / 5
THETA = np.array([500.0, 0.05, 2000.0, 0.2, 15.0, 0.2, 1.7])
EVENTS = (np.array([0.0, 7, 14, 14.5, 60]), np.array([100.0, 50, 100, 20, 80]))
TIMES = np.array([0.0, 3, 7, 20, 45, 90, 120])


def integrated(growth: str, effect: str) -> np.ndarray:
    """The same equations by DOP853, dose by dose."""
    _, rate, capacity, strength, ec50, elimination, hill = THETA

    def slope(t, y, left, since):
        amount = left * np.exp(-elimination * (t - since))
        hit = amount**hill / (amount**hill + ec50**hill)
        crowd = {"logistic": 1 - y / capacity, "gompertz": np.log(capacity / y)}.get(growth, 1.0)
        return (
            rate * crowd * y * (1 - strength * hit) if effect == "norton_simon" else (rate * crowd - strength * hit) * y
        )

    t, y, amount, out = 0.0, THETA[0], 0.0, {}
    for knot in sorted({*TIMES, *EVENTS[0]}):
        if knot > t:
            y = solve_ivp(slope, (t, knot), [y], args=(amount, t), method="DOP853", rtol=1e-12, atol=1e-9).y[0, -1]
            amount *= np.exp(-elimination * (knot - t))
        out[knot], t = y, knot
        amount += sum(a for at, a in zip(*EVENTS, strict=True) if at == knot)
    return np.array([out[t] for t in TIMES])


@pytest.mark.parametrize(("growth", "effect"), CLOSED)
def test_closed_forms_are_what_an_integrator_gives(growth, effect):
    events = tuple(map(jnp.asarray, EVENTS))
    predict = jax.jit(closed_form(growth, effect))
    got = predict(jnp.asarray(THETA), jnp.asarray(TIMES), events)
    np.testing.assert_allclose(got, integrated(growth, effect), rtol=1e-9)
    jac = np.asarray(jax.jit(jax.jacfwd(predict))(jnp.asarray(THETA), jnp.asarray(TIMES), events))
    step = 1e-6 * THETA[3] * np.eye(7)[3]
    above, below = (predict(jnp.asarray(THETA + s * step), jnp.asarray(TIMES), events) for s in (1, -1))
    np.testing.assert_allclose(jac[:, 3], (above - below) / (2 * step[3]), rtol=1e-6, atol=1e-6)


def test_growth_without_a_closed_form_is_the_simulators():
    got = jax.jit(simulated("gompertz", "log_kill"))(*map(jnp.asarray, (THETA, TIMES)), tuple(map(jnp.asarray, EVENTS)))
    np.testing.assert_allclose(got, integrated("gompertz", "log_kill"), rtol=1e-5)


@pytest.fixture(scope="module")
def patients(tmp_path_factory):
    rates = 0.03 * np.exp(0.3 * np.array([-1.2, -0.4, 0.4, 1.2]))
    rows = [row for i, r in enumerate(rates) for row in patient_rows(f"p{i}", growth=r, seed=i)]
    return read_table(write_csv(tmp_path_factory.mktemp("series") / "series.csv", rows), "timeseries")


@pytest.fixture(scope="module")
def fits(patients):
    series = patient_series(patients)
    settings = Settings(starts=16, elimination_rate=RATE)
    return fit_series(series, builtin(series, "mm3", settings), settings)


def test_doses_are_expanded(patients):
    first = patient_series(patients)[0]
    assert first.event_times.tolist() == [*(7.0 * np.arange(8)), *(84 + 7.0 * np.arange(4))]
    assert set(first.amounts) == {100.0}
    assert len(first.times) == 21


def test_parameters_are_recovered(fits):
    for fit in fits:
        assert fit.value("drug_effect") == pytest.approx(0.15, rel=0.1)
        assert fit.value("initial_burden") == pytest.approx(500.0, rel=0.1)


@pytest.mark.slow
def test_pooling_shrinks_towards_the_population(fits):
    population = pool(fits, tolerance=0.05)
    own = np.array([np.log(fit.value("growth_rate")) for fit in fits])
    place = fits[0].names.index("growth_rate")
    assert population.individual[:, place].std() < own.std()
    assert np.exp(population.mean[place]) == pytest.approx(0.03, rel=0.3)
    low, high = population.mean_interval(0.9)
    free = fits[0].free
    assert np.all((low < population.mean) & (population.mean < high) == free)
    assert population.spread[place] > population.spread[fits[0].names.index("initial_burden")]
    with pytest.raises(ValueError, match="wanted at least 3 lines or patients; got 2"):
        pool(fits[:2])


def test_a_model_of_ones_own(tmp_path):
    def decay(parameters, times, events):
        return parameters[0] * jnp.exp(-parameters[1] * times)

    rows = [{"id": "a", "time_day": t, "psa_ng_per_ml": 40 * np.exp(-0.1 * t)} for t in range(0, 30, 3)]
    table = read_table(write_csv(tmp_path / "psa.csv", rows), "timeseries")
    box = (Parameter("start", "ng/mL", 1.0, 1e3, log=True), Parameter("decline", "1/d", 1e-3, 10.0, log=True))
    model = TimeSeriesModel("decline", decay, box, {})
    report = timeseries_report(table, Settings(starts=16, draws=100, model=model))
    assert report.value("decline") == pytest.approx(0.1, rel=1e-6)
    assert report.value("start") == pytest.approx(40.0, rel=1e-6)


def test_simulated_quantiles_cover_what_the_model_makes_and_wrong_noise_does_not(tmp_path):
    def decay(parameters, times, events):
        return parameters[0] * jnp.exp(-parameters[1] * times)

    random, times = np.random.default_rng(1), np.repeat(np.arange(40.0), 5)
    values = 40.0 * np.exp(-0.1 * times + 0.2 * random.standard_normal(200))
    rows = [{"id": "a", "time_day": t, "psa_ng_per_ml": v} for t, v in zip(times, values, strict=True)]
    table = read_table(write_csv(tmp_path / "psa.csv", rows), "timeseries")
    box = (Parameter("start", "ng/mL", 1.0, 1e3, log=True), Parameter("decline", "1/d", 1e-3, 10.0, log=True))
    settings = Settings(starts=8, draws=250, model=TimeSeriesModel("decline", decay, box, {}))
    report = timeseries_report(table, settings)
    [panel] = report.panels
    assert 0.85 <= panel.covered().mean() <= 0.95
    figures = calibration_figures(report)
    assert figures["vpc"].axes[0].get_title() == f"patient a: {panel.covered().sum()} of 200 within"
    assert len(figures["vpc"].axes[0].lines[-1].get_xdata()) == 40
    [fit] = fit_series(patient_series(table), settings.model, settings)
    one = part(fit, settings, {})
    shares = []
    for factor in (0.5, 2.0):
        wrong = replace(one, sigma=factor * one.sigma)
        design = (panel.grid, *map(np.asarray, fit.problem.design[1:]))
        shares.append(wrong.panel("a", ("t", "y"), (panel.x, panel.y), design, log_x=False).covered().mean())
    assert shares[0] < 0.7
    assert shares[1] > 0.98
    below = replace(panel, censored=np.full(200, -1), y=np.full(200, 1e9))
    assert below.covered().all()
    assert not replace(below, censored=None).covered().any()


def test_too_little_is_refused(tmp_path):
    rows = [{"id": "a", "time_day": t, "psa_ng_per_ml": 1.0} for t in (0, 1, 2)]
    table = read_table(write_csv(tmp_path / "a.csv", rows), "timeseries")
    with pytest.raises(DataError, match="wanted at least 4 observation times of patient a; got 3"):
        timeseries_report(table, Settings())
    rows = [{"id": "a", "time_day": t, "psa_ng_per_ml": float(t)} for t in range(6)]
    table = read_table(write_csv(tmp_path / "b.csv", rows), "timeseries")
    with pytest.raises(DataError, match=r"b\.csv:2: column psa_ng_per_ml: wanted a value above 0"):
        timeseries_report(table, Settings())
    with pytest.raises(DataError, match="hierarchical: wanted at least 3 patients; got 1"):
        timeseries_report(table, Settings(hierarchical=True, deviation="absolute"))
    with pytest.raises(DataError, match="wanted growth exponential or logistic or gompertz or von_bertalanffy"):
        builtin(patient_series(table), "ng/mL", Settings(growth="allee"))
