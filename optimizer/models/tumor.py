"""The tumor: clones under drugs, with a growth law, drug effects, transitions between clones, and mechanisms."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer import _mesh
from optimizer._axes import Clones, Conc, Nodes, Scalar
from optimizer._fields import parameter
from optimizer.mechanisms.base import AbstractMechanism, over_nodes
from optimizer.models.base import AbstractModel
from optimizer.models.growth import AbstractGrowth, Exponential
from optimizer.pharmacology.effects import AbstractEffect


class TumorState(NamedTuple):
    """Populations as logarithms (positive by construction) and one entry a mechanism.

    Attributes:
        log_cells: ln(cells + offset) of each clone; the offset is the model's cell floor for a clone that others feed,
            which may be empty, and zero for one that only grows from itself.
        mechanisms: states of the mechanisms in their order.
    """

    log_cells: Float[Array, "... M"]
    mechanisms: tuple[Any, ...]


class Drive(NamedTuple):
    """All that the populations feel at one time except each other.

    Attributes:
        growth: growth rate after inhibition [M, 1/day].
        loss: death, kill and the mechanisms' net rates [M, 1/day].
        conc: concentrations [N, mg/L], for mechanisms that listen to the populations.
    """

    growth: Float[Array, "... M"]
    loss: Float[Array, "... M"]
    conc: Float[Array, "... N"]


class Tumor(AbstractModel):
    """C_i' = (growth law(g_i (1 - inhibition_i)) - d_i - kill_i + net_i) C_i + mutation from other clones.

    | symbol | field | unit | meaning |
    |---|---|---|---|
    | C_i(0) | initial_cells | cell | cells of each clone at the start |
    | g_i | growth_rate | 1/day | growth rate of each clone |
    | d_i | death_rate | 1/day | death rate of each clone (turnover) |
    | mu_ij | mutation | 1 | share of the divisions of clone i that give clone j |

    The effects act as `effects[i][j]` of drug j on clone i; kills of several drugs add and shares of growth left over
    multiply (Bliss independence for the growth, additive rates for the kill).

    Raises:
        ValueError: shapes of the clones' numbers and of the effects disagree.
    """

    kind: ClassVar[str] = "tumor"

    names: tuple[str, ...] = eqx.field(static=True)
    is_resistant: tuple[bool, ...] = eqx.field(static=True)
    initial_cells: Clones = parameter(unit="cell", doc="cells at the start", minimum=0.0, ndim=1)
    growth_rate: Clones = parameter(unit="1/day", doc="growth rate", ndim=1)
    death_rate: Clones = parameter(unit="1/day", doc="death rate", minimum=0.0, ndim=1)
    effects: tuple[tuple[AbstractEffect | None, ...], ...]
    growth: AbstractGrowth = Exponential()
    mechanisms: tuple[AbstractMechanism, ...] = ()
    mutation: Float[Array, "M M"] | None = None
    cell_floor: float = eqx.field(static=True, default=1.0)
    # Which clones others feed; their logarithm is taken above the floor.
    fed: tuple[bool, ...] = eqx.field(static=True, default=())

    def __check_init__(self):
        size = len(self.names)
        for name in ("initial_cells", "growth_rate", "death_rate"):
            shape = getattr(self, name).shape
            if shape != (size,):
                raise ValueError(f"{name}: wanted one number for each of {size} clones, got the shape {shape}")
        if len(self.effects) != size:
            raise ValueError(f"effects: wanted a row for each of {size} clones, got {len(self.effects)}")

    # --- what the outside reads -------------------------------------------------------------------------------

    def clone_names(self) -> tuple[str, ...]:
        return self.names

    def cells(self, y: TumorState) -> Float[Array, "M"]:
        return jnp.exp(y.log_cells) - self._offset()

    def burden(self, y: TumorState) -> Scalar:
        return jnp.sum(self.cells(y), -1)

    def resistant(self, y: TumorState) -> Scalar:
        return jnp.sum(jnp.where(jnp.array(self.is_resistant), self.cells(y), 0.0), -1)

    def floor(self) -> float:
        return self.cell_floor

    @property
    def observable_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(name for m in self.mechanisms for name in m.observable_names)

    def observables(self, y: TumorState, conc: Conc) -> dict[str, Array]:
        out: dict[str, Array] = {}
        for mechanism, state in zip(self.mechanisms, y.mechanisms, strict=True):
            out |= mechanism.observables(state, conc)
        return out

    def fastest_rate(self) -> Scalar:
        kills = [e.emax for row in self.effects for e in row if e is not None and hasattr(e, "emax")]
        own = jnp.max(jnp.abs(self.growth_rate) + self.death_rate) + sum(kills, jnp.zeros(()))
        return jnp.max(jnp.stack([own, *(m.fastest_rate() for m in self.mechanisms)]))

    def layer(self) -> tuple[float, float]:
        return max((m.layer() for m in self.mechanisms), default=(0.0, 1.0))

    def sharpness(self, decline: float) -> float:
        return max((m.sharpness(decline) for m in self.mechanisms), default=0.0)

    def kinks(self) -> tuple[tuple[int, Scalar], ...]:
        return tuple(kink for m in self.mechanisms for kink in m.kinks())

    # --- equations --------------------------------------------------------------------------------------------

    def initial_state(self) -> TumorState:
        start = jnp.maximum(self.initial_cells, 0.0) + self._offset()
        return TumorState(jnp.log(start), tuple(m.initial_state() for m in self.mechanisms))

    def _offset(self) -> Clones:
        fed = self.fed or (False,) * len(self.names)
        return jnp.where(jnp.array(fed), self.cell_floor, 0.0)

    def drive(self, states: tuple[Any, ...], conc: Conc) -> Drive:
        """Growth and loss of each clone before crowding, from the mechanisms that do not listen."""
        shift: Any = 1.0
        loss = self.death_rate
        for mechanism, state in zip(self.mechanisms, states, strict=True):
            if not mechanism.listens:
                shift = shift * mechanism.shift(state, conc)
                loss = loss - mechanism.net_rate(state, conc)
        shifts = jnp.broadcast_to(shift, (len(self.names), conc.shape[0]))
        growth, kills = [], []
        for i, row in enumerate(self.effects):
            share, kill = jnp.ones(()), jnp.zeros(())
            for j, effect in enumerate(row):
                if effect is not None:
                    action = effect(conc[j], shifts[i, j])
                    share, kill = share * (1.0 - action.inhibition), kill + action.kill
            growth.append(self.growth_rate[i] * share)
            kills.append(kill)
        return Drive(jnp.stack(growth), loss + jnp.stack(kills), conc)

    def _populations(self, y: TumorState, drive: Drive) -> TumorState:
        """Derivative of the populations and of the mechanisms that listen to them."""
        cells = self.cells(y)
        net = self.growth(drive.growth, cells) - drive.loss
        slopes = []
        for mechanism, state in zip(self.mechanisms, y.mechanisms, strict=True):
            if mechanism.listens:
                net = net + mechanism.net_rate(state, drive.conc)
                slopes.append(mechanism.field(state, drive.conc, cells))
            else:
                slopes.append(None)
        if not any(self.fed):
            return TumorState(net, tuple(slopes))
        inflow = jnp.zeros_like(net)
        if self.mutation is not None:
            inflow = inflow + (jnp.maximum(drive.growth, 0.0) * cells) @ self.mutation
        return TumorState((net * cells + inflow) * jnp.exp(-y.log_cells), tuple(slopes))

    def vector_field(self, t: Scalar, y: TumorState, conc: Conc) -> TumorState:
        slope = self._populations(y, self.drive(y.mechanisms, conc))
        cells = self.cells(y)
        states = tuple(
            s if m.listens else m.field(state, conc, cells)
            for m, s, state in zip(self.mechanisms, slope.mechanisms, y.mechanisms, strict=True)
        )
        return TumorState(slope.log_cells, states)

    def advance(self, y: TumorState, t0: Scalar, tau: Nodes, conc: Float[Array, "Q N"]) -> TumorState:
        forced = tuple(
            None if m.listens else m.advance(s, tau, conc) for m, s in zip(self.mechanisms, y.mechanisms, strict=True)
        )
        drive = over_nodes(self.drive, forced, conc)
        if not (self.growth.crowded or any(self.fed) or any(m.listens for m in self.mechanisms)):
            net = over_nodes(self.growth, drive.growth, jnp.ones_like(drive.growth)) - drive.loss
            return TumorState(y.log_cells + _mesh.cumulative(tau, net), forced)
        coupled = TumorState(
            y.log_cells,
            tuple(s if m.listens else None for m, s in zip(self.mechanisms, y.mechanisms, strict=True)),
        )
        path = _mesh.runge_kutta(tau, self._populations, drive, coupled)
        states = tuple(p if m.listens else f for m, p, f in zip(self.mechanisms, path.mechanisms, forced, strict=True))
        return TumorState(path.log_cells, states)
