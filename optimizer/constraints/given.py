"""What is given in continuous time, whatever grid it was decided on."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

# Times closer than this are one [day].
SAME = 1e-9


class Given(NamedTuple):
    """Doses of one drug as events, by their starts; an infusion is a stretch of one rate.

    Example:
        >>> given_on(np.array([0.0, 7.0, 14.0, 21.0]), np.array([2.0, 2.0, 0.0]), "infusion").total
        28.0
    """

    starts: Float[np.ndarray, "E"]  #: [E, day]
    stops: Float[np.ndarray, "E"]  #: [E, day]; that of a bolus is its start
    doses: Float[np.ndarray, "E"]  #: amounts of boluses, rates of infusions [E]

    @property
    def amounts(self) -> Float[np.ndarray, "E"]:
        """What each event adds to the cumulative dose [E]."""
        lengths = self.stops - self.starts
        return np.where(lengths > 0.0, self.doses * lengths, self.doses)

    @property
    def total(self) -> float:
        """Cumulative dose."""
        return float(np.sum(self.amounts))

    @property
    def is_infused(self) -> bool:
        """Whether any of it is an infusion."""
        return bool((self.stops > self.starts).any())

    def joined(self, other: "Given") -> "Given":
        """These events and others, by their starts."""
        starts, stops, doses = (np.concatenate(pair) for pair in zip(self, other, strict=True))
        order = np.argsort(starts, kind="stable")
        return Given(starts[order], stops[order], doses[order])

    def rate(self, times: Float[np.ndarray, "X"]) -> Float[np.ndarray, "X"]:
        """Rate just after each time [X]; boluses do not count."""
        out = np.zeros(len(times))
        flows = self.stops > self.starts
        starts, stops, doses = (part[flows] for part in self)
        at = np.searchsorted(starts, times + SAME, side="right") - 1
        inside = (at >= 0) & (times + SAME < stops[at]) if starts.size else np.zeros(len(times), bool)
        out[inside] = doses[at[inside]]
        return out

    def until(self, times: Float[np.ndarray, "X"], closed: bool) -> Float[np.ndarray, "X"]:
        """Cumulative dose up to each time [X], with (closed) or without a bolus at that very time."""
        flows = self.stops > self.starts
        starts, stops = self.starts[flows], self.stops[flows]
        knots = np.stack([starts, stops], -1).ravel()
        held = np.cumsum(np.stack([np.zeros(len(starts)), self.amounts[flows]], -1).ravel())
        infused = np.interp(times, knots, held) if knots.size else np.zeros(len(times))
        steps = np.r_[0.0, np.cumsum(self.doses[~flows])]
        return infused + steps[np.searchsorted(self.starts[~flows], times + (SAME if closed else -SAME))]


def given_on(edges: Float[np.ndarray, "edges"], doses: Float[np.ndarray, "K"], route: str) -> Given:
    """The events of one drug's doses [K] on a grid; neighboring intervals of one rate are one infusion."""
    on = np.flatnonzero(doses != 0.0)
    if route == "bolus":
        return Given(edges[on], edges[on], doses[on])
    new = np.r_[True, (np.diff(on) > 1) | (np.diff(doses[on]) != 0.0)] if on.size else np.zeros(0, bool)
    last = np.r_[new[1:], True] if on.size else new
    return Given(edges[on[new]], edges[on[last] + 1], doses[on[new]])


def on_grid(given: Given, edges: Float[np.ndarray, "edges"]) -> Float[np.ndarray, "K"] | None:
    """The same doses [K] decided on other edges; None where an event begins or ends between two of them."""
    first, last = (np.searchsorted(edges, times - SAME) for times in (given.starts, given.stops))
    ends = np.r_[edges, np.inf]
    if any((np.abs(ends[at] - times) > SAME).any() for at, times in ((first, given.starts), (last, given.stops))):
        return None
    doses = np.zeros(len(edges) - 1)
    for a, b, dose in zip(first, last, given.doses, strict=True):
        doses[a : max(b, a + 1)] += dose
    return doses
