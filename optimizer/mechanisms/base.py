"""The protocol of a mechanism."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from equinox import AbstractClassVar
from jaxtyping import Array, Float

from optimizer import mesh as _mesh
from optimizer.axes import Clones, Conc, Nodes, Scalar
from optimizer.pharmacology.base import AbstractPaced


class AbstractMechanism(AbstractPaced):
    """States of its own, driven by the drugs (and by the populations when `is_coupled`), that act on the clones.

    A mechanism acts in two ways: `shift` multiplies the half-maximal concentration of each drug on each clone, and
    `net_rate` adds to the net growth rate of each clone. A mechanism that is coupled to the populations may only use
    `net_rate`; one that does not is solved before them, on all nodes at once.
    """

    kind: AbstractClassVar[str]
    is_coupled: ClassVar[bool] = False
    observable_names: ClassVar[tuple[str, ...]] = ()

    @property
    def settles(self) -> bool:
        """Whether the state follows the concentrations at the rate of `layer`, as `settled` says."""
        return False

    def settled(self, conc: Callable[[Scalar], Conc], t: Scalar) -> Any:
        """State at a time in an interval once what a dose has set off is over; only where the mechanism `settles`.

        Args:
            conc: concentrations [N, mg/L] of the interval by the time since its start [day].
            t: time since the start of the interval [day].
        """
        raise NotImplementedError

    @abstractmethod
    def initial_state(self) -> Any:
        """State at time 0, a pytree of arrays."""

    @abstractmethod
    def field(self, state: Any, conc: Conc, cells: Clones) -> Any:
        """Time derivative of the state [1/day]; `cells` may be used only when the mechanism `is_coupled`."""

    def held_state(self, conc: Conc) -> Any:
        """State while the concentrations [N, mg/L] are held: what is fast settled, what is slow as at the start.

        None where the mechanism does not say; the net growth under a held concentration is then not known.
        """
        return None

    def shift(self, state: Any, conc: Conc) -> Float[Array, "M N"] | float:
        """Factor on the half-maximal concentration of each drug for each clone."""
        return 1.0

    def net_rate(self, state: Any, conc: Conc) -> Clones | float:
        """Addition to the net growth rate of each clone [1/day]."""
        return 0.0

    def observables(self, state: Any, conc: Conc) -> dict[str, Array]:
        """Quantities worth reporting, by name (`observable_names`)."""
        return {}

    def fastest_rate(self) -> Scalar:
        """Largest rate constant that fixed steps must resolve [1/day]."""
        return jnp.zeros(())

    def advance(self, state: Any, tau: Nodes, conc: Float[Array, "Q N"]) -> Any:
        """States at the nodes of one interval [Q, ...]; only for mechanisms that are not coupled."""
        nobody = jnp.zeros(0)
        return _mesh.runge_kutta(tau, lambda y, c: self.field(y, c, nobody), conc, state)


def over_nodes(function: Any, *arguments: Any) -> Any:
    """`function` applied at every node: all arguments carry a leading axis Q."""
    return jax.vmap(function)(*arguments)
