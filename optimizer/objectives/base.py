"""The algebra of objectives."""

from abc import abstractmethod
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from equinox import AbstractClassVar
from jaxtyping import Array, Float

from optimizer.axes import Index, Scalar, Times
from optimizer.simulate import Grid, System, Trajectory

# Below this size of a limit an excess is relative to it no more.
_LEAST = 1e-3


class Scene(NamedTuple):
    """What terms and constraints look at."""

    trajectory: Trajectory  #: the simulated patient
    grid: Grid  #: decision intervals
    scale: Float[Array, "N"]  #: largest dose of each drug [N], the unit of `drug_use` and `roughness`
    floor: float  #: cells added before a logarithm is taken
    #: intervals that are real, where arrays are longer (`adose map` pads them); all of them when None
    count: Index | None = None
    #: cancer cells at the start, where the trajectory begins later; those it begins with when None
    first: Scalar | None = None
    #: model and mesh, for terms that read more of the model than its course; None where nobody does
    system: System | None = None

    def average(self, values: Times) -> Scalar:
        """Time average over the horizon."""
        return jnp.sum(self.trajectory.weights * values) / self.grid.horizon

    @property
    def first_burden(self) -> Scalar:
        """All cancer cells at the start."""
        return self.trajectory.burden[0] if self.first is None else self.first

    @property
    def log_burden(self) -> Times:
        """log10 of all cancer cells plus the floor."""
        return jnp.log10(self.trajectory.burden + self.floor)

    @property
    def shares(self) -> Float[Array, "K N"]:
        """Doses as shares of the largest dose."""
        return self.trajectory.doses / self.scale

    def mean_over_decisions(self, values: Float[Array, "decisions N"]) -> Scalar:
        """Mean over drugs and decisions, or over pairs of neighboring decisions where there is one value less."""
        if self.count is None:
            return jnp.sum(values) / max(values.size, 1)
        real = self.count - (self.trajectory.doses.shape[0] - values.shape[0])
        kept = jnp.where(jnp.arange(values.shape[0])[:, None] < real, values, 0.0)
        return jnp.sum(kept) / jnp.maximum(real * values.shape[1], 1)


class AbstractTerm(eqx.Module):
    """One number to be made small. Terms multiply by a weight and add to an `Objective`."""

    kind: AbstractClassVar[str]
    # A term that is not smooth is searched through `smooth` at falling temperatures and reported by `evaluate`.
    is_smooth: ClassVar[bool] = True
    # Factor on the temperature from one problem that a search solves to the next.
    cooling: ClassVar[float] = 0.1
    # Numbers that the term hands from interval to interval, where it is a sum of what `passes` says of each.
    carried: ClassVar[int] = 0
    # Whether the term is a sum over pieces of the trajectory, such as an average over time, and reads no doses; the
    # search takes the curvature of such a term piece by piece.
    is_sum: ClassVar[bool] = False
    # Whether the term reads doses alone and is linear in them.
    is_linear: ClassVar[bool] = False
    # Observables of the model that the term reads.
    needs: ClassVar[tuple[str, ...]] = ()
    # Whether the term is read at the visits of the scenario's [endpoint], so that it goes in steps.
    at_visits: ClassVar[bool] = False
    # Whether the term reads births and deaths of single cells (`AbstractModel.branching`), for which nodes are finer.
    is_branching: ClassVar[bool] = False

    @abstractmethod
    def evaluate(self, scene: Scene) -> Scalar:
        """The term as reported."""

    def exact(self, scene: Scene) -> float | None:
        """The term read off an audited trajectory by root finding; None where `evaluate` interpolates nothing."""
        return None

    def parts(self, scene: Scene) -> Float[Array, "parts"]:
        """Numbers of which the largest is the term, for a limit on it."""
        return jnp.reshape(self.evaluate(scene), (1,))

    def excess(self, scene: Scene, limit: Scalar) -> Float[Array, "parts"]:
        """By how much each of `parts` is beyond a limit, in a rising function of them; relative to it by default."""
        return (self.parts(scene) - limit) / jnp.maximum(jnp.abs(limit), _LEAST)

    def smooth(self, scene: Scene, temperature: Scalar) -> Scalar:
        """The term as searched; tends to `evaluate` as the temperature goes from 1 to 0."""
        return self.evaluate(scene)

    def passes(
        self, scene: Scene, carried: Float[Array, "carried"], temperature: Scalar
    ) -> tuple[Float[Array, "carried"], Scalar]:
        """What a piece of the trajectory makes of the numbers that are handed on, at first zeros, and its own part."""
        return carried, self.smooth(scene, temperature)

    def __mul__(self, weight: float) -> "Objective":
        return Objective((self,), jnp.asarray([weight], dtype=float))

    __rmul__ = __mul__

    def __add__(self, other: "AbstractTerm | Objective") -> "Objective":
        return 1.0 * self + other


class Objective(eqx.Module):
    """A weighted sum of terms.

    Attributes:
        terms: the terms.
        weights: their weights [terms].
    """

    terms: tuple[AbstractTerm, ...]
    weights: Float[Array, "terms"]

    def values(self, scene: Scene) -> dict[str, Scalar]:
        """Each term, unweighted, by its kind."""
        return {term.kind: term.evaluate(scene) for term in self.terms}

    def evaluate(self, scene: Scene) -> Scalar:
        """The weighted sum as reported."""
        return jnp.sum(self.weights * jnp.stack([t.evaluate(scene) for t in self.terms]))

    def smooth(self, scene: Scene, temperature: Scalar) -> Scalar:
        """The weighted sum as searched."""
        return jnp.sum(self.weights * jnp.stack([t.smooth(scene, temperature) for t in self.terms]))

    @property
    def is_smooth(self) -> bool:
        """Whether the search and the report look at the same function."""
        return all(term.is_smooth for term in self.terms)

    def __add__(self, other: "AbstractTerm | Objective") -> "Objective":
        right = other if isinstance(other, Objective) else 1.0 * other
        return Objective((*self.terms, *right.terms), jnp.concatenate([self.weights, right.weights]))

    def __mul__(self, weight: float) -> "Objective":
        return Objective(self.terms, weight * self.weights)

    __rmul__ = __mul__
