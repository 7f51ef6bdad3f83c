"""Chemotherapy of a tumor that grows by Gompertz's law, at a cost of tumor and drug.

Lenhart, Workman 2007, Optimal Control Applied to Biological Models, lab 5. Research use only.
"""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

import optimizer as opt

_SOURCE = "Lenhart and Workman 2007, lab 5"
Scalar = Float[Array, ""]


class GompertzChemotherapy(opt.AbstractModel):
    """One tumor under one drug; the state is y = ln x, x the tumor as a share of the largest one.

        x' = r x ln(1 / x) - delta u x, so y' = -r y - delta u        cost = integral of a x^2 + u^2

    | symbol | field | unit | meaning | source |
    |---|---|---|---|---|
    | r | growth | 1/day | growth rate | Lenhart and Workman 2007, lab 5 |
    | delta | kill | 1/day | cells killed at the dose 1 | same |
    | a | price | 1 | price of the tumor | same |
    | x(0) | start | 1 | tumor at the start | same |

    The cost needs no state: it is the observable `running_cost`. The burden is x, and no part of it is resistant.
    """

    kind: ClassVar[str] = "gompertz_chemotherapy"
    observable_names: ClassVar[tuple[str, ...]] = ("running_cost",)
    growth: Scalar = opt.parameter(unit="1/day", doc="growth rate (r)", source=_SOURCE, default=0.3, positive=True)
    kill: Scalar = opt.parameter(unit="1/day", doc="cells killed at the dose 1 (delta)", source=_SOURCE, default=0.45)
    price: Scalar = opt.parameter(unit="1", doc="price of the tumor (a)", source=_SOURCE, default=3.0)
    start: Scalar = opt.parameter(
        unit="1", doc="tumor at the start (x(0))", source=_SOURCE, default=0.975, positive=True
    )

    def initial_state(self) -> Scalar:
        return jnp.log(self.start)

    def vector_field(self, t: Scalar, y: Scalar, conc: Float[Array, "N"]) -> Scalar:
        return -self.growth * y - self.kill * conc[0]

    def burden(self, y: Scalar) -> Scalar:
        return jnp.exp(y)

    def resistant(self, y: Scalar) -> Scalar:
        return jnp.zeros_like(y)

    def fastest_rate(self) -> Scalar:
        return self.growth

    def observables(self, y: Scalar, conc: Float[Array, "N"]) -> dict[str, Array]:
        return {"running_cost": self.price * jnp.exp(2.0 * y) + conc[0] ** 2}
