"""The report of a PEtab problem: its free parameters at the largest posterior density, with profile intervals."""

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.optimize
import scipy.stats

from optimizer.calibrate.fit import Fit, Settings
from optimizer.calibrate.likelihood import Array, Likelihood, prior_of
from optimizer.calibrate.posterior import LAPLACE, Draws, sample_outside, sampling_warnings
from optimizer.calibrate.problem import make_problem
from optimizer.calibrate.report import CHECKED, FitReport, Fragment, Panel, entries
from optimizer.calibrate.space import EDGE, Parameter, Space
from optimizer.calibrate.uncertainty import (
    STEPS,
    Uncertainty,
    around,
    information_criteria,
    profile_of,
    sentences,
)
from optimizer.equations.petab_fit import Estimated, Measured, Measurements
from optimizer.files.faults import DataError

# Of the starts, which are looked at without derivatives, one in so many is followed.
FOLLOWED, LEAST_FOLLOWED = 20, 8
MOST_EVALUATIONS = 200
# A parameter whose bounds are further apart than this factor moves as a logarithm.
_WIDE = 10.0
_TAIL = 1e-6
# Courses of a predictive check, errors of each at a time, and the panels that are checked.
_COURSES, _ERRORS, _CHECKED_PANELS = 40, 40, 12


