"""Time of the 200-start rates fit and of 4 x 1000 NUTS draws, as ratios to what a user would do instead.

Run `JAX_ENABLE_X64=1 python -m benchmarks.calibration` from the repository root. Contenders on the same table and
starts: SciPy `least_squares` looped over the 200 starts (the model in NumPy with finite differences; ours with finite
differences; ours with the exact Jacobian), and the same NUTS whose gradient is taken by central differences.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import least_squares

from optimizer.calibrate import read_table
from optimizer.calibrate.bayes import SIGMA_SD, TARGET_ACCEPT, sample, sigma_median
from optimizer.calibrate.multistart import multistart
from optimizer.calibrate.rates import direct_problem, rate_data, stromal_box

STARTS = 200


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and what came back."""
    start = time.perf_counter()
    out = run()
    return time.perf_counter() - start, out


def scipy_loop(problem: Any, jacobian: bool) -> float:
    """The best sum of squares of SciPy from the same starts, residuals and bounds (by the same transform)."""
    space, scale = problem.space, float(problem.scale())
    residual = jax.jit(lambda z: problem.residuals(space.natural(space.from_free(z))) / scale)
    exact = jax.jit(jax.jacfwd(residual))
    best = np.inf
    for z in space.starts(STARTS, 0):
        found = least_squares(
            lambda x: np.asarray(residual(jnp.asarray(x))),
            z,
            jac=(lambda x: np.asarray(exact(jnp.asarray(x)))) if jacobian else "2-point",
            xtol=1e-9,
            ftol=1e-12,
            max_nfev=256,
        )
        best = min(best, 2 * found.cost * scale**2)
    return best


def numpy_loop(problem: Any) -> float:
    """As a user writes it: the model in NumPy, SciPy's own bounds and finite differences."""
    drug, factor = (np.asarray(part) for part in problem.design)
    net, space = np.asarray(problem.observed), problem.space
    low, high = np.asarray(space.low), np.asarray(space.high)
    best = np.inf

    def residual(w: np.ndarray) -> np.ndarray:
        ec50, midpoint, slope, top, bottom, hill = space.natural(w)
        with np.errstate(over="ignore"):
            d50 = ec50 / (1 + np.exp(-slope * (factor - midpoint)))
            return 1e3 * (bottom + (top - bottom) / (1 + (drug / d50) ** hill) - net)

    for z in space.starts(STARTS, 0):
        start = np.clip(space.from_free(z), low, high)
        found = least_squares(residual, start, bounds=(low, high), x_scale=(high - low) / 6, xtol=1e-9, max_nfev=256)
        best = min(best, 2e-6 * found.cost)
    return best


def nuts_by_differences(problem: Any, theta: np.ndarray, seed: int) -> float:
    """Seconds of the same NUTS, compiled beforehand, on a density whose gradient is by central differences."""
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import MCMC, NUTS

    space, median = problem.space, sigma_median(problem)

    @jax.custom_vjp
    def density(x: Any) -> Any:
        return jnp.sum(problem.log_likelihood(space.natural(x[:-1]), jnp.exp(x[-1])))

    def backward(x: Any, cotangent: Any) -> tuple[Any]:
        steps = 1e-6 * jnp.eye(len(x))
        rise = jax.vmap(density)(x + steps) - jax.vmap(density)(x - steps)
        return (cotangent * rise / 2e-6,)

    density.defvjp(lambda x: (density(x), x), backward)

    def model() -> None:
        w = numpyro.sample("w", dist.Normal(space.prior_mean, space.prior_sd).to_event(1))
        log_sigma = numpyro.sample("log_sigma", dist.Normal(np.log(median), SIGMA_SD))
        numpyro.factor("data", density(jnp.append(w, log_sigma)))

    @jax.jit
    def chain(key: Any) -> Any:
        kernel = NUTS(model, dense_mass=True, target_accept_prob=TARGET_ACCEPT)
        mcmc = MCMC(kernel, num_warmup=1000, num_samples=1000, progress_bar=False)
        start = {"w": jnp.asarray(space.scaled(theta)), "log_sigma": jnp.asarray(np.log(median / 5))}
        mcmc.run(key, init_params=start)
        return mcmc.get_samples()["w"]

    keys = jax.random.split(jax.random.key(seed), 4)
    chain(keys[0]).block_until_ready()
    return timed(lambda: [chain(key).block_until_ready() for key in keys])[0]


def main() -> None:
    """Print one JSON object of seconds and ratios."""
    data = rate_data(read_table("data/crc_birth_death_rates.csv", "rates"))
    box = stromal_box(data, "1/h", "ug/mL", "pg/mL")
    problem = direct_problem(data, box)
    cold, fit = timed(lambda: multistart(problem, box, starts=STARTS))
    warm = min(timed(lambda: multistart(problem, box, starts=STARTS))[0] for _ in range(3))
    exact, by_exact = timed(lambda: scipy_loop(problem, True))
    finite, by_finite = timed(lambda: scipy_loop(problem, False))
    plain, by_plain = timed(lambda: numpy_loop(problem))
    nuts_cold, _ = timed(lambda: sample(fit, chains=4, draws=1000, warmup=1000, seed=0))
    nuts_warm, posterior = timed(lambda: sample(fit, chains=4, draws=1000, warmup=1000, seed=1))
    differences = nuts_by_differences(problem, fit.theta, 1)
    out = {
        "fit_seconds": {"first": cold, "again": warm},
        "scipy_seconds": {"numpy": plain, "jax_finite_differences": finite, "jax_exact_jacobian": exact},
        "ratio_scipy_over_fit": {"numpy": plain / warm, "jax_finite": finite / warm, "jax_exact": exact / warm},
        "ratio_scipy_over_first_fit": plain / cold,
        "sse": {"fit": fit.sse, "scipy_exact": by_exact, "scipy_finite": by_finite, "scipy_numpy": by_plain},
        "nuts_seconds": {"first": nuts_cold, "again": nuts_warm},
        "nuts_worst": {
            "r_hat": max(d["r_hat"] for d in posterior.diagnostics.values()),
            "ess": min(d["ess"] for d in posterior.diagnostics.values()),
        },
        "nuts_seconds_by_finite_differences": differences,
        "ratio_finite_differences_over_nuts": differences / nuts_warm,
        "device": str(jax.devices()[0]),
    }
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
