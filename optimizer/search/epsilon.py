"""A term as a limit: the problems along a trade-off between two terms (the epsilon-constraint method)."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from optimizer.axes import Scalar
from optimizer.constraints.base import AbstractStateLimit, Reading
from optimizer.fields import parameter
from optimizer.objectives.base import AbstractTerm, Objective, Scene
from optimizer.problem import Problem

# The limit of a problem that has none.
_NONE = 1e9


class TermCeiling(AbstractStateLimit):
    """A term never exceeds a number; the excess is relative to the size that the term's changes have."""

    kind: ClassVar[str] = "term_ceiling"
    term: AbstractTerm
    limit: Scalar = parameter(unit="1", doc="largest value of the term")
    size: Scalar = parameter(unit="1", doc="change of the term that counts as one", positive=True)

    def read(self, scene: Scene) -> Reading:
        values = self.term.parts(scene)
        return Reading((values - self.limit) / self.size, jnp.max(values), self.limit)

    def label(self) -> str:
        return f"{self.term.kind}, limit of the trade-off"


def with_ceiling(
    problem: Problem,
    terms: tuple[AbstractTerm, AbstractTerm],
    weights: tuple[float, float],
    limit: float | None = None,
    size: float = 1.0,
) -> Problem:
    """The problem with a weighted sum of two terms as its objective, and a limit on the second of them.

    Haimes, Lasdon and Wismer 1971, doi 10.1109/TSMC.1971.4308298. All its problems differ in numbers only, so that one
    program searches them all.

    Args:
        problem: model, drugs and limits, all of which stay.
        terms: the two terms.
        weights: of the terms in the objective.
        limit: largest value of the second term; none when left out.
        size: what a violation of the limit is relative to.
    """
    ceiling = TermCeiling(terms[1], jnp.asarray(_NONE if limit is None else limit), jnp.asarray(size))
    objective = Objective(terms, jnp.asarray(weights, dtype=float))
    limits = (*problem.task.state_limits, ceiling)
    task = dataclasses.replace(problem.task, objective=objective, state_limits=limits, margins=jnp.zeros(len(limits)))
    return dataclasses.replace(problem, task=task)