def petab_report(data: Measurements, settings: Settings) -> FitReport:
    """Fit the free parameters of a problem to its measurements, all experiments at once."""
    _check(settings)
    likelihood = Likelihood(data)
    fit, jac = _fit(likelihood, settings)
    settings.progress("intervals")
    found = _uncertainty(likelihood, fit, jac, settings.level)
    log_likelihood, log_prior = likelihood.log_likelihood(fit.theta), likelihood.log_prior(fit.theta)
    values, noise, *_ = likelihood.simulated(fit.theta, sensitive=False)
    count, p = len(values), len(fit.theta)
    drawn = _draws(likelihood, fit, jac.T @ jac, settings)
    settings.progress("predictive check")
    some = np.stack([drawn.values[name].ravel() for name in fit.names], -1)
    panels = _panels(likelihood, fit.theta, some[:: -(-len(some) // _COURSES)], settings.level)
    return FitReport(
        kind="petab",
        method=settings.method,
        rows=count,
        sse=None,
        sse_unit="1",
        objective="-2 log posterior density of PEtab's noise and priors",
        parameters=entries(fit, found),
        derived={
            "log_likelihood": log_likelihood,
            "chi2": likelihood.chi2(fit.theta),
            "log_posterior": log_likelihood + log_prior,
        },
        starts=settings.starts,
        starts_at_optimum=fit.starts_at_optimum,
        warnings=(*data.notes, *found.warnings, *sampling_warnings(drawn)),
        level=settings.level,
        draws=drawn,
        observed=likelihood.measured,
        fitted=values,
        criteria=information_criteria(count, p, log_likelihood),
        correlation=found.correlation,
        fragment=_fragment(fit, drawn.values),
        profiles=found.profiles,
        panels=panels,
        extra={"files": dict(data.files)},
        tables={"measurements": _rows(data, values, noise)},
    )


def _check(settings: Settings) -> None:
    """Refuse what the tables of a problem say themselves."""
    for name, usual in (("deviation", None), ("loss", "linear")):
        if getattr(settings, name) != usual:
            raise DataError(
                f"{name}: wanted {str(usual).lower()} for petab, whose tables say it; got {getattr(settings, name)}"
            )


def _fit(likelihood: Likelihood, settings: Settings) -> tuple[Fit, Array]:
    """The best of the starts, the first of which is the file's own values; and the derivatives of residuals there."""
    box = tuple(_parameter(one) for one in likelihood.data.estimated)
    blank = np.zeros(likelihood.size)
    # The space and the counts of a problem; SciPy computes its residuals.
    problem = make_problem(lambda theta, design: design, blank, blank, box)
    space, nominal = problem.space, np.array([one.nominal for one in likelihood.data.estimated])
    starts = space.from_free(space.starts(settings.starts, settings.seed))
    if np.all((nominal > [one.low for one in box]) & (nominal < [one.high for one in box])):
        starts[0] = space.scaled(nominal)
    settings.progress("starts")
    costs = np.array([np.sum(likelihood.residuals(theta, False)[0] ** 2) for theta in space.natural(starts)])
    best = np.argsort(costs, kind="stable")[: max(LEAST_FOLLOWED, settings.starts // FOLLOWED)]
    best = best[np.isfinite(costs[best])]
    if not len(best):
        raise DataError(f"petab: wanted a likelihood at one of {settings.starts} starts within the bounds; got none")
    settings.progress("the fit")
    ends = [_descend(likelihood, space, starts[i]) for i in best]
    costs = np.array([cost for _, cost, _ in ends])
    w, cost, jac = ends[int(np.argmin(costs))]
    thetas = space.natural(np.array([end for end, *_ in ends]))
    return Fit(problem, box, space.natural(w), cost, 0.0, costs, thetas), jac


def _descend(likelihood: Likelihood, space: Space, w: Array, held: int = -1) -> tuple[Array, float, Array]:
    """Where a start w [P] ends, its sum of squares, and the derivatives there [R, P]; one parameter may be held."""
    low, high, is_log = (np.asarray(part) for part in (space.low, space.high, space.log))
    free, last = np.arange(len(w)) != held, {}
    whole = w.copy()

    def both(moved: Array) -> tuple[Array, Array]:
        if last.get("at") != moved.tobytes():
            whole[free] = moved
            theta = space.natural(whole)
            values, slopes = likelihood.residuals(theta)
            last.update(at=moved.tobytes(), both=(values, slopes * np.where(is_log, theta, 1.0)))
        return last["both"]

    if not free.any() or not np.all(np.isfinite(both(w[free])[0])):
        values, slopes = both(w[free])
        return whole, float(np.sum(values**2)), slopes
    found = scipy.optimize.least_squares(
        lambda moved: both(moved)[0],
        np.clip(w[free], (low + EDGE * (high - low))[free], (high - EDGE * (high - low))[free]),
        jac=lambda moved: both(moved)[1][:, free],  # type: ignore[arg-type]
        bounds=(low[free], high[free]),
        x_scale="jac",
        ftol=1e-10,
        max_nfev=MOST_EVALUATIONS,
    )
    values, slopes = both(found.x)
    return whole, float(np.sum(values**2)), slopes


def _uncertainty(likelihood: Likelihood, fit: Fit, jac: Array, level: float) -> Uncertainty:
    """As of other fits, but that the noise is known: intervals are those of the likelihood ratio."""
    space = fit.problem.space
    w, low, high = space.scaled(fit.theta), np.asarray(space.low), np.asarray(space.high)
    covariance = np.linalg.pinv(jac.T @ jac, hermitian=True)
    deviation = np.sqrt(np.clip(np.diag(covariance), 1e-300, None))
    reach, profiles = float(scipy.stats.norm.ppf((1 + level) / 2)), []
    for i in range(len(w)):
        grid, costs = [], []
        for sign, edge in ((-1.0, low[i]), (1.0, high[i])):
            at = w.copy()
            for multiple in STEPS:
                at[i] = np.clip(w[i] + sign * multiple * min(deviation[i], (high[i] - low[i]) / 8.0), low[i], high[i])
                at, cost, _ = _descend(likelihood, space, at, i)
                grid.append(at[i])
                costs.append(cost)
                if not cost - fit.objective < reach**2 or at[i] == edge:
                    break
        profiles.append(profile_of(fit, i, w[i], np.array(grid), np.array(costs) - fit.objective, reach))
    correlation = covariance / np.outer(deviation, deviation)
    said = tuple(sentences(fit, w, correlation, tuple(profiles), likelihood.size))
    return Uncertainty(level, 1.0, covariance, correlation, tuple(profiles), {}, said)


def _draws(likelihood: Likelihood, fit: Fit, precision: Array, settings: Settings) -> Draws:
    """Draws of the posterior: of a normal density at the fit, or by NUTS."""
    count, space = settings.draws, fit.problem.space
    near = around(fit, precision, settings.chains * count, settings.seed).reshape(settings.chains, count, -1)
    priors = {one.name: " ".join([one.prior, *(f"{x:g}" for x in one.numbers)]) for one in likelihood.data.estimated}

    if not settings.bayes:
        values = {name: near[:, :, i] for i, name in enumerate(fit.names)}
        return Draws(values, dict.fromkeys(values, "1"), LAPLACE, priors)
    how = {"draws": count, "seed": settings.seed, "tell": settings.progress}
    drawn = sample_outside(lambda w: log_density(likelihood, space, w), fit, precision, near[:, 0], **how)
    return replace(drawn, priors=priors)


def log_density(likelihood: Likelihood, space: Space, w: Array) -> tuple[float, Array]:
    """Logarithm of the posterior density of w [P], but for a constant, and its derivatives [P].

    It is that of theta, times theta where w is its logarithm; minus infinity where the model cannot be solved.
    """
    theta, is_log = space.natural(w), np.asarray(space.log)
    values, slopes = likelihood.residuals(theta)
    slope = -(values @ slopes) * np.where(is_log, theta, 1.0) + is_log
    if not (np.all(np.isfinite(values)) and np.all(np.isfinite(slope))):
        return -np.inf, np.zeros_like(w)
    return float(np.sum(w[is_log]) - 0.5 * np.sum(values**2)), slope


def _parameter(one: Estimated) -> Parameter:
    """A parameter as the fit moves it: where bounds are endless, between the tails of its prior."""
    low, high = max(one.low, _end(one, _TAIL)), min(one.high, _end(one, 1.0 - _TAIL))
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise DataError(f"petab: wanted bounds of {one.name} that its prior allows; got {one.low:g} and {one.high:g}")
    return Parameter(one.name, "1", low, high, log=low > 0.0 and high >= _WIDE * low)


def _end(one: Estimated, share: float) -> float:
    """A quantile of the prior that is of no weight, of a uniform one its end."""
    if one.prior.endswith("uniform"):
        return one.numbers[round(share)]
    return float(prior_of(one).ppf(share))


def _fragment(fit: Fit, draws: dict[str, np.ndarray]) -> Fragment:
    """No scenario, as PEtab names no doses to search; how to make one, and draws by its key paths."""
    said = " ".join(f"--parameter {name}={value:.6g}" for name, value in zip(fit.names, fit.theta, strict=True))
    note = f"adose import makes one of an experiment, with {said}"
    return Fragment(notes=(note,), draws={f"model.parameters.{name}": (x, "1") for name, x in draws.items()})


def _rows(data: Measurements, values: np.ndarray, noise: np.ndarray) -> list[dict[str, Any]]:
    """Measurements beside what is fitted; times in the file's unit."""
    return [
        {
            **{"observable": row.observable, "experiment": row.experiment, "time": row.day / data.days},
            **{"measurement": row.value, "fitted": float(value), "noise": float(spread)},
        }
        for row, value, spread in zip(data.rows, values, noise, strict=True)
    ]


def _panels(likelihood: Likelihood, theta: Array, drawn: Array, level: float) -> tuple[Panel, ...]:
    """One an observable and experiment; curve and noise are those of its first row, where rows differ in them.

    Args:
        likelihood: the problem.
        theta: of the curves [P].
        drawn: free parameters of the courses of a predictive check [m, P].
        level: of the band.
    """
    data, out, at = likelihood.data, [], ((1.0 - level) / 2.0, (1.0 + level) / 2.0, *CHECKED)
    first_of = {(row.observable, row.experiment): row for row in reversed(data.rows)}
    for name, row in reversed(first_of.items()):
        own = [other for other in data.rows if (other.observable, other.experiment) == name]
        how = data.experiments[row.experiment]
        last = max(other.day for other in own)
        first = min((day for day, _ in how.later), default=0.0) if how.begin == -np.inf else how.begin
        grid = np.linspace(first, max(last, first + data.days), 200)
        curve, _ = _course(data, row, theta, grid)
        others = drawn if len(out) < _CHECKED_PANELS else drawn[:0]
        found = [_measurable(row, *_course(data, row, other, grid)) for other in others]
        known = [course for course in found if np.all(np.isfinite(course))]
        checked = np.quantile(np.concatenate(known), at, axis=0) if known else None
        seen = np.array([(other.day, other.value) for other in own]).T
        title = f"{name[0]} {name[1]}".strip()
        labels = "time, the file's unit", row.observable
        bands = {} if checked is None else {"band": checked[:2], "simulated": checked[2:]}
        out.append(Panel(title, *labels, seen[0] / data.days, seen[1], grid / data.days, curve, log_x=False, **bands))
    return tuple(out)


def _course(data: Measurements, row: Measured, theta: Array, grid: Array) -> tuple[Array, Array]:
    """An observable and its noise over time [g]."""
    with np.errstate(all="ignore"):
        course = data.courses.run(theta, data.experiments[row.experiment], grid.tolist(), sensitive=False)
        pairs = [at.all_of((row.formula, row.noise), data.courses.outputs, 0) for at in course]
    values, noise = np.array([[value for value, _ in pair] for pair in pairs]).T
    return values, noise


def _measurable(row: Measured, values: Array, noise: Array) -> Array:
    """What may be measured along a course, at evenly likely errors [e, g]."""
    of = scipy.stats.laplace if row.distribution.endswith("laplace") else scipy.stats.norm
    errors = of.ppf((np.arange(_ERRORS) + 0.5) / _ERRORS)[:, None] * noise
    with np.errstate(all="ignore"):
        return values * np.exp(errors) if row.distribution.startswith("log") else values + errors
