"""A least-squares problem: a curve, a design, what was observed, and how a deviation is counted."""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float, PyTree

from optimizer.calibrate.space import Parameter, Space

Deviation = Literal["absolute", "relative", "relative_to_fit", "log"]
Loss = Literal["linear", "soft_l1", "huber", "cauchy"]
Predict = Callable[[Float[Array, " p"], Any], Float[Array, " n"]]


class FitProblem(eqx.Module):
    """Observations y [N] of `predict(theta, design)`.

    | deviation | residual e | likelihood |
    |---|---|---|
    | `absolute` | w (f - y) | y = f + sigma / w noise |
    | `relative` | w (f - y) / abs(y) | noise in proportion to the observed value |
    | `relative_to_fit` | w (f - y) / f | noise in proportion to the fit; f -> infinity costs at most w^2 a row |
    | `log` | w (log f - log y) | log-normal noise |

    The objective is the sum of rho(e): e^2, or with c = `loss_scale` c^2 rho(e^2 / c^2) for a robust loss. `within` is
    the sum of squares inside groups of replicates that `collapse` replaced by their mean; it is part of every SSE.
    `counts` are the rows behind each mean, `n` their sum. A weight of 0 leaves a row out. `censored` is -1 where y is
    a limit that the value lies below ("<y"), 1 where it lies above (">y"), else 0; None where all are 0. Such a row
    counts by how far the fit is on the wrong side of its limit, in a likelihood by the probability of the right side.
    """

    predict: Predict = eqx.field(static=True)
    design: PyTree[Array]
    observed: Float[Array, " n"]
    weights: Float[Array, " n"]
    counts: Float[Array, " n"]
    censored: Float[Array, " n"] | None
    space: Space
    within: Float[Array, ""]
    loss_scale: Float[Array, ""]
    deviation: Deviation = eqx.field(static=True)
    loss: Loss = eqx.field(static=True)

    @property
    def n(self) -> Float[Array, ""]:
        """Number of rows of data, those behind a mean counted each, those of weight 0 or censored not."""
        used = self.weights > 0 if self.censored is None else (self.weights > 0) & (self.censored == 0)
        return jnp.sum(jnp.where(used, self.counts, 0.0))

    def deviations(self, theta: Float[Array, " p"]) -> Float[Array, " n"]:
        """e of each row, before the loss; 0 where a censored row is on the right side of its limit."""
        e = self._differences(theta)
        return e if self.censored is None else jnp.where(self.censored * e > 0, 0.0, e)

    def _differences(self, theta: Float[Array, " p"]) -> Float[Array, " n"]:
        fitted = self.predict(theta, self.design)
        difference = fitted - self.observed
        if self.deviation == "relative":
            difference = difference / jnp.abs(self.observed)
        elif self.deviation == "relative_to_fit":
            difference = difference / jnp.where(jnp.abs(fitted) > 1e-300, fitted, 1e-300)
        elif self.deviation == "log":
            difference = jnp.log(jnp.maximum(fitted, 1e-300)) - jnp.log(self.observed)
        return difference * jnp.sqrt(self.weights * self.counts)

    def residuals(self, theta: Float[Array, " p"]) -> Float[Array, " n"]:
        """The square roots, with sign, whose squares add up to the objective (less `within`)."""
        return _robust(self.deviations(theta), self.loss, self.loss_scale)

    def objective(self, theta: Float[Array, " p"]) -> Float[Array, ""]:
        """What is minimized."""
        return jnp.sum(self.residuals(theta) ** 2) + self.within

    def sse(self, theta: Float[Array, " p"]) -> Float[Array, ""]:
        """Plain sum of squares in the data's own units, whatever the deviation and the loss."""
        difference = self.predict(theta, self.design) - self.observed
        used = jnp.where(self.weights > 0, self.counts, 0.0)
        if self.censored is not None:
            used = jnp.where(self.censored * difference > 0, 0.0, used)
        return jnp.sum(jnp.where(used > 0, used * difference**2, 0.0)) + self.within

    def scale(self) -> Float[Array, ""]:
        """Size of the residuals of a fit that predicts nothing; residuals are divided by it before the solver."""
        if self.deviation != "absolute":
            return jnp.asarray(1.0)
        weight = self.weights * self.counts
        return jnp.maximum(jnp.sqrt(jnp.sum(weight * self.observed**2) / jnp.sum(weight)), 1e-300)

    def log_likelihood(self, theta: Float[Array, " p"], sigma: Float[Array, ""]) -> Float[Array, " n"]:
        """Gaussian log-likelihood of each row at noise sigma; replicates behind a mean are counted in full.

        log N(e; 0, sigma) + log of the Jacobian from y to e, which depends on theta for `relative_to_fit`; of a
        censored row log Phi(-+e / sigma), the probability of its side of the limit.
        """
        e, used = self._differences(theta), self.weights > 0
        fitted = self.predict(theta, self.design)
        jacobian = 0.5 * jnp.log(jnp.where(used, self.weights, 1.0))
        if self.deviation in ("relative", "log"):
            jacobian = jacobian - jnp.log(jnp.abs(self.observed))
        elif self.deviation == "relative_to_fit":
            jacobian = jacobian - jnp.log(jnp.maximum(jnp.abs(fitted), 1e-300))
        row = self.counts * (jacobian - jnp.log(sigma) - 0.5 * jnp.log(2 * jnp.pi)) - 0.5 * (e / sigma) ** 2
        if self.censored is not None:
            row = jnp.where(self.censored == 0, row, self.counts * log_ndtr(self.censored * e / sigma))
        return jnp.where(used, row - 0.5 * self.within / sigma**2 / jnp.sum(used), 0.0)


