"""A network as a table of decisions that a person can read."""

import csv
import io
import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from optimizer.policies.network import Network

_WEEK = 7.0
# What a visit may find: burden over the first, its change in a week, share given last, time as a share of the span.
BURDENS = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.2)
CHANGES = (-0.1, -0.05, -0.02, 0.0, 0.02, 0.05, 0.1)
LAST = (0.0, 0.5, 1.0)
TIMES = (0.1, 0.5, 0.9)


class Decisions(NamedTuple):
    """Rows of the table; every number that the network sees is in them."""

    day: Float[np.ndarray, "R"]  #: since the start [R]
    burden: Float[np.ndarray, "R"]  #: measured, over the first [R]
    change: Float[np.ndarray, "R"]  #: relative change in a week [R]
    lowest: Float[np.ndarray, "R"]  #: measured so far, over the first [R]
    last: Float[np.ndarray, "R"]  #: share of each drug at the last visit, the same of all [R]
    shares: Float[np.ndarray, "R N"]  #: of each drug's largest dose that the network gives [R, N]


def inputs_of(decisions: Decisions, span: float) -> Float[np.ndarray, "R inputs"]:
    """What the network sees at each row [R, 4 + N]."""
    burden, lowest = np.log(decisions.burden), np.log(decisions.lowest)
    drugs = decisions.shares.shape[1]
    columns = [burden, np.log1p(decisions.change), burden - lowest, decisions.day / span]
    return np.column_stack([*columns, *[decisions.last] * drugs])


def decide(network: Network, every: float, burdens: Sequence[float] = BURDENS) -> Decisions:
    """The table of a network.

    The lowest burden so far is that of the first, the last and this visit.

    Args:
        network: of N drugs.
        every: time between two visits [day].
        burdens: over the first.
    """
    span, drugs = float(network.span), network.dose_max.shape[0]
    rows = np.array(list(itertools.product(TIMES, burdens, CHANGES, LAST)))
    time, burden, change, last = rows.T
    before = burden / np.exp(np.log1p(change) * every / _WEEK)
    lowest = np.minimum(np.minimum(before, burden), 1.0)
    seen = Decisions(time * span, burden, change, lowest, last, np.zeros((len(rows), drugs)))
    shares = jax.vmap(network.shares)(jnp.asarray(inputs_of(seen, span)))
    return seen._replace(shares=np.asarray(shares))


def to_csv(decisions: Decisions, network: Network, drugs: Sequence[str], units: Mapping[str, str]) -> str:
    """The table as text: numbers with six digits behind the point, units in brackets."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    header = ["day [day]", "burden [of the first]", "change in a week [percent]", "lowest burden [of the first]"]
    header += ["last share [1]", *(f"share of {drug} [1]" for drug in drugs)]
    writer.writerow([*header, *(f"dose of {drug} [{units[drug]}]" for drug in drugs)])
    seen = decisions.day, decisions.burden, 100.0 * decisions.change, decisions.lowest, decisions.last
    table = np.column_stack([*seen, decisions.shares, decisions.shares * np.asarray(network.dose_max)])
    writer.writerows([[f"{number:.6g}" for number in row] for row in table])
    return out.getvalue()
