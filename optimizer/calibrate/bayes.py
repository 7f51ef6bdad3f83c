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

import jax
import jax.numpy as jnp
import numpy as np

from optimizer.calibrate.multistart import Fit
from optimizer.calibrate.problem import FitProblem
from optimizer.calibrate.uncertainty import draws as laplace

SIGMA_SD = 1.5
GOOD_RHAT = 1.01


@dataclass(frozen=True)
class Posterior:
    """Draws theta [chain, draw, P] and sigma [chain, draw]; `diagnostics` has R-hat and effective sample size by name."""

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
        w = numpyro.sample("w", dist.Normal(space.prior_mean, space.prior_sd).to_event(1))
    else:
        groups = int(pooled.shape[0])
        first = space.prior_mean[pooled[:, 0]], space.prior_sd[pooled[:, 0]]
        mu = numpyro.sample("mu", dist.Normal(*first).to_event(1))
        tau = numpyro.sample("tau", dist.HalfNormal(jnp.ones(groups)).to_event(1))
        raw = numpyro.sample("w", dist.Normal(jnp.zeros(len(space.low)), 1.0).to_event(1))
        w = space.prior_mean + space.prior_sd * raw
        w = w.at[pooled].set(mu[:, None] + tau[:, None] * raw[pooled])
        numpyro.deterministic("scaled", w)
    log_sigma = numpyro.sample("log_sigma", dist.Normal(log_sigma0, SIGMA_SD))
    numpyro.factor("data", jnp.sum(problem.log_likelihood(space.natural(w), jnp.exp(log_sigma))))


def sampler(chains: int, draws: int, warmup: int) -> Any:
    """A sampler that may be run on many problems of one shape with a single compilation."""
    from numpyro.infer import MCMC, NUTS

    kernel = NUTS(_model, dense_mass=True, target_accept_prob=0.9)
    return MCMC(
        kernel,
        num_warmup=warmup,
        num_samples=draws,
        num_chains=chains,
        chain_method="sequential",
        progress_bar=False,
        jit_model_args=True,
    )


def sample(
    fit: Fit,
    *,
    chains: int = 4,
    draws: int = 1000,
    warmup: int = 1000,
    seed: int = 0,
    pooled: np.ndarray | None = None,
    mcmc: Any = None,
) -> Posterior:
    """NUTS around a fit: chains start from spread-out draws of its Laplace approximation.

    `pooled` [kinds, groups] holds places in theta: each row is one kind of parameter of all groups, which then share a
    population. Raises `ValueError` for a robust loss, which has no likelihood here.
    """
    problem = fit.problem
    if problem.loss != "linear":
        raise ValueError(f"bayes: wanted loss linear, got {problem.loss}")
    if mcmc is None:
        mcmc = sampler(chains, draws, warmup)
    log_sigma0 = math.log(sigma_median(problem))
    start = None if pooled is not None else _starts(fit, mcmc.num_chains, seed)
    places = None if pooled is None else jnp.asarray(pooled)
    key = jax.random.key(seed)
    mcmc.run(key, problem, log_sigma0, places, extra_fields=("diverging",), init_params=start)
    got = {name: np.asarray(value) for name, value in mcmc.get_samples(group_by_chain=True).items()}
    w = got["scaled"] if pooled is not None else got["w"]
    thetas = np.asarray(problem.space.natural(jnp.asarray(w)))
    sigma = np.exp(got["log_sigma"])
    divergences = int(np.sum(mcmc.get_extra_fields()["diverging"]))
    return Posterior(
        thetas,
        sigma,
        _diagnose({**{name: thetas[:, :, i] for i, name in enumerate(fit.names)}, "sigma": sigma}),
        divergences,
        f"NUTS (numpyro), {mcmc.num_chains} x {mcmc.num_samples} draws, {divergences} divergent",
        f"log-normal: median {math.exp(log_sigma0):.4g}, sd of the logarithm {SIGMA_SD}",
        {name: got[name] for name in ("mu", "tau") if name in got},
    )


def _starts(fit: Fit, chains: int, seed: int) -> Any:
    """Unconstrained starts of each chain: Laplace draws, no further than two prior deviations from the prior mean."""
    space = fit.problem.space
    w = space.scaled(laplace(fit, chains, seed))
    w = jnp.clip(w, space.prior_mean - 2 * space.prior_sd, space.prior_mean + 2 * space.prior_sd)
    noise = math.sqrt(max(fit.objective, 1e-300) / max(float(fit.problem.n), 1.0))
    floor = 1e-6 * sigma_median(fit.problem)
    log_sigma = jnp.full((chains,), math.log(max(noise, floor)))
    if chains == 1:
        w, log_sigma = w[0], log_sigma[0]
    return {"w": w, "log_sigma": log_sigma}


def _diagnose(values: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    from numpyro.diagnostics import effective_sample_size, split_gelman_rubin

    return {
        name: {"r_hat": float(split_gelman_rubin(x)), "ess": float(effective_sample_size(x))}
        for name, x in values.items()
    }


def sampling_warnings(diagnostics: dict[str, dict[str, float]], divergences: int = 0) -> list[str]:
    """Plain sentences where chains disagree, draws are too few or trajectories diverged."""
    out = []
    for name, d in diagnostics.items():
        if not d["r_hat"] <= GOOD_RHAT:
            out.append(f"chains disagree on {name} (R-hat {d['r_hat']:.3f}, wanted at most {GOOD_RHAT})")
        if not d["ess"] >= 400:
            out.append(f"only {d['ess']:.0f} effective draws of {name} (wanted at least 400)")
    if divergences:
        out.append(f"{divergences} divergent transitions: the posterior may be biased")
    return out