def make_problem(
    predict: Predict,
    design: Any,
    observed: np.ndarray,
    parameters: tuple[Parameter, ...],
    *,
    weights: np.ndarray | None = None,
    counts: np.ndarray | None = None,
    within: float = 0.0,
    censored: np.ndarray | None = None,
    deviation: Deviation = "absolute",
    rows: int = 0,
) -> FitProblem:
    """A problem from NumPy arrays; `weights` multiply squared residuals, `counts` and `within` are of `collapse`.

    Up to `rows` it is filled with weightless copies of the first row, where the design is that long (`padded`), so
    that problems of unlike length share a compilation.

    Raises `ValueError` where a relative or logarithmic deviation meets values it is not defined for.

    >>> from optimizer.calibrate.curves import gr_curve
    >>> problem = make_problem(gr_curve, np.ones(2), np.zeros(2), (Parameter("a", "1", 0.0, 1.0),) * 3)
    >>> float(problem.n)
    2.0
    """
    observed = np.asarray(observed, dtype=float)
    if deviation == "relative" and np.any(observed == 0):
        raise ValueError("relative residuals: wanted observed values other than 0; got 0")
    if deviation == "log" and np.any(observed <= 0):
        raise ValueError(f"log residuals: wanted observed values > 0; got {observed.min():g}")
    size, ones = max(rows, len(observed)), np.ones(len(observed))
    weights = np.concatenate([ones if weights is None else weights, np.zeros(size - len(observed))])
    return FitProblem(
        predict,
        jax.tree.map(jnp.asarray, design),
        jnp.asarray(padded(observed, size)),
        jnp.asarray(weights),
        jnp.asarray(padded(ones if counts is None else counts, size)),
        None if censored is None else jnp.asarray(padded(1.0 * censored, size)),
        Space.of(parameters),
        jnp.asarray(float(within)),
        jnp.asarray(1.0),
        deviation,
        "linear",
    )


def padded(values: np.ndarray, size: int) -> np.ndarray:
    """Values followed by copies of the first, up to `size`."""
    return np.concatenate([values, np.full(max(size - len(values), 0), values[0])])


def collapse(keys: tuple[np.ndarray, ...], observed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Replicates at one point of the design become their mean, which changes no absolute least-squares optimum.

    Returns (first row of each point, means, counts, sum of squares inside the points); sum n (mean - f)^2 + inside is
    the sum over all rows of (y - f)^2.

    >>> collapse((np.array([0.0, 1.0, 1.0]),), np.array([5.0, 2.0, 4.0]))[1:]
    (array([5., 3.]), array([1., 2.]), 2.0)
    """
    table = np.rec.fromarrays(keys)
    _, first, inverse, counts = np.unique(table, return_index=True, return_inverse=True, return_counts=True)
    means = np.bincount(inverse, weights=observed) / counts
    inside = float(np.sum((observed - means[inverse]) ** 2))
    return first, means, counts.astype(float), inside


def _robust(e: Float[Array, " n"], loss: Loss, c: Float[Array, ""]) -> Float[Array, " n"]:
    """sign(e) c sqrt(rho((e / c)^2)), smooth at e = 0."""
    u = e / c
    if loss == "soft_l1":
        return e * jnp.sqrt(2.0 / (jnp.sqrt(1.0 + u**2) + 1.0))
    if loss == "cauchy":
        small = u**2 < 1e-12
        safe = jnp.where(small, 1.0, u**2)
        return e * jnp.where(small, 1.0, jnp.sqrt(jnp.log1p(safe) / safe))
    if loss == "huber":
        far = jnp.abs(u) > 1.0
        return jnp.where(far, jnp.sign(e) * c * jnp.sqrt(jnp.where(far, 2.0 * jnp.abs(u), 2.0) - 1.0), e)
    return e
