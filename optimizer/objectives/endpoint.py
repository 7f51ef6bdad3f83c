"""Endpoint: how long until progression as a clinic reads it, at visits."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.endpoints.base import AbstractEndpoint
from optimizer.objectives.base import AbstractTerm, Scene

# At temperature 1, of the logarithm of value over level: width of its rounded corner, and hazard of a visit for each.
_WIDTH, _SLOPE = 0.01, 2.0


class Endpoint(AbstractTerm):
    """Minus the day of the visit that shows progression by the scenario's [endpoint], as a share of the horizon.

    The day goes in steps. Searched as its expectation where visit i shows nothing with the probability exp(-h_i),
    h_i = s w ln(1 + exp(m_i / w)), m_i the least logarithm of value over level from that visit to the one that confirms
    it (`AbstractEndpoint.margins`), s = 2 / T, w = 0.01 T^(1/2), T the temperature: while it is warm a visit beyond the
    level takes little from those after it. A limit on it asks for m_i < 0 at all visits before that day.

    | symbol | field | unit | meaning |
    |---|---|---|---|
    | | endpoint | | the criterion, its assay and its confirmation |
    | | visits | day | times of the visits [V] |
    """

    kind: ClassVar[str] = "endpoint"
    is_smooth: ClassVar[bool] = False
    cooling: ClassVar[float] = 10.0**-0.5
    at_visits: ClassVar[bool] = True
    endpoint: AbstractEndpoint
    visits: Float[Array, "V"]

    def _margins(self, scene: Scene) -> Float[Array, "V"]:
        assert scene.system is not None, "wanted a scene with its system"
        return self.endpoint.margins(scene.system, scene.trajectory, self.visits)

    def _expected(self, scene: Scene, log_kept: Float[Array, "V"]) -> Scalar:
        """Minus the mean day, of the logarithm of the chance that each visit shows nothing."""
        waits = jnp.diff(self.visits, append=scene.grid.horizon)
        return -(self.visits[0] + jnp.sum(waits * jnp.exp(jnp.cumsum(log_kept)))) / scene.grid.horizon

    def evaluate(self, scene: Scene) -> Scalar:
        return self._expected(scene, jnp.where(self._margins(scene) >= 0.0, -jnp.inf, 0.0))

    def smooth(self, scene: Scene, temperature: Scalar) -> Scalar:
        width, slope = _WIDTH * jnp.sqrt(temperature), _SLOPE / temperature
        return self._expected(scene, slope * width * jax.nn.log_sigmoid(-self._margins(scene) / width))

    def excess(self, scene: Scene, limit: Scalar) -> Float[Array, "V"]:
        due = self.visits < -limit * scene.grid.horizon
        return jnp.where(due, self._margins(scene), -1.0)
