"""The figure of a result: cells above, drugs and growth factor between, doses below, one time axis."""

from collections.abc import Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optimizer.analysis.comparison import OPTIMIZED, Entry
from optimizer.analysis.held import Levels, held_growth
from optimizer.analysis.intervals import responses
from optimizer.models.tumor import Tumor
from optimizer.outcome import level_units
from optimizer.problem import Problem
from optimizer.programs import program
from optimizer.report.plots.style import (
    GREY,
    SHRINKING,
    capped,
    color,
    dose_bars,
    footnote,
    line,
    log_axis,
    new_figure,
    with_unit,
)
from optimizer.search.result import Result
from optimizer.simulate import Grid, System, Trajectory

_MOST_NAMED = 7
_SHADES = ("#a6a6a6", "#5c5c5c")


def cells(ax: Axes, trajectory: Trajectory, names: Sequence[str], factor: float | None = None) -> Axes:
    """Cells of each clone, and of all where there are several, on a logarithmic axis."""
    times = np.asarray(trajectory.times)
    if len(names) > 1:
        ax.plot(times, trajectory.burden, color="black", lw=1.8, label="all cancer cells")
    for i, name in enumerate(names):
        own = np.asarray(trajectory.cells)[:, i]
        ax.plot(times, np.where(own > 0, own, np.nan), color=color(i), ls=line(i), lw=1.4, label=name)
    if factor is not None:
        level = factor * float(trajectory.burden[0])
        ax.axhline(level, color=GREY, lw=0.8, ls=(0, (1, 3)), label=f"{factor:g} x start (progression)")
    ax.set_yscale("log")
    ax.set_ylabel("cancer cells [cell]")
    return ax


def regimens(ax: Axes, entries: Sequence[Entry]) -> Axes:
    """All cancer cells under the compared regimens, thin, each with its name at its end."""
    for i, entry in enumerate(entries[:_MOST_NAMED]):
        style = {"color": _SHADES[i % 2], "lw": 1.4 - 0.12 * i, "ls": line(i), "zorder": 1}
        ax.plot(entry.trajectory.times, entry.trajectory.burden, label=entry.name, **style)
    return ax


@program
def _net_growth(system: System, trajectory: Trajectory) -> jax.Array:
    """Net growth rate of all cancer cells at each saved time [T, 1/day]."""

    def at(t: jax.Array, y: object, conc: jax.Array) -> jax.Array:
        slope = system.model.vector_field(t, y, conc)
        growth = jax.jvp(system.model.burden, (y,), (slope,))[1]
        return growth / jnp.maximum(system.model.burden(y), 1e-300)

    return jax.vmap(at)(trajectory.times, trajectory.states, trajectory.conc)


def shrinking(ax: Axes, system: System, trajectory: Trajectory) -> Axes:
    """Shade the times at which the tumor shrinks."""
    net = np.asarray(_net_growth(system, trajectory))
    low, high = ax.get_ylim()
    where = net < 0.0
    ax.fill_between(
        np.asarray(trajectory.times), low, high, where=where, color=SHRINKING, alpha=0.12, lw=0, label="net growth < 0"
    )
    ax.set_ylim(low, high)
    return ax


def window(ax: Axes, system: System) -> Axes:
    """Shade the held levels of a lone drug at which a clone grows though less and more of it make the clone shrink.

    They are those of a tumor of few cells, which compete least.
    """
    model, levels = system.model, Levels(np.zeros(1), 0)
    if len(system.drugs) > 1 or not isinstance(model, Tumor) or not model.mechanisms:
        return ax
    few = eqx.tree_at(lambda m: m.initial_cells, model, 1e-6 * model.initial_cells)
    if held_growth(few, levels.rows(np.zeros(1))) is None:
        return ax
    top = ax.get_ylim()[1]
    for i, found in enumerate(responses(lambda c: np.asarray(held_growth(few, levels.rows(c))), few.clone_names())):
        for less, own, more in zip(found.intervals, found.intervals[1:], found.intervals[2:], strict=False):
            if (less.sign, own.sign, more.sign) == (-1, 1, -1) and own.start < top:
                named = f"{found.clone} grows: {own.start:.3g} to {own.end:.3g}"
                ax.axhspan(own.start, min(own.end, top), color=color(i), alpha=0.12, lw=0, label=named)
    ax.set_ylim(top=top)
    return ax


