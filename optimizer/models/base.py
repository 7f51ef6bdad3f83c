"""The protocol of a model."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from equinox import AbstractClassVar
from jaxtyping import Array, Float

from optimizer import mesh as _mesh
from optimizer.axes import Clones, Conc, Nodes, Scalar
from optimizer.pharmacology.base import AbstractPaced


class Quadrature(NamedTuple):
    """What a model is whose logarithms of cells are integrals, over time, of functions of the concentrations."""

    logs: Clones  #: logarithms at the start [M]
    fast: Any  #: what relaxes to the concentrations within a boundary layer after a dose, at the start; any pytree
    #: the same once the layer is over, from the concentrations by time and a time in the interval
    settled: Callable[[Callable[[Scalar], Conc], Scalar], Any]
    #: slopes of the logarithms [M, 1/day] from `fast` and the concentrations [N, mg/L]
    rate: Callable[[Any, Conc], Clones]
    state: Callable[[Clones, Any], Any]  #: the model's state from `logs` and `fast`


class Branching(NamedTuple):
    """Events of single cells at one time, whose mean is the model's own course."""

    birth: Float[Array, "... M"]  #: a cell becomes two [M, 1/day]
    death: Float[Array, "... M"]  #: a cell is gone [M, 1/day]
    #: a cell of clone i stays and adds one of clone j, a mutation at division [M, M, 1/day]
    emission: Float[Array, "... M M"]
    switching: Float[Array, "... M M"]  #: a cell of clone i becomes one of clone j [M, M, 1/day]


class AbstractModel(AbstractPaced):
    """A system of ordinary differential equations driven by drug concentrations.

    A model of one's own is a subclass with a `State` (a NamedTuple of arrays), the equations in `vector_field`, and
    the two read-outs `burden` and `resistant`. That is enough: it is then searched with fixed Runge-Kutta steps and
    audited adaptively. Overriding `advance` is for models with a structure worth using.
    """

    kind: AbstractClassVar[str]
    # Names of `observables`, so that a scenario asking for one that is not there is refused early.
    observable_names: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def initial_state(self) -> Any:
        """State at time 0, a pytree of arrays."""

    @abstractmethod
    def vector_field(self, t: Scalar, y: Any, conc: Conc) -> Any:
        """Time derivative of the state [1/day], a pytree like the state."""

    @abstractmethod
    def burden(self, y: Any) -> Scalar:
        """All cancer cells [cell]."""

    @abstractmethod
    def resistant(self, y: Any) -> Scalar:
        """Cancer cells counted as resistant [cell]."""

    @abstractmethod
    def fastest_rate(self) -> Scalar:
        """Largest rate constant that fixed steps must resolve [1/day]; factors relaxed exactly do not count."""

    def cells(self, y: Any) -> Float[Array, "M"]:
        """Cancer cells of each clone [cell]."""
        return jnp.stack([self.burden(y) - self.resistant(y), self.resistant(y)])

    def changed(self, y: Any, change: Clones) -> Any:
        """The state with the logarithm of each clone's cells changed [M]; as it is where the model does not say."""
        return y

    def clone_names(self) -> tuple[str, ...]:
        """Names of the clones in the order of `cells`."""
        return ("sensitive", "resistant")

    def floor(self) -> float:
        """Cells added before a logarithm is taken in an objective."""
        return 1.0

    def surveyed(self, edges: np.ndarray, courses: Callable[[], Sequence[Any]]) -> "AbstractModel":
        """The model for whoever asks for its time scales, having seen what doses do; itself where it knows them.

        Args:
            edges: of the intervals [K + 1, day].
            courses: gives, for no doses and for the largest, times [T, day] and concentrations [T, N, mg/L].
        """
        return self

    def held_growth(self, conc: Conc) -> Clones | None:
        """Net growth rate of each clone [M, 1/day] while the concentrations [N, mg/L] are held.

        What follows a concentration faster than the clones grow is settled; what is slower is as at the start: the
        numbers of cells, which enter by crowding, among it. None where the model does not say.
        """
        return None

    def quadrature(self) -> Quadrature | None:
        """The model as integrals of functions of the concentrations, which is searched much faster; None where not."""
        return None

    def branching(self, y: Any, conc: Conc) -> Branching:
        """Births, deaths and transitions of single cells of each clone; only where the model tells them apart."""
        raise NotImplementedError(f"the model {self.kind} does not say what of its growth is births and what deaths")

    def resistant_clones(self) -> Clones:
        """1 for clones whose cells count as resistant, 0 for others [M]; only where `branching` is said."""
        raise NotImplementedError(f"the model {self.kind} does not say which clones are resistant")

    def observables(self, y: Any, conc: Conc) -> dict[str, Array]:
        """Further quantities worth reporting, by name (`observable_names`)."""
        return {}

    def advance(self, y: Any, t0: Scalar, tau: Nodes, conc: Float[Array, "Q N"]) -> Any:
        """States at the nodes of one interval [Q, ...], from the state at its start and the concentrations."""
        return _mesh.runge_kutta(tau, lambda y, d: self.vector_field(d[0], y, d[1]), (t0 + tau, conc), y)
