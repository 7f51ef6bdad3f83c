"""Draws of a fit's parameters and what they predict: bands, predictive draws and pointwise log-likelihoods."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.calibrate.multistart import Fit
from optimizer.calibrate.problem import FitProblem
from optimizer.calibrate.report import Draws, Options
from optimizer.calibrate.uncertainty import Uncertainty, draws

LAPLACE = "Laplace approximation at the least-squares optimum (Gaussian on the scaled axes); no MCMC was run"
MOST_NUMBERS = 20_000_000
BAND_DRAWS = 400


@eqx.filter_jit
def _predict_all(problem: FitProblem, thetas: Float[Array, "m p"], design: Any) -> Float[Array, "m n"]:
    return jax.vmap(lambda theta: problem.predict(theta, design))(thetas)


@eqx.filter_jit
def _likelihoods(problem: FitProblem, thetas: Float[Array, "m p"], sigma: Float[Array, " m"]) -> Float[Array, "m n"]:
    return jax.vmap(problem.log_likelihood)(thetas, sigma)


def curve(fit: Fit, design: Any) -> np.ndarray:
    """The fitted curve under another design."""
    return np.asarray(_predict_all(fit.problem, jnp.asarray(fit.theta)[None], design))[0]


def noisy(problem: FitProblem, fitted: np.ndarray, sigma: np.ndarray, seed: int) -> np.ndarray:
    """New observations around fitted values [m, n] at noise sigma [m], as the problem's deviation says."""
    e = np.random.default_rng(seed).standard_normal(fitted.shape) * np.asarray(sigma)[:, None]
    if problem.deviation == "log":
        return fitted * np.exp(e)
    return fitted + e * (1.0 if problem.deviation == "absolute" else np.abs(fitted))


def band(
    fit: Fit, thetas: np.ndarray, sigma: np.ndarray, design: Any, level: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Pointwise predictive interval of a new observation on a grid: (low [g], high [g])."""
    pick = np.linspace(0, len(thetas) - 1, min(BAND_DRAWS, len(thetas))).astype(int)
    fitted = np.asarray(_predict_all(fit.problem, jnp.asarray(thetas[pick]), design))
    new = noisy(fit.problem, fitted, np.asarray(sigma)[pick], seed)
    low, high = np.quantile(new, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def sample_fit(
    fit: Fit, doubt: Uncertainty, options: Options, pooled: np.ndarray | None = None
) -> tuple[Draws, np.ndarray, np.ndarray]:
    """Draws by NUTS where `options.bayes`, by the Laplace approximation otherwise; with theta [m, P] and sigma [m]."""
    units = {parameter.name: parameter.unit for parameter in fit.parameters}
    priors = {parameter.name: parameter.prior_in_words() for parameter in fit.parameters}
    if options.bayes:
        from optimizer.calibrate.bayes import sample

        posterior = sample(fit, chains=options.chains, draws=options.draws, seed=options.seed, pooled=pooled)
        thetas, sigma = posterior.thetas, posterior.sigma
        priors["sigma"] = posterior.sigma_prior
        source, diagnostics, divergences = posterior.source, posterior.diagnostics, posterior.divergences
    else:
        count = options.chains * options.draws
        flat = draws(fit, count, options.seed)
        thetas = flat.reshape(options.chains, options.draws, -1)
        sigma = np.full(thetas.shape[:2], doubt.sigma)
        source, diagnostics, divergences = LAPLACE, {}, 0
    values = {name: thetas[:, :, i] for i, name in enumerate(fit.names)}
    flat, scales = thetas.reshape(-1, thetas.shape[-1]), sigma.reshape(-1)
    out = Draws(values, units, source, priors, diagnostics=diagnostics, divergences=divergences)
    return _with_predictions(out, fit, thetas.shape[:2], flat, scales, options.seed), flat, scales


def _with_predictions(
    out: Draws, fit: Fit, shape: tuple[int, int], flat: np.ndarray, sigma: np.ndarray, seed: int
) -> Draws:
    rows = len(fit.problem.observed)
    if rows * len(flat) > MOST_NUMBERS:
        return out
    fitted = np.asarray(_predict_all(fit.problem, jnp.asarray(flat), fit.problem.design))
    new = noisy(fit.problem, fitted, sigma, seed + 1)
    likelihood = np.asarray(_likelihoods(fit.problem, jnp.asarray(flat), jnp.asarray(sigma)))
    return replace(out, predictive=new.reshape(*shape, rows), log_likelihood=likelihood.reshape(*shape, rows))
