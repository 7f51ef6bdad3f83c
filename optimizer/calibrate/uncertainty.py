"""How sure a fit is: covariance, correlation, profile likelihoods, intervals, information criteria, draws, warnings.

With n rows, p free parameters, objective Q and its optimum Q*, s^2 = Q* / (n - p), all on the scaled axes w:

    covariance      s^2 (J^T J)^-1                          J: residuals by w at the optimum
    profile         tau(w_i) = sign(w_i - w_i*) sqrt((min over the others of Q - Q*) / s^2)
    interval        where abs(tau) = t_(1 + level)/2, n - p
    AIC, AICc, BIC  from the Gaussian likelihood with its best sigma; sigma counts as a parameter
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.interpolate import PchipInterpolator
from scipy.stats import t as student

from optimizer.calibrate.fit import Fit, descend
from optimizer.calibrate.problem import FitProblem

STEPS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0)
TO_EDGE = (0.15, 0.4, 0.7, 1.0)
CORRELATED = 0.98
MOST_PROFILED = 20_000


@dataclass(frozen=True)
class Profile:
    """The profile likelihood of one parameter: values in natural units [m] and tau [m] (signed, 0 at the optimum)."""

    name: str
    values: np.ndarray
    tau: np.ndarray
    interval: tuple[float | None, float | None]
    better: bool = False


@dataclass(frozen=True)
class Uncertainty:
    """Everything `uncertainty` finds; arrays are over all P parameters, with zeros for those that were fixed."""

    level: float
    sigma: float
    covariance: np.ndarray
    correlation: np.ndarray
    profiles: tuple[Profile, ...]
    criteria: dict[str, float]
    warnings: tuple[str, ...]

    def interval(self, name: str) -> tuple[float | None, float | None]:
        """The profile interval of a parameter; None where the data set no bound on that side."""
        return next((p.interval for p in self.profiles if p.name == name), (None, None))


@eqx.filter_jit
def jacobian(problem: FitProblem, w: Float[Array, " p"]) -> Float[Array, "n p"]:
    """Residuals by scaled parameters."""
    return jax.jacfwd(lambda scaled: problem.residuals(problem.space.natural(scaled)))(w)


@eqx.filter_jit
def _log_likelihood(problem: FitProblem, theta: Float[Array, " p"], sigma: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.sum(problem.log_likelihood(theta, sigma))


def degrees_of_freedom(fit: Fit) -> int:
    """n - p."""
    return round(float(fit.problem.n)) - int(fit.free.sum())


def criteria(fit: Fit) -> dict[str, float]:
    """n, k (sigma included), the Gaussian log-likelihood at its best sigma, AIC, AICc and BIC.

    Only models of the same rows and the same deviation may be compared.
    """
    n, k = round(float(fit.problem.n)), int(fit.free.sum()) + 1
    sigma = np.sqrt(max(fit.objective, 1e-300) / n)
    return information_criteria(n, k, float(_log_likelihood(fit.problem, jnp.asarray(fit.theta), jnp.asarray(sigma))))


def gaussian_criteria(n: float, k: int, sse: float) -> dict[str, float]:
    """The same from a sum of squares of unit weight; k counts sigma.

    >>> round(gaussian_criteria(10, 2, 10.0)["aic"], 4)
    32.3788
    """
    log_likelihood = -0.5 * n * (float(np.log(2 * np.pi * max(sse, 1e-300) / n)) + 1.0)
    return information_criteria(n, k, log_likelihood) | {"sse": sse}


def constant_criteria(fit: Fit) -> dict[str, float]:
    """Criteria of a constant, the weighted mean, on the rows of a fit with absolute residuals."""
    problem = fit.problem
    used = np.asarray(problem.weights) > 0
    y, weights, counts = (np.asarray(part)[used] for part in (problem.observed, problem.weights, problem.counts))
    n, within = float(problem.n), float(problem.within)
    square = counts * (y - np.average(y, weights=weights * counts)) ** 2
    q = float(np.sum(weights * square) + within)
    log_likelihood = -0.5 * n * (float(np.log(2 * np.pi * max(q, 1e-300) / n)) + 1.0)
    jacobian = 0.5 * float(np.sum(counts * np.log(weights)))
    return information_criteria(n, 2, log_likelihood + jacobian) | {"sse": float(np.sum(square) + within)}


def information_criteria(n: float, k: int, log_likelihood: float) -> dict[str, float]:
    """AIC, AICc and BIC of n rows, k parameters (sigma included) and a log-likelihood."""
    aic = 2 * k - 2 * log_likelihood
    small = 2 * k * (k + 1) / (n - k - 1) if n > k + 1 else float("inf")
    bic = k * float(np.log(n)) - 2 * log_likelihood
    return {"n": n, "k": k, "log_likelihood": log_likelihood, "aic": aic, "aicc": aic + small, "bic": bic}


def uncertainty(fit: Fit, level: float = 0.9) -> Uncertainty:
    """Covariance, profile intervals at `level`, criteria and plain warnings of a fit.

    >>> from optimizer.calibrate.curves import gr_curve
    >>> from optimizer.calibrate.fit import multistart
    >>> from optimizer.calibrate.problem import make_problem
    >>> from optimizer.calibrate.space import Parameter
    >>> positive = (Parameter("ec50", "1", 0.1, 9.0, True), Parameter("hill", "1", 0.1, 9.0, True))
    >>> box = (Parameter("low", "1", -1.0, 1.0), *positive)
    >>> dose = np.array([0.0, 0.25, 0.5, 1.0, 2.0, 4.0])
    >>> noisy = 0.5 + 0.5 / (1 + dose) + 0.002 * np.array([1, -1, 1, -1, 1, -1])
    >>> low, high = uncertainty(multistart(make_problem(gr_curve, dose, noisy, box), box, starts=8)).interval("ec50")
    >>> low < 1.0 < high
    True
    """
    dof = degrees_of_freedom(fit)
    w = fit.problem.space.scaled(fit.theta)
    free = np.flatnonzero(fit.free)
    jac = np.asarray(jacobian(fit.problem, jnp.asarray(w)))[:, free]
    variance = max(fit.objective, 1e-300) / max(dof, 1)
    covariance = np.zeros((len(w), len(w)))
    covariance[np.ix_(free, free)] = variance * _inverse(jac)
    deviation = np.sqrt(np.clip(np.diag(covariance), 0.0, None))
    safe = np.where(deviation > 0, deviation, 1.0)
    correlation = covariance / np.outer(safe, safe)
    reach = float(student.ppf((1 + level) / 2, max(dof, 1)))
    many = len(fit.problem.observed) > MOST_PROFILED
    profiles = () if dof <= 0 else (_quadratic if many else _profiles)(fit, w, deviation, variance, reach)
    flags = (*fit.flags, f"intervals are from the covariance: more than {MOST_PROFILED} rows") if many else fit.flags
    warnings = (*flags, *sentences(fit, w, correlation, profiles, dof))
    return Uncertainty(level, float(np.sqrt(variance)), covariance, correlation, profiles, criteria(fit), warnings)


def draws(fit: Fit, count: int, seed: int) -> np.ndarray:
    """Draws of theta [count, P] from the Laplace approximation: precision J^T J / s^2 + 1 / prior variance in w.

    The priors, wide as they are, keep a direction finite that the data leave open. Draws are moved inside the bounds.
    """
    space = fit.problem.space
    w = space.scaled(fit.theta)
    jac = np.asarray(jacobian(fit.problem, jnp.asarray(w)))
    variance = max(fit.objective, 1e-300) / max(degrees_of_freedom(fit), 1)
    precision = jac.T @ jac / variance + np.diag(1.0 / np.asarray(space.prior_sd) ** 2)
    return around(fit, precision, count, seed)


def around(fit: Fit, precision: Float[np.ndarray, "p p"], count: int, seed: int) -> np.ndarray:
    """Draws of theta [count, P] of a normal distribution in w around a fit, moved inside the bounds."""
    space = fit.problem.space
    values, vectors = np.linalg.eigh(precision)
    normal = np.random.default_rng(seed).standard_normal((count, len(values)))
    moved = normal / np.sqrt(np.clip(values, 1e-300, None)) @ vectors.T
    moved[:, ~fit.free] = 0.0
    return space.natural(np.clip(space.scaled(fit.theta) + moved, np.asarray(space.low), np.asarray(space.high)))


def _inverse(jac: np.ndarray) -> np.ndarray:
    """(J^T J)^-1 by singular values, columns scaled first; a direction without information gets a huge variance."""
    norms = np.linalg.norm(jac, axis=0)
    norms = np.where(norms > 0, norms, 1e-150)
    _, singular, rows = np.linalg.svd(jac / norms, full_matrices=False)
    inverse = 1.0 / np.maximum(singular, 1e-10 * singular.max())
    root = (rows.T * inverse) / norms[:, None]
    return root @ root.T


def _grid(w: float, deviation: float, low: float, high: float) -> np.ndarray:
    """Values at which a profile is computed, first downward, then upward: multiples of the standard error, then on to
    the bound."""
    step = min(deviation, (high - low) / 8) if deviation > 0 else (high - low) / 8
    edge = 1e-7 * (high - low)
    out: list[np.ndarray] = []
    for sign, bound in ((-1, low + edge), (1, high - edge)):
        near = np.clip(w + sign * step * np.array(STEPS), low + edge, high - edge)
        out += [near, near[-1] + np.array(TO_EDGE) * (bound - near[-1])]
    return np.concatenate(out)


def _profiles(fit: Fit, w: np.ndarray, deviation: np.ndarray, variance: float, reach: float) -> tuple[Profile, ...]:
    """Profiles of all free parameters: one batch from the optimum, a second from each point's better neighbor."""
    space = fit.problem.space
    low, high = np.asarray(space.low), np.asarray(space.high)
    free = np.flatnonzero(fit.free)
    grids = np.array([_grid(w[i], deviation[i], low[i], high[i]) for i in free])
    points = grids.shape[1]
    slots, column = np.arange(grids.size), np.repeat(free, points)
    held = np.tile(~fit.free, (grids.size, 1))
    held[slots, column] = True
    at = np.tile(w, (grids.size, 1))
    at[slots, column] = grids.ravel()
    starts = space.to_free(at)
    ends, costs = descend(fit.problem, starts, held)
    again = _from_neighbors(ends, costs, points // 2)
    again[slots, column] = starts[slots, column]
    _, second = descend(fit.problem, again, held)
    lowest = np.array(
        [_least(*pair) for pair in zip(grids, np.minimum(costs, second).reshape(grids.shape), strict=True)]
    )
    return tuple(
        profile_of(fit, int(i), w[i], grids[row], (lowest[row] - fit.objective) / variance, reach)
        for row, i in enumerate(free)
    )


def _least(values: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Costs of one profile: a value that stands at the bound several times has the least that was found there."""
    _, same = np.unique(values, return_inverse=True)
    least = np.full(len(values), np.inf)
    np.minimum.at(least, same, costs)
    return least[same]


def _quadratic(fit: Fit, w: np.ndarray, deviation: np.ndarray, _: float, reach: float) -> tuple[Profile, ...]:
    """What profiles are in the limit of many rows: tau is linear in w."""
    tau = np.array([-reach, 0.0, reach])
    ends = [fit.problem.space.natural(w + t * deviation) for t in tau]
    return tuple(
        Profile(fit.names[i], np.array([end[i] for end in ends]), tau, (float(ends[0][i]), float(ends[2][i])))
        for i in np.flatnonzero(fit.free)
    )


def profile_of(fit: Fit, i: int, w: float, grid: np.ndarray, rise: np.ndarray, reach: float) -> Profile:
    """One profile out of the batch: sorted, signed, with its crossings; `rise` is (Q - Q*) / s^2."""
    order = np.argsort(grid, kind="stable")
    place = int(np.searchsorted(grid[order], w))
    x = np.insert(grid[order], place, w)
    tau = np.sign(x - w) * np.sqrt(np.insert(np.clip(rise[order], 0.0, None), place, 0.0))
    down = _crossing(-x[: place + 1][::-1], -tau[: place + 1][::-1], reach)
    ends = (None if down is None else -down, _crossing(x[place:], tau[place:], reach))
    natural = np.exp if bool(fit.problem.space.log[i]) else np.asarray
    low, high = (None if end is None else float(natural(end)) for end in ends)
    return Profile(fit.names[i], natural(x), tau, (low, high), bool(np.min(rise) < -1e-6 * degrees_of_freedom(fit)))


def _from_neighbors(ends: np.ndarray, costs: np.ndarray, half: int) -> np.ndarray:
    """Start of the second sweep: where the cheaper neighbor in the same half of the same profile ended."""
    out = ends.copy()
    for start in range(0, len(ends), half):
        cost = costs[start : start + half]
        for k in range(half):
            around = [j for j in (k - 1, k + 1) if 0 <= j < half]
            out[start + k] = ends[start + min(around, key=lambda j: cost[j])]
    return out


def _crossing(x: np.ndarray, tau: np.ndarray, reach: float) -> float | None:
    """Where tau, from 0 upward along x, first reaches `reach`; None where it does not before the bound."""
    tau = np.maximum.accumulate(tau)
    beyond = np.flatnonzero(tau >= reach)
    if len(beyond) == 0:
        return None
    x, tau = x[: beyond[0] + 2], tau[: beyond[0] + 2]
    keep = np.isfinite(tau) & np.concatenate([[True], np.diff(tau, prepend=tau[0])[1:] > 1e-12])
    if tau[keep][-1] < reach:
        return float(x[beyond[0]])
    return float(PchipInterpolator(tau[keep], x[keep])(reach))


def sentences(fit: Fit, w: np.ndarray, correlation: np.ndarray, profiles: tuple[Profile, ...], dof: int) -> list[str]:
    """What the data cannot tell, one plain sentence each."""
    out: list[str] = []
    if dof <= 0:
        out.append(f"{dof + int(fit.free.sum())} rows for {int(fit.free.sum())} parameters: no interval can be given")
    low, high = np.asarray(fit.problem.space.low), np.asarray(fit.problem.space.high)
    share = (w - low) / (high - low)
    for i in np.flatnonzero(fit.free):
        if not 1e-3 < share[i] < 1 - 1e-3:
            side = "lower" if share[i] < 0.5 else "upper"
            out.append(f"{fit.names[i]} ended at its {side} bound {fit.theta[i]:.4g}: not identified by these data")
    for profile in profiles:
        for end, side in zip(profile.interval, ("below", "above"), strict=True):
            if end is None:
                out.append(f"{profile.name} is not bounded {side} by these data")
    for i, j in zip(*np.triu_indices(len(w), 1), strict=True):
        if abs(correlation[i, j]) > CORRELATED:
            pair = f"{fit.names[i]} and {fit.names[j]}"
            out.append(f"{pair} are correlated ({correlation[i, j]:+.3f}): only a combination of them is identified")
    if fit.starts_at_optimum < max(2, fit.starts // 50) and fit.starts > 1:
        out.append(
            f"only {fit.starts_at_optimum} of {fit.starts} starts reached the optimum: it may not be the global one"
        )
    if any(profile.better for profile in profiles):
        out.append("a profile found a better optimum: run again with more starts")
    return out
