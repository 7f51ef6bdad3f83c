"""Stromal systems from the oracle's parameters, and the few compiled functions that the tests of the core share."""

import equinox as eqx
import jax.numpy as jnp

from optimizer import mesh as _mesh
from optimizer.models.stromal import StromalClone, stromal
from optimizer.pharmacology.first_order import FirstOrder
from optimizer.pharmacology.roles import AbstractRole, Inhibitor, LigandBlocker
from optimizer.policies.schedule import Schedule
from optimizer.simulate import System, rollout
from optimizer.simulate.resolution import choose_mesh

_STROMA = {
    "cells": "cells",
    "secretion_slope": "secretion_slope",
    "secretion_midpoint": "secretion_midpoint",
    "secretion_rate": "growth_factor_production",
    "growth_factor_decay": "growth_factor_decay",
    "growth_factor": "growth_factor",
    "growth_factor_max": "growth_factor_max",
    "growth_factor_max_per_cell": "growth_factor_max_per_cell",
}
_CLONE = ("cells", "ec50_max", "net_growth_max", "net_growth_min", "hill", "shift_slope", "shift_midpoint")


def _role(drug: dict) -> AbstractRole:
    return LigandBlocker(drug["beta"]) if drug["role"] == "ligand_blocker" else Inhibitor()


def system_of(parameters: dict, longest: float = 7.0, mesh: _mesh.Mesh | None = None) -> System:
    """The system that the oracle's parameters describe, every drug given as a bolus, on the search's own mesh."""
    clones = [
        StromalClone(f"clone {i}", i > 0, *(clone[name] for name in _CLONE))
        for i, clone in enumerate(parameters["clones"])
    ]
    drugs = parameters["drugs"]
    numbers = {ours: parameters["stroma"].get(theirs, 0.0) for ours, theirs in _STROMA.items()}
    model = stromal(clones, [_role(d) for d in drugs], numbers, carrying_capacity=parameters["capacity"])
    kinetics = tuple(FirstOrder(drug["elimination"]) for drug in drugs)
    names = tuple(f"drug {j}" for j in range(len(drugs)))
    mesh = choose_mesh(model, kinetics, longest) if mesh is None else mesh
    return System(model, kinetics, names, ("bolus",) * len(drugs), mesh)


def mean_log_burden(doses, system, grid):
    """Time average of log10(N + 1)."""
    trajectory = rollout(system, Schedule(doses), grid)
    return jnp.sum(trajectory.weights * jnp.log10(trajectory.burden + 1.0)) / grid.horizon


@eqx.filter_jit
def simulate(system, doses, grid):
    """Trajectory of doses [K, N]."""
    return rollout(system, Schedule(doses), grid)


value_and_slope = eqx.filter_jit(eqx.filter_value_and_grad(mean_log_burden))
"""The average and its gradient in the doses."""
