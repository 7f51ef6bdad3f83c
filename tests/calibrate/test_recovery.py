"""Slow: parameters drawn at random, data simulated: 90 % intervals must cover in 85 to 95 % of 200 sets or more."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from optimizer.calibrate.curves import STROMAL, stromal_rate
from optimizer.calibrate.dose_response import box as curve_box, curve_data, fit_curve
from optimizer.calibrate.fit import Settings, multistart
from optimizer.calibrate.growth import closed_form
from optimizer.calibrate.problem import make_problem
from optimizer.calibrate.space import Parameter
from optimizer.calibrate.timeseries import adapted
from optimizer.calibrate.uncertainty import Uncertainty, uncertainty

SETS = 200


def covered(doubt: Uncertainty, truth: dict[str, float]) -> list[bool]:
    """Whether each interval holds its truth; an open end holds everything on its side."""
    out = []
    for name, value in truth.items():
        low, high = doubt.interval(name)
        out.append((low is None or low <= value) and (high is None or value <= high))
    return out


def report(name: str, names: list[str], hits: list[list[bool]]) -> np.ndarray:
    """Coverage by parameter, printed for the record."""
    share = np.mean(hits, axis=0)
    print(f"\n{name}: " + ", ".join(f"{n} {100 * s:.1f} %" for n, s in zip(names, share, strict=True)))
    return share


@pytest.mark.slow
def test_intervals_of_hill_curves_cover():
    random = np.random.default_rng(1)
    doses = np.repeat([0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0], 3)
    names, hits = ["lower", "upper", "ec50", "hill"], []
    for _ in range(3 * SETS):
        truth = dict(
            zip(
                names,
                (random.uniform(0.05, 0.3), 1.0, 10 ** random.uniform(-1, 0), random.uniform(0.8, 2.0)),
                strict=True,
            )
        )
        clean = truth["lower"] + (truth["upper"] - truth["lower"]) / (1 + (doses / truth["ec50"]) ** truth["hill"])
        y = clean + 0.04 * random.standard_normal(len(doses))
        fit = fit_curve(curve_data(doses, y), curve_box(doses, y, "ug/mL"), Settings(starts=24))
        hits.append(covered(uncertainty(fit, 0.9), truth))
    share = report("Hill", names, hits)
    assert np.all((share >= 0.85) & (share <= 0.95))


@pytest.mark.slow
def test_intervals_of_the_stromal_rates_cover():
    random = np.random.default_rng(2)
    factor = np.repeat(np.arange(0.0, 800.0, 100.0), 6)
    drug = np.tile([0.0, 0.001, 0.01, 0.1, 1.0, 10.0], 8)
    box = (
        Parameter("ec50_max", "ug/mL", 1e-5, 1e3, log=True),
        Parameter("shift_midpoint", "pg/mL", -700.0, 1750.0),
        Parameter("shift_slope", "mL/pg", 7e-5, 0.15, log=True),
        Parameter("net_growth_max", "1/h", 0.003, 0.05),
        Parameter("net_growth_min", "1/h", -0.1, 0.003),
        Parameter("hill", "1", 0.1, 10.0, log=True),
    )
    hits = []
    for _ in range(SETS):
        theta = np.array(
            [
                random.uniform(3, 9),
                random.uniform(350, 500),
                random.uniform(0.008, 0.014),
                random.uniform(0.012, 0.018),
                -random.uniform(0.004, 0.009),
                random.uniform(0.8, 1.4),
            ]
        )
        clean = np.asarray(stromal_rate(theta, (drug, factor)))
        y = clean + 0.0012 * random.standard_normal(len(drug))
        fit = multistart(make_problem(stromal_rate, (drug, factor), y, box), box, starts=24)
        hits.append(covered(uncertainty(fit, 0.9), dict(zip(STROMAL, theta, strict=True))))
    share = report("stromal rates", list(STROMAL), hits)
    assert np.all((share >= 0.85) & (share <= 0.95))


@pytest.mark.slow
def test_intervals_of_a_time_series_model_cover():
    random = np.random.default_rng(3)
    times = np.arange(0.0, 141.0, 7.0)
    events = np.concatenate([7.0 * np.arange(8), 84.0 + 7.0 * np.arange(4)])
    design = (times, events, np.full(12, 100.0))
    predict = adapted(closed_form("exponential", "log_kill"))
    box = (
        Parameter("initial_burden", "mm3", 10.0, 2e4, log=True),
        Parameter("growth_rate", "1/d", 1e-3, 1.0, log=True),
        Parameter("capacity", "mm3", 1e5, 1e7, log=True),
        Parameter("drug_effect", "1/d", 1e-3, 5.0, log=True),
        Parameter("ec50", "mg", 0.1, 1e4, log=True),
        Parameter("elimination_rate", "1/d", 0.01, 5.0, log=True),
        Parameter("hill", "1", 0.3, 6.0, log=True),
    )
    names, hits = ["initial_burden", "growth_rate", "drug_effect", "ec50"], []
    for _ in range(SETS):
        theta = np.array(
            [
                random.uniform(300, 800),
                random.uniform(0.02, 0.05),
                1e6,
                random.uniform(0.1, 0.2),
                random.uniform(10, 40),
                0.14,
                1.0,
            ]
        )
        y = np.asarray(predict(theta, design)) * np.exp(0.08 * random.standard_normal(len(times)))
        fixed = {"capacity": 1e6, "elimination_rate": 0.14, "hill": 1.0}
        problem = make_problem(predict, design, y, box, deviation="log")
        fit = multistart(problem, box, starts=24, fixed=fixed)
        truth = {name: float(theta[fit.names.index(name)]) for name in names}
        hits.append(covered(uncertainty(fit, 0.9), truth))
    share = report("time series", names, hits)
    assert np.all((share >= 0.85) & (share <= 0.95))


@pytest.mark.slow
def test_nuts_ranks_are_uniform():
    """Simulation-based calibration (Talts et al. 2018): ranks of prior draws among 99 thinned posterior draws."""
    pytest.importorskip("numpyro")
    from optimizer.calibrate.posterior import SIGMA_SD, sample, sigma_median

    random = np.random.default_rng(4)
    doses = np.repeat([0.0, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0], 2)
    box = (
        Parameter("lower", "1", -1.0, 1.5, prior=(0.15, 0.1)),
        Parameter("upper", "1", 0.0, 3.0, prior=(1.0, 0.1)),
        Parameter("ec50", "ug/mL", 1e-3, 1e3, log=True, prior=(0.5, 0.7)),
        Parameter("hill", "1", 0.1, 15.0, log=True, prior=(1.2, 0.3)),
    )
    from optimizer.calibrate.curves import curves

    design = (doses, np.zeros(len(doses), int), np.array([[0, 1, 2, 3]]))
    prior = np.array([p.prior_on_scale() for p in box])
    ranks = []
    median = sigma_median(make_problem(curves, design, np.ones(len(doses)), box))
    for turn in range(SETS):
        w = prior[:, 0] + prior[:, 1] * random.standard_normal(4)
        theta = np.where([p.log for p in box], np.exp(np.where([p.log for p in box], w, 0.0)), w)
        sigma = median * np.exp(SIGMA_SD * random.standard_normal())
        clean = np.asarray(curves(theta, tuple(map(np.asarray, design))))
        y = clean + sigma * random.standard_normal(len(doses))
        fit = multistart(make_problem(curves, design, y, box), box, starts=8)
        drawn = sample(fit, chains=1, draws=495, warmup=400, seed=turn, sigma0=median)
        thin = np.column_stack([drawn.thetas[0, ::5], drawn.sigma[0, ::5]])
        ranks.append((thin < np.append(theta, sigma)).sum(axis=0))
    share = (np.array(ranks) + random.uniform(size=(SETS, 5))) / 100.0
    p = [float(kstest(share[:, i], "uniform").pvalue) for i in range(5)]
    print(
        "\nSBC p: "
        + ", ".join(f"{n} {v:.3f}" for n, v in zip(("lower", "upper", "ec50", "hill", "sigma"), p, strict=True))
    )
    assert min(p) > 0.01
