"""Tumors on small grids, against SciPy with the same equations written down again."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

from optimizer.models.tumor import Tumor
from optimizer.pharmacology.first_order import FirstOrder
from optimizer.policies.schedule import Schedule
from optimizer.simulate import Grid, System, rollout
from optimizer.simulate.resolution import choose_mesh

ROOT = Path(__file__).parents[2] / "scenarios"


def tumor(clones, drugs=1, **more):
    """A tumor from (cells, growth rate, death rate, effects) of each clone; the last clone counts as resistant."""
    cells, growth, death, effects = zip(*clones, strict=True)
    names = tuple(f"clone {i}" for i in range(len(clones)))
    return Tumor(
        names=names,
        is_resistant=(*(False for _ in names[1:]), len(names) > 1),
        initial_cells=jnp.array(cells, dtype=float),
        growth_rate=jnp.array(growth, dtype=float),
        death_rate=jnp.array(death, dtype=float),
        effects=tuple(tuple(row) if row else (None,) * drugs for row in effects),
        **more,
    )


def system(model, eliminations=(0.3,), longest=7.0):
    """The tumor under boluses of drugs with first-order kinetics."""
    kinetics = tuple(FirstOrder(k) for k in eliminations)
    names = tuple(f"drug {j}" for j in range(len(kinetics)))
    mesh = choose_mesh(model, kinetics, longest)
    return System(model, kinetics, names, ("bolus",) * len(kinetics), mesh)


@eqx.filter_jit
def simulate(system, doses, every=7.0):
    """Trajectory of doses [K, N] given every so many days."""
    grid = Grid(every * jnp.arange(doses.shape[0] + 1))
    return rollout(system, Schedule(doses), grid)


def final_cells(system, doses):
    """Cells of each clone at the end [M], and at the end of each interval [K, M]."""
    cells = simulate(system, jnp.asarray(doses)).cells
    return cells.reshape(len(doses), -1, cells.shape[-1])[:, -1]


def reference(field, start, doses, eliminations=(0.3,), every=7.0):
    """States at the end of each interval [K, S] of y' = field(y, conc), with boluses between intervals."""
    state, level = np.asarray(start, dtype=float), np.zeros(len(eliminations))
    rates, out = np.asarray(eliminations), []
    for dose in np.asarray(doses):
        level = level + dose

        def slope(t, y, level=level):
            return np.concatenate([field(y, level * np.exp(-rates * t))])

        state = solve_ivp(slope, (0.0, every), state, method="DOP853", rtol=1e-11, atol=1e-11).y[:, -1]
        level = level * np.exp(-rates * every)
        out.append(state)
    return np.array(out)


def assert_gradient(system, doses, rel=1e-6):
    """The gradient of log10 of the final burden in every dose is that of central differences."""
    value = jax.jit(lambda d: jnp.log10(simulate(system, d).burden[-1]))
    exact = np.asarray(jax.grad(value)(jnp.asarray(doses)))
    for index in np.ndindex(*exact.shape):
        step = np.zeros_like(doses)
        step[index] = 1e-5
        central = float(value(jnp.asarray(doses + step)) - value(jnp.asarray(doses - step))) / 2e-5
        assert abs(exact[index] - central) <= rel * max(abs(central), 1e-3), (index, exact[index], central)
