"""Transitions between clones: phenotypes that switch at a rate, which drugs may change, or by asymmetric division.

Drug-tolerant persisters, the epithelial-mesenchymal transition and cancer stem cells above differentiated ones are all
written with these laws.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from equinox import AbstractClassVar

from optimizer.axes import Conc, Scalar
from optimizer.fields import parameter, setting
from optimizer.pharmacology.effects import hill

_PERSISTERS = "doi 10.1016/j.cell.2010.02.027"


class AbstractTransition(eqx.Module):
    """Cells that leave one clone for another.

    Every law has the fields `source` and `target`, the indices of the two clones.
    """

    kind: AbstractClassVar[str]
    # Whether `rate_at` is a share of the source's divisions instead of a rate.
    per_division: ClassVar[bool] = False
    source: eqx.AbstractVar[int]
    target: eqx.AbstractVar[int]

    @abstractmethod
    def rate_at(self, conc: Conc) -> Scalar:
        """Rate [1/day] at which a cell of the source becomes one of the target, at concentrations [N, mg/L]."""

    @abstractmethod
    def largest_rate(self) -> Scalar:
        """Rate that fixed steps must resolve [1/day]."""

    def steepness(self) -> Scalar:
        """Steepness of the rate in the logarithm of a concentration [1]; zero where it is no curve."""
        return jnp.zeros(())


class Constant(AbstractTransition):
    """Cells switch at a constant rate: flow = rate C_source.

    | symbol | field | unit | meaning | source |
    |---|---|---|---|---|
    | k | rate | 1/day | switching rate | doi 10.1016/j.cell.2010.02.027 (reversible persisters) |
    """

    kind: ClassVar[str] = "constant"
    rate: Scalar = parameter(unit="1/day", doc="switching rate", source=_PERSISTERS, minimum=0.0)
    source: int = eqx.field(static=True, default=0)
    target: int = eqx.field(static=True, default=1)

    def rate_at(self, conc: Conc) -> Scalar:
        return self.rate

    def largest_rate(self) -> Scalar:
        return self.rate


class LinearSwitch(AbstractTransition):
    """A drug raises the switching rate in proportion to its concentration: rate + slope c.

    | symbol | field | unit | meaning | source |
    |---|---|---|---|---|
    | k0 | rate | 1/day | switching rate without drug | doi 10.1016/j.cell.2010.02.027 |
    | k1 | slope | L/mg/day | rise of the rate per concentration | doi 10.1200/CCI.18.00087 |
    """

    kind: ClassVar[str] = "linear"
    drug: int = setting(doc="name of the drug")
    slope: Scalar = parameter(unit="L/mg/day", doc="rise of the switching rate per concentration", minimum=0.0)
    rate: Scalar = parameter(unit="1/day", doc="switching rate without drug", default=0.0, minimum=0.0)
    source: int = eqx.field(static=True, default=0)
    target: int = eqx.field(static=True, default=1)

    def rate_at(self, conc: Conc) -> Scalar:
        return self.rate + self.slope * conc[self.drug]

    def largest_rate(self) -> Scalar:
        # At a level of one: what the drug will reach is not known here.
        return self.rate + self.slope


class HillSwitch(AbstractTransition):
    """A drug moves the switching rate from one level to another: rate + (saturated - rate) c^h / (ec50^h + c^h).

    | symbol | field | unit | meaning |
    |---|---|---|---|
    | k0 | rate | 1/day | switching rate without drug |
    | k1 | saturated | 1/day | switching rate under most drug, above or below k0 |
    | EC50 | ec50 | mg/L | half-maximal concentration |
    | h | hill | 1 | steepness of the curve |

    Source: reversible tolerance induced by the drug, doi 10.1016/j.cell.2010.02.027.
    """

    kind: ClassVar[str] = "hill"
    drug: int = setting(doc="name of the drug")
    saturated: Scalar = parameter(unit="1/day", doc="switching rate under most drug", minimum=0.0)
    ec50: Scalar = parameter(unit="mg/L", doc="half-maximal concentration", positive=True)
    hill: Scalar = parameter(unit="1", doc="steepness of the curve", default=1.0, positive=True)
    rate: Scalar = parameter(unit="1/day", doc="switching rate without drug", default=0.0, minimum=0.0)
    source: int = eqx.field(static=True, default=0)
    target: int = eqx.field(static=True, default=1)

    def rate_at(self, conc: Conc) -> Scalar:
        return self.rate + (self.saturated - self.rate) * hill(conc[self.drug] / self.ec50, self.hill)

    def largest_rate(self) -> Scalar:
        return self.rate + self.saturated

    def steepness(self) -> Scalar:
        return self.hill


class Division(AbstractTransition):
    """A share of the divisions of the source is asymmetric: flow = share max(growth, 0) C_source.

    The source keeps its number in such a division and the target gains a cell: a stem cell above differentiated ones.
    Growth is the per-capita growth of the source after inhibition and crowding, before death and kill.

    | symbol | field | unit | meaning | source |
    |---|---|---|---|---|
    | p | share | 1 | share of the divisions that are asymmetric | doi 10.1038/nature03669 |
    """

    kind: ClassVar[str] = "division"
    per_division: ClassVar[bool] = True
    share: Scalar = parameter(
        unit="1", doc="share of the divisions that give one cell of the other clone", minimum=0.0, maximum=1.0
    )
    source: int = eqx.field(static=True, default=0)
    target: int = eqx.field(static=True, default=1)

    def rate_at(self, conc: Conc) -> Scalar:
        return self.share

    def largest_rate(self) -> Scalar:
        return 0.0 * self.share


def clones_with_inflow(
    clones: int,
    mutation: Sequence[Sequence[float]] | None,
    transitions: Sequence[AbstractTransition],
) -> tuple[bool, ...]:
    """Which of the clones others feed [M], by mutation [M, M] or by transitions; empty where none is fed."""
    targets = {transition.target for transition in transitions}
    if mutation is not None:
        targets |= {j for row in mutation for j, share in enumerate(row) if share > 0.0}
    return tuple(j in targets for j in range(clones)) if targets else ()
