"""Peak burden: the most cancer cells at any time."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from optimizer.axes import Scalar, Times
from optimizer.objectives.base import AbstractTerm, Scene
from optimizer.simulate.crossings import peak


class PeakBurden(AbstractTerm):
    """Maximum over time of log10(N + floor).

    Searched as the soft maximum w ln(mean_t exp(v / w)) with the width w = 0.3 temperature, which lies below the
    maximum by at most w ln(horizon / time at the peak).
    """

    kind: ClassVar[str] = "peak_burden"
    is_smooth: ClassVar[bool] = False

    def evaluate(self, scene: Scene) -> Scalar:
        return jnp.max(scene.log_burden)

    def exact(self, scene: Scene) -> float:
        return peak(np.asarray(scene.trajectory.times), np.asarray(scene.log_burden))

    def parts(self, scene: Scene) -> Times:
        return scene.log_burden

    def smooth(self, scene: Scene, temperature: Scalar) -> Scalar:
        width = 0.3 * temperature
        share = scene.trajectory.weights / scene.grid.horizon
        return width * jax.scipy.special.logsumexp(scene.log_burden / width, b=share)
