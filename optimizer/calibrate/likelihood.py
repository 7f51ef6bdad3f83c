"""The likelihood of a PEtab problem as least squares, and the priors of its parameters.

With the simulated value f, the measured y and the noise s, all of which may hang on the free parameters:

| noise | residual r | -2 log likelihood |
|---|---|---|
| normal | (f - y) / s | r^2 + 2 log s + log 2 pi |
| log-normal | (log f - log y) / s | the same + 2 log y |
| laplace | +-sqrt(2 abs(f - y) / s) | r^2 + 2 log s + log 4 |
| log-laplace | +-sqrt(2 abs(log f - log y) / s) | the same + 2 log y |

Where s is not a number the rows sqrt(c + 2 log s / s0) make log s a square too (as AMICI does, doi
10.1093/bioinformatics/btab227); so does a prior, sqrt(c - 2 log density), but that a normal one is a residual itself
and a uniform one none.
"""

from typing import Any

import numpy as np
import scipy.stats
from jaxtyping import Float

from optimizer.equations.petab_fit import Estimated, Measurements

Array = np.ndarray
# What is added before a root of something that may be negative is taken.
_LIFT = 40.0


def prior_of(one: Estimated) -> Any:
    """The density of a parameter as PEtab has it, not cut at its bounds (a distribution of SciPy)."""
    first, *rest = one.numbers
    second = rest[0] if rest else 0.0
    known = {
        "uniform": lambda: scipy.stats.uniform(first, second - first),
        "log-uniform": lambda: scipy.stats.loguniform(first, second),
        "normal": lambda: scipy.stats.norm(first, second),
        "log-normal": lambda: scipy.stats.lognorm(second, scale=np.exp(first)),
        "laplace": lambda: scipy.stats.laplace(first, second),
        "log-laplace": lambda: scipy.stats.loglaplace(1.0 / second, scale=np.exp(first)),
        "cauchy": lambda: scipy.stats.cauchy(first, second),
        "gamma": lambda: scipy.stats.gamma(first, scale=second),
        "chisquare": lambda: scipy.stats.chi2(first),
        "exponential": lambda: scipy.stats.expon(scale=first),
        "rayleigh": lambda: scipy.stats.rayleigh(scale=first),
    }
    return known[one.prior]()


def log_prior(one: Estimated, value: float) -> float:
    """Logarithm of the density within the bounds."""
    prior = prior_of(one)
    inside = float(prior.cdf(one.high) - prior.cdf(one.low))
    return float(prior.logpdf(value)) - np.log(inside)


