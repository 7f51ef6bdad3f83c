"""When to begin to treat: an evolutionary game of three cell types that ends as soon as one of them is nearly gone.

Gluzman, Scott, Vladimirsky 2020, doi 10.1098/rspb.2019.2454. Research use only.
"""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

import optimizer as opt

_DOI = "doi 10.1098/rspb.2019.2454"
Scalar = Float[Array, ""]


class State(NamedTuple):
    """Logits, so that shares stay between 0 and 1, and the time of the paper.

    Attributes:
        glycolytic: ln(p / (1 - p)) [1].
        producers: ln(q / (1 - q)) [1].
        elapsed: t, in the unit of time of the paper.
    """

    glycolytic: Scalar
    producers: Scalar
    elapsed: Scalar


class FreeBoundaryGame(opt.AbstractModel):
    """A game of glycolytic cells, producers of a vessel growth factor and free riders, with a free end.

    With p the share of glycolytic cells, q that of producers among all others, and the dose d in [0, d_max]:

        q' = q (1 - q) (b (1 + p + p^2 + p^3 + p^4) - c)        p' = p (1 - p) (a - q - d)
        cost = integral of (d + sigma) dt, until p <= r

    The end is free, so the length of a decision interval is dosed as well. An interval of one day of the schedule gives
    the amount A (the first drug) and lasts s = A / d_max + w, with the rest w >= 0 (the second drug): the dose A / s
    cannot exceed d_max, and the slopes are linear in what is searched:

        d ln(p / (1 - p)) / dtau = s (a - q) - A        dt / dtau = s        d cost / dtau = A + sigma s

    | symbol | field | unit | meaning | source |
    |---|---|---|---|---|
    | b | benefit | 1 | benefit of the growth factor | doi 10.1098/rspb.2019.2454 |
    | c | price | 1 | price of making it | same |
    | a | advantage | 1 | advantage of glycolytic cells | same |
    | d_max | strongest | 1 | largest dose | same |
    | sigma | patience | 1 | cost of a unit of time | same |
    | p(0) | glycolytic | 1 | share of glycolytic cells at the start | a start for which waiting pays |
    | q(0) | producers | 1 | share of producers among the others at the start | same |
    | - | longest | 1 | longest interval that the bounds of the doses allow; sets the steps | the scenario |

    Everything is per unit of time of the paper, which has no name there. The burden is p, and no cell is resistant.
    """

    kind: ClassVar[str] = "free_boundary_game"
    observable_names: ClassVar[tuple[str, ...]] = ("running_cost", "elapsed", "producers")
    benefit: Scalar = opt.parameter(unit="1", doc="benefit of the growth factor (b)", source=_DOI, default=0.4)
    price: Scalar = opt.parameter(unit="1", doc="price of making it (c)", source=_DOI, default=1.0)
    advantage: Scalar = opt.parameter(unit="1", doc="advantage of glycolytic cells (a)", source=_DOI, default=0.5)
    strongest: Scalar = opt.parameter(unit="1", doc="largest dose (d_max)", source=_DOI, default=3.0, positive=True)
    patience: Scalar = opt.parameter(unit="1", doc="cost of a unit of time (sigma)", source=_DOI, default=0.05)
    glycolytic: Scalar = opt.parameter(unit="1", doc="share of glycolytic cells at the start (p(0))", default=0.665)
    producers: Scalar = opt.parameter(unit="1", doc="share of producers at the start (q(0))", default=0.26)
    longest: Scalar = opt.parameter(unit="1", doc="longest interval that the bounds allow", default=18.0, positive=True)

    def initial_state(self) -> State:
        shares = self.glycolytic, self.producers
        return State(*(jnp.log(share) - jnp.log1p(-share) for share in shares), jnp.zeros(()))

    def duration(self, conc: Float[Array, "N"]) -> Scalar:
        """Time of the paper in a day of the schedule."""
        amount, rest = conc
        return amount / self.strongest + rest

    def vector_field(self, t: Scalar, y: State, conc: Float[Array, "N"]) -> State:
        span, amount = self.duration(conc), conc[0]
        p, q = jax.nn.sigmoid(y.glycolytic), jax.nn.sigmoid(y.producers)
        gain = self.benefit * (1.0 + p + p**2 + p**3 + p**4) - self.price
        return State(span * (self.advantage - q) - amount, span * gain, span)

    def burden(self, y: State) -> Scalar:
        return jax.nn.sigmoid(y.glycolytic)

    def resistant(self, y: State) -> Scalar:
        return jnp.zeros_like(y.glycolytic)

    def fastest_rate(self) -> Scalar:
        # The two shares turn about each other at a rate below 1.
        return self.longest

    def observables(self, y: State, conc: Float[Array, "N"]) -> dict[str, Array]:
        cost = conc[0] + self.patience * self.duration(conc)
        return {"running_cost": cost, "elapsed": y.elapsed, "producers": jax.nn.sigmoid(y.producers)}
