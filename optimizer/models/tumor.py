"""The tumor: clones under drugs, with a growth law, drug effects, transitions between clones, and mechanisms."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer import mesh as _mesh
from optimizer.axes import Clones, Conc, Nodes, Scalar
from optimizer.fields import parameter
from optimizer.mechanisms.base import AbstractMechanism, over_nodes
from optimizer.models.base import AbstractModel, Branching, Quadrature
from optimizer.models.growth import AbstractGrowth, Exponential
from optimizer.models.transitions import AbstractTransition
from optimizer.models.tumor_state import Drive, TumorState
from optimizer.pharmacology.base import SwitchingLevel
from optimizer.pharmacology.effects import AbstractEffect
from optimizer.pharmacology.interactions import AbstractInteraction, Bliss, turned
from optimizer.pharmacology.roles import AbstractRole, Resensitizer


class Tumor(AbstractModel):
    """C_i' = (growth law(G_i) - d_i - kill_i + net_i) C_i + arrivals from other clones - departures to them.

    G_i = g_i (1 - cost_i) (1 - inhibition_i). Clone j receives mu_ij max(G_i, 0) C_i from clone i by mutation, and what
    a transition moves from its source to its target.

    | symbol | field | unit | meaning |
    |---|---|---|---|
    | C_i(0) | initial_cells | cell | cells of each clone at the start |
    | g_i | growth_rate | 1/day | growth rate of each clone |
    | cost_i | cost | 1 | share of its growth rate that resistance costs a clone |
    | d_i | death_rate | 1/day | death rate of each clone (turnover) |
    | mu_ij | mutation | 1 | share of the divisions of clone i that give clone j |

    The effects act as `effects[i][j]` of drug j on clone i, several drugs by the law `interaction`. Drugs with the role
    `resensitizer` raise the rate of each transition from a resistant clone to one that is not.

    Raises:
        ValueError: shapes of the clones' numbers and of the effects disagree.
    """

    kind: ClassVar[str] = "tumor"

    names: tuple[str, ...] = eqx.field(static=True)
    is_resistant: tuple[bool, ...] = eqx.field(static=True)
    initial_cells: Clones = parameter(unit="cell", doc="cells at the start", minimum=0.0, ndim=1)
    growth_rate: Clones = parameter(unit="1/day", doc="growth rate", ndim=1)
    death_rate: Clones = parameter(unit="1/day", doc="death rate", minimum=0.0, ndim=1)
    effects: tuple[tuple[AbstractEffect | None, ...], ...]  # pyright: ignore[reportGeneralTypeIssues]  (`parameter` is no default)
    growth: AbstractGrowth = Exponential()
    mechanisms: tuple[AbstractMechanism, ...] = ()
    mutation: Float[Array, "M M"] | None = None
    cell_floor: float = eqx.field(static=True, default=1.0)
    # Which clones others feed (`transitions.clones_with_inflow`); their logarithm is taken above the floor.
    has_inflow: tuple[bool, ...] = eqx.field(static=True, default=())
    cost: Float[Array, "..."] = parameter(
        unit="1",
        doc="share of the growth rate that resistance costs the clone",
        source="doi 10.1158/0008-5472.CAN-20-0806",
        default=0.0,
        minimum=0.0,
        maximum=1.0,
        ndim=1,
    )
    interaction: AbstractInteraction = Bliss()
    transitions: tuple[AbstractTransition, ...] = ()
    roles: tuple[AbstractRole, ...] = ()

    def __check_init__(self):
        size = len(self.names)
        for name in ("initial_cells", "growth_rate", "death_rate"):
            shape = getattr(self, name).shape
            if shape != (size,):
                raise ValueError(f"{name}: wanted one number for each of {size} clones, got the shape {shape}")
        if len(self.effects) != size:
            raise ValueError(f"effects: wanted a row for each of {size} clones, got {len(self.effects)}")
        for t in self.transitions:
            if t.source == t.target or not (0 <= t.source < size and 0 <= t.target < size):
                raise ValueError(f"transitions: wanted two of {size} clones, got {t.source} and {t.target}")

    # --- what the outside reads -------------------------------------------------------------------------------

    def clone_names(self) -> tuple[str, ...]:
        return self.names

    def cells(self, y: TumorState) -> Float[Array, "M"]:
        return jnp.exp(y.log_cells) - self._offset()

    def changed(self, y: TumorState, change: Clones) -> TumorState:
        offset, logs = self._offset(), y.log_cells + change
        if any(self.has_inflow):
            cells = jnp.maximum(self.cells(y), 0.0) * jnp.exp(change)
            logs = jnp.where(offset > 0.0, jnp.log(jnp.where(offset > 0.0, cells + offset, 1.0)), logs)
        return TumorState(logs, y.mechanisms)

    def burden(self, y: TumorState) -> Scalar:
        return jnp.sum(self.cells(y), -1)

    def resistant(self, y: TumorState) -> Scalar:
        return jnp.sum(jnp.where(jnp.array(self.is_resistant), self.cells(y), 0.0), -1)

    def resistant_clones(self) -> Clones:
        return jnp.asarray(self.is_resistant, dtype=float)

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
        mechanisms = [m.fastest_rate() for m in self.mechanisms]
        if not self._is_coupled():
            # Logarithms that are plain integrals are not stepped.
            return jnp.max(jnp.stack([jnp.zeros(()), *mechanisms]))
        kills = [effect.largest_kill() for row in self.effects for effect in row if effect is not None]
        own = jnp.max(jnp.abs(self.growth_rate) + self.death_rate + self._crowding()) + sum(kills, 0.0)
        rates = [t.largest_rate() for t in self.transitions]
        if any(self.has_inflow):
            # What flows in is quadrature over exponentials, which takes finer steps than a logarithm does.
            own = 2.0 * (own + sum(rates, 0.0))
        return jnp.max(jnp.stack([own, *mechanisms]))

    def _is_coupled(self) -> bool:
        """Whether populations feel each other, or a mechanism feels them."""
        return self.growth.crowded or any(self.has_inflow) or any(m.is_coupled for m in self.mechanisms)

    def _crowding(self) -> Clones:
        """Rate at which crowding holds each clone back, beyond its growth rate, at a tenth of the first cells."""
        if not self.growth.crowded:
            return jnp.zeros_like(self.growth_rate)
        few = 0.1 * jnp.maximum(self.initial_cells, 0.0)
        _, slope = jax.jvp(lambda s: self.growth(self.growth_rate, few * jnp.exp(s)), (0.0,), (1.0,))
        return jnp.maximum(jnp.abs(slope) - jnp.abs(self.growth_rate), 0.0)

    def layer(self) -> tuple[Scalar | float, Scalar | float]:
        if not self.mechanisms:
            return 0.0, 1.0
        rates, steepness = (
            jnp.stack(jnp.broadcast_arrays(*part)) for part in zip(*(m.layer() for m in self.mechanisms), strict=True)
        )
        first = jnp.argmax(rates)
        return rates[first], steepness[first]

    def sharpness(self, decline: Scalar) -> Scalar | float:
        # A curve of steepness k is crossed at k times the decline; half of it again for what is nonlinear beside it.
        curves = [effect for row in self.effects for effect in row if effect is not None] + list(self.transitions)
        steepest = jnp.max(jnp.array([0.0, *(jnp.max(curve.steepness()) for curve in curves)]))
        own = jnp.where(steepest > 0.0, decline * (1.5 + steepest), 0.0) if any(self.has_inflow) else 0.0
        return jnp.max(jnp.array([own, *(m.sharpness(decline) for m in self.mechanisms)]))

    def switching_levels(self) -> tuple[SwitchingLevel, ...]:
        own = [
            SwitchingLevel(j, level, effect.steepness())
            for row in self.effects
            for j, effect in enumerate(row)
            if effect is not None
            for level in effect.switching_levels()
        ]
        return (*own, *(level for m in self.mechanisms for level in m.switching_levels()))

    # --- equations --------------------------------------------------------------------------------------------

    def initial_state(self) -> TumorState:
        cells = jnp.maximum(self.initial_cells, 0.0)
        # A clone that is absent has a logarithm all the same, of the least number there is; no cells at all have none.
        least = jnp.where(jnp.any(cells > 0.0), jnp.finfo(cells.dtype).tiny, 0.0)
        start = jnp.maximum(cells + self._offset(), least)
        return TumorState(jnp.log(start), tuple(m.initial_state() for m in self.mechanisms))

    def _offset(self) -> Clones:
        has_inflow = self.has_inflow or (False,) * len(self.names)
        return jnp.where(jnp.array(has_inflow), self.cell_floor, 0.0)

    def drive(self, states: tuple[Any, ...], conc: Conc) -> Drive:
        """Growth and loss of each clone before crowding, from the mechanisms that are not coupled."""
        loss = self.death_rate
        for mechanism, state in zip(self.mechanisms, states, strict=True):
            if not mechanism.is_coupled:
                loss = loss - mechanism.net_rate(state, conc)
        shifts = self._shifts(states, conc)
        rates = self.growth_rate * (1.0 - self.cost)
        actions = [
            self.interaction(row, conc, shifts[i], rates[i]) if any(row) else None for i, row in enumerate(self.effects)
        ]
        share = jnp.stack(
            [jnp.ones_like(r) if a is None else 1.0 - a.inhibition for a, r in zip(actions, rates, strict=True)]
        )
        kill = jnp.stack([jnp.zeros_like(r) if a is None else a.kill for a, r in zip(actions, rates, strict=True)])
        return Drive(rates * share, loss + kill, conc, self._switching(conc))

    def _shifts(self, states: tuple[Any, ...], conc: Conc) -> Float[Array, "M N"]:
        """Factor of the mechanisms on the half-maximal concentration of each drug for each clone."""
        shift: Any = 1.0
        for mechanism, state in zip(self.mechanisms, states, strict=True):
            if not mechanism.is_coupled:
                shift = shift * mechanism.shift(state, conc)
        return jnp.broadcast_to(shift, (len(self.names), conc.shape[0]))

    def branching(self, y: TumorState, conc: Conc) -> Branching:
        # Growth is births and death_rate deaths; crowding and what is cytostatic take from the births, what is
        # cytotoxic adds to the deaths; where births would be negative, what is missing is deaths.
        cells, drive = self.cells(y), self.drive(y.mechanisms, conc)
        net, moving = self._per_capita(cells, y.mechanisms, drive)
        rates, shifts = self.growth_rate * (1.0 - self.cost), self._shifts(y.mechanisms, conc)
        split = [turned(self.interaction, row, conc, shifts[i], rates[i]) for i, row in enumerate(self.effects)]
        slowed, killed = (jnp.stack(part) for part in zip(*split, strict=True))
        birth = self.growth(drive.growth, cells) + killed * jnp.maximum(self.growth(rates, cells), 0.0) - slowed
        switching = jnp.zeros((net.size, net.size))
        shares = switching if self.mutation is None else self.mutation
        emission = jnp.maximum(drive.growth, 0.0)[:, None] * shares
        for t, rate in zip(self.transitions, moving, strict=True):
            if t.per_division:
                birth = birth.at[t.source].add(-rate)
                emission = emission.at[t.source, t.target].add(rate)
            else:
                switching = switching.at[t.source, t.target].add(rate)
        death = birth - net - jnp.sum(switching, 1)
        birth, death = jnp.maximum(birth, 0.0), death + jnp.maximum(-birth, 0.0)
        return Branching(birth + jnp.maximum(-death, 0.0), jnp.maximum(death, 0.0), emission, switching)

    def _switching(self, conc: Conc) -> tuple[Scalar, ...]:
        """Rate or share of each transition, the way back raised by resensitizers."""
        back = 1.0
        for c, role in zip(conc, self.roles, strict=bool(self.roles)):
            if isinstance(role, Resensitizer):
                back = back * role.factor(c)
        resistant = self.is_resistant
        returns = [resistant[t.source] and not resistant[t.target] for t in self.transitions]
        return tuple(t.rate_at(conc) * (back if r else 1.0) for t, r in zip(self.transitions, returns, strict=True))

    def _per_capita(self, cells: Clones, states: tuple[Any, ...], drive: Drive) -> tuple[Clones, tuple[Scalar, ...]]:
        """Net rate of each clone, departures included, and the rate of each transition [1/day]."""
        births = self.growth(drive.growth, cells)
        net = births - drive.loss
        for mechanism, state in zip(self.mechanisms, states, strict=True):
            if mechanism.is_coupled:
                net = net + mechanism.net_rate(state, drive.conc)
        moving = []
        for transition, rate in zip(self.transitions, drive.switching, strict=True):
            i = transition.source
            rate = rate * jnp.maximum(births[i], 0.0) if transition.per_division else rate
            net = net.at[i].add(-rate)
            moving.append(rate)
        return net, tuple(moving)

    def held_states(self, conc: Conc) -> tuple[Any, ...] | None:
        """States of the mechanisms while the concentrations are held; None where one of them does not say."""
        states = tuple(m.held_state(conc) for m in self.mechanisms)
        return None if any(state is None for state in states) else states

    def held_growth(self, conc: Conc) -> Clones | None:
        states = self.held_states(conc)
        return None if states is None else self.net_growth(states, conc)

    def net_growth(self, states: tuple[Any, ...], conc: Conc) -> Clones:
        """Net rate of each clone [M, 1/day] among the cells of the start, departures to other clones included.

        Cells that arrive from other clones are not counted: they do not grow, and how many come depends on how many
        the others are.
        """
        return self._per_capita(jnp.maximum(self.initial_cells, 0.0), states, self.drive(states, conc))[0]

    def _inflow(self, cells: Clones, moving: tuple[Scalar, ...], drive: Drive) -> Clones:
        """Cells that each clone receives from others [cell/day]."""
        inflow = jnp.zeros_like(cells)
        if self.mutation is not None:
            inflow = inflow + (jnp.maximum(drive.growth, 0.0) * cells) @ self.mutation
        for transition, rate in zip(self.transitions, moving, strict=True):
            inflow = inflow.at[transition.target].add(rate * cells[transition.source])
        return inflow

    def vector_field(self, t: Scalar, y: TumorState, conc: Conc) -> TumorState:
        drive, cells = self.drive(y.mechanisms, conc), self.cells(y)
        net, moving = self._per_capita(cells, y.mechanisms, drive)
        if any(self.has_inflow):
            net = (net * cells + self._inflow(cells, moving, drive)) * jnp.exp(-y.log_cells)
        return TumorState(
            net, tuple(m.field(s, conc, cells) for m, s in zip(self.mechanisms, y.mechanisms, strict=True))
        )

    def _net_alone(self, states: tuple[Any, ...], conc: Conc) -> Clones:
        """Net rate of each clone [M, 1/day] where populations are left to themselves."""
        drive = self.drive(states, conc)
        return self.growth(drive.growth, jnp.ones_like(drive.growth)) - drive.loss

    def quadrature(self) -> Quadrature | None:
        if self._is_coupled() or not all(m.settles for m in self.mechanisms):
            return None

        def settled(conc: Callable[[Scalar], Conc], t: Scalar) -> tuple[Any, ...]:
            return tuple(m.settled(conc, t) for m in self.mechanisms)

        start = self.initial_state()
        return Quadrature(start.log_cells, start.mechanisms, settled, self._net_alone, TumorState)

    # --- fixed steps ------------------------------------------------------------------------------------------

    def advance(self, y: TumorState, t0: Scalar, tau: Nodes, conc: Float[Array, "Q N"]) -> TumorState:
        forced = tuple(
            None if m.is_coupled else m.advance(s, tau, conc)
            for m, s in zip(self.mechanisms, y.mechanisms, strict=True)
        )
        if not self._is_coupled():
            net = over_nodes(self._net_alone, forced, conc)
            return TumorState(y.log_cells + _mesh.cumulative(tau, net), forced)
        drive = over_nodes(self.drive, forced, conc)
        coupled = tuple(s if m.is_coupled else None for m, s in zip(self.mechanisms, y.mechanisms, strict=True))
        sizes, path = self._coupled(tau, drive, y.log_cells, coupled)
        states = tuple(p if m.is_coupled else f for m, p, f in zip(self.mechanisms, path, forced, strict=True))
        return TumorState(sizes, states)

    def _coupled(self, tau: Nodes, drive: Drive, log_cells: Clones, coupled: tuple[Any, ...]) -> tuple[Array, Any]:
        """Populations that feel each other, and the mechanisms that listen to them, by Runge-Kutta steps.

        A clone that others feed is stepped as a number of cells, its own growth taken out (`runge_kutta`): as a
        logarithm it would be stiff while nearly empty. The others are stepped as logarithms.
        """
        has_inflow = jnp.array(self.has_inflow or (False,) * len(self.names))

        def cells_of(sizes: Clones) -> Clones:
            return jnp.where(has_inflow, sizes, jnp.exp(jnp.where(has_inflow, 0.0, sizes)))

        def field(state: Any, drive: Drive) -> Any:
            cells = cells_of(state[0])
            net, moving = self._per_capita(cells, state[1], drive)
            if any(self.has_inflow):
                net = jnp.where(has_inflow, net * cells + self._inflow(cells, moving, drive), net)
            pairs = zip(self.mechanisms, state[1], strict=True)
            return net, tuple(m.field(own, drive.conc, cells) if m.is_coupled else None for m, own in pairs)

        def growth(state: Any, drive: Drive) -> Any:
            net, _ = self._per_capita(cells_of(state[0]), state[1], drive)
            return jnp.where(has_inflow, net, 0.0), jax.tree.map(jnp.zeros_like, state[1])

        start = jnp.where(has_inflow, jnp.exp(log_cells) - self._offset(), log_cells)
        sizes, path = _mesh.runge_kutta(tau, field, drive, (start, coupled), growth if any(self.has_inflow) else None)
        logs = jnp.log(jnp.where(has_inflow, jnp.maximum(sizes, 0.0) + self._offset(), 1.0))
        return jnp.where(has_inflow, logs, sizes), path
