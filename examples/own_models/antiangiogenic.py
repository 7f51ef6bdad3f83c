"""How to give a fixed amount of a drug against blood vessels so that the tumor becomes as small as it can.

Hahnfeldt, Panigrahy, Folkman, Hlatky 1999, Cancer Research 59, 4770-4775; Ledzewicz and Schaettler 2007. Research use
only.
"""

from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

import optimizer as opt

_SOURCE = "Hahnfeldt et al. 1999"
Scalar = Float[Array, ""]


class State(NamedTuple):
    """Logarithms, so that volumes stay positive, and the time of the patient.

    Attributes:
        tumor: ln(p / mm3).
        vessels: ln(q / mm3).
        elapsed: t [day].
    """

    tumor: Scalar
    vessels: Scalar
    elapsed: Scalar


class Antiangiogenic(opt.AbstractModel):
    """A tumor and the vessels that carry it, with a free end.

    With p the tumor's volume, q the volume that its vessels can carry, and the dose u in [0, u_max]:

        p' = -xi p ln(p / q)        q' = b p - (mu + d p^(2/3) + G u) q

    wanted: the smallest p(T), T free, with the integral of u at most 300. A decision interval of one day of the
    schedule gives the amount A (the first drug) and lasts s = A / u_max + w days, with the rest w >= 0 (the second
    drug). So the dose A / s cannot exceed u_max, the total is the plain sum of what is given, and the slopes are linear
    in what is searched:

        d ln p / dtau = -s xi ln(p / q)        d ln q / dtau = s (b p / q - mu - d p^(2/3)) - G A        dt / dtau = s

    | symbol | field | unit | meaning | source |
    |---|---|---|---|---|
    | xi | growth | 1/day | growth of the tumor | Hahnfeldt et al. 1999 |
    | b | stimulation | 1/day | vessels drawn by the tumor | same |
    | d | inhibition | 1/day | vessels lost to the tumor's inhibitors, per mm^2 of volume to the power 2/3 | same |
    | G | potency | 1/day | vessels lost to the drug, per unit of dose | same |
    | mu | loss | 1/day | natural loss of vessels | Ledzewicz and Schaettler 2007 |
    | u_max | strongest | 1 | largest dose | same |
    | p(0) | tumor | cell | volume of the tumor at the start, in mm^3 | same |
    | q(0) | vessels | cell | volume that the vessels can carry at the start, in mm^3 | same |
    | - | longest | day | longest interval that the bounds of the doses allow; sets the steps | the scenario |

    Where the package says cells, read mm^3: the burden is p. No part of it is resistant.
    """

    kind: ClassVar[str] = "antiangiogenic"
    observable_names: ClassVar[tuple[str, ...]] = ("elapsed", "vessels", "dose")
    growth: Scalar = opt.parameter(unit="1/day", doc="growth of the tumor (xi)", source=_SOURCE, default=0.084)
    stimulation: Scalar = opt.parameter(
        unit="1/day", doc="vessels drawn by the tumor (b)", source=_SOURCE, default=5.85
    )
    inhibition: Scalar = opt.parameter(
        unit="1/day", doc="vessels lost to the tumor's inhibitors (d)", source=_SOURCE, default=0.00873
    )
    potency: Scalar = opt.parameter(unit="1/day", doc="vessels lost to the drug (G)", source=_SOURCE, default=0.15)
    loss: Scalar = opt.parameter(unit="1/day", doc="natural loss of vessels (mu)", default=0.02)
    strongest: Scalar = opt.parameter(unit="1", doc="largest dose (u_max)", default=75.0, positive=True)
    tumor: Scalar = opt.parameter(unit="cell", doc="tumor at the start, in mm3 (p(0))", default=12000.0, positive=True)
    vessels: Scalar = opt.parameter(
        unit="cell", doc="what the vessels carry at the start, in mm3 (q(0))", default=15000.0, positive=True
    )

    longest: Scalar = opt.parameter(
        unit="day", doc="longest interval that the bounds of the doses allow", default=1.2, positive=True
    )

    def initial_state(self) -> State:
        return State(jnp.log(self.tumor), jnp.log(self.vessels), jnp.zeros(()))

    def duration(self, conc: Float[Array, "N"]) -> Scalar:
        """Days of the patient in a day of the schedule."""
        amount, rest = conc
        return amount / self.strongest + rest

    def vector_field(self, t: Scalar, y: State, conc: Float[Array, "N"]) -> State:
        span, amount = self.duration(conc), conc[0]
        gap = y.tumor - y.vessels
        vessels = self.stimulation * jnp.exp(gap) - self.loss - self.inhibition * jnp.exp(2.0 / 3.0 * y.tumor)
        return State(-span * self.growth * gap, span * vessels - self.potency * amount, span)

    def burden(self, y: State) -> Scalar:
        return jnp.exp(y.tumor)

    def resistant(self, y: State) -> Scalar:
        return jnp.zeros_like(y.tumor)

    def fastest_rate(self) -> Scalar:
        # Vessels return to balance at b p / q, which is b at rest and some 12 a day on the way: twice b.
        return 2.0 * self.stimulation * self.longest

    def floor(self) -> float:
        # The tumor never vanishes: its logarithm needs nothing added.
        return 0.0

    def observables(self, y: State, conc: Float[Array, "N"]) -> dict[str, Array]:
        span = self.duration(conc)
        # An interval that lasts no time has no dose.
        dose = jnp.where(span > 1e-9, conc[0] / jnp.maximum(span, 1e-9), 0.0)
        return {"elapsed": y.elapsed, "vessels": jnp.exp(y.vessels), "dose": dose}
