"""Net growth rates against drug and growth factor: the stromal model, directly or in the paper's two stages.

| method | what is minimized |
|---|---|
| `direct` | sum over all rows of (r(D, G; theta) - net)^2 over the six parameters at once |
| `two-stage` | first the same, one D50 a level of G, shared Rmax, Rmin, k; then the sum of (D50(G) - D50)^2 |

Source of the model: doi 10.1038/s41540-025-00495-0. A table without growth factor gets one Hill curve.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from optimizer.calibrate.curves import curves, logistic_d50, stromal_rate
from optimizer.calibrate.multistart import Fit, descend_observations, multistart, robust
from optimizer.calibrate.problem import FitProblem, collapse, make_problem, with_replicates
from optimizer.calibrate.report import Options
from optimizer.calibrate.space import Parameter
from optimizer.calibrate.tables import Table
from optimizer.calibrate.uncertainty import draws
from optimizer.files.faults import DataError

DOCS = {
    "ec50_max": "largest half-effect concentration of the drug, at endless growth factor",
    "shift_midpoint": "growth factor at which the half-effect concentration is half its largest",
    "shift_slope": "steepness of that shift",
    "net_growth_max": "net growth rate without drug",
    "net_growth_min": "net growth rate at endless drug",
    "hill": "slope of the drug effect",
    "ec50": "half-effect concentration of the drug",
}
FASTEST_DOUBLING = 5.0
SLOWEST_DOUBLING = 20.0
LARGE_DOSE = 50.0
MOST_LEVELS = 50


@dataclass(frozen=True)
class RateData:
    """A rates table reduced to what is fitted: net rates at distinct points of the design."""

    table: Table
    net: np.ndarray
    drug: np.ndarray
    growth_factor: np.ndarray
    weights: np.ndarray | None
    counts: np.ndarray
    within: float
    flags: tuple[str, ...]

    @property
    def levels(self) -> np.ndarray:
        """Distinct growth-factor concentrations."""
        return np.unique(self.growth_factor)


def rate_data(table: Table) -> RateData:
    """Net rates (birth - death, or the net column), replicates collapsed; refuses what no curve can be fitted to."""
    if "net" in table and ("birth" in table or "death" in table):
        raise DataError([table.fault(0, "net", "either net rates or birth and death rates", "both")])
    if "net" in table:
        net = table["net"]
    elif "birth" in table and "death" in table:
        net = table["birth"] - table["death"]
    else:
        got = ", ".join(sorted(table.names.values()))
        raise DataError(
            f"{table.path.name}:1: column birth_rate: wanted birth and death rates, or net rates, got {got}"
        )
    drug = table["drug"]
    _need_doses(table, drug, 4)
    factor = table["growth_factor"] if "growth_factor" in table else np.zeros_like(drug)
    flags = _plausible(table, net, factor, drug)
    if "weight" in table:
        return RateData(table, net, drug, factor, table["weight"], np.ones_like(net), 0.0, flags)
    first, means, counts, within = collapse((drug, factor), net)
    return RateData(table, means, drug[first], factor[first], None, counts, within, flags)


def _need_doses(table: Table, drug: np.ndarray, count: int) -> None:
    doses = np.unique(drug)
    if len(doses) < count:
        wanted = f"at least {count} different doses to fit a curve"
        raise DataError([table.fault(0, "drug", wanted, f"{len(doses)} ({', '.join(f'{d:g}' for d in doses)})")])


def _plausible(table: Table, net: np.ndarray, factor: np.ndarray, drug: np.ndarray) -> tuple[str, ...]:
    """Flags for units that look swapped."""
    out = []
    unit = table.units.get("net", table.units.get("birth", ""))
    hours = 24.0 * np.log(2.0) / max(float(np.abs(net).max()) * (24.0 if unit == "per_hour" else 1.0), 1e-300)
    if hours < FASTEST_DOUBLING:
        out.append(f"the fastest rate means a doubling or halving in {hours:.3g} h: are the rates really {unit}?")
    if hours / 24.0 > SLOWEST_DOUBLING:
        out.append(f"the fastest rate means a doubling or halving in {hours / 24:.3g} d: are the rates really {unit}?")
    if np.ptp(factor) > 0 and drug.max() >= LARGE_DOSE and factor.max() <= drug.max():
        out.append("doses are large and growth factors small: are the two columns, or their units, swapped?")
    return tuple(out)


def stromal_box(data: RateData, rate_unit: str, drug_unit: str, factor_unit: str) -> tuple[Parameter, ...]:
    """Bounds of the six parameters, wide around what the table spans."""
    positive = data.drug[data.drug > 0]
    low, high, span = float(data.net.min()), float(data.net.max()), max(float(np.ptp(data.net)), 1e-9)
    middle, top = (low + high) / 2, float(data.growth_factor.max())
    return (
        Parameter("ec50_max", drug_unit, float(positive.min()) * 1e-2, float(positive.max()) * 1e2, log=True),
        Parameter("shift_midpoint", factor_unit, -top, 2.5 * top),
        Parameter("shift_slope", _per(factor_unit), 0.05 / top, 100.0 / top, log=True),
        Parameter("net_growth_max", rate_unit, middle, high + 2 * span),
        Parameter("net_growth_min", rate_unit, low - 5 * span, middle),
        Parameter("hill", "1", 0.1, 10.0, log=True),
    )


def _per(unit: str) -> str:
    above, _, below = unit.partition("/")
    return f"{below}/{above}" if below else f"1/{above}"


def direct_problem(data: RateData, box: tuple[Parameter, ...]) -> FitProblem:
    """The direct least squares over all rows."""
    problem = make_problem(stromal_rate, (data.drug, data.growth_factor), data.net, box, weights=data.weights)
    return with_replicates(problem, data.counts, data.within)


def fit_direct(data: RateData, box: tuple[Parameter, ...], options: Options, **fixed: float) -> Fit:
    """The direct fit; `fixed` parameters are held."""
    fit = multistart(direct_problem(data, box), box, starts=options.starts, seed=options.seed, fixed=fixed)
    if options.loss != "linear":
        fit = robust(fit, options.loss, starts=options.starts, seed=options.seed)
    return fit


def shared_curves(data: RateData, box: tuple[Parameter, ...], options: Options, split: bool) -> Fit:
    """One D50 for each growth-factor level (`split`) or one for all, with shared Rmin, Rmax and k."""
    levels = data.levels if split else np.zeros(1)
    level = np.searchsorted(levels, data.growth_factor) if split else np.zeros(len(data.net), int)
    d50 = tuple(
        Parameter(f"ec50[{value:g}]" if split else "ec50", box[0].unit, box[0].low, box[0].high, log=True)
        for value in levels
    )
    parameters = (box[4], box[3], box[5], *d50)
    places = np.array([[0, 1, 3 + i, 2] for i in range(len(levels))])
    problem = make_problem(curves, (data.drug, level, places), data.net, parameters, weights=data.weights)
    problem = with_replicates(problem, data.counts, data.within)
    fit = multistart(problem, parameters, starts=options.starts, seed=options.seed)
    if options.loss != "linear":
        fit = robust(fit, options.loss, starts=options.starts, seed=options.seed)
    return fit


@dataclass(frozen=True)
class TwoStage:
    """Both stages and the six parameters they compose to, in the order of `curves.STROMAL`."""

    first: Fit
    second: Fit
    theta: np.ndarray


def fit_two_stage(data: RateData, box: tuple[Parameter, ...], options: Options) -> TwoStage:
    """The paper's objective: one D50 for each level, then the logistic through those D50s."""
    if len(data.levels) > MOST_LEVELS:
        wanted = f"at most {MOST_LEVELS} growth-factor levels for method two-stage"
        raise DataError([data.table.fault(0, "growth_factor", wanted, str(len(data.levels)))])
    first = shared_curves(data, box, options, split=True)
    d50 = first.theta[3:]
    parameters = box[:3]
    problem = make_problem(logistic_d50, data.levels, d50, parameters)
    second = multistart(problem, parameters, starts=options.starts, seed=options.seed)
    low, high, hill = first.theta[:3]
    return TwoStage(first, second, np.array([*second.theta, high, low, hill]))


def two_stage_draws(stages: TwoStage, count: int, seed: int) -> np.ndarray:
    """Draws [count, 6]: Laplace draws of the first stage, each carried through the second by least squares."""
    first = draws(stages.first, count, seed)
    space = stages.second.problem.space
    start = space.to_free(space.scaled(stages.second.theta))
    ends, _ = descend_observations(stages.second.problem, jnp.asarray(first[:, 3:]), jnp.asarray(start)[None])
    second = space.natural(space.from_free(np.asarray(ends)))
    return np.column_stack([second, first[:, 1], first[:, 0], first[:, 2]])


def check_levels(data: RateData) -> bool:
    """True where the stromal model can be fitted, False for one level; two cannot place a logistic and are refused."""
    count = len(data.levels)
    if count == 2:
        wanted = "one growth-factor level, or at least 3 to place its midpoint and slope"
        raise DataError([data.table.fault(0, "growth_factor", wanted, "2")])
    return count > 2
