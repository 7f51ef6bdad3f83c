"""Immune effectors that kill tumor cells and are exhausted by them."""

from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Clones, Conc, Scalar
from optimizer.fields import parameter
from optimizer.mechanisms.base import AbstractMechanism
from optimizer.pharmacology.roles import AbstractRole, CheckpointInhibitor

_KUZNETSOV = "doi 10.1007/BF02460644"


class ImmuneState(NamedTuple):
    """The effectors as a logarithm."""

    log_effectors: Float[Array, "..."]  #: natural logarithm of the effector cells


class Immune(AbstractMechanism):
    """Effectors E are drawn by the tumor, kill its cells and are switched off by them.

        E' = s + p E N / (g + N) - m f N E - d E        C_i' = ... - n_i E C_i
        f = product of the checkpoint inhibitors' 1 - efficacy c^h / (c^h + EC50^h)

    N is all cancer cells. The effectors start at s / d, their level without a tumor, unless `effectors` is given.

    | symbol | field | unit | meaning |
    |---|---|---|---|
    | s | inflow | cell/day | effectors that arrive whatever the tumor does |
    | p | recruitment | 1/day | largest rate at which the tumor draws effectors |
    | g | half_recruitment | cell | cancer cells of half that rate |
    | m | inactivation | 1/cell/day | effectors switched off per cancer cell |
    | d | loss | 1/day | loss of effectors |
    | n_i | kill | 1/cell/day | cancer cells of clone i killed per effector |
    | E(0) | effectors | cell | effectors at the start |

    Source: Kuznetsov et al. 1994, doi 10.1007/BF02460644.
    """

    kind: ClassVar[str] = "immune"
    is_coupled: ClassVar[bool] = True
    observable_names: ClassVar[tuple[str, ...]] = ("effectors",)

    inflow: Scalar = parameter(
        unit="cell/day", doc="effectors that arrive whatever the tumor does (s)", source=_KUZNETSOV, positive=True
    )
    recruitment: Scalar = parameter(
        unit="1/day", doc="largest rate at which the tumor draws effectors (p)", source=_KUZNETSOV, minimum=0.0
    )
    half_recruitment: Scalar = parameter(
        unit="cell", doc="cancer cells of half that rate (g)", source=_KUZNETSOV, positive=True
    )
    inactivation: Scalar = parameter(
        unit="1/cell/day", doc="effectors switched off per cancer cell (m)", source=_KUZNETSOV, minimum=0.0
    )
    loss: Scalar = parameter(unit="1/day", doc="loss of effectors (d)", source=_KUZNETSOV, positive=True)
    kill: Clones = parameter(
        unit="1/cell/day",
        doc="cells of each clone killed per effector (n)",
        source=_KUZNETSOV,
        minimum=0.0,
        ndim=1,
    )
    roles: tuple[AbstractRole, ...]  # pyright: ignore[reportGeneralTypeIssues]  (`parameter` is no default)
    effectors: Scalar = parameter(
        unit="cell", doc="effectors at the start (E(0)); s / d when 0", source=_KUZNETSOV, default=0.0, minimum=0.0
    )

    def initial_state(self) -> ImmuneState:
        given = self.effectors > 0.0
        return ImmuneState(jnp.log(jnp.where(given, self.effectors, self.inflow / self.loss)))

    def field(self, state: ImmuneState, conc: Conc, cells: Clones) -> ImmuneState:
        tumor = jnp.sum(cells)
        blocked = 1.0
        for c, role in zip(conc, self.roles, strict=True):
            if isinstance(role, CheckpointInhibitor):
                blocked = blocked * role.factor(c)
        drawn = self.recruitment * tumor / (self.half_recruitment + tumor)
        arriving = self.inflow * jnp.exp(-state.log_effectors)
        return ImmuneState(arriving + drawn - self.inactivation * blocked * tumor - self.loss)

    def held_state(self, conc: Conc) -> ImmuneState:
        # Effectors come and go as slowly as the tumor does, with which they may even have no level to settle at.
        return self.initial_state()

    def net_rate(self, state: ImmuneState, conc: Conc) -> Clones:
        return -self.kill * jnp.exp(state.log_effectors)

    def observables(self, state: ImmuneState, conc: Conc) -> dict[str, Array]:
        return {"effectors": jnp.exp(state.log_effectors)}

    def fastest_rate(self) -> Scalar:
        # Near the level s / d; a surge of effectors kills at about the tumor's own rates, which count beside this.
        return self.recruitment + self.loss + jnp.max(self.kill) * self.inflow / self.loss