def concentrations(ax: Axes, trajectory: Trajectory, units: Mapping[str, str]) -> Axes:
    """Level of each drug at the tumor, by its unit."""
    same = len(set(units.values())) == 1
    for j, (drug, unit) in enumerate(units.items()):
        name = drug if same else with_unit(drug, unit)
        conc = np.asarray(trajectory.conc)[:, j]
        ax.plot(trajectory.times, conc, color=color(j), ls=line(j), lw=1.2, label=name)
    ax.set_ylim(bottom=0.0)
    ax.set_ylabel(with_unit("drug level", next(iter(units.values())) if same else None))
    return ax


def growth_factor(ax: Axes, trajectory: Trajectory) -> Axes:
    """The growth factor, on an axis of its own at the right."""
    ax.plot(
        trajectory.times, trajectory.observables["growth_factor"], color="black", lw=1.0, ls=":", label="growth factor"
    )
    ax.set_ylim(bottom=0.0)
    ax.set_ylabel("growth factor [pg/mL]")
    return ax


def doses(ax: Axes, trajectory: Trajectory, grid: Grid, drugs: Sequence[str], units: Mapping[str, str]) -> Axes:
    """Doses as bars over their intervals; drugs of one interval stand side by side.

    Drugs in different units have no axis in common: they are drawn as shares of each one's largest dose.
    """
    edges, given = np.asarray(grid.edges), np.asarray(trajectory.doses)
    shared = {units.get(drug) for drug in drugs}
    largest = np.where(given.max(axis=0) > 0.0, given.max(axis=0), 1.0)
    for j, drug in enumerate(drugs):
        named = with_unit(drug, units.get(drug))
        label = named if len(shared) == 1 else f"{drug}: 1 is {with_unit(f'{largest[j]:.4g}', units.get(drug))}"
        heights = given[:, j] if len(shared) == 1 else given[:, j] / largest[j]
        dose_bars(ax, edges, heights, (j, len(drugs)), 0.0, color=color(j), label=label)
    ax.set_ylabel(with_unit("dose", shared.pop()) if len(shared) == 1 else "dose / largest given")
    ax.set_xlabel("time [day]")
    return ax


def overview(
    result: Result,
    entries: Sequence[Entry] = (),
    *,
    title: str = "",
    dose_units: Mapping[str, str] | None = None,
    factor: float | None = None,
) -> Figure:
    """The figure of a result.

    Args:
        result: what was found.
        entries: of `compare`; regimens are drawn thin behind the optimized schedule.
        title: above the figure.
        dose_units: unit of a dose by drug.
        factor: progression, drawn as a dotted line at this multiple of the cells at the start.

    Returns:
        A figure outside pyplot's state; `save` writes it.
    """
    head = f"objective {result.audit.report.total:.5g} (audited), {result.status.value.replace('_', ' ')}"
    others = [entry for entry in entries if entry.name != OPTIMIZED]
    return patient(result.problem, result.trajectory, others, title, dose_units, factor, head)


def patient(
    problem: Problem,
    trajectory: Trajectory,
    others: Sequence[Entry] = (),
    title: str = "",
    dose_units: Mapping[str, str] | None = None,
    factor: float | None = None,
    head: str = "",
    grid: Grid | None = None,
) -> Figure:
    """The figure of one patient under any schedule; see `overview`."""
    system, grid = problem.task.system, problem.task.grid if grid is None else grid
    figure = new_figure(8.0, 7.2)
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[3.0, 1.6, 1.3])
    regimens(top, others)
    cells(top, trajectory, system.model.clone_names(), factor)
    top.set_xlim(0.0, float(grid.horizon))
    capped(top, [np.asarray(trajectory.burden), *(np.asarray(entry.trajectory.burden) for entry in others)])
    log_axis(top)
    concentrations(middle, trajectory, level_units(system, dose_units or {}))
    window(middle, system)
    shrinking(middle, system, trajectory)
    handles = middle.get_legend_handles_labels()
    if "growth_factor" in trajectory.observables:
        twin = growth_factor(middle.twinx(), trajectory)
        handles = tuple(a + b for a, b in zip(handles, twin.get_legend_handles_labels(), strict=True))
    doses(bottom, trajectory, grid, system.drugs, dose_units or {})
    figure.suptitle("\n".join(line for line in (title, head) if line), fontsize=10)
    style = {"fontsize": 7, "loc": "center left", "frameon": False, "borderaxespad": 0.0, "handlelength": 3.2}
    top.legend(bbox_to_anchor=(1.02, 0.5), **style)
    middle.legend(*handles, bbox_to_anchor=(1.13 if "growth_factor" in trajectory.observables else 1.02, 0.5), **style)
    bottom.legend(bbox_to_anchor=(1.02, 0.5), **style)
    footnote(figure)
    return figure
