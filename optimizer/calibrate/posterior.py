"""Draws of a fit's parameters, by NUTS or Laplace's approximation, and what they predict; the only importer of numpyro.

w_i ~ Normal(prior mean, prior sd)           on each parameter's own scale (logarithm or linear)
w_i ~ Normal(mu, tau), mu ~ its prior, tau ~ HalfNormal(1)      for pooled ones (lines, patients)
log sigma ~ Normal(log sigma0, 1.5)          sigma0 = 0.1 of the data's size (absolute), 0.2 (relative, log)
y ~ the problem's Gaussian likelihood
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.calibrate.fit import Fit, Settings
from optimizer.calibrate.problem import FitProblem
from optimizer.calibrate.uncertainty import Uncertainty, draws as laplace

SIGMA_SD = 1.5
TARGET_ACCEPT = 0.9
LEAST_SPREAD = 0.05
GOOD_RHAT = 1.01
ENOUGH_DRAWS = 400
LAPLACE = "Laplace approximation at the least-squares optimum (Gaussian on the scaled axes); no MCMC was run"
MOST_NUMBERS = 20_000_000
BAND_DRAWS = 400
# Draws that a chain takes to find its steps where it begins with those of a fit.
OUTSIDE_WARMUP = 200


@dataclass(frozen=True)
class Draws:
    """Draws in natural units: name -> [chain, draw] or [chain, draw, group], and where they come from."""

    values: dict[str, np.ndarray]
    units: dict[str, str]
    source: str
    priors: dict[str, str] = field(default_factory=dict)
    groups: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    predictive: np.ndarray | None = None
    log_likelihood: np.ndarray | None = None
    diagnostics: dict[str, dict[str, float]] = field(default_factory=dict)
    divergences: int = 0


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
    tell: Callable[[str], None] = lambda _: None,
) -> Posterior:
    """NUTS around a fit, one chain after the other, from spread-out draws of its Laplace approximation.

    `pooled` [kinds, groups] holds places in theta: each row is one kind of parameter of all groups, which then share a
    population. `sigma0` replaces the prior median of the noise; `tell` hears which chain is drawn. Raises `ValueError`
    for a robust loss, which has no likelihood here.
    """
    problem = fit.problem
    if problem.loss != "linear":
        raise ValueError(f"bayes: wanted loss linear; got {problem.loss}")
    median = sigma_median(problem) if sigma0 is None else sigma0
    places = None if pooled is None else jnp.asarray(pooled)
    runs = []
    for chain, key in enumerate(jax.random.split(jax.random.key(seed), chains)):
        tell(f"draws, chain {chain + 1} of {chains}")
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


def sample_outside(
    density: Callable[[np.ndarray], tuple[float, np.ndarray]],
    fit: Fit,
    precision: Float[np.ndarray, "P P"],
    starts: Float[np.ndarray, "C P"],
    *,
    draws: int,
    seed: int = 0,
    tell: Callable[[str], None] = lambda _: None,
) -> Draws:
    """NUTS on a density that JAX does not compute, one chain after the other.

    Args:
        density: its logarithm at w [P] and the derivatives [P]; called by the sampler, so without JAX.
        fit: parameters and their bounds, within which draws are.
        precision: minus the second derivatives in w at the fit: the first steps are as long as the density is wide.
        starts: theta where each chain begins.
        draws: of each chain, after `OUTSIDE_WARMUP` that are not kept.
        seed: of the draws.
        tell: hears which chain is drawn.
    """
    from numpyro.infer import MCMC, NUTS

    space, shapes = fit.problem.space, (jax.ShapeDtypeStruct((), float), jax.ShapeDtypeStruct((len(fit.theta),), float))

    def both(w: Array) -> Any:
        return jax.pure_callback(lambda at: density(np.asarray(at)), shapes, w)

    log_density = jax.custom_vjp(lambda w: both(w)[0])
    log_density.defvjp(both, lambda slope, pulled: (pulled * slope,))

    def potential(z: Array) -> Array:
        return -log_density(space.from_free(z)) - jnp.sum(jax.nn.log_sigmoid(z) + jax.nn.log_sigmoid(-z))

    z = space.to_free(space.scaled(fit.theta))
    width = np.asarray(space.high - space.low) / (2.0 + 2.0 * np.cosh(np.clip(z, -6.0, 6.0)))
    # A uniform density between the bounds is a logistic one in z.
    inverse = np.linalg.inv(width[:, None] * precision * width + np.eye(len(z)) * 3.0 / np.pi**2)
    kernel = NUTS(
        potential_fn=potential, dense_mass=True, inverse_mass_matrix=jnp.asarray(inverse), target_accept_prob=0.8
    )
    mcmc = MCMC(kernel, num_warmup=OUTSIDE_WARMUP, num_samples=draws, num_chains=1, progress_bar=False)
    found, divergences = [], 0
    for chain, key in enumerate(jax.random.split(jax.random.key(seed), len(starts))):
        tell(f"draws, chain {chain + 1} of {len(starts)}")
        begin = space.to_free(space.scaled(starts[chain]))
        mcmc.run(key, init_params=jnp.asarray(np.clip(begin, -6.0, 6.0)), extra_fields=("diverging",))
        found.append(space.natural(space.from_free(np.asarray(mcmc.get_samples()))))
        divergences += int(np.sum(np.asarray(mcmc.get_extra_fields()["diverging"])))
    values = {name: np.stack(found)[:, :, i] for i, name in enumerate(fit.names)}
    source = f"NUTS (numpyro), {len(starts)} x {draws} draws, {divergences} divergent"
    return Draws(values, dict.fromkeys(values, "1"), source, diagnostics=_diagnose(values), divergences=divergences)


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


def predictive_quantiles(
    fit: Fit, thetas: np.ndarray, sigma: np.ndarray, design: Any, at: Sequence[float], seed: int = 0
) -> np.ndarray:
    """Pointwise quantiles `at` of a new observation on a grid [q, g]: of draws of the parameters, with their noise."""
    pick = np.linspace(0, len(thetas) - 1, min(BAND_DRAWS, len(thetas))).astype(int)
    fitted = np.asarray(_predict_all(fit.problem, jnp.asarray(thetas[pick]), design))
    new = noisy(fit.problem, fitted, np.asarray(sigma)[pick], seed)
    return np.quantile(new, at, axis=0)


def sample_fit(
    fit: Fit, uncertainty: Uncertainty, settings: Settings, pooled: np.ndarray | None = None
) -> tuple[Draws, np.ndarray, np.ndarray]:
    """Draws by NUTS where `settings.bayes`, by the Laplace approximation otherwise; with theta [m, P] and sigma [m]."""
    settings.progress("draws")
    priors = {parameter.name: parameter.prior_in_words() for parameter in fit.parameters}
    shape = settings.chains, settings.draws
    if settings.bayes:
        got = sample(fit, chains=shape[0], draws=shape[1], seed=settings.seed, pooled=pooled, tell=settings.progress)
        thetas, sigma = got.thetas, got.sigma
        priors["sigma"] = got.sigma_prior
        told: dict[str, Any] = {"source": got.source, "diagnostics": got.diagnostics, "divergences": got.divergences}
    else:
        thetas = laplace(fit, shape[0] * shape[1], settings.seed).reshape(*shape, -1)
        sigma, told = np.full(shape, uncertainty.sigma), {"source": LAPLACE}
    values = {name: thetas[:, :, i] for i, name in enumerate(fit.names)}
    units = {parameter.name: parameter.unit for parameter in fit.parameters}
    flat, scales = thetas.reshape(-1, thetas.shape[-1]), sigma.reshape(-1)
    out = Draws(values, units, priors=priors, **told)
    rows = len(fit.problem.observed)
    if rows * len(flat) <= MOST_NUMBERS:
        fitted = np.asarray(_predict_all(fit.problem, jnp.asarray(flat), fit.problem.design))
        new = noisy(fit.problem, fitted, scales, settings.seed + 1).reshape(*shape, rows)
        likelihood = np.asarray(_likelihoods(fit.problem, jnp.asarray(flat), jnp.asarray(scales)))
        out = replace(out, predictive=new, log_likelihood=likelihood.reshape(*shape, rows))
    return out, flat, scales


def sampling_warnings(draws: Draws) -> list[str]:
    """Plain sentences where chains disagree, effective draws are few or trajectories diverged."""
    out = []
    for name, d in draws.diagnostics.items():
        if not d["r_hat"] <= GOOD_RHAT:
            out.append(f"chains disagree on {name} (R-hat {d['r_hat']:.3f}, wanted at most {GOOD_RHAT})")
        if not d["ess"] >= ENOUGH_DRAWS:
            out.append(f"only {d['ess']:.0f} effective draws of {name} (wanted at least {ENOUGH_DRAWS})")
    if draws.divergences:
        out.append(f"{draws.divergences} divergent transitions: the posterior may be biased")
    return out
