"""A term of the objective as a limit."""

from dataclasses import fields
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.constraints.base import AbstractStateLimit, Reading
from optimizer.endpoints.base import AbstractEndpoint
from optimizer.fields import parameter, setting
from optimizer.objectives.base import AbstractTerm, Scene
from optimizer.registry import discover


class Term(AbstractStateLimit):
    """A named term never exceeds a number, or what it comes to under a regimen: limit = "as regimen NAME".

    The excess is that of the term. The regimen is that of the scenario's own patient, whoever is treated.
    """

    kind: ClassVar[str] = "term"
    # Fields that a scenario may write as "as regimen NAME".
    as_regimen: ClassVar[tuple[str, ...]] = ("limit",)
    term: str = setting(doc="name of the term, as in [objective]")
    limit: Scalar = parameter(unit="1", doc='largest value of the term, or "as regimen NAME"')
    factor: Scalar = parameter(unit="1", doc="key factor of the term progression", default=1.2, positive=True)
    observable: str = setting(doc="key observable of the term mean_observable", default="")
    clone: int | None = setting(doc="key clone of the term final_share", default=None)
    endpoint: AbstractEndpoint | None = None
    visits: Float[Array, "V"] | None = None

    def named(self) -> AbstractTerm:
        """The term itself."""
        cls = discover("optimizer.objectives", AbstractTerm)[self.term]
        own = {field.name for field in fields(cls)}
        return cls(**{field.name: getattr(self, field.name) for field in fields(self) if field.name in own})

    def read(self, scene: Scene) -> Reading:
        term = self.named()
        return Reading(term.excess(scene, self.limit), jnp.max(term.parts(scene)), self.limit)

    def label(self) -> str:
        more = self.observable or ("" if self.clone is None else f"clone {self.clone + 1}")
        return f"{self.term}{' of ' * bool(more)}{more}, limited"
