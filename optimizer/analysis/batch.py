"""The points of a map as numbers: their systems on common nodes, their doses, and one program that judges them."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from optimizer import mesh as _mesh
from optimizer.analysis.axes import AMOUNT, MEAN, Number
from optimizer.analysis.levels import mean_concentration
from optimizer.analysis.repeated import Batch
from optimizer.axes import Edges, Index, Scalar, Times
from optimizer.endpoints.base import Progressed
from optimizer.mesh import DEGREE, END_WEIGHT, POWERS
from optimizer.objectives.base import Objective, Scene
from optimizer.objectives.progression import day_of
from optimizer.policies.schedule import Schedule
from optimizer.scenario import Scenario
from optimizer.scenario.build import build_system
from optimizer.scenario.keys import substituted
from optimizer.settings import OptionError
from optimizer.simulate import Grid, System, Trajectory, rollout
from optimizer.simulate.resolution import choose_mesh

# Slots of the program, whatever fills them: more fall out of a CPU's cache, and another number of slots may add up sums
# in another order, which would show in the last digit.
WIDTH = 32
# Doses of a map may be far larger than those of the scenario, and sweep faster through the stress response.
_REFINEMENT = 1.25


class Frame(eqx.Module):
    """What all points of a map share."""

    objective: Objective  #: terms and weights
    scale: Array  #: largest dose of each drug [N]
    progressed: Progressed  #: what progression is
    horizon: Scalar  #: end of the last interval [day]
    begin: Scalar  #: start of the last days [day]


def judge_batch(
    frame: Frame, systems: System, batch: Batch, doses: np.ndarray, progress: Callable[[int], None]
) -> dict[str, np.ndarray]:
    """Every number of every point of a batch [B], some points at a time.

    Args:
        frame: what the points share.
        systems: of the points, each leaf with a leading axis [B].
        batch: their schedules.
        doses: [B, K, N].
        progress: is told how many more points are done: `WIDTH` at a time, slots that are left get the first of them.
    """
    size = len(batch.points)
    inputs, parts = (systems, batch.edges, batch.counts, doses), []
    for first in range(0, size, WIDTH):
        count = min(WIDTH, size - first)
        slots = np.arange(WIDTH)
        rows = first + np.where(slots < count, slots, 0)
        found = jax.device_get(_judge(frame, *jax.tree.map(lambda leaf, r=rows: jnp.asarray(leaf[r]), inputs)))
        parts.append({name: column[:count] for name, column in found.items()})
        progress(count)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@eqx.filter_jit
def _judge(frame: Frame, systems: System, edges: Array, counts: Array, doses: Array) -> dict[str, Array]:
    def one(system: System, edges: Edges, count: Index, doses: Array) -> dict[str, Array]:
        trajectory = rollout(system, Schedule(doses), Grid(edges))
        nodes = system.mesh.size
        held = _held(trajectory, count, nodes)
        grid = Grid(jnp.minimum(edges, frame.horizon))
        scene = Scene(held, grid, frame.scale, system.model.floor(), count, system=system)
        mean, peak = last_days(held.times, held.weights, scene.log_burden, frame.begin, nodes)
        day, _ = day_of(frame.progressed, system, held)
        found = {"objective": frame.objective.evaluate(scene), **frame.objective.values(scene)}
        found |= {"mean_last": mean, "peak_last": peak}
        found = {name: jnp.where(held.ok, value, jnp.nan) for name, value in found.items()}
        return found | {"progression_day": jnp.where(jnp.isfinite(day) & held.ok, day, jnp.nan), "ok": held.ok}

    return jax.vmap(one)(systems, edges, counts, doses)


def _held(trajectory: Trajectory, count: Index, nodes: int) -> Trajectory:
    """The trajectory with its last real node in the place of all that is padding, where it has no weight."""
    last = count * nodes - 1
    real = jnp.arange(trajectory.times.shape[0]) < count * nodes

    def hold(leaf: Array) -> Array:
        if leaf.ndim == 0 or leaf.shape[0] != real.shape[0]:
            return leaf
        return jnp.where(real.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, leaf[last])

    held = jax.tree.map(hold, trajectory)
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves((held.states, held.burden))]
    weights = jnp.where(real, trajectory.weights, 0.0)
    return eqx.tree_at(lambda t: (t.weights, t.ok), held, (weights, jnp.all(jnp.stack(finite))))


def build_systems(scenario: Scenario, numbers: Sequence[Number], values: np.ndarray, longest: float) -> System:
    """Systems of the points [B], on nodes that are enough for the ends of each number's range.

    Args:
        scenario: what the numbers belong to.
        numbers: all that differ, of which some belong to the schedule.
        values: of the points [B, A].
        longest: longest interval of their schedules [day].

    Raises:
        OptionError: numbers with which no model can be built.
    """
    plan = scenario.plan
    columns = [a for a, number in enumerate(numbers) if number.place is not None]
    places = [number.place for number in numbers if number.place is not None]
    own = values[:, columns]
    ends = [np.unique(column)[[0, -1]] for column in own.T]
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), -1).reshape(-1, len(ends)) if ends else np.zeros((1, 0))
    try:
        meshes = []
        for corner in np.unique(corners, axis=0):
            system = build_system(substituted(plan, places, corner.tolist()))
            meshes.append(choose_mesh(system.model, system.pharmacokinetics, longest, _REFINEMENT))
        mesh = _mesh.common(meshes)
        build = jax.jit(jax.vmap(lambda row: build_system(substituted(plan, places, list(row)), mesh)))
        if places:
            return jax.tree.map(np.asarray, build(jnp.asarray(own)))
        meshed = eqx.tree_at(lambda s: s.mesh, system, mesh)
        return jax.tree.map(lambda leaf: np.broadcast_to(np.asarray(leaf), (len(values), *np.shape(leaf))), meshed)
    except (ValueError, TypeError) as error:
        got = ", ".join(place.key for place in places)
        raise OptionError(f"{got}: wanted numbers that fit the model; got a fault: {error}") from None


def doses_of(
    plan: Any, numbers: Sequence[Number], values: np.ndarray, batch: Batch, systems: System
) -> tuple[np.ndarray, np.ndarray]:
    """Amount of each repeated drug [B, N], NaN for the others, and the doses of all [B, K, N]."""
    amounts = np.full((len(values), len(plan.drugs)), np.nan)
    for a, number in enumerate(numbers):
        if number.kind == AMOUNT:
            amounts[:, number.drug] = values[:, a]
        elif number.kind == MEAN:
            kinetics = systems.pharmacokinetics[number.drug]
            units = batch.given[:, :, number.drug]
            mean = _UNIT_MEANS[plan.drugs[number.drug].route](kinetics, batch.edges, units, batch.counts)
            # Without a dose before the horizon there is no amount that gives a mean.
            with np.errstate(divide="ignore", invalid="ignore"):
                amounts[:, number.drug] = values[:, a] / np.asarray(mean)
    return amounts, batch.others + batch.given * np.nan_to_num(amounts, nan=0.0)[:, None, :]


_UNIT_MEANS = {
    route: eqx.filter_jit(
        jax.vmap(lambda pk, edges, doses, count, route=route: mean_concentration(pk, route, edges, doses, count))
    )
    for route in ("bolus", "infusion")
}


# --- what the last days of a simulation come to -----------------------------------------------------------------------


_NEWTON = 4
# A panel's polynomial in the share of its length, highest power first; its start and its length [day].
Panel = tuple[Array, Scalar, Scalar]


def last_days(times: Times, weights: Times, values: Times, begin: Scalar, nodes: int) -> tuple[Scalar, Scalar]:
    """Mean and peak of a series from `begin` to the end of the last interval.

    Between the nodes the series is the polynomial through those of its panel: `begin` need not be a node, and neither
    need the peak.

    Args:
        times: nodes of all intervals [T, day]; intervals that are padding have only the last time.
        weights: of the quadrature, zero in the padding [T, day].
        values: of the series [T].
        begin: start of the days that count [day].
        nodes: of one interval Q; T = K Q.

    Returns:
        The mean and the peak; jit- and vmappable.
    """
    end = times[-1]
    begin = jnp.clip(begin, 0.0, end)
    # The last node before which everything lies outside, and the end of the panel it lies in.
    place = jnp.clip(jnp.searchsorted(times, begin, side="right") - 1, 0, times.size - 1)
    k, q = place // nodes, place % nodes
    panel_end = k * nodes + jnp.minimum(DEGREE * (q // DEGREE) + DEGREE, nodes - 1)
    panel = _panel(times, values, place, nodes)
    since, line = _share(panel, begin), jnp.polyint(panel[0])
    inside = panel[2] * (jnp.polyval(line, jnp.ones_like(since)) - jnp.polyval(line, since))
    whole = jnp.sum(jnp.where(jnp.arange(times.size) > panel_end, weights * values, 0.0))
    # A node that two panels share has the weight of both.
    shared = (panel_end % nodes > 0) & (panel_end % nodes < nodes - 1)
    after = jnp.where(shared, (times[panel_end + DEGREE] - times[panel_end]) * END_WEIGHT * values[panel_end], 0.0)
    first = jnp.polyval(panel[0], since)
    return (whole + after + inside) / (end - begin), _peak(times, values, begin, first, nodes)


def _panel(times: Times, values: Times, place: Array, nodes: int) -> Panel:
    """The panel that begins at a place or holds it."""
    first = place // nodes * nodes
    start = first + DEGREE * jnp.minimum((place - first) // DEGREE, nodes // DEGREE - 1)
    own = jax.lax.dynamic_slice(values, (start,), (DEGREE + 1,))
    line = jnp.sum(jnp.asarray(POWERS, own.dtype) * own, axis=1)[::-1]
    return line, times[start], times[start + DEGREE] - times[start]


def _share(panel: Panel, time: Scalar) -> Scalar:
    """Where a time lies in a panel, from 0 to 1; padding has nodes at one time only."""
    _, start, length = panel
    return (time - start) / jnp.where(length > 0.0, length, 1.0)


def _peak(times: Times, values: Times, begin: Scalar, first: Scalar, nodes: int) -> Scalar:
    """The largest of the nodes, the value `first` at the start, and the tops of the panels at the largest node."""
    late = jnp.where(times >= begin, values, -jnp.inf)
    top = jnp.argmax(late)
    found = [jnp.max(late), first]
    # The end of a panel or an interval is the start of the next one, in which the top may lie as well.
    for place in (jnp.maximum(top - 1, 0), top, jnp.minimum(top + 1, times.size - 1)):
        panel = _panel(times, values, place, nodes)
        low = jnp.maximum(jnp.maximum(times[jnp.maximum(place - 1, 0)], panel[1]), begin)
        high = jnp.minimum(times[jnp.minimum(place + 1, times.size - 1)], panel[1] + panel[2])
        found.append(_top(panel, times[place], low, high))
    return jnp.max(jnp.stack(found))


def _top(panel: Panel, start: Scalar, low: Scalar, high: Scalar) -> Scalar:
    """Of the polynomial between two times, by Newton's method from a node."""
    line, slope = panel[0], jnp.polyder(panel[0])
    at, least, most = (_share(panel, time) for time in (start, low, jnp.maximum(high, low)))
    for _ in range(_NEWTON):
        second = jnp.polyval(jnp.polyder(slope), at)
        step = jnp.where(second < 0.0, jnp.polyval(slope, at) / jnp.where(second < 0.0, second, 1.0), 0.0)
        at = jnp.clip(at - step, least, most)
    return jnp.polyval(line, jnp.where(high > low, at, least))
