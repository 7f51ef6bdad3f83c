"""The turnpike: get to zero, stay there, and leave in time. A textbook problem with a control of both signs.

Its like is in Lenhart, Workman 2007, Optimal Control Applied to Biological Models. Research use only.
"""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

import optimizer as opt

Scalar = Float[Array, ""]


class Turnpike(opt.AbstractModel):
    """A position x, which the control u in [-1, 1] moves.

        x' = u        cost = integral of x^2        x(2) = 1/2

    Doses are never negative, so the dose is v = 1 - u in [0, 2]: x' = 1 - v. Then x(2) = x(0) + 2 - (sum of v), and
    x(2) >= 1/2 is a limit of 5/2 on the sum of the doses; it binds, since it is being away from zero that costs.

    | symbol | field | unit | meaning | source |
    |---|---|---|---|---|
    | x(0) | start | 1 | position at the start | a textbook's number |

    The burden is x^2, and no part of it is resistant.
    """

    kind: ClassVar[str] = "turnpike"
    observable_names: ClassVar[tuple[str, ...]] = ("running_cost", "position")
    start: Scalar = opt.parameter(unit="1", doc="position at the start (x(0))", default=1.0)

    def initial_state(self) -> Scalar:
        return self.start

    def vector_field(self, t: Scalar, y: Scalar, conc: Float[Array, "N"]) -> Scalar:
        return 1.0 - conc[0]

    def burden(self, y: Scalar) -> Scalar:
        return y**2

    def resistant(self, y: Scalar) -> Scalar:
        return jnp.zeros_like(y)

    def fastest_rate(self) -> Scalar:
        # Positions are straight lines: two panels an interval are exact.
        return jnp.asarray(1.0)

    def observables(self, y: Scalar, conc: Float[Array, "N"]) -> dict[str, Array]:
        return {"running_cost": y**2, "position": y}
