"""Doses of which only some are open, or several are given alike."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class MoveBlocking(eqx.Module):
    """Doses that are still open, in groups that are given alike: shares = base + span * x[group]."""

    base: Float[Array, "n"]  #: smallest shares, and what was given already [n]
    span: Float[Array, "n"]  #: from there to the largest ones; 0 for what was given [n]
    group: Int[Array, "n"]  #: of each dose [n]
    count: int = eqx.field(static=True)  #: groups, m

    def shares(self, x: Float[Array, "m"]) -> Float[Array, "n"]:
        """All doses, as shares of the largest."""
        return self.base + self.span * x[self.group]

    def moved(self, step: Float[Array, "m"]) -> Float[Array, "n"]:
        """How far all shares move with the unknowns."""
        return self.span * step[self.group]

    def jacobians(self, by_share: Float[Array, "... n"]) -> Float[Array, "... m"]:
        """Derivatives by the unknowns, from those by all shares."""
        return self.summed(by_share * self.span)

    def summed(self, values: Float[Array, "... n"]) -> Float[Array, "... m"]:
        """Sums over the doses of each group."""
        return jnp.moveaxis(jax.ops.segment_sum(jnp.moveaxis(values, -1, 0), self.group, self.count), 0, -1)
