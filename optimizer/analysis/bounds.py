"""How far the best possible answer could be: bounds that theory gives for some models."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from optimizer.mechanisms.stroma import Stroma
from optimizer.models.growth import Exponential, Gompertz, Logistic
from optimizer.models.tumor import Tumor
from optimizer.pharmacology.effects import Hill
from optimizer.pharmacology.roles import Inhibitor
from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem
from optimizer.simulate import System

# Growth laws whose per-capita rate depends on all cells together and never rises with them.
_FALLING = (Exponential, Logistic, Gompertz)
_LEVELS = 4000
_TIMES = 400
_NODES = 32


@dataclass(frozen=True)
class Bound:
    """What no treatment can exceed."""

    quantity: str  #: the key of the outcome that is bounded, or "objective"
    value: float  #: the bound, in the unit of that quantity
    name: str  #: what the theory calls it
    doi: str  #: its source

    def to_json(self, reached: float | None) -> dict[str, str | float | None]:
        """The bound, and by how many percent an outcome stays away from it."""
        within = None if reached is None else 100.0 * abs(reached - self.value) / max(abs(self.value), 1e-300)
        words = {"quantity": self.quantity, "name": self.name, "doi": self.doi}
        return {**words, "value": self.value, "reached": reached, "within_percent": within}


def bound_of(problem: Problem, factor: float) -> Bound | None:
    """What theory says of a problem: of its objective where it can, else of the day on which N > factor N(0)."""
    return least_burden(problem) or ideal_containment(problem.task.system, factor)


def least_burden(problem: Problem) -> Bound | None:
    """The least objective that one drug could reach if its concentration could be anything at any time.

    Without density dependence, ln C_i(T) = ln C_i(0) + int r_i(D, G) dt. The concentration D is taken out of the hands
    of the kinetics: any course is allowed below the peak that the largest doses reach and with no more exposure than
    all doses that the limits allow can give, A. For every multiplier p >= 0 of exposure

        int w r_i dt >= int min_D [w(t) r_i(D, Gbar(D)) + p D] dt - p A - lag

    with w = 1 for `final_burden` and 1 - t / T for `burden`; the best p gives the bound (weak duality; for w = 1 it is
    the convex envelope of the net growth rate at the mean concentration). The growth factor follows its steady level
    Gbar at the rate k = dG + bG S: over K intervals, in each of which D falls or rises once, it is off by at most int
    |Gbar - G| dt <= (2 K + 1) Gmax / k, and r_i by at most Emax hill kG / 4 times that, which is the lag.

    Returns:
        The bound [log10 cells]; None where it does not hold: density dependence, transitions, mutation, several drugs,
        mechanisms besides the stroma, effects that are no Hill curves, or an objective other than one of the two terms.
    """
    model, objective = problem.task.system.model, problem.task.objective
    kinds = [term.kind for term in objective.terms]
    if kinds not in (["burden"], ["final_burden"]) or not _is_free(model) or len(problem.task.system.drugs) != 1:
        return None
    concs = _concentrations(problem)
    rates = np.asarray(jax.vmap(model.held_growth)(jnp.asarray(concs[:, None])))
    start = np.asarray(model.cells(model.initial_state()))
    lags = _lags(model, problem.task.grid.count)
    horizon, exposure = float(problem.task.grid.horizon), _most_exposure(problem)
    left = np.linspace(1.0, 0.0, _TIMES) if kinds == ["burden"] else np.ones(2)
    least = [
        (math.log(start[i]) + horizon * _cheapest(rates[:, i], concs, left, exposure / horizon) - lags[i])
        / math.log(10.0)
        for i in range(len(start))
        if start[i] > 0.0
    ]
    if not least:
        return None
    value = float(objective.weights[0]) * max(least)
    return Bound("objective", value, "free concentrations, least growth", "10.1017/CBO9780511804441")


def _is_free(model: object) -> bool:
    """Whether clones grow by themselves under Hill curves of one inhibitor, shielded by the stroma at most."""
    if not isinstance(model, Tumor) or not isinstance(model.growth, Exponential):
        return False
    if model.transitions or model.mutation is not None or not all(isinstance(m, Stroma) for m in model.mechanisms):
        return False
    effects = [effect for row in model.effects for effect in row if effect is not None]
    return all(isinstance(e, Hill) for e in effects) and all(isinstance(role, Inhibitor) for role in model.roles)


def _concentrations(problem: Problem) -> Float[np.ndarray, "D"]:
    """From none to the peak of the largest doses [D, mg/L]."""
    trajectory, _ = problem.simulate(Schedule(jnp.asarray(problem.upper)))
    peak = max(float(np.max(np.asarray(trajectory.conc))), 1e-12)
    return np.r_[0.0, np.geomspace(1e-6 * peak, peak, _LEVELS), np.linspace(0.0, peak, _LEVELS)[1:]]


def _most_exposure(problem: Problem) -> float:
    """Exposure that all doses within the limits can give, to the last of it [mg/L day]."""
    task = problem.task
    lengths = np.asarray(task.grid.lengths)
    per_dose = lengths if task.system.routes[0] == "infusion" else np.ones_like(lengths)
    rows = problem.rows
    limits = {"A_ub": np.array([r.coefficients.ravel() for r in rows]), "b_ub": [r.limit for r in rows]} if rows else {}
    bounds = np.stack([problem.lower.ravel(), problem.upper.ravel()], -1)
    from scipy.optimize import linprog

    given = -linprog(-per_dose, bounds=bounds, **limits).fun
    pk = task.system.pharmacokinetics[0]
    before = 0.0 if task.system.primed is None else pk.exposure(task.system.primed[0], jnp.zeros(()))
    # What was there at the start leaves too.
    return float(pk.exposure(pk.initial(), jnp.asarray(given)) - before)


def _lags(model: Any, intervals: int) -> Float[np.ndarray, "M"]:
    """What the growth factor's lag behind its steady level can be worth to each clone [M]."""
    lag = np.zeros(len(model.names))
    for stroma in model.mechanisms:
        most = float(stroma.growth_factor_max + stroma.growth_factor_max_per_cell * stroma.cells)
        most = max(most, float(stroma.growth_factor))
        off = (2 * intervals + 1) * most / float(stroma.growth_factor_decay + stroma.secretion_rate * stroma.cells)
        slopes = np.broadcast_to(np.asarray(stroma.shift_slope), lag.shape)
        for i, row in enumerate(model.effects):
            lag[i] += sum(float(e.emax * e.hill) * abs(slopes[i]) / 4.0 * off for e in row if isinstance(e, Hill))
    return lag


