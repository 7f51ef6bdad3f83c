"""Myelosuppression: what a cytotoxic drug does to the neutrophils."""

from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Conc, Scalar
from optimizer.fields import parameter, setting
from optimizer.mechanisms.base import AbstractMechanism

_FRIBERG = "doi 10.1200/JCO.2002.02.140"
_TRANSIT = 3
# Counts below which neutropenia has grade 1, 2, 3 and 4 [cell/L]; CTCAE leaves that of grade 1 to the laboratory.
GRADES = (2e9, 1.5e9, 1e9, 0.5e9)


class MarrowState(NamedTuple):
    """Natural logarithms of the cells relative to their level without drug."""

    proliferating: Float[Array, "..."]  #: cells that divide
    transit: Float[Array, "... stages"]  #: the three stages of maturation
    circulating: Float[Array, "..."]  #: neutrophils in the blood


class Myelosuppression(AbstractMechanism):
    """Dividing cells, three stages of maturation and neutrophils in the blood; the tumor does not feel them.

        Prol' = ktr Prol ((1 - Edrug) (Circ0 / Circ)^gamma - 1)         ktr = 4 / MTT
        T1' = ktr (Prol - T1)    T2' = ktr (T1 - T2)    T3' = ktr (T2 - T3)    Circ' = ktr (T3 - Circ)

        Edrug = slope c / (1 + saturation c)

    The paper's Emax curve has slope = Emax / EC50 and saturation = 1 / EC50. All start at Circ0.
    The count in the blood is the observable `neutrophils` [cell/L], which the constraint `nadir` limits.

    | symbol | field | unit | meaning |
    |---|---|---|---|
    | Circ0 | baseline | cell/L | neutrophils without drug |
    | MTT | transit_time | day | mean time from the last division to the end in the blood |
    | gamma | feedback | 1 | strength of the feedback of the count on divisions |
    | slope | slope | L/mg | share of the divisions lost per concentration; beyond 1 cells die |
    | saturation | saturation | L/mg | how fast that saturates; 0 where it does not |

    Source: Friberg et al. 2002, doi 10.1200/JCO.2002.02.140.
    """

    kind: ClassVar[str] = "myelosuppression"
    observable_names: ClassVar[tuple[str, ...]] = ("neutrophils",)

    drug: int = setting(doc="name of the drug")
    baseline: Scalar = parameter(unit="cell/L", doc="neutrophils without drug (Circ0)", source=_FRIBERG, positive=True)
    transit_time: Scalar = parameter(
        unit="day", doc="mean time from the last division to the end in the blood (MTT)", source=_FRIBERG, positive=True
    )
    feedback: Scalar = parameter(
        unit="1", doc="strength of the feedback of the count on divisions (gamma)", source=_FRIBERG, minimum=0.0
    )
    slope: Scalar = parameter(
        unit="L/mg", doc="share of the divisions lost per concentration", source=_FRIBERG, minimum=0.0
    )

    saturation: Scalar = parameter(
        unit="L/mg",
        doc="one over the concentration of half the largest loss",
        source=_FRIBERG,
        default=0.0,
        minimum=0.0,
    )

    def initial_state(self) -> MarrowState:
        return MarrowState(jnp.zeros(()), jnp.zeros(_TRANSIT), jnp.zeros(()))

    def rate(self) -> Scalar:
        """ktr [1/day]."""
        return (_TRANSIT + 1.0) / self.transit_time

    def field(self, state: MarrowState, conc: Conc, cells: Array) -> MarrowState:
        ktr = self.rate()
        level = conc[self.drug]
        lost = self.slope * level / (1.0 + self.saturation * level)
        divided = (1.0 - lost) * jnp.exp(-self.feedback * state.circulating)
        before = jnp.concatenate([state.proliferating[None], state.transit[:-1]])
        return MarrowState(
            ktr * (divided - 1.0),
            ktr * jnp.expm1(before - state.transit),
            ktr * jnp.expm1(state.transit[-1] - state.circulating),
        )

    def held_state(self, conc: Conc) -> MarrowState:
        # The tumor does not feel it.
        return self.initial_state()

    def observables(self, state: MarrowState, conc: Conc) -> dict[str, Array]:
        return {"neutrophils": self.baseline * jnp.exp(state.circulating)}

    def fastest_rate(self) -> Scalar:
        # A stage that has run empty fills in a fraction of its own time; measured to give five digits of the nadir.
        return 3.0 * self.rate()
