"""Stroma-induced resistance: stressed stromal cells secrete a growth factor that shields the tumor."""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer import mesh as _mesh
from optimizer.axes import Clones, Conc, Nodes, Scalar
from optimizer.fields import parameter
from optimizer.mechanisms.base import AbstractMechanism, over_nodes
from optimizer.pharmacology.base import SwitchingLevel
from optimizer.pharmacology.effects import hill
from optimizer.pharmacology.roles import AbstractRole, Inhibitor, LigandBlocker, StromaDesensitizer, StromaKiller

_KRAUT = "doi 10.1038/s41540-025-00495-0"


# Places on the curve of the stress response between which the growth factor and the shift that follows it are smooth.
_STRESS = (6.0, 4.5, 3.5, 2.8, 2.3, 1.9, 1.5, 1.2, 0.9, 0.6, 0.3, 0.0, -0.3, -0.7, -1.2, -1.9, -2.8)


class StromaState(NamedTuple):
    """Stroma as a logarithm, growth factor as it is."""

    log_stroma: Float[Array, "..."]  #: natural logarithm of the stromal cells
    growth_factor: Float[Array, "..."]  #: concentration of the growth factor G [pg/mL]


class Stroma(AbstractMechanism):
    """Stromal cells S secrete a growth factor G under drug stress; G raises the EC50 of the clones.

        G' = bG max(G* - G, 0) S - dG G          G* = Gbar (dG + bG S) / (bG S)
        Gbar(S, D) = Gmax(S) / (1 + exp(-s (D - Dhat)))      Gmax(S) = Gmax + gmax S
        D50_i(G) = D50max_i / (1 + exp(-kG_i (G_eff - Ghat_i)))      G_eff = G max(1 - beta B, 0)
        S' = -kill(c) S,    Dhat is raised by a desensitizer: Dhat (1 + strength c)

    While G < G* the first line is a linear relaxation to Gbar at the rate dG + bG S, which is how it is solved. D is
    the sum of the concentrations of all drugs with the role `inhibitor`, each times its potency.

    | symbol | field | unit | meaning |
    |---|---|---|---|
    | S(0) | cells | cell | stromal cells at the start |
    | Gmax | growth_factor_max | pg/mL | largest steady growth factor, whatever the stromal cells |
    | gmax | growth_factor_max_per_cell | pg/mL/cell | the same for each stromal cell |
    | G(0) | growth_factor | pg/mL | growth factor at the start |
    | s | secretion_slope | L/mg | steepness of the stress response |
    | Dhat | secretion_midpoint | mg/L | drug concentration of half the stress response |
    | bG | secretion_rate | 1/cell/day | rate of secretion per stromal cell |
    | dG | growth_factor_decay | 1/day | decay of the growth factor |
    | kG | shift_slope | mL/pg | steepness of the EC50 shift, one a clone |
    | Ghat | shift_midpoint | pg/mL | growth factor of half the EC50 shift, one a clone |

    Source: Kraut et al. 2025, doi 10.1038/s41540-025-00495-0.
    """

    kind: ClassVar[str] = "stroma"
    observable_names: ClassVar[tuple[str, ...]] = ("growth_factor", "stroma", "protection")

    cells: Scalar = parameter(unit="cell", doc="stromal cells at the start", source=_KRAUT, positive=True)
    secretion_slope: Scalar = parameter(unit="L/mg", doc="steepness of the stress response (s)", source=_KRAUT)
    secretion_midpoint: Scalar = parameter(
        unit="mg/L", doc="drug concentration of half the stress response (Dhat)", source=_KRAUT, minimum=0.0
    )
    secretion_rate: Scalar = parameter(
        unit="1/cell/day", doc="rate of secretion per stromal cell (bG)", source=_KRAUT, positive=True
    )
    growth_factor_decay: Scalar = parameter(
        unit="1/day", doc="decay of the growth factor (dG)", source=_KRAUT, positive=True
    )
    shift_slope: Clones = parameter(unit="mL/pg", doc="steepness of the EC50 shift (kG)", source=_KRAUT, ndim=1)
    shift_midpoint: Clones = parameter(
        unit="pg/mL", doc="growth factor of half the EC50 shift (Ghat)", source=_KRAUT, ndim=1
    )
    roles: tuple[AbstractRole, ...]  # pyright: ignore[reportGeneralTypeIssues]  (`parameter` is no default)
    growth_factor_max: Scalar = parameter(
        unit="pg/mL", doc="largest steady growth factor (Gmax)", source=_KRAUT, default=0.0, minimum=0.0
    )
    growth_factor_max_per_cell: Scalar = parameter(
        unit="pg/mL/cell", doc="the same for each stromal cell", source=_KRAUT, default=0.0, minimum=0.0
    )
    growth_factor: Scalar = parameter(
        unit="pg/mL", doc="growth factor at the start (G(0))", source=_KRAUT, default=0.0, minimum=0.0
    )

    def initial_state(self) -> StromaState:
        return StromaState(jnp.log(self.cells), self.growth_factor)

    def inhibitor(self, conc: Conc) -> Scalar:
        """D: all inhibitors together, as a concentration of the reference one [mg/L]."""
        pairs = zip(conc, self.roles, strict=True)
        return sum((role.potency * c for c, role in pairs if isinstance(role, Inhibitor)), 0.0)

    def unblocked(self, conc: Conc) -> Scalar:
        """Share of the growth factor that no blocker has bound [1]."""
        share = 1.0
        for c, role in zip(conc, self.roles, strict=True):
            if isinstance(role, LigandBlocker):
                share = share * jnp.maximum(1.0 - role.efficacy * c, 0.0)
        return share

    def kill_rate(self, conc: Conc) -> Scalar:
        """Loss rate of stromal cells [1/day]."""
        rate = 0.0 * self.cells
        for c, role in zip(conc, self.roles, strict=True):
            if isinstance(role, StromaKiller):
                rate = rate + role.kill_max * hill(c / role.ec50, role.hill)
        return rate

    def steady_growth_factor(self, stroma: Scalar, conc: Conc) -> Scalar:
        """Gbar(S, D) [pg/mL]."""
        stretch = 1.0
        for c, role in zip(conc, self.roles, strict=True):
            if isinstance(role, StromaDesensitizer):
                stretch = stretch + role.strength * c
        most = self.growth_factor_max + self.growth_factor_max_per_cell * stroma
        stress = self.secretion_slope * (self.inhibitor(conc) - self.secretion_midpoint * stretch)
        return most * jax.nn.sigmoid(stress)

    def held_state(self, conc: Conc) -> StromaState:
        # The growth factor relaxes within minutes to hours; stromal cells die, if at all, over weeks.
        return StromaState(jnp.log(self.cells), self.steady_growth_factor(self.cells, conc))

    @property
    def settles(self) -> bool:
        return not any(isinstance(role, StromaKiller) for role in self.roles)

    def settled(self, conc: Callable[[Scalar], Conc], t: Scalar) -> StromaState:
        # Where Gbar moves slowly, G = Gbar - Gbar' / r + Gbar'' / r^2 - ... solves G' = r (Gbar - G).
        rate = self.growth_factor_decay + self.secretion_rate * self.cells

        def change(t: Scalar) -> tuple[Scalar, Scalar]:
            return jax.jvp(lambda t: self.steady_growth_factor(self.cells, conc(t)), (t,), (jnp.ones_like(t),))

        (steady, slope), (_, bend) = jax.jvp(change, (t,), (jnp.ones_like(t),))
        return StromaState(jnp.log(self.cells), steady - (slope - bend / rate) / rate)

    def field(self, state: StromaState, conc: Conc, cells: Clones) -> StromaState:
        stroma = jnp.exp(state.log_stroma)
        capacity = self.secretion_rate * stroma
        steady = self.steady_growth_factor(stroma, conc)
        ceiling = steady * (self.growth_factor_decay + capacity) / capacity
        secreted = capacity * jnp.maximum(ceiling - state.growth_factor, 0.0)
        return StromaState(-self.kill_rate(conc), secreted - self.growth_factor_decay * state.growth_factor)

    def advance(self, state: StromaState, tau: Nodes, conc: Float[Array, "Q N"]) -> StromaState:
        log_stroma = jnp.broadcast_to(state.log_stroma, tau.shape)
        if any(isinstance(role, StromaKiller) for role in self.roles):
            log_stroma = log_stroma - _mesh.cumulative(tau, over_nodes(self.kill_rate, conc))
        stroma = jnp.exp(log_stroma)
        target = over_nodes(self.steady_growth_factor, stroma, conc)
        rate = self.growth_factor_decay + self.secretion_rate * stroma
        growth_factor = _mesh.relax(tau, target, rate, state.growth_factor, self.growth_factor_decay)
        return StromaState(log_stroma, growth_factor)

    def potency_share(self, growth_factor: Scalar) -> Clones:
        """D50(G) / D50max of each clone [1]."""
        return jax.nn.sigmoid(self.shift_slope * (growth_factor - self.shift_midpoint))

    def shift(self, state: StromaState, conc: Conc) -> Float[Array, "M N"]:
        share = self.potency_share(state.growth_factor * self.unblocked(conc))
        shielded = jnp.array([isinstance(role, Inhibitor) for role in self.roles])
        return jnp.where(shielded[None, :], share[:, None], 1.0)

    def observables(self, state: StromaState, conc: Conc) -> dict[str, Array]:
        effective = state.growth_factor * self.unblocked(conc)
        shielded = jnp.log10(self.potency_share(effective)) - jnp.log10(self.potency_share(0.0))
        return {
            "growth_factor": state.growth_factor,
            "stroma": jnp.exp(state.log_stroma),
            "protection": jnp.mean(shielded),
        }

    def _steepness(self) -> Scalar:
        """Widths of the clones' response that the growth factor can span."""
        most = self.growth_factor_max + self.growth_factor_max_per_cell * self.cells
        return jnp.max(self.shift_slope) * most / 4.0

    def sharpness(self, decline: Scalar) -> Scalar:
        # The stress response sweeps at s dD/dt where D is within a few 1/s of Dhat, and the EC50 follows it.
        stress = decline * (self.secretion_slope * self.secretion_midpoint + 4.0)
        return stress * jnp.maximum(self._steepness(), 1.0) / 1.8

    def switching_levels(self) -> tuple[SwitchingLevel, ...]:
        blockers = [(j, role) for j, role in enumerate(self.roles) if isinstance(role, LigandBlocker)]
        switching_levels = [
            SwitchingLevel(j, 1.0 / jnp.maximum(role.efficacy, 1e-30), is_kink=True) for j, role in blockers
        ]
        inhibitors = [(j, role) for j, role in enumerate(self.roles) if isinstance(role, Inhibitor)]
        # Of several inhibitors the sum crosses a level, of which one alone says nothing.
        alone = inhibitors if len(inhibitors) == 1 else []
        steepness = self.sharpness(1.0)
        stress = [
            SwitchingLevel(j, (self.secretion_midpoint + place / self.secretion_slope) / role.potency, steepness)
            for j, role in alone
            for place in _STRESS
        ]
        return (*switching_levels, *stress)

    def layer(self) -> tuple[Scalar, Scalar]:
        return jnp.max(self.growth_factor_decay + self.secretion_rate * self.cells), self._steepness()
