"""What a clinic can give of what a rule asks for."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.policies.base import AbstractPolicy, Observation


class Limited(AbstractPolicy):
    """A rule whose doses are kept within the limits on single doses, and brought to the nearest allowed level."""

    kind: ClassVar[str] = "limited"
    rule: AbstractPolicy  #: asks for doses
    #: smallest doses of each interval [K, N]; the last row counts for all intervals after it
    lower: Float[Array, "K N"]
    upper: Float[Array, "K N"]  #: largest doses [K, N]
    levels: tuple[Array, ...]  #: allowed doses of each drug, increasing; an empty one where every dose is allowed
    #: whether levels count; a rule that a gradient follows is not rounded
    is_rounded: bool = eqx.field(static=True, default=True)

    def number(self, name: str) -> Any:
        return self.rule.number(name)

    def init(self) -> Any:
        return self.rule.init()

    def decide(self, memory: Any, observation: Observation) -> tuple[Float[Array, "N"], Any]:
        wanted, memory = self.rule.decide(memory, observation)
        k = jnp.minimum(observation.index, self.lower.shape[0] - 1)
        lower, upper = self.lower[k], self.upper[k]
        doses = jnp.clip(wanted, lower, upper)
        if self.is_rounded:
            pairs = enumerate(self.levels)
            doses = jnp.stack([_nearest(doses[j], own, lower[j], upper[j]) for j, own in pairs])
        return doses, memory

    def smooth(self, temperature: Scalar) -> "AbstractPolicy":
        return Limited(self.rule.smooth(temperature), self.lower, self.upper, self.levels, is_rounded=False)


def _nearest(dose: Scalar, levels: Array, lower: Scalar, upper: Scalar) -> Scalar:
    """The allowed level nearest to a dose, the smaller of two that are equally near."""
    if levels.size == 0:
        return dose
    allowed = (levels >= lower) & (levels <= upper)
    return levels[jnp.argmin(jnp.where(allowed, jnp.abs(levels - dose), jnp.inf))]
