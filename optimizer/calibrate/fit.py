"""Levenberg-Marquardt from many starts in one vmapped batch, and what the batch says about the optimum."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Bool, Float

from optimizer.calibrate.problem import FitProblem
from optimizer.calibrate.space import Parameter
from optimizer.settings import FitSettings as Settings

SAME_OPTIMUM = 1e-6
SCREEN_ROWS = 4000
POLISHED = 4
MAX_STEPS = 256
LEAST_SLOTS = 128


@dataclass(frozen=True)
class Fit:
    """The best of R starts."""

    problem: FitProblem
    parameters: tuple[Parameter, ...]
    theta: np.ndarray  #: optimum in natural units [P], in the order of `parameters`
    objective: float  #: what was minimized
    sse: float  #: plain sum of squares in the data's own units
    objectives: np.ndarray  #: where each start ended [R] (infinite where it failed)
    thetas: np.ndarray  #: likewise [R, P]
    fixed: tuple[str, ...] = ()  #: names of parameters held at a given value
    flags: tuple[str, ...] = ()  #: what a user should know

    @property
    def free(self) -> np.ndarray:
        """Which parameters were moved [P]."""
        return np.array([name not in self.fixed for name in self.names])

    @property
    def starts(self) -> int:
        return len(self.objectives)

    @property
    def starts_at_optimum(self) -> int:
        """Starts within a relative 1e-6 of the best objective."""
        return int(np.sum(self.objectives <= self.objective * (1 + SAME_OPTIMUM) + 1e-300))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in self.parameters)

    def value(self, name: str) -> float:
        """One parameter of the optimum."""
        return float(self.theta[self.names.index(name)])

    def predicted(self) -> np.ndarray:
        """The fitted curve at the rows of the problem [N]."""
        return outcome(self.problem, self.theta).fitted


@dataclass(frozen=True)
class Outcome:
    """A problem at one theta: objective, plain sum of squares, fitted values [N] and deviations [N]."""

    objective: float
    sse: float
    fitted: np.ndarray
    deviations: np.ndarray


@eqx.filter_jit
def _outcome(problem: FitProblem, theta: Float[Array, " p"]) -> tuple[Array, ...]:
    fitted = problem.predict(theta, problem.design)
    return problem.objective(theta), problem.sse(theta), fitted, problem.deviations(theta)


def outcome(problem: FitProblem, theta: np.ndarray) -> Outcome:
    """The problem evaluated at theta [P]."""
    objective, sse, fitted, deviations = _outcome(problem, jnp.asarray(theta))
    return Outcome(float(objective), float(sse), np.asarray(fitted), np.asarray(deviations))


def _descend(
    problem: FitProblem, z: Float[Array, " p"], held: Bool[Array, " p"], steps: int
) -> tuple[Float[Array, " p"], Float[Array, ""]]:
    """One Levenberg-Marquardt descent: where it ends and its objective; parameters in `held` stay where they start."""
    scale = problem.scale()

    def residual(moved: Float[Array, " p"], fixed: Float[Array, " p"]) -> Float[Array, " n"]:
        space = problem.space
        theta = space.natural(space.from_free(jnp.where(held, fixed, moved)))
        return problem.residuals(theta) / scale

    solver = optx.LevenbergMarquardt(rtol=1e-9, atol=1e-12)
    solution = optx.least_squares(residual, solver, z, args=z, max_steps=steps, throw=False)
    end = jnp.where(held, z, solution.value)
    cost = jnp.sum(residual(end, z) ** 2)
    start_cost = jnp.sum(residual(z, z) ** 2)
    worse = ~(cost <= start_cost)
    end = jnp.where(worse, z, end)
    cost = jnp.where(worse, start_cost, cost) * scale**2 + problem.within
    return end, jnp.where(jnp.isfinite(cost), cost, jnp.inf)


@eqx.filter_jit
def _batch(
    problem: FitProblem, starts: Float[Array, "slots p"], held: Bool[Array, "slots p"], steps: int, batch: int | None
) -> tuple[Float[Array, "slots p"], Float[Array, " slots"]]:
    if batch is None:
        return jax.vmap(lambda z, h: _descend(problem, z, h, steps))(starts, held)
    return jax.lax.map(lambda slot: _descend(problem, slot[0], slot[1], steps), (starts, held), batch_size=batch)


def descend(
    problem: FitProblem,
    starts: np.ndarray,
    held: np.ndarray | None = None,
    steps: int = MAX_STEPS,
    batch: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """All slots in one batch (or `batch` at a time): where each ends (z) and its objective.

    Slots are padded to a power of two, so that starts and profiles of one problem share a compilation.
    """
    slots = starts.shape[0]
    held = np.zeros(starts.shape, bool) if held is None else held
    size = slots if batch is not None else max(LEAST_SLOTS, 1 << (slots - 1).bit_length())
    fill = np.arange(size) % slots
    ends, costs = _batch(problem, jnp.asarray(starts[fill]), jnp.asarray(held[fill]), steps, batch)
    return np.asarray(ends)[:slots], np.asarray(costs)[:slots]


@eqx.filter_jit
def descend_observations(
    problem: FitProblem, observed: Float[Array, "sets n"], start: Float[Array, " p"]
) -> tuple[Float[Array, "sets p"], Float[Array, " sets"]]:
    """From one start for many sets of observations under one design: z and the objective of each set."""
    free = jnp.zeros(start.shape, bool)
    return jax.lax.map(
        lambda y: _descend(replace(problem, observed=y), start, free, MAX_STEPS), observed, batch_size=64
    )


def multistart(
    problem: FitProblem,
    parameters: tuple[Parameter, ...],
    *,
    starts: int = 200,
    seed: int = 0,
    guess: np.ndarray | None = None,
    fixed: Mapping[str, float] | None = None,
) -> Fit:
    """The best of `starts` scaled starts (and of `guess`, if given, as the first of them), `fixed` parameters held.

    More than `SCREEN_ROWS` rows: all starts run on a random subset of them, the best few on all; a flag says so.
    Raises `ValueError` where no start gave a finite objective.

    >>> from optimizer.calibrate.curves import gr_curve
    >>> from optimizer.calibrate.problem import make_problem
    >>> positive = (Parameter("ec50", "1", 0.1, 9.0, True), Parameter("hill", "1", 0.1, 9.0, True))
    >>> box = (Parameter("low", "1", -1.0, 1.0), *positive)
    >>> dose = np.array([0.0, 0.5, 1.0, 2.0, 4.0])
    >>> fit = multistart(make_problem(gr_curve, dose, 0.5 + 0.5 / (1 + dose), box), box, starts=8)
    >>> fit.theta.round(4).tolist()
    [0.5, 1.0, 1.0]
    """
    z = problem.space.starts(starts, seed)
    if guess is not None:
        z[0] = problem.space.to_free(problem.space.scaled(np.asarray(guess, dtype=float)))
    held = np.zeros(z.shape, bool)
    for name, value in (fixed or {}).items():
        place = [parameter.name for parameter in parameters].index(name)
        scaled = parameters[place].on_scale(value)
        held[:, place] = True
        z[:, place] = problem.space.to_free(np.full(z.shape[1], scaled))[place]
    rows = problem.observed.shape[0]
    flags: tuple[str, ...] = ()
    if rows > SCREEN_ROWS:
        few = jnp.asarray(np.random.default_rng(seed).choice(rows, SCREEN_ROWS, replace=False))
        ends, screened = descend(_subset(problem, few), z, held, MAX_STEPS, 32)
        best = np.argsort(screened)[:POLISHED]
        ends, costs = descend(problem, ends[best], held[best], 64, 1)
        flags = (f"{starts} starts were screened on {SCREEN_ROWS} of {rows} rows; the best {POLISHED} ran on all",)
    else:
        ends, costs = descend(problem, z, held)
    objectives = costs
    if not np.isfinite(objectives).any():
        raise ValueError(f"least squares: wanted a finite objective from one of {starts} starts; got none")
    thetas = problem.space.natural(problem.space.from_free(ends))
    theta = thetas[int(np.argmin(objectives))]
    sse = outcome(problem, theta).sse
    names = tuple(fixed or ())
    return Fit(problem, parameters, theta, float(objectives.min()), sse, objectives, thetas, names, flags)


def least_squares(
    problem: FitProblem,
    parameters: tuple[Parameter, ...],
    settings: Settings,
    what: str = "the fit",
    fixed: Mapping[str, float] | None = None,
) -> Fit:
    """The least squares that the settings ask for; `what` is told to who watches.

    A robust loss has as its scale 1.4826 times the median absolute deviation of the plain fit.
    """
    settings.progress(what)
    own = {"starts": settings.starts, "seed": settings.seed, "fixed": fixed}
    plain = multistart(problem, parameters, **own)
    if settings.loss == "linear":
        return plain
    e = outcome(problem, plain.theta).deviations
    scale = max(1.4826 * float(np.median(np.abs(e - np.median(e)))), 1e-12 * float(problem.scale()))
    robust = replace(problem, loss=settings.loss, loss_scale=jnp.asarray(scale))
    return multistart(robust, parameters, guess=plain.theta, **own)


def _subset(problem: FitProblem, rows: Array) -> FitProblem:
    """The problem on some of its rows; leaves of the design as long as the rows are cut with them."""
    length = problem.observed.shape[0]
    design = jax.tree.map(lambda a: a[rows] if a.shape[:1] == (length,) else a, problem.design)
    return replace(
        problem,
        design=design,
        observed=problem.observed[rows],
        weights=problem.weights[rows],
        counts=problem.counts[rows],
        censored=None if problem.censored is None else problem.censored[rows],
        within=jnp.asarray(0.0),
    )
