"""Growth laws: the per-capita growth of each clone given everyone's numbers."""

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from equinox import AbstractClassVar

from optimizer._axes import Clones, Scalar
from optimizer._fields import parameter


class AbstractGrowth(eqx.Module):
    """Factor on the growth rate of each clone, from the cells of all clones."""

    kind: AbstractClassVar[str]
    # Whether the factor depends on the cells; where it does not, the populations are plain integrals.
    crowded: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, rate: Clones, cells: Clones) -> Clones:
        """Per-capita growth [1/day] at the growth rates `rate` [1/day] and populations `cells` [cell]."""


class Exponential(AbstractGrowth):
    """No limit: g_i."""

    kind: ClassVar[str] = "exponential"
    crowded: ClassVar[bool] = False

    def __call__(self, rate: Clones, cells: Clones) -> Clones:
        return rate


class Logistic(AbstractGrowth):
    """One shared capacity: g_i (1 - N / K), N all cancer cells.

    | symbol | field | unit | meaning | source |
    |---|---|---|---|---|
    | K | capacity | cell | carrying capacity shared by all clones | Verhulst 1838 |
    """

    kind: ClassVar[str] = "logistic"
    capacity: Scalar = parameter(unit="cell", doc="carrying capacity shared by all clones", positive=True)

    def __call__(self, rate: Clones, cells: Clones) -> Clones:
        return rate * (1.0 - jnp.sum(cells) / self.capacity)


class Gompertz(AbstractGrowth):
    """g_i ln(K / N), N all cancer cells (Viossat and Noble 2021, doi 10.1038/s41559-021-01428-w)."""

    kind: ClassVar[str] = "gompertz"
    capacity: Scalar = parameter(unit="cell", doc="size at which growth stops", positive=True)

    def __call__(self, rate: Clones, cells: Clones) -> Clones:
        return rate * (jnp.log(self.capacity) - jnp.log(jnp.sum(cells)))
