"""Time of the 200-start rates fit and of 4 x 1000 NUTS draws, beside what a user would do instead.

Contenders on the same table and
starts: SciPy `least_squares` looped over the 200 starts (the model in NumPy with finite differences; ours with finite
differences; ours with the exact Jacobian), and the same NUTS whose gradient is taken by central differences.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import least_squares

from benchmarks.parts import Options
from benchmarks.rows import Row
from optimizer.calibrate import read_table
from optimizer.calibrate.fit import multistart
from optimizer.calibrate.posterior import SIGMA_SD, TARGET_ACCEPT, sample, sigma_median
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


def measure(options: Options) -> Iterator[Row]:
    """Seconds of both, and the sums of squares that the fits end with."""
    data = rate_data(read_table("data/crc_birth_death_rates.csv", "rates"))
    box = stromal_box(data, "1/h", "ug/mL", "pg/mL")
    problem = direct_problem(data, box)
    cold, fit = timed(lambda: multistart(problem, box, starts=STARTS))
    warm = [timed(lambda: multistart(problem, box, starts=STARTS))[0] for _ in range(options.repeats)]
    yield Row("-", "ours", "fit, first", cold, "s")
    yield Row("-", "ours", "fit", statistics.median(warm), "s", f"sum of squares {fit.sse:.9g}")
    loops: dict[str, Callable[[], float]] = {
        "least_squares, NumPy": lambda: numpy_loop(problem),
        "least_squares, our residuals": lambda: scipy_loop(problem, False),
        "least_squares, our Jacobian": lambda: scipy_loop(problem, True),
    }
    for name, loop in loops.items():
        seconds, best = timed(loop)
        yield Row("-", name, "fit", seconds, "s", f"sum of squares {best:.9g}")
    sample(fit, chains=4, draws=1000, warmup=1000, seed=0)
    seconds, posterior = timed(lambda: sample(fit, chains=4, draws=1000, warmup=1000, seed=1))
    r_hat = max(d["r_hat"] for d in posterior.diagnostics.values())
    least = min(d["ess"] for d in posterior.diagnostics.values())
    yield Row("-", "ours", "NUTS", seconds, "s", f"worst R-hat {r_hat:.3f}, least effective size {least:.0f}")
    yield Row("-", "NUTS by finite differences", "NUTS", nuts_by_differences(problem, fit.theta, 1), "s")
