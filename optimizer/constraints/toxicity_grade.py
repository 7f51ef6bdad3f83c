"""Worst grade of neutropenia."""

from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from optimizer.axes import Scalar
from optimizer.constraints.base import AbstractStateLimit, Reading
from optimizer.constraints.nadir import Nadir
from optimizer.fields import setting
from optimizer.mechanisms.myelosuppression import GRADES
from optimizer.models.base import AbstractModel
from optimizer.objectives.base import Scene


class ToxicityGrade(AbstractStateLimit):
    """Neutropenia of at most this grade at all times, by the counts of the mechanism `myelosuppression`.

    NCI Common Terminology Criteria for Adverse Events, version 5.0 (2017), "neutrophil count decreased": below the
    lower limit of normal (here 2e9 cells/L), 1.5e9, 1e9 and 0.5e9 cells/L in grade 1, 2, 3 and 4. The excess is the
    logarithm of the count that is missing.
    """

    kind: ClassVar[str] = "toxicity_grade"
    is_local: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("neutrophils",)
    worst: int = setting(unit="1", doc="worst grade that is allowed, 0 to 3", default=3, minimum=0, maximum=3)

    def read(self, scene: Scene) -> Reading:
        found = Nadir(jnp.asarray(GRADES[self.worst])).read(scene)
        grade = jnp.sum(found.value < jnp.asarray(GRADES)).astype(float)
        return Reading(found.excess, grade, jnp.asarray(float(self.worst)))


def has_grades(model: AbstractModel) -> bool:
    """Whether a model tells the counts that grades are read of."""
    return set(ToxicityGrade.needs) <= set(model.observable_names)


def grade(least: Scalar | float) -> int:
    """Grade of neutropenia of a lowest count [cell/L].

    Example:
        >>> [grade(count) for count in (2.5e9, 1.5e9, 0.5e9, 0.49e9)]
        [0, 1, 3, 4]
    """
    return int(np.sum(float(least) < np.array(GRADES)))