def _cheapest(rates: np.ndarray, concs: np.ndarray, left: np.ndarray, mean: float) -> float:
    """max over p >= 0 of the time average of min_D [w r(D) + p D], less p times the mean concentration [1/day]."""

    def dual(multiplier: float) -> float:
        inner = np.min(left[:, None] * rates[None, :] + multiplier * concs[None, :], axis=1)
        # The minimum is concave in w, so that the trapezoid rule is below the integral.
        return float(np.mean(0.5 * (inner[1:] + inner[:-1]))) - multiplier * mean

    steepest = np.ptp(rates) / max(mean, 1e-12)
    from scipy.optimize import minimize_scalar

    found: Any = minimize_scalar(lambda s: -dual(steepest * math.exp(s)), bounds=(-14.0, 7.0), method="bounded")
    # Any multiplier gives a bound; none at all may be the best.
    return max(dual(0.0), -float(found.fun))


def ideal_containment(system: System, factor: float) -> Bound | None:
    """The longest possible time to progression of a tumor that holds a clone no drug touches.

    Until progression N <= L = factor N(0), and no treatment makes N grow faster than M' = max_i g_i(M) M from N(0) on,
    with g_i the growth rates without drug. They fall with N, so that R' >= g(min(M, L)) R: the clone fills the whole
    tumor no later than when that has taken it from R(0) to L. A treatment that lets the tumor grow to L and holds it
    there, ideal containment, reaches that (Viossat and Noble 2021, doi 10.1038/s41559-021-01428-w).

    Returns:
        The bound [day]; None where the theory says nothing: another model, mechanisms, transitions, clones that compete
        unequally, no clone out of reach of all drugs, or one that would not fill the tumor.
    """
    model = system.model
    if not isinstance(model, Tumor) or model.mechanisms or model.transitions or not isinstance(model.growth, _FALLING):
        return None
    start = np.asarray(model.cells(model.initial_state()))
    level = factor * float(start.sum())
    rates = np.asarray(model.growth_rate * (1.0 - jnp.broadcast_to(model.cost, model.growth_rate.shape)))
    times = [
        _fills(model, rates, i, start, level)
        for i, row in enumerate(model.effects)
        if not any(effect is not None for effect in row) and start[i] > 0.0 and rates[i] > 0.0
    ]
    if not any(map(math.isfinite, times)):
        return None
    doi = "10.1038/s41559-021-01428-w"
    return Bound("time_to_progression_day", min(times), "ideal containment", doi)


def _fills(model: Tumor, rates: np.ndarray, i: int, start: np.ndarray, level: float) -> float:
    """Time [day] at which clone i fills a tumor that grows as fast as it can to a level and is held there."""

    def net(total: float) -> np.ndarray:
        held = jnp.zeros(len(start)).at[i].set(total)
        return np.asarray(model.growth(jnp.asarray(rates), held) - model.death_rate)

    if not net(level)[i] > 0.0:
        return math.inf
    begin, end = math.log(float(start.sum())), math.log(level)
    # Drugs of other roles may speed a clone up: then the tumor may be at the level at once.
    grows = end > begin and all(isinstance(role, Inhibitor) for role in model.roles)
    points, weights = np.polynomial.legendre.leggauss(_NODES)
    logs = begin + 0.5 * (end - begin) * (1.0 + points) if grows else np.zeros(0)
    found = np.array([net(math.exp(x)) for x in logs]).reshape(-1, len(start))
    # Along the growth of ln M: dt = d ln M / max g, and ln R rises by g dt.
    lengths = 0.5 * (end - begin) * weights[: len(found)] / found.max(axis=1)
    risen = math.log(start[i]) + float(lengths @ found[:, i])
    return float(lengths.sum()) + max(end - risen, 0.0) / float(net(level)[i])
