"""Efflux: a pump that exposure induces keeps the drug out of the cell."""

from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer import mesh as _mesh
from optimizer.axes import Conc, Nodes, Scalar
from optimizer.fields import parameter, setting
from optimizer.mechanisms.base import AbstractMechanism, over_nodes
from optimizer.pharmacology.effects import hill
from optimizer.pharmacology.roles import AbstractRole, EffluxInhibitor, Inhibitor

_PUMP = "doi 10.1080/10273669708833011"
_LINEAR = "doi 10.3390/molecules30143014"


class EffluxState(NamedTuple):
    """What the pump does."""

    #: flow out through the pump relative to that by diffusion, at full expression and without inhibitor [1]
    pump: Float[Array, "..."]


class Efflux(AbstractMechanism):
    """A pump P (P-glycoprotein) carries drugs out of the cell; it is induced while its inducer is there.

        P' = kP (P0 + (P1 - P0) h(c) - P)       h(c) = c^n / (c^n + EC50^n), c the inducing drug
        c_in / c = 1 / (1 + e_i f P)            f = product of the efflux inhibitors' 1 / (1 + (c / Ki)^h)

    In the cell the drug balances diffusion in against diffusion and pump out, so that the EC50 of clone i rises by the
    factor 1 + e_i f P, which is linear in the pump (as measured: doi 10.3390/molecules30143014). P0, which the pump
    starts at, P1 and e_i f P are relative to diffusion.

    | symbol | field | unit | meaning | source |
    |---|---|---|---|---|
    | P1 | induced | 1 | pump under most exposure | doi 10.3390/molecules30143014 |
    | P0 | basal | 1 | pump without exposure | same |
    | kP | turnover | 1/day | rate at which the pump follows | doi 10.1080/10273669708833011 |
    | EC50 | ec50 | mg/L | exposure of half the induction | |
    | n | hill | 1 | steepness of the induction | |
    | e_i | expression | 1 | pump of each clone relative to full expression | doi 10.3390/molecules30143014 |

    The drug that induces the pump is `drug`; it and every drug with the role `inhibitor` are pumped.
    """

    kind: ClassVar[str] = "efflux"
    observable_names: ClassVar[tuple[str, ...]] = ("pump",)

    drug: int = setting(doc="name of the drug that induces the pump")
    induced: Scalar = parameter(
        unit="1", doc="pump under most exposure, relative to diffusion (P1)", source=_LINEAR, minimum=0.0
    )
    turnover: Scalar = parameter(
        unit="1/day", doc="rate at which the pump follows the exposure (kP)", source=_PUMP, positive=True
    )
    ec50: Scalar = parameter(unit="mg/L", doc="exposure of half the induction", positive=True)
    roles: tuple[AbstractRole, ...]  # pyright: ignore[reportGeneralTypeIssues]  (`parameter` is no default)
    basal: Scalar = parameter(
        unit="1", doc="pump without exposure, relative to diffusion (P0)", source=_LINEAR, default=0.0, minimum=0.0
    )
    hill: Scalar = parameter(unit="1", doc="steepness of the induction", default=1.0, positive=True)
    expression: Float[Array, "..."] = parameter(
        unit="1",
        doc="pump of each clone relative to full expression",
        source=_LINEAR,
        default=1.0,
        minimum=0.0,
        ndim=1,
    )

    def initial_state(self) -> EffluxState:
        return EffluxState(self.basal)

    def target(self, conc: Conc) -> Scalar:
        """Pump to which the exposure leads [1]."""
        return self.basal + (self.induced - self.basal) * hill(conc[self.drug] / self.ec50, self.hill)

    def field(self, state: EffluxState, conc: Conc, cells: Array) -> EffluxState:
        return EffluxState(self.turnover * (self.target(conc) - state.pump))

    def held_state(self, conc: Conc) -> EffluxState:
        return EffluxState(self.target(conc))

    def advance(self, state: EffluxState, tau: Nodes, conc: Float[Array, "Q N"]) -> EffluxState:
        target = over_nodes(self.target, conc)
        rate = jnp.broadcast_to(self.turnover, tau.shape)
        return EffluxState(_mesh.relax(tau, target, rate, state.pump, self.turnover))

    def flow(self, state: EffluxState, conc: Conc) -> Scalar:
        """Flow through the pump that inhibitors leave, relative to diffusion [1]."""
        left = 1.0
        for c, role in zip(conc, self.roles, strict=True):
            if isinstance(role, EffluxInhibitor):
                left = left * role.factor(c)
        return left * state.pump

    def shift(self, state: EffluxState, conc: Conc) -> Float[Array, "M N"]:
        flow = jnp.atleast_1d(self.expression * self.flow(state, conc))
        pumped = jnp.array([j == self.drug or isinstance(role, Inhibitor) for j, role in enumerate(self.roles)])
        return jnp.where(pumped[None, :], 1.0 + flow[:, None], 1.0)

    def observables(self, state: EffluxState, conc: Conc) -> dict[str, Array]:
        return {"pump": self.flow(state, conc)}

    def fastest_rate(self) -> Scalar:
        return self.turnover
