"""What a drug is for: its role names the part of the model that it acts on."""

from typing import ClassVar

import equinox as eqx
from equinox import AbstractClassVar

from optimizer._axes import Scalar
from optimizer._fields import parameter


class AbstractRole(eqx.Module):
    """Role of a drug with the numbers that belong to it; mechanisms look for the roles that concern them."""

    kind: AbstractClassVar[str]


class Inhibitor(AbstractRole):
    """Slows or kills the tumor's clones (D in Kraut et al. 2025); stromal cells sense it."""

    kind: ClassVar[str] = "inhibitor"


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
