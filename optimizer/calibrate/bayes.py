"""Posterior draws by the No-U-Turn sampler of numpyro, with priors that are stated; the only file importing numpyro.

w_i ~ Normal(prior mean, prior sd)           on each parameter's own scale (logarithm or linear)
w_i ~ Normal(mu, tau), mu ~ its prior, tau ~ HalfNormal(1)      for pooled ones (lines, patients)
log sigma ~ Normal(log sigma0, 1.5)          sigma0 = 0.1 of the data's size (absolute), 0.2 (relative, log)
y ~ the problem's Gaussian likelihood
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from optimizer.calibrate.multistart import Fit
from optimizer.calibrate.problem import FitProblem
from optimizer.calibrate.uncertainty import draws as laplace

SIGMA_SD = 1.5
TARGET_ACCEPT = 0.9
LEAST_SPREAD = 0.05


@dataclass(frozen=True)
class Posterior:
    """Draws theta [chain, draw, P] and sigma [chain, draw]; `diagnostics` has R-hat and ESS by name."""

    thetas: np.ndarray
    sigma: np.ndarray
    diagnostics: dict[str, dict[str, float]]
    divergences: int
    source: str
    sigma_prior: str
    population: dict[str, np.ndarray]


def sigma_median(problem: FitProblem) -> float:
    """sigma0, the prior median of the noise, in the units of the residuals."""
    return 0.1 * float(problem.scale()) if problem.deviation == "absolute" else 0.2


def _model(problem: FitProblem, log_sigma0: Any, pooled: Any) -> None:
    import numpyro
    import numpyro.distributions as dist

    space = problem.space
    if pooled is None:
        w: Any = numpyro.sample("w", dist.Normal(space.prior_mean, space.prior_sd).to_event(1))
    else:
        groups = int(pooled.shape[0])
        first = space.prior_mean[pooled[:, 0]], space.prior_sd[pooled[:, 0]]
        mu: Any = numpyro.sample("mu", dist.Normal(*first).to_event(1))
        tau: Any = numpyro.sample("tau", dist.HalfNormal(jnp.ones(groups)).to_event(1))
        raw: Any = numpyro.sample("w", dist.Normal(jnp.zeros(len(space.low)), 1.0).to_event(1))
        w = space.prior_mean + space.prior_sd * raw
        w = w.at[pooled].set(mu[:, None] + tau[:, None] * raw[pooled])
        numpyro.deterministic("scaled", w)
    log_sigma: Any = numpyro.sample("log_sigma", dist.Normal(log_sigma0, SIGMA_SD))
    numpyro.factor("data", jnp.sum(problem.log_likelihood(space.natural(w), jnp.exp(log_sigma))))


@eqx.filter_jit
def _chain(
    problem: FitProblem, log_sigma0: Array, pooled: Array | None, key: Array, start: Any, draws: int, warmup: int
) -> tuple[dict[str, Array], Array]:
    """One chain; problems of one shape share its compilation."""
    from numpyro.infer import MCMC, NUTS

    kernel = NUTS(_model, dense_mass=True, target_accept_prob=TARGET_ACCEPT)
    mcmc = MCMC(kernel, num_warmup=warmup, num_samples=draws, num_chains=1, progress_bar=False)
    mcmc.run(key, problem, log_sigma0, pooled, extra_fields=("diverging",), init_params=start)
    return mcmc.get_samples(), mcmc.get_extra_fields()["diverging"]


def sample(
    fit: Fit,
    *,
    chains: int = 4,
    draws: int = 1000,
    warmup: int = 1000,
    seed: int = 0,
    pooled: np.ndarray | None = None,
    sigma0: float | None = None,
) -> Posterior:
    """NUTS around a fit, one chain after the other, from spread-out draws of its Laplace approximation.

    `pooled` [kinds, groups] holds places in theta: each row is one kind of parameter of all groups, which then share a
    population. `sigma0` replaces the prior median of the noise. Raises `ValueError` for a robust loss, which has no
    likelihood here.
    """
    problem = fit.problem
    if problem.loss != "linear":
        raise ValueError(f"bayes: wanted loss linear, got {problem.loss}")
    median = sigma_median(problem) if sigma0 is None else sigma0
    places = None if pooled is None else jnp.asarray(pooled)
    runs = []
    for chain, key in enumerate(jax.random.split(jax.random.key(seed), chains)):
        start = _start(fit, seed + chain, pooled)
        runs.append(_chain(problem, jnp.asarray(math.log(median)), places, key, start, draws, warmup))
    got = {name: np.stack([np.asarray(run[name]) for run, _ in runs]) for name in runs[0][0]}
    thetas = problem.space.natural(got["scaled" if pooled is not None else "w"])
    sigma = np.exp(got["log_sigma"])
    divergences = int(sum(int(np.sum(np.asarray(diverging))) for _, diverging in runs))
    return Posterior(
        thetas,
        sigma,
        _diagnose({**{name: thetas[:, :, i] for i, name in enumerate(fit.names)}, "sigma": sigma}),
        divergences,
        f"NUTS (numpyro), {chains} x {draws} draws, {divergences} divergent",
        f"log-normal: median {median:.4g}, sd of the logarithm {SIGMA_SD}",
        {name: got[name] for name in ("mu", "tau") if name in got},
    )


def _start(fit: Fit, seed: int, pooled: np.ndarray | None) -> Any:
    """Unconstrained start of one chain: a Laplace draw, no further than two prior deviations from the prior mean."""
    space = fit.problem.space
    mean, deviation = np.asarray(space.prior_mean), np.asarray(space.prior_sd)
    w = np.clip(space.scaled(laplace(fit, 1, seed))[0], mean - 2 * deviation, mean + 2 * deviation)
    noise = math.sqrt(max(fit.objective, 1e-300) / max(float(fit.problem.n), 1.0))
    log_sigma = math.log(max(noise, 1e-6 * sigma_median(fit.problem)))
    start = {"w": w, "log_sigma": np.asarray(log_sigma)}
    if pooled is not None:
        spread = np.maximum(w[pooled].std(axis=1), LEAST_SPREAD)
        raw = (w - mean) / deviation
        raw[pooled] = (w[pooled] - w[pooled].mean(axis=1, keepdims=True)) / spread[:, None]
        start |= {"w": raw, "mu": w[pooled].mean(axis=1), "tau": np.log(spread)}
    return jax.tree.map(jnp.asarray, start)


def _diagnose(values: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    from numpyro.diagnostics import effective_sample_size, split_gelman_rubin

    return {
        name: {"r_hat": float(split_gelman_rubin(x)), "ess": float(effective_sample_size(x))}
        for name, x in values.items()
    }
