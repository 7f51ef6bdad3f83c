"""Partial pooling over lines or patients: individual parameters drawn from one population, by EM with Laplace's method.

w_i ~ Normal(mu, diag tau^2),  e_i ~ Normal(0, sigma)         on the scaled axes, free parameters only
E: w_i = argmin |e_i(w)|^2 / sigma^2 + |(w - mu) / tau|^2,  V_i = (J^T J / sigma^2 + 1 / tau^2)^-1
M: mu = mean w_i, tau^2 = mean((w_i - mu)^2 + diag V_i), sigma^2 = mean over rows of (e^2 + diag J V J^T)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float
from scipy.stats import t as student

from optimizer.calibrate.fit import Fit
from optimizer.calibrate.problem import FitProblem
from optimizer.calibrate.report import Entry

LEAST_SPREAD = 1e-3
MOST_ROUNDS = 200


@dataclass(frozen=True)
class Population:
    """A pooled fit of I individuals, all P parameters on the scaled axes."""

    names: tuple[str, ...]
    mean: np.ndarray  #: mu [P]
    spread: np.ndarray  #: tau [P]; 0 for parameters that were fixed
    mean_covariance: np.ndarray  #: of mu [P, P]: (sum over i of (diag tau^2 + (J^T J / sigma^2)^-1)^-1)^-1
    individual: np.ndarray  #: w_i [I, P]
    covariance: np.ndarray  #: V_i [I, P, P]
    sigma: float  #: residual noise
    rounds: int  #: of EM
    converged: bool  #: whether they settled

    def mean_interval(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Interval of mu [P]: mu +- t times its standard error, degrees of freedom the individuals less one."""
        quantile = float(student.ppf((1 + level) / 2, max(len(self.individual) - 1, 1)))
        reach = quantile * np.sqrt(np.diag(self.mean_covariance))
        return self.mean - reach, self.mean + reach


@eqx.filter_jit
def _expect(
    problems: FitProblem,
    w: Float[Array, "i p"],
    mean: Float[Array, " p"],
    precision: Float[Array, " p"],
    sigma: Float[Array, ""],
) -> tuple[Array, ...]:
    """Individuals' optima, covariances, sums of squares, their expected excess, and information J^T J / sigma^2."""

    def one(problem: FitProblem, start: Float[Array, " p"]) -> tuple[Array, ...]:
        def residual(x: Float[Array, " p"], _: None) -> tuple[Array, Array]:
            return problem.residuals(problem.space.natural(x)) / sigma, (x - mean) * jnp.sqrt(precision)

        solver = optx.LevenbergMarquardt(rtol=1e-8, atol=1e-10)
        found = optx.least_squares(residual, solver, start, max_steps=100, throw=False).value
        jac = jax.jacfwd(lambda x: residual(x, None)[0])(found)
        information = jac.T @ jac
        values, vectors = jnp.linalg.eigh(information + jnp.diag(precision))
        covariance = (vectors / jnp.maximum(values, 1e-12)) @ vectors.T
        sse = jnp.sum((residual(found, None)[0] * sigma) ** 2) + problem.within
        return found, covariance, sse, sigma**2 * jnp.sum((jac @ covariance) * jac), information

    return jax.vmap(one)(problems, w)


def pool(fits: tuple[Fit, ...], tolerance: float = 5e-3) -> Population:
    """Partial pooling of fits of one model to several individuals (problems of one shape).

    It has settled when mean and spread move by less than `tolerance` of the spread or of what one individual tells,
    the larger: a spread that goes to zero does so ever more slowly and no longer matters. Raises `ValueError` for
    fewer than three individuals, whose spread cannot be estimated.
    """
    if len(fits) < 3:
        raise ValueError(f"hierarchical: wanted at least 3 lines or patients; got {len(fits)}")
    problems = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[fit.problem for fit in fits])
    space = fits[0].problem.space
    w = np.array([space.scaled(fit.theta) for fit in fits])
    free = fits[0].free
    rows = float(sum(float(fit.problem.n) for fit in fits))
    reach = (np.asarray(space.high) - np.asarray(space.low)) / 6
    mean, spread = np.median(w, axis=0), np.clip(w.std(axis=0), 0.05, reach)
    sigma = np.sqrt(sum(fit.objective for fit in fits) / rows) + 1e-12
    rounds, change = 0, float("inf")
    while change >= tolerance and rounds < MOST_ROUNDS:
        rounds += 1
        precision = np.where(free, 1.0 / spread**2, 1e12)
        at = tuple(map(jnp.asarray, (w, mean, precision, sigma)))
        found, covariance, sse, excess, information = map(np.asarray, _expect(problems, *at))
        w = found
        new_mean = np.where(free, w.mean(axis=0), mean)
        variance = ((w - new_mean) ** 2).mean(axis=0) + np.diagonal(covariance, axis1=1, axis2=2).mean(axis=0)
        new_spread = np.maximum(np.sqrt(variance), LEAST_SPREAD)
        new_sigma = float(np.sqrt((sse.sum() + excess.sum()) / rows))
        told = np.diagonal(information, axis1=1, axis2=2).mean(axis=0)
        unit = np.maximum(new_spread, 1.0 / np.sqrt(np.maximum(told, 1e-12)))
        moved = np.maximum(np.abs(new_mean - mean), np.abs(new_spread - spread)) / unit
        change = max(float(np.max(moved[free])), abs(new_sigma / sigma - 1))
        mean, spread, sigma = new_mean, new_spread, new_sigma
    return Population(
        fits[0].names,
        mean,
        np.where(free, spread, 0.0),
        _mean_covariance(spread, information, free),
        w,
        covariance,
        sigma,
        rounds,
        change < tolerance,
    )


def _mean_covariance(spread: np.ndarray, information: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Covariance of mu from what each individual tells about it; zero for fixed parameters."""
    variance = np.diag(spread[free] ** 2)
    own = information[:, free][:, :, free]
    total = np.linalg.solve(np.eye(free.sum()) + own @ variance, own).sum(axis=0)
    out = np.zeros((len(spread), len(spread)))
    out[np.ix_(free, free)] = np.linalg.pinv((total + total.T) / 2, hermitian=True)
    return out


def new_individuals(population: Population, fit: Fit, count: int, seed: int) -> np.ndarray:
    """theta [count, P] of individuals yet unseen: mu with its own error, plus the spread between individuals."""
    random = np.random.default_rng(seed)
    shape = (count, len(population.mean))
    mean = random.multivariate_normal(population.mean, population.mean_covariance, size=count, method="eigh")
    w = mean + population.spread * random.standard_normal(shape)
    space = fit.problem.space
    return space.natural(np.clip(w, np.asarray(space.low), np.asarray(space.high)))


def population_entries(population: Population, fit: Fit, level: float, docs: Mapping[str, str]) -> list[Entry]:
    """Medians of the population with their intervals, free parameters only."""
    space = fit.problem.space
    low, high = (space.natural(end) for end in population.mean_interval(level))
    middle = space.natural(population.mean)
    return [
        Entry(
            p.name, float(middle[i]), (float(low[i]), float(high[i])), p.unit, f"median of all: {docs.get(p.name, '')}"
        )
        for i, p in enumerate(fit.parameters)
        if p.name not in fit.fixed
    ]


def population_json(population: Population | None) -> dict[str, Any]:
    """What fit.json says about the population: spreads on the fitted scales, noise, EM rounds."""
    if population is None:
        return {}
    spread = dict(zip(population.names, population.spread.tolist(), strict=True))
    body = {"spread_on_scale": spread, "sigma": population.sigma, "rounds": population.rounds}
    return {"population": body | {"settled": population.converged}}
