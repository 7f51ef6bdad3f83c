"""Instances of every registry entry from the metadata beside its fields, with random numbers.

A new file in the registry is built from the units of its fields. Where these do not tell enough, add its kind to
`SPECIAL` (ranges of its numbers) or the name of its field to `AROUND` (fields without a number).
"""

import dataclasses
import re
import sys
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from optimizer.endpoints.burden_factor import BurdenFactor
from optimizer.fields import describe
from optimizer.mechanisms.base import AbstractMechanism
from optimizer.mesh import Mesh
from optimizer.models.growth import AbstractGrowth
from optimizer.models.transitions import AbstractTransition
from optimizer.models.tumor import Tumor
from optimizer.pharmacology.base import AbstractPK
from optimizer.pharmacology.effects import AbstractEffect, Hill
from optimizer.pharmacology.first_order import FirstOrder
from optimizer.pharmacology.interactions import AbstractInteraction
from optimizer.pharmacology.roles import AbstractRole, Inhibitor, Resensitizer
from optimizer.registry import discover
from optimizer.simulate import System

M = 2  # clones

# Numbers of a unit are drawn between these, evenly on a log scale.
RANGES: dict[str, tuple[float, float]] = {
    "1": (0.3, 0.9),
    "1/day": (0.05, 0.5),
    "day": (1.0, 5.0),
    "cell": (1e6, 1e8),
    "cell/L": (1e9, 1e10),
    "cell/day": (1e3, 1e5),
    "1/cell/day": (1e-9, 1e-8),
    "mg/L": (0.3, 3.0),
    "L/mg": (0.1, 0.5),
    "L/mg/day": (0.01, 0.1),
    "L": (5.0, 50.0),
    "L/day": (2.0, 20.0),
    "mL/pg": (0.003, 0.03),
    "pg/mL": (50.0, 400.0),
    "pg/mL/cell": (0.02, 0.3),
}

# Of a unit that is not above: numbers of about the size that its parts have here.
PARTS = {"1": 0.5, "day": 6.0, "cell": 1e7, "mg": 15.0, "L": 15.0, "mL": 1.0, "pg": 100.0}

# Ranges of single fields, by kind.
SPECIAL: dict[str, dict[str, tuple[float, float]]] = {
    "stroma": {"cells": (500.0, 2000.0), "secretion_rate": (1e-3, 1e-2), "growth_factor_decay": (5.0, 50.0)},
    # Effectors are drawn more slowly than they are lost, or they grow without bound; a tumor that switches them off
    # faster than once a panel is too stiff for these meshes.
    "immune": {
        "recruitment": (0.01, 0.03),
        "inflow": (1e3, 1e4),
        "half_recruitment": (1e7, 1e8),
        "inactivation": (1e-12, 1e-11),
        "kill": (1e-8, 1e-7),
        "effectors": (1e4, 1e5),
    },
    "myelosuppression": {"transit_time": (3.0, 5.0), "feedback": (0.1, 0.2), "slope": (0.05, 0.2)},
    "logistic": {"capacity": (5e8, 5e9)},
    "gompertz": {"capacity": (5e8, 5e9)},
    "von_bertalanffy": {"capacity": (5e8, 5e9)},
    "competitive_logistic": {"capacity": (5e8, 5e9)},
    "competitive_gompertz": {"capacity": (5e8, 5e9)},
    "term": {"limit": (4.0, 6.0)},
    "oral": {"lag": (0.05, 0.3), "absorption": (0.5, 5.0)},
}

# What terms at visits read: cells of 1.2 times the first, every four days.
VISITED = {"endpoint": BurdenFactor(every=4.0), "visits": jnp.arange(0.0, 16.1, 4.0)}


class Unbuildable(LookupError):
    """The factory does not know how to fill a field."""


def _range(cls: type, name: str, info: Any) -> tuple[float, float]:
    found = SPECIAL.get(cls.kind, {}).get(name, RANGES.get(info.unit))
    if found is None and not set(info.unit.split("/")) <= set(PARTS):
        raise Unbuildable(
            f"{cls.__name__}.{name}: no range for the unit {info.unit!r}; add one to RANGES, or {cls.kind!r} to "
            "SPECIAL, in tests/laws/factory.py"
        )
    middle = factor(info.unit, PARTS) if found is None else 1.0
    low, high = found or (middle / 2.0, middle * 2.0)
    return max(low, info.minimum or 0.0), high if info.maximum is None else min(high, info.maximum)


def make(cls: type, rng: np.random.Generator, around: dict[str, Any]) -> Any:
    """An instance with random numbers; fields that are no numbers come from `around` or their default."""
    values, known = {}, describe(cls)
    for field in dataclasses.fields(cls):
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if field.name in known and not field.metadata.get("static"):
            info = known[field.name]
            low, high = _range(cls, field.name, info)
            drawn = np.exp(rng.uniform(np.log(low), np.log(high), (M,) * info.ndim))
            values[field.name] = jnp.asarray(drawn)
        elif field.name in around:
            values[field.name] = around[field.name]
        elif not has_default:
            raise Unbuildable(
                f"{cls.__name__}.{field.name}: not a number and without a default; add it to `around` in "
                "tests/laws/factory.py"
            )
    return cls(**values)


