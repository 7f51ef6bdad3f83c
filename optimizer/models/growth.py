"""Growth laws: the per-capita growth of each clone given everyone's numbers."""

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from equinox import AbstractClassVar
from jaxtyping import Array, Float

from optimizer.axes import Clones, Scalar
from optimizer.fields import parameter


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


class VonBertalanffy(AbstractGrowth):
    """Gain at a surface, loss in the volume: g_i ((K / N)^gamma - 1), N all cancer cells.

    With gamma = 1/3 this is N' = a N^(2/3) - g N, a = g K^(1/3), for one clone; gamma -> 0 at a fixed g gamma is
    Gompertz growth.

    | symbol | field | unit | meaning | source |
    |---|---|---|---|---|
    | K | capacity | cell | size at which growth stops | doi 10.1086/401873 |
    | gamma | exponent | 1 | one less the power of the gain | same; for tumors doi 10.1371/journal.pcbi.1003800 |
    """

    kind: ClassVar[str] = "von_bertalanffy"
    capacity: Scalar = parameter(unit="cell", doc="size at which growth stops", positive=True)
    exponent: Scalar = parameter(
        unit="1",
        doc="one less the power of the gain",
        source="doi 10.1086/401873",
        default=1.0 / 3.0,
        positive=True,
        maximum=1.0,
    )

    def __call__(self, rate: Clones, cells: Clones) -> Clones:
        return rate * jnp.expm1(self.exponent * (jnp.log(self.capacity) - jnp.log(jnp.sum(cells))))


class CompetitiveLogistic(AbstractGrowth):
    """Lotka-Volterra competition: g_i (1 - sum_j a_ij N_j / K_i).

    | symbol | field | unit | meaning | source |
    |---|---|---|---|---|
    | K_i | capacity | cell | carrying capacity of each clone on its own | doi 10.1038/s41467-017-01968-5 |
    | a_ij | competition | 1 | weight of a cell of clone j in what clone i competes with | same |
    """

    kind: ClassVar[str] = "competitive_logistic"
    capacity: Clones = parameter(unit="cell", doc="carrying capacity of each clone on its own", positive=True, ndim=1)
    competition: Float[Array, "M M"] = parameter(
        unit="1",
        doc="weight of a cell of each clone (column) in what each clone competes with (row)",
        minimum=0.0,
        ndim=2,
    )

    def __call__(self, rate: Clones, cells: Clones) -> Clones:
        return rate * (1.0 - self.competition @ cells / self.capacity)


class CompetitiveGompertz(AbstractGrowth):
    """Gompertz growth under competition: g_i ln(K_i / sum_j a_ij N_j).

    | symbol | field | unit | meaning | source |
    |---|---|---|---|---|
    | K_i | capacity | cell | size at which each clone on its own stops growing | doi 10.1038/s41559-021-01428-w |
    | a_ij | competition | 1 | weight of a cell of clone j in what clone i competes with | |
    """

    kind: ClassVar[str] = "competitive_gompertz"
    capacity: Clones = parameter(
        unit="cell", doc="size at which each clone on its own stops growing", positive=True, ndim=1
    )
    competition: Float[Array, "M M"] = parameter(
        unit="1",
        doc="weight of a cell of each clone (column) in what each clone competes with (row)",
        minimum=0.0,
        ndim=2,
    )

    def __call__(self, rate: Clones, cells: Clones) -> Clones:
        return rate * (jnp.log(self.capacity) - jnp.log(self.competition @ cells))
