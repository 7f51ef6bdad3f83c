"""The stromal tumor: a recipe, not a class of its own. Clones with the Hill net growth behind the stroma mechanism."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp

from optimizer.axes import Scalar
from optimizer.fields import parameter
from optimizer.mechanisms.base import AbstractMechanism
from optimizer.mechanisms.stroma import Stroma
from optimizer.models.growth import Exponential, Logistic
from optimizer.models.transitions import AbstractTransition, clones_with_inflow
from optimizer.models.tumor import Tumor
from optimizer.pharmacology.effects import Hill
from optimizer.pharmacology.interactions import Pooled
from optimizer.pharmacology.roles import AbstractRole, Inhibitor

_KRAUT = "doi 10.1038/s41540-025-00495-0"


class Preset(NamedTuple):
    """A published parameter set."""

    meaning: str  #: what it describes, one line
    doi: str  #: its source
    #: "NUMBER UNIT" text in the paper's own units, or a bare number where there is none
    values: Mapping[str, str | float]
    #: what other sets that the paper's data allow come to, one sentence; empty where nobody looked
    doubt: str = ""


PRESETS: dict[str, Preset] = {
    "kraut2025_caf": Preset(
        "colorectal cancer cells and cancer-associated fibroblasts under cetuximab; the growth factor is EGF",
        "10.1038/s41540-025-00495-0",
        {
            "stromal_cells": 1000.0,
            "secretion_slope": "65.7 mL/ug",
            "secretion_midpoint": "0.0049 ug/mL",
            "secretion_rate": "0.001 / cell / hour",
            "growth_factor_decay": "5 / hour",
            "growth_factor_max": "27.1 pg/mL",
            "ec50_max": "7.34 ug/mL",
            "shift_midpoint": "379.4 pg/mL",
            "shift_slope": "0.0078 mL/pg",
            "net_growth_max": "0.0147 / hour",
            "net_growth_min": "-0.0079 / hour",
            "hill": 0.93,
            "cells": 1e8,
        },
        "Under the posterior that adose calibrate makes from the paper's own data, scenarios/crc_caf_cetuximab.toml "
        "goes from 8.46 to a mean of 4.05, with no progression in 100 of 100 draws (tutorial, part 6).",
    ),
    "kraut2025_general": Preset(
        "the general parameter set of the paper, in which more drug can be worse",
        "10.1038/s41540-025-00495-0",
        {
            "stromal_cells": 1000.0,
            "secretion_slope": "5 mL/ug",
            "secretion_midpoint": "0.7 ug/mL",
            "secretion_rate": "0.0001 / cell / hour",
            "growth_factor_decay": "5 / hour",
            "growth_factor_max_per_cell": "0.35 pg/mL/cell",
            "ec50_max": "10 ug/mL",
            "shift_midpoint": "300 pg/mL",
            "shift_slope": "0.03 mL/pg",
            "net_growth_max": "0.015 / hour",
            "net_growth_min": "-0.005 / hour",
            "hill": 2.0,
            "cells": 1e8,
        },
    ),
}


class StromalClone(eqx.Module):
    """Numbers of one clone: r(D, G) = Rmin + (Rmax - Rmin) / (1 + (D / D50(G))^k).

    | symbol | field | unit | meaning | source |
    |---|---|---|---|---|
    | C(0) | cells | cell | cancer cells at the start | doi 10.1038/s41540-025-00495-0 |
    | D50max | ec50_max | mg/L | half-maximal concentration when fully shielded | same |
    | Rmax | net_growth_max | 1/day | net growth rate without drug | same |
    | Rmin | net_growth_min | 1/day | net growth rate under most drug | same |
    | k | hill | 1 | steepness of the dose response | same |
    | kG | shift_slope | mL/pg | steepness of the EC50 shift | same |
    | Ghat | shift_midpoint | pg/mL | growth factor of half the EC50 shift | same |
    """

    name: str = eqx.field(static=True)
    resistant: bool = eqx.field(static=True)
    cells: Scalar = parameter(unit="cell", doc="cancer cells at the start (C(0))", source=_KRAUT, minimum=0.0)
    ec50_max: Scalar = parameter(
        unit="mg/L", doc="half-maximal concentration when fully shielded (D50max)", source=_KRAUT, positive=True
    )
    net_growth_max: Scalar = parameter(unit="1/day", doc="net growth rate without drug (Rmax)", source=_KRAUT)
    net_growth_min: Scalar = parameter(unit="1/day", doc="net growth rate under most drug (Rmin)", source=_KRAUT)
    hill: Scalar = parameter(unit="1", doc="steepness of the dose response (k)", source=_KRAUT, positive=True)
    shift_slope: Scalar = parameter(unit="mL/pg", doc="steepness of the EC50 shift (kG)", source=_KRAUT)
    shift_midpoint: Scalar = parameter(unit="pg/mL", doc="growth factor of half the EC50 shift (Ghat)", source=_KRAUT)


def stromal(
    clones: Sequence[StromalClone],
    roles: Sequence[AbstractRole],
    stroma: Mapping[str, Scalar],
    *,
    carrying_capacity: Scalar | None = None,
    mutation: Sequence[Sequence[float]] | None = None,
    cell_floor: float = 1.0,
    mechanisms: Sequence[AbstractMechanism] = (),
    transitions: Sequence[AbstractTransition] = (),
) -> Tumor:
    """A tumor of these clones with the stroma mechanism: C_i' = (r_i(D, G) - Rmax_i N / K) C_i + mutation.

    Args:
        clones: the clones [M].
        roles: role of each drug [N]; all inhibitors act on a clone through one Hill curve in D, the sum of potency
            times concentration (Loewe additivity).
        stroma: numbers of `Stroma` by field, in internal units, without the clones' own shift.
        carrying_capacity: K [cell], shared by all clones; none is exponential growth.
        mutation: share of the divisions of clone i that give clone j [M, M].
        cell_floor: cells added before a logarithm is taken.
        mechanisms: further mechanisms.
        transitions: cells that leave one clone for another.

    Example:
        >>> clone = StromalClone("tumor", False, 1e8, 7.34, 0.35, -0.19, 0.93, 0.0078, 379.4)
        >>> numbers = {"cells": 1e3, "secretion_slope": 65.7, "secretion_midpoint": 0.0049, "secretion_rate": 0.024,
        ...            "growth_factor_decay": 120.0, "growth_factor_max": 27.1}
        >>> stromal([clone], [Inhibitor()], numbers).clone_names()
        ('tumor',)
    """
    effects = tuple(
        tuple(
            Hill(c.net_growth_max - c.net_growth_min, c.ec50_max / role.potency, c.hill)
            if isinstance(role, Inhibitor)
            else None
            for role in roles
        )
        for c in clones
    )
    shield = Stroma(
        **{name: jnp.asarray(value, dtype=float) for name, value in stroma.items()},
        shift_slope=jnp.stack([c.shift_slope for c in clones]),
        shift_midpoint=jnp.stack([c.shift_midpoint for c in clones]),
        roles=tuple(roles),
    )
    return Tumor(
        names=tuple(c.name for c in clones),
        is_resistant=tuple(c.resistant for c in clones),
        initial_cells=jnp.stack([c.cells for c in clones]),
        growth_rate=jnp.stack([c.net_growth_max for c in clones]),
        death_rate=jnp.zeros(len(clones)),
        effects=effects,
        growth=Exponential() if carrying_capacity is None else Logistic(jnp.asarray(carrying_capacity)),
        mechanisms=(shield, *mechanisms),
        mutation=None if mutation is None else jnp.asarray(mutation, dtype=float),
        cell_floor=cell_floor,
        has_inflow=clones_with_inflow(len(clones), mutation, transitions),
        interaction=Pooled(),
        transitions=tuple(transitions),
        roles=tuple(roles),
    )