def registry() -> dict[str, list[type]]:
    """Every entry that a tumor or a drug can be built from, by its room."""
    rooms = {
        "mechanism": ("optimizer.mechanisms", AbstractMechanism),
        "growth": ("optimizer.models", AbstractGrowth),
        "transition": ("optimizer.models", AbstractTransition),
        "pk": ("optimizer.pharmacology", AbstractPK),
        "effect": ("optimizer.pharmacology", AbstractEffect),
        "interaction": ("optimizer.pharmacology", AbstractInteraction),
    }
    return {room: list(discover(package, base).values()) for room, (package, base) in rooms.items()}


def role_kinds(entries: dict[str, type]) -> list[type]:
    """Roles of the drugs, the inhibitor first: those that the mechanism's file knows, and one for transitions."""
    kinds = discover("optimizer.pharmacology", AbstractRole).values()
    known = vars(sys.modules[entries["mechanism"].__module__]).values() if "mechanism" in entries else ()
    return [Inhibitor, Resensitizer, *(c for c in kinds if c in known and c not in (Inhibitor, Resensitizer))]


def system(entries: dict[str, type], rng: np.random.Generator, mesh: Mesh) -> System:
    """Two clones under some drugs, with entries of the registry, at most one a room, where they belong."""
    roles = tuple(make(role, rng, {}) for role in role_kinds(entries))
    around = {"roles": roles, "drug": 0, "source": 0, "target": 1}
    made = {room: make(cls, rng, around) for room, cls in entries.items()}
    kinetics: list[AbstractPK] = [FirstOrder(rng.uniform(0.1, 0.6)) for _ in roles]
    kinetics[:2] = [made.get("pk", kinetic) for kinetic in kinetics[:2]]
    wanted = ["bolus" if j % 2 == 0 else "infusion" for j in range(len(roles))]
    routes = [route if route in pk.routes else pk.routes[0] for pk, route in zip(kinetics, wanted, strict=True)]
    parts: dict[str, Any] = {}
    if "transition" in made:
        parts |= {"transitions": (made["transition"],), "has_inflow": (False, True)}
    if "mechanism" in made:
        parts |= {"mechanisms": (made["mechanism"],)}
    if "growth" in made:
        parts |= {"growth": made["growth"]}
    if "interaction" in made:
        parts |= {"interaction": made["interaction"]}
    # The first drug acts by the law in question, the second one by a Hill curve where it is their interaction.
    laws: list[Any] = [entries.get("effect", Hill), Hill if "interaction" in made else None]
    laws += [Hill if isinstance(role, Inhibitor) else None for role in roles[2:]]
    curves = [tuple(law and make(law, rng, {}) for law in laws) for _ in range(M)]
    model = Tumor(
        names=("sensitive", "resistant"),
        is_resistant=(False, True),
        initial_cells=jnp.asarray(np.exp(rng.uniform(np.log(1e6), np.log(1e8), M))),
        growth_rate=jnp.asarray(rng.uniform(0.1, 0.4, M)),
        death_rate=jnp.asarray(rng.uniform(0.0, 0.1, M)),
        effects=tuple(curves),
        roles=roles,
        **parts,
    )
    return System(model, tuple(kinetics), tuple(r.kind for r in roles), tuple(routes), mesh)


def factor(unit: str, bases: dict[str, float]) -> float:
    """What a number of a unit is multiplied by when the base units are changed.

    Raises:
        Unbuildable: the unit has a part that is no base unit.
    """
    out = 1.0
    for i, part in enumerate(re.split("/", unit)):
        if part == "1":
            continue
        if part not in bases:
            raise Unbuildable(f"the unit {unit!r} has the unknown part {part!r}; add it to BASES in tests/laws")
        out = out * bases[part] if i == 0 else out / bases[part]
    return out


def rescaled(part: Any, bases: dict[str, float]) -> Any:
    """A module with every number that says its unit written in other base units."""
    if isinstance(part, tuple):
        return type(part)(rescaled(p, bases) for p in part)
    if isinstance(part, Mesh):
        return eqx.tree_at(lambda m: m.layer_rate, part, part.layer_rate * factor("1/day", bases))
    if not isinstance(part, eqx.Module):
        return part
    known, out = describe(type(part)), part
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if field.metadata.get("static") or value is None:
            continue
        new = value * factor(known[field.name].unit, bases) if field.name in known else rescaled(value, bases)
        if jax.tree.leaves(new):
            out = eqx.tree_at(lambda m, n=field.name: getattr(m, n), out, new)
    return out


def dose_factors(kinetics: tuple[AbstractPK, ...], routes: tuple[str, ...], bases: dict[str, float]) -> np.ndarray:
    """The same for the doses [N]."""
    out = []
    for pk, route in zip(kinetics, routes, strict=True):
        # Where the level itself is the dose, it is the effects that say its unit.
        level = pk.dose_unit == "1"
        per_day = route == "infusion" and not level
        out.append(factor("mg/L" if level else pk.dose_unit, bases) * (factor("1/day", bases) if per_day else 1.0))
    return np.array(out)
