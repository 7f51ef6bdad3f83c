"""A published parameter set scored on the data it was fitted to: how far from the optimum, and what that changes.

For published theta and the direct optimum theta*, sums of squares Q in the data's own units and n rows:

    likelihood gap   log L(theta*) - log L(theta) = n/2 log(Q / Q*), each at its own best sigma
    critical         D_crit(G) = D50(G) (-Rmax / Rmin)^(1/k) for published, two-stage and direct, side by side
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from optimizer.calibrate import rates
from optimizer.calibrate.curves import zero_growth
from optimizer.calibrate.fit import Fit, Settings, multistart, outcome
from optimizer.calibrate.problem import FitProblem
from optimizer.calibrate.report import quantity
from optimizer.calibrate.secretion import fit_secretion
from optimizer.calibrate.tables import Table
from optimizer.files.faults import DataError
from optimizer.models.stromal import PRESETS
from optimizer.units import parse_quantity

FITTED = ("kraut2025_caf",)
"""Published sets that were fitted to such tables."""
PUBLISHED_GROWTH_FACTOR_MAX = parse_quantity(PRESETS["kraut2025_caf"].values["growth_factor_max"], "pg/mL")
"""pg/mL: where the critical concentration is reported; the mean of the fitted EGF maxima, of the same source."""
Consequence = Callable[[Mapping[str, str | float]], Mapping[str, Any]]
"""From a parameter set in scenario quantities to what it leads to, such as the best schedule and its burden."""


def has_mass(table: Table) -> bool:
    """Whether doses are a mass in a volume, not an amount in mol."""
    return "mol" not in table.units["drug"]


def published(table: Table, name: str) -> dict[str, float]:
    """The published values in the units of a table's header.

    >>> from optimizer.calibrate.tables import read_table
    >>> table = read_table("data/crc_birth_death_rates.csv", "rates")
    >>> published(table, "kraut2025_caf")["net_growth_max"]
    0.0147
    """
    if name not in FITTED:
        raise DataError(f"against: wanted one of {', '.join(FITTED)}; got {name!r}")
    if not has_mass(table):
        raise DataError(f"against: wanted doses in mass by volume, as in {name}; got {table.units['drug']}")
    rate = table.units.get("net", table.units.get("birth", "1/h"))
    drug, factor = table.units["drug"], table.units.get("growth_factor", "pg/mL")
    units = {"ec50_max": drug, "secretion_midpoint": drug, "secretion_slope": _inverse(drug)}
    units |= {"shift_midpoint": factor, "growth_factor_max": factor, "shift_slope": _inverse(factor), "hill": "1"}
    units |= dict.fromkeys(("net_growth_max", "net_growth_min"), rate)
    return {key: parse_quantity(PRESETS[name].values[key], unit) for key, unit in units.items()}


def _inverse(unit: str) -> str:
    above, _, below = unit.partition("/")
    return f"{below}/{above}"


def audit_rates(
    table: Table, name: str, settings: Settings, schedule_consequence: Consequence | None = None
) -> dict[str, Any]:
    """Published, two-stage and direct parameters of a rates table side by side."""
    data = rates.rate_data(table)
    if not rates.is_stromal(data):
        raise DataError([table.fault(0, "growth_factor", f"several growth-factor levels, as in {name}", "one")])
    box = rates.stromal_box(data, *data.units)
    direct = rates.fit_direct(data, box, settings)
    stages = rates.fit_two_stage(data, box, settings)
    given = published(table, name)
    sets = {
        "published": np.array([given[parameter.name] for parameter in box]),
        "two_stage": stages.theta,
        "direct": direct.theta,
    }
    problem = rates.direct_problem(data, box)
    scored: dict[str, dict[str, Any]] = {}
    for label, theta in sets.items():
        own = {"parameters": dict(zip(direct.names, theta.tolist(), strict=True))}
        if schedule_consequence is not None:
            named = {p.name: quantity(v, p.unit) for p, v in zip(box, theta, strict=True)}
            own["schedule"] = dict(schedule_consequence(named))
        scored[label] = _scored(problem, theta, direct, table) | own
    # Stage one at the published shared parameters and the D50s that their logistic gives.
    ec50_max, midpoint, slope, high, low, hill = sets["published"]
    d50 = ec50_max / (1 + np.exp(-slope * (data.levels - midpoint)))
    before = outcome(stages.first.problem, np.array([low, high, hill, *d50])).sse
    critical = "critical_concentration_ug_per_ml"
    out: dict[str, Any] = {"preset": name, "source": f"doi {PRESETS[name].doi}", "sse_unit": box[3].unit}
    out |= {"sets": scored, "stage_one_sse": {"published": before, "two_stage": stages.first.sse}}
    out[critical] = {label: entry[critical] for label, entry in scored.items()}
    return out | {"sentences": _sentences(out, name)}


def _scored(problem: FitProblem, theta: np.ndarray, best: Fit, table: Table) -> dict[str, Any]:
    """Sum of squares, likelihood gap and critical concentrations of one parameter set."""
    n = float(problem.n)
    here, drug = outcome(problem, theta), table.factor("drug", "concentration")
    ratio = here.objective / best.objective
    gap = 0.5 * n * float(np.log(ratio))
    maximum = PUBLISHED_GROWTH_FACTOR_MAX / table.factor("growth_factor", "growth_factor")
    return {
        "sse": here.sse,
        "sse_over_optimum": ratio,
        "log_likelihood_below_optimum": gap,
        "aic_above_optimum": 2 * gap,
        "critical_concentration_ug_per_ml": {
            "0": drug * float(zero_growth(tuple(theta), 0.0)),
            f"{PUBLISHED_GROWTH_FACTOR_MAX:g}": drug * float(zero_growth(tuple(theta), maximum)),
        },
    }


def audit_secretion(table: Table, name: str, settings: Settings) -> dict[str, Any]:
    """The published slope and midpoint on a secretion table, each group's maximum at its best for them."""
    fit, _ = fit_secretion(table, replace(settings, loss="linear"))
    given = published(table, name)
    held = {key: given[key] for key in ("secretion_slope", "secretion_midpoint")}
    there = multistart(fit.problem, fit.parameters, starts=settings.starts, seed=settings.seed, fixed=held)
    best = fit.objective
    scored = {**held, "growth_factor_max": given["growth_factor_max"]}
    found = {p: fit.value(p) for p in held} | {"growth_factor_max": float(fit.theta[2:].mean())}
    gap = 0.5 * float(fit.problem.n) * float(np.log(there.objective / best))
    out = {
        "preset": name,
        "source": f"doi {PRESETS[name].doi}",
        "sets": {
            "published": {"parameters": scored, "objective": there.objective, "sse": there.sse},
            "direct": {"parameters": found, "objective": best, "sse": fit.sse},
        },
        "objective_over_optimum": there.objective / best,
        "log_likelihood_below_optimum": gap,
    }
    out["sentences"] = [
        f"{name} scores {there.objective / best:.6g} times the optimum of this objective"
        + (": it is the optimum to the digits printed" if there.objective / best < 1.001 else "")
    ]
    return out


def _sentences(audit: dict[str, Any], name: str) -> list[str]:
    sets = audit["sets"]
    key = f"{PUBLISHED_GROWTH_FACTOR_MAX:g}"
    scored = sets["published"]
    crossings = ", ".join(
        f"{label.replace('_', '-')} {entry['critical_concentration_ug_per_ml'][key]:.4g}"
        for label, entry in sets.items()
    )
    out = [f"critical concentration at {key} pg/mL, in ug/mL: {crossings}"]
    if scored["sse_over_optimum"] > 1.001:
        out.append(
            f"{name} is not the optimum of the direct objective: its sum of squares is "
            f"{scored['sse_over_optimum']:.3g} times the optimum (log-likelihood lower by "
            f"{scored['log_likelihood_below_optimum']:.3g})"
        )
    one = audit["stage_one_sse"]
    if one["published"] > 1.001 * one["two_stage"]:
        ratio = one["published"] / one["two_stage"]
        out.append(f"nor of the two-stage objective: its stage one is {ratio:.3g} times the optimum in sum of squares")
    return out
