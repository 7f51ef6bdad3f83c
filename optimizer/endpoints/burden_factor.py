"""More cells than a multiple of those at the start."""

from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from optimizer.endpoints.base import AbstractEndpoint, AtVisits, Values, Verdict
from optimizer.fields import setting
from optimizer.observations.base import AbstractQuantity, Channel
from optimizer.observations.burden import Burden
from optimizer.simulate import System, Trajectory
from optimizer.simulate.crossings import first_above


class BurdenFactor(AbstractEndpoint):
    """N > factor N(0), N all cancer cells: at the very time, or at visits where `every` says when they are.

    1.2 is the share by which a sum of diameters grows in progressive disease (RECIST 1.1, doi
    10.1016/j.ejca.2008.10.026), taken for cells as much of the modeling literature does.
    """

    kind: ClassVar[str] = "burden_factor"
    reads: ClassVar[tuple[str, ...]] = ("burden",)
    factor: float = setting(unit="1", doc="progression is N > factor N(0)", default=1.2, positive=True)
    confirm: float = setting(unit="day", doc="time after which it is confirmed", default=0.0, minimum=0.0)
    every: float = setting(unit="day", doc="time between visits; 0: read at any time", default=0.0, minimum=0.0)
    channel: Channel | None = None

    def level(self, first: Any, nadir: Values) -> Values:
        return nadir.__array_namespace__().full_like(nadir, self.factor * first)

    @classmethod
    def standard(cls) -> AbstractQuantity:
        return Burden()

    def at(self, edges: Float[np.ndarray, "edges"]) -> AtVisits | float:
        return super().at(edges) if self.every else self.factor

    def read(self, system: System, trajectory: Trajectory, edges: Float[np.ndarray, "edges"]) -> Verdict:
        return super().read(system, trajectory, edges) if self.every else exceeds(trajectory, self.factor)


def exceeds(trajectory: Trajectory, factor: float) -> Verdict:
    """The time at which the cells exceed a multiple of those at the start, read between the saved times."""
    burden = np.asarray(trajectory.burden)
    # What grew out of the range of numbers has progressed before.
    known = slice(None) if np.isfinite(burden).all() else slice(int(np.argmin(np.isfinite(burden))))
    times, logs = np.asarray(trajectory.times)[known], np.log(np.maximum(burden[known], 1e-300))
    day = first_above(times, logs, float(np.log(factor)) + float(logs[0])) if logs.size else None
    return Verdict(day, day)
