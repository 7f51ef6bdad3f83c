"""What a drug is for: its role names the part of the model that it acts on."""

from typing import ClassVar

import equinox as eqx
from equinox import AbstractClassVar

from optimizer.axes import Scalar
from optimizer.fields import parameter
from optimizer.pharmacology.effects import hill


class AbstractRole(eqx.Module):
    """Role of a drug with the numbers that belong to it; mechanisms look for the roles that concern them."""

    kind: AbstractClassVar[str]


class Inhibitor(AbstractRole):
    """Slows or kills the tumor's clones (D in Kraut et al. 2025); stromal cells sense it.

    Where a model of the stroma has several inhibitors, D is the sum of potency times concentration: Loewe additivity
    of drugs that differ in potency only (doi 10.1002/prp2.149).
    """

    kind: ClassVar[str] = "inhibitor"
    potency: Scalar = parameter(
        unit="1",
        doc="concentrations of the reference inhibitor that one of it stands for; read by the stroma",
        default=1.0,
        positive=True,
    )


class LigandBlocker(AbstractRole):
    """Antibody against the growth factor: G_eff = G max(1 - beta B, 0) (doi 10.1038/s41540-025-00495-0)."""

    kind: ClassVar[str] = "ligand_blocker"
    efficacy: Scalar = parameter(
        unit="L/mg",
        doc="share of the growth factor neutralized per concentration (beta)",
        default=1.0,
        minimum=0.0,
    )


class StromaKiller(AbstractRole):
    """Kills stromal cells at the Hill rate kill_max c^h / (c^h + ec50^h)."""

    kind: ClassVar[str] = "stroma_killer"
    kill_max: Scalar = parameter(unit="1/day", doc="largest kill rate of stromal cells", minimum=0.0)
    ec50: Scalar = parameter(unit="mg/L", doc="half-maximal concentration", positive=True)
    hill: Scalar = parameter(unit="1", doc="steepness of the curve", default=1.0, positive=True)


class StromaDesensitizer(AbstractRole):
    """Makes stromal cells less sensitive to the inhibitor: Dhat_eff = Dhat (1 + strength c)."""

    kind: ClassVar[str] = "stroma_desensitizer"
    strength: Scalar = parameter(
        unit="L/mg", doc="relative rise of the stroma's stress threshold per concentration", minimum=0.0
    )


class Resensitizer(AbstractRole):
    """Raises the way back to sensitivity: rates from resistant to other clones times 1 + rise c^h / (ec50^h + c^h).

    An epigenetic drug that drives tolerant persisters back (Sharma et al. 2010, doi 10.1016/j.cell.2010.02.027).
    """

    kind: ClassVar[str] = "resensitizer"
    rise: Scalar = parameter(unit="1", doc="largest relative rise of the rate of the way back", minimum=0.0)
    ec50: Scalar = parameter(unit="mg/L", doc="half-maximal concentration", positive=True)
    hill: Scalar = parameter(unit="1", doc="steepness of the curve", default=1.0, positive=True)

    def factor(self, conc: Scalar) -> Scalar:
        """Factor on the rate of the way back [1]."""
        return 1.0 + self.rise * hill(conc / self.ec50, self.hill)


class EffluxInhibitor(AbstractRole):
    """Blocks the pump without competing with the drug: its flow times 1 / (1 + (c / ki)^h).

    Source: doi 10.1080/10273669708833011.
    """

    kind: ClassVar[str] = "efflux_inhibitor"
    ki: Scalar = parameter(unit="mg/L", doc="concentration that halves the flow through the pump", positive=True)
    hill: Scalar = parameter(unit="1", doc="steepness of the curve", default=1.0, positive=True)

    def factor(self, conc: Scalar) -> Scalar:
        """Factor on the flow through the pump [1]."""
        return 1.0 - hill(conc / self.ki, self.hill)


class CheckpointInhibitor(AbstractRole):
    """Keeps effectors from being switched off by the tumor: their inactivation times 1 - efficacy c^h / (ec50^h + c^h).

    Acts on the rate m of Kuznetsov et al. 1994, doi 10.1007/BF02460644.
    """

    kind: ClassVar[str] = "checkpoint_inhibitor"
    efficacy: Scalar = parameter(
        unit="1", doc="largest share of the effectors' inactivation that is blocked", minimum=0.0, maximum=1.0
    )
    ec50: Scalar = parameter(unit="mg/L", doc="half-maximal concentration", positive=True)
    hill: Scalar = parameter(unit="1", doc="steepness of the curve", default=1.0, positive=True)

    def factor(self, conc: Scalar) -> Scalar:
        """Factor on the inactivation of effectors [1]."""
        return 1.0 - self.efficacy * hill(conc / self.ec50, self.hill)
