"""What terms on the chance of extinction have in common."""

from abc import abstractmethod
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Clones, Scalar
from optimizer.objectives.base import AbstractTerm, Scene
from optimizer.simulate.branching import log_absence

# In the place of the hazard where a limit asks for nothing, and added to hazards before a logarithm is taken.
_ANY, _NONE = 1e300, 1e-30


class AbstractExtinction(AbstractTerm):
    """A probability exp(-H), H of `simulate.branching.log_absence`, that no counted cell is alive at the horizon.

    Searched as (1 - T^2) times the term plus T^2 ln(1 + H), T the temperature: far from any hope exp(-H) has no slope.
    A limit on it is one on ln H.
    """

    is_smooth: ClassVar[bool] = False
    is_branching: ClassVar[bool] = True

    @abstractmethod
    def counted(self, is_resistant: Clones) -> Clones:
        """1 for clones that count at the horizon, 0 for others [M]; `is_resistant` is 1 for those flagged."""

    @abstractmethod
    def of_hazard(self, hazard: Scalar) -> Scalar:
        """The term, which rises with the hazard."""

    @abstractmethod
    def hazard_at(self, value: Scalar) -> Scalar:
        """The hazard at which the term has a value."""

    def hazard(self, scene: Scene) -> Scalar:
        """H of a course."""
        assert scene.system is not None, "wanted a scene with its system"
        return log_absence(scene.system, scene.trajectory, self.counted(scene.system.model.resistant_clones()))

    def evaluate(self, scene: Scene) -> Scalar:
        return self.of_hazard(self.hazard(scene))

    def smooth(self, scene: Scene, temperature: Scalar) -> Scalar:
        hazard = self.hazard(scene)
        share = jnp.square(temperature)
        # Both are -1 (or 0) without hazard.
        return (1.0 - share) * self.of_hazard(hazard) + share * (jnp.log1p(hazard) + self.of_hazard(0.0 * hazard))

    def excess(self, scene: Scene, limit: Scalar) -> Float[Array, "1"]:
        return jnp.reshape(jnp.log(self.hazard(scene) + _NONE) - jnp.log(self.hazard_at(limit) + _NONE), (1,))


def hazard_at(presence: Scalar) -> Scalar:
    """H at which something is alive with a probability; without end where that is one or more."""
    some = presence < 1.0
    return jnp.where(some, -jnp.log1p(-jnp.where(some, presence, 0.0)), _ANY)
