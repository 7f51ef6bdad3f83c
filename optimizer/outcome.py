"""What a way of dosing came to: the numbers that a clinic compares."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optimizer.objectives.progression import time_above
from optimizer.simulate import Grid, System, Trajectory


@dataclass(frozen=True)
class Outcome:
    """The outcome of one way of dosing.

    Attributes:
        time_to_progression_day: when the cells first exceed the factor times those at the start; None when never.
        final_burden: all cancer cells at the end [cell].
        peak_burden: most cancer cells at any time [cell].
        resistant_fraction: share of resistant cells at the end.
        cumulative_dose: by drug, the sum of its doses (rate times length for an infusion).
        time_on_treatment_day: days in intervals with any drug given.
        switches: how often treatment is stopped or begun again after the start.
    """

    time_to_progression_day: float | None
    final_burden: float
    peak_burden: float
    resistant_fraction: float
    cumulative_dose: dict[str, float]
    time_on_treatment_day: float
    switches: int

    def to_json(self) -> dict[str, Any]:
        """The contract's keys."""
        return asdict(self)


@jax.jit
def _crossing(times: jax.Array, burden: jax.Array, factor: jax.Array) -> jax.Array:
    level = jnp.log(factor * burden[0])
    crossing = time_above(times, jnp.log(burden), level)
    return jnp.where(jnp.any(jnp.log(burden) > level), crossing, jnp.inf)


def cumulative_dose(doses: np.ndarray, edges: np.ndarray, routes: Sequence[str]) -> np.ndarray:
    """Sum of the doses [K, N] of each drug [N]; a rate counts times the length of its interval."""
    lengths = np.diff(edges)[:, None]
    return np.sum(np.where(np.array(routes) == "infusion", doses * lengths, doses), axis=0)


def level_units(system: System, dose_units: Mapping[str, str]) -> dict[str, str]:
    """Unit of each drug's level at the tumor: mg/L, or that of its doses where a dose is the level."""
    pairs = zip(system.drugs, system.pharmacokinetics, strict=True)
    return {drug: dose_units.get(drug, "1") if pk.kind == "direct" else "mg/L" for drug, pk in pairs}


def outcome(
    trajectory: Trajectory, grid: Grid, drugs: Sequence[str], routes: Sequence[str], factor: float = 1.2
) -> Outcome:
    """Outcome of a simulated patient.

    Args:
        trajectory: the patient.
        grid: the intervals of its doses.
        drugs: names [N].
        routes: "bolus" or "infusion" [N].
        factor: progression is more than this multiple of the cells at the start.
    """
    doses, edges = np.asarray(trajectory.doses), np.asarray(grid.edges)
    burden = np.asarray(trajectory.burden)
    crossing = float(_crossing(trajectory.times, trajectory.burden, np.float64(factor)))
    on = np.any(doses > 0.0, axis=1)
    final = float(burden[-1])
    return Outcome(
        time_to_progression_day=crossing if np.isfinite(crossing) else None,
        final_burden=final,
        peak_burden=float(np.max(burden)),
        resistant_fraction=float(np.asarray(trajectory.resistant)[-1]) / final if final > 0.0 else 0.0,
        cumulative_dose=dict(zip(drugs, cumulative_dose(doses, edges, routes).tolist(), strict=True)),
        time_on_treatment_day=float(np.sum(np.diff(edges)[on])),
        switches=int(np.sum(on[1:] != on[:-1])),
    )