class Likelihood:
    """A problem at any values of its free parameters.

    Args:
        data: what PEtab's tables say.
    """

    def __init__(self, data: Measurements):
        self.data, self.names = data, data.courses.free
        rows = data.rows
        self.measured = np.array([row.value for row in rows])
        self.is_log = np.array([row.distribution.startswith("log") for row in rows])
        self.is_laplace = np.array([row.distribution.endswith("laplace") for row in rows])
        self.priors = [(i, one) for i, one in enumerate(data.estimated) if one.prior != "uniform"]
        nominal = np.array([one.nominal for one in data.estimated])
        _, noise, _, slopes = self.simulated(nominal)
        self.has_free_noise = bool(np.any(slopes != 0.0) or not np.all(np.isfinite(noise)))
        self.usual = np.where(np.isfinite(noise) & (noise > 0.0), noise, 1.0)

    @property
    def size(self) -> int:
        """Residuals R."""
        return len(self.measured) * (1 + self.has_free_noise) + len(self.priors)

    def simulated(self, theta: Float[Array, "P"], sensitive: bool = True) -> tuple[Array, Array, Array, Array]:
        """Values [N], noise [N], and their derivatives [N, P] (width 0 where they are not asked for)."""
        rows, width = self.data.rows, len(theta) if sensitive else 0
        values, noise = np.zeros(len(rows)), np.zeros(len(rows))
        slopes, of_noise = np.zeros((len(rows), width)), np.zeros((len(rows), width))
        for name, how in self.data.experiments.items():
            mine = [i for i, row in enumerate(rows) if row.experiment == name]
            days = sorted({rows[i].day for i in mine})
            seen = dict(zip(days, self.data.courses.run(theta, how, days, sensitive), strict=True))
            with np.errstate(all="ignore"):
                for i in mine:
                    both = seen[rows[i].day].all_of((rows[i].formula, rows[i].noise), self.data.courses.outputs, width)
                    (values[i], slopes[i]), (noise[i], of_noise[i]) = both
        return values, np.where(noise > 0.0, noise, np.nan), slopes, of_noise

    def deviations(self, values: Array) -> Array:
        """f - y or log f - log y [N]."""
        with np.errstate(all="ignore"):
            return np.where(self.is_log, np.log(values) - np.log(self.measured), values - self.measured)

    def log_likelihood(self, theta: Float[Array, "P"]) -> float:
        """Of all measurements."""
        values, noise, *_ = self.simulated(theta, sensitive=False)
        share = self.deviations(values) / noise
        normal = -0.5 * share**2 - 0.5 * np.log(2.0 * np.pi)
        each = np.where(self.is_laplace, -np.abs(share) - np.log(2.0), normal) - np.log(noise)
        return float(np.sum(each - np.where(self.is_log, np.log(np.abs(self.measured)), 0.0)))

    def chi2(self, theta: Float[Array, "P"]) -> float:
        """Sum of squares of deviations in units of their noise."""
        values, noise, *_ = self.simulated(theta, sensitive=False)
        return float(np.sum((self.deviations(values) / noise) ** 2))

    def log_prior(self, theta: Float[Array, "P"]) -> float:
        """Of all parameters, within their bounds."""
        return float(sum(log_prior(one, x) for one, x in zip(self.data.estimated, theta, strict=True)))

    def residuals(self, theta: Float[Array, "P"], sensitive: bool = True) -> tuple[Array, Array]:
        """Residuals [R], whose squares add up to -2 log posterior but for a constant, and their derivatives [R, P]."""
        values, noise, slopes, of_noise = self.simulated(theta, sensitive)
        with np.errstate(all="ignore"):
            share = self.deviations(values) / noise
            moved = slopes / np.where(self.is_log, values, 1.0)[:, None]
            moved = (moved - share[:, None] * of_noise) / noise[:, None]
            root = np.sqrt(2.0 * np.abs(share))
            parts = [(np.where(self.is_laplace, np.sign(share) * root, share), moved)]
            parts[0][1][self.is_laplace] /= np.maximum(root, 1e-12)[self.is_laplace, None]
            if self.has_free_noise:
                lifted = np.sqrt(_LIFT + 2.0 * np.log(noise / self.usual))
                parts.append((lifted, of_noise / (noise * lifted)[:, None]))
            parts += [_prior_row(one, i, theta, slopes.shape[1]) for i, one in self.priors]
        return np.concatenate([r for r, _ in parts]), np.concatenate([jac for _, jac in parts])


def _prior_row(one: Estimated, place: int, theta: Array, width: int) -> tuple[Array, Array]:
    """The residual of a prior and its derivatives [1, P]."""
    x, jac, prior = float(theta[place]), np.zeros((1, width)), prior_of(one)
    if one.prior == "normal":
        value, slope = (x - one.numbers[0]) / one.numbers[1], 1.0 / one.numbers[1]
    else:
        step = 1e-6 * max(abs(x), 1e-3)
        value = np.sqrt(_LIFT - 2.0 * float(prior.logpdf(x)))
        slope = float(prior.logpdf(x - step) - prior.logpdf(x + step)) / (2.0 * step * value)
    if width:
        jac[0, place] = slope
    return np.array([value]), jac
