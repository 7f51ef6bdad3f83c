"""Who has a resistant clone from the start: a probability of each patient's, and the cells that are drawn by it.

A two-part prior: the clone is present with the patient's probability, in lognormal numbers about the scenario's, or
absent, with no cell at all. The probability is a column of a table, or what a model of `adose risk train` makes of
features.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from optimizer.files.columns import Column, Schema, plain
from optimizer.files.faults import DataError, refuse
from optimizer.files.tables import read
from optimizer.risk.train import MARKER, apply
from optimizer.scenario import Scenario
from optimizer.scenario.plan import RiskPlan

# Sets what is drawn here apart from a patient's other numbers.
_APART = 0x5EED
_MOST_SHOWN = 5
_NAMES = ("patient", "id", "name", "subject")


@dataclass(frozen=True)
class Risks:
    """Probabilities of P patients that the clone is there from the start."""

    names: tuple[str, ...]  #: of the patients
    probability: Float[np.ndarray, "P"]  #: of each, from 0 to 1 [P]

    def only(self, name: str | None) -> "Risks":
        """The risk of one patient; without a name, of the only one.

        Raises:
            DataError: nobody has the name, or there are several and none is named.
        """
        if name is None and len(self.names) == 1:
            return self
        if name not in self.names:
            more = ", ..." if len(self.names) > _MOST_SHOWN else ""
            wanted = f"one of the patients of cohort.risk, {', '.join(self.names[:_MOST_SHOWN])}{more}"
            raise DataError(f"--patient: wanted {wanted}; got {'none' if name is None else name}")
        i = self.names.index(name)
        return Risks((name,), self.probability[i : i + 1])


def read_risks(scenario: Scenario, plan: RiskPlan, count: int | None = None) -> Risks:
    """The first so many patients of the scenario's table of risks; all of them when left out.

    Raises:
        DataError: no such file or column, fewer patients, two of one name, or what is no probability.
        OptionError: a model of risk without scikit-learn.
    """
    path = scenario.folder / plan.table
    if plan.model is not None:
        found = apply(scenario.folder / plan.model, path)
        names, probability = found.patients, found.probability
    else:
        known = Column("patient", _NAMES, "text", required=False)
        table = read(path, Schema("a table of risks", (known, Column(plan.column, (plain(plan.column),), high=1.0))))
        if not len(table):
            raise refuse(path, 1, "", "a header and a row for each patient", "no row")
        probability = table[plan.column]
        names = tuple(table["patient"].tolist() if "patient" in table else map(str, range(len(table))))
        twice = next((i for i, name in enumerate(names) if name in names[:i]), None)
        if twice is not None:
            raise DataError([table.fault(twice, "patient", "each patient once", f"{names[twice]} twice")])
    if count is not None and count > len(names):
        raise DataError(f"{path}: wanted at least {count} rows, one a patient; got {len(names)}")
    return Risks(names[:count], np.asarray(probability, dtype=float)[:count])


def risk_sources(scenario: Scenario, plan: RiskPlan) -> list[bytes]:
    """What the probabilities are made of: the table, and the marker of the model, in which its digest stands."""
    model = [] if plan.model is None else [scenario.folder / plan.model / MARKER]
    return [path.read_bytes() for path in (scenario.folder / plan.table, *model)]


def drawn_cells(plan: RiskPlan, median: float, risks: Risks, seed: int) -> Float[np.ndarray, "P"]:
    """Cells of the clone in each patient, 0 where it is absent; by the seed, the patient's index and the risk alone."""
    indices = jnp.arange(len(risks.names))
    there, normal = (np.asarray(part) for part in _draws(jnp.uint32(seed ^ _APART), indices))
    return np.where(there < risks.probability, median * np.exp(plan.sd * normal), 0.0)


@jax.jit
def _draws(seed: Array, indices: Int[Array, "P"]) -> tuple[Float[Array, "P"], Float[Array, "P"]]:
    """A uniform and a normal number of each patient."""

    def one(i: Array) -> tuple[Array, Array]:
        first, second = jax.random.split(jax.random.fold_in(jax.random.key(seed), i))
        return jax.random.uniform(first), jax.random.normal(second)

    return jax.vmap(one)(indices)
