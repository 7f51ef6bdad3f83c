"""Net growth rates against drug and growth factor: the stromal model, directly or in the paper's two stages.

| method | what is minimized |
|---|---|
| `direct` | sum over all rows of (r(D, G; theta) - net)^2 over the six parameters at once |
| `two-stage` | first the same, one D50 a level of G, shared Rmax, Rmin, k; then the sum of (D50(G) - D50)^2 |

Source of the model: doi 10.1038/s41540-025-00495-0. A table without growth factor gets one Hill curve.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np

from optimizer.calibrate.curves import logistic_d50, stromal_rate
from optimizer.calibrate.dose_response import Curve, fit_shared
from optimizer.calibrate.fit import Fit, Settings, descend_observations, least_squares
from optimizer.calibrate.problem import FitProblem, collapse, make_problem
from optimizer.calibrate.space import Parameter
from optimizer.calibrate.tables import Table
from optimizer.calibrate.uncertainty import draws
from optimizer.files.faults import DataError

FASTEST_DOUBLING = 5.0
SLOWEST_DOUBLING = 20.0
LARGE_DOSE = 50.0
MOST_LEVELS = 50


@dataclass(frozen=True)
class RateData:
    """A rates table reduced to what is fitted: net rates at distinct points of the design [n], in `units`.

    `units` are of the rate, the drug and the growth factor, as a scenario writes them.
    """

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

    @property
    def units(self) -> tuple[str, str, str]:
        """Units of rate, drug and growth factor."""
        given = self.table.units
        return given.get("net", given.get("birth", "1")), given["drug"], given.get("growth_factor", "1")

    @property
    def curve(self) -> Curve:
        """The rates as responses to the drug."""
        return Curve(self.drug, self.net, self.counts, self.within, self.weights)


def rate_data(table: Table) -> RateData:
    """Net rates (birth - death, or the net column), replicates collapsed; refuses what no curve can be fitted to."""
    if "net" in table and ("birth" in table or "death" in table):
        raise DataError([table.fault(0, "net", "either net rates or birth and death rates", "both")])
    if "net" in table:
        net = table["net"]
    elif "birth" in table and "death" in table:
        # In the unit of the births, which the report has.
        net = table["birth"] - table["death"] * (table.scales["death"] / table.scales["birth"])
    else:
        got = ", ".join(sorted(table.names.values()))
        raise DataError(
            f"{table.path.name}:1: column birth_rate: wanted birth and death rates, or net rates; got {got}"
        )
    drug = table["drug"]
    if len(doses := np.unique(drug)) < 4:
        got = f"{len(doses)} ({', '.join(f'{d:g}' for d in doses)})"
        raise DataError([table.fault(0, "drug", "at least 4 different doses to fit a curve", got)])
    factor = table["growth_factor"] if "growth_factor" in table else np.zeros_like(drug)
    flags = _plausible(table, net, factor, drug)
    if "weight" in table:
        return RateData(table, net, drug, factor, table["weight"], np.ones_like(net), 0.0, flags)
    first, means, counts, within = collapse((drug, factor), net)
    return RateData(table, means, drug[first], factor[first], None, counts, within, flags)


def _plausible(table: Table, net: np.ndarray, factor: np.ndarray, drug: np.ndarray) -> tuple[str, ...]:
    """Flags for units that look swapped."""
    out = []
    role = "net" if "net" in table else "birth"
    fastest = float(np.abs(net).max()) * table.factor(role, "rate") / 24.0
    hours, unit = np.log(2.0) / max(fastest, 1e-300), table.units[role]
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
    middle, top = (low + high) / 2, float(data.growth_factor.max()) or 1.0
    above, _, below = factor_unit.partition("/")
    return (
        Parameter("ec50_max", drug_unit, float(positive.min()) * 1e-2, float(positive.max()) * 1e2, log=True),
        Parameter("shift_midpoint", factor_unit, -top, 2.5 * top),
        Parameter("shift_slope", f"{below or 1}/{above}", 0.05 / top, 100.0 / top, log=True),
        Parameter("net_growth_max", rate_unit, middle, high + 2 * span),
        Parameter("net_growth_min", rate_unit, low - 5 * span, middle),
        Parameter("hill", "1", 0.1, 10.0, log=True),
    )


def direct_problem(data: RateData, box: tuple[Parameter, ...]) -> FitProblem:
    """The direct least squares over all rows."""
    return data.curve.problem(stromal_rate, (data.drug, data.growth_factor), box)


def fit_direct(
    data: RateData, box: tuple[Parameter, ...], settings: Settings, fixed: Mapping[str, float] | None = None
) -> Fit:
    """The direct fit; `fixed` parameters are held."""
    return least_squares(direct_problem(data, box), box, settings, "rates", fixed)


def shared_curves(data: RateData, box: tuple[Parameter, ...], settings: Settings, split: bool) -> Fit:
    """One D50 for each growth-factor level (`split`) or one for all, with shared Rmin, Rmax and k."""
    group = np.searchsorted(data.levels, data.growth_factor) if split else np.zeros(len(data.net), int)
    names = [f"ec50[{value:g}]" for value in data.levels] if split else ["ec50"]
    what = "one curve a level" if split else "one curve"
    return fit_shared(data.curve, group, names, (box[4], box[3], box[0], box[5]), settings, what)


@dataclass(frozen=True)
class TwoStage:
    """Both stages and the six parameters they compose to, in the order of `curves.STROMAL`."""

    first: Fit
    second: Fit
    theta: np.ndarray

    def draws(self, count: int, seed: int) -> np.ndarray:
        """Draws [count, 6]: Laplace draws of the first stage, each carried through the second by least squares."""
        first = draws(self.first, count, seed)
        space = self.second.problem.space
        start = space.to_free(space.scaled(self.second.theta))
        ends, _ = descend_observations(self.second.problem, jnp.asarray(first[:, 3:]), jnp.asarray(start))
        second = space.natural(space.from_free(np.asarray(ends)))
        return np.column_stack([second, first[:, 1], first[:, 0], first[:, 2]])


def fit_two_stage(data: RateData, box: tuple[Parameter, ...], settings: Settings) -> TwoStage:
    """The paper's objective: one D50 for each level, then the logistic through those D50s."""
    if len(data.levels) > MOST_LEVELS:
        wanted = f"at most {MOST_LEVELS} growth-factor levels for method two-stage"
        raise DataError([data.table.fault(0, "growth_factor", wanted, str(len(data.levels)))])
    first = shared_curves(data, box, settings, split=True)
    problem = make_problem(logistic_d50, data.levels, first.theta[3:], box[:3])
    second = least_squares(problem, box[:3], replace(settings, loss="linear"), "the logistic of stage two")
    low, high, hill = first.theta[:3]
    return TwoStage(first, second, np.array([*second.theta, high, low, hill]))


def is_stromal(data: RateData) -> bool:
    """True where the stromal model can be fitted, False for one level; two cannot place a logistic and are refused."""
    count = len(data.levels)
    if count == 2:
        wanted = "one growth-factor level, or at least 3 to place its midpoint and slope"
        raise DataError([data.table.fault(0, "growth_factor", wanted, "2")])
    return count > 2
