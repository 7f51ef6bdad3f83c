"""Value and gradient of the problem `colorectal` as an expert writes them by hand: scalar loops, compiled by numba.

What does not depend on the doses is not computed again: decays are tabled for each patient and length of an interval,
the relaxation of the growth factor is a sum with weights that are tabled for everybody. A node is left with two
sigmoids, one power and one log10 of the cells; the way back needs no exponential at all.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from benchmarks.problems.stromal import CAF

# Nodes of a panel after its first, which the one before has too.
STEP = 4
# As in the package: below it the power goes on as its secant, so that no drug at all has a gradient.
SECANT = 1e-12
_RMIN, _HILL, _SLOPE, _MID = (CAF[n] for n in ("net_growth_min", "hill", "shift_slope", "shift_midpoint"))
_MOST, _STEEP, _STRESS = (CAF[n] for n in ("growth_factor_max", "secretion_slope", "secretion_midpoint"))
_BLOCKER, _FIRST = CAF["blocker_elimination"], math.log(CAF["cells"])


class Nodes(NamedTuple):
    """Times and weights, the same for all patients.

    Attributes:
        kind: of each interval, an index of what follows; intervals of one length are of one kind [K].
        tau: node times from the start of the interval [kinds, Q, day].
        panels: lengths [kinds, panels, day].
        weights: Lobatto's, over the horizon, of a natural logarithm that is to be a decadic one [kinds, Q].
        relax: growth factor at the later nodes of a panel, as a weighted sum of the growth factor at its start and the
            targets at its nodes [kinds, panels, later nodes, 1 + nodes].
        integrals: of a function from the start of a panel of length one to each node, by its values [nodes, nodes].
    """

    kind: np.ndarray
    tau: np.ndarray
    panels: np.ndarray
    weights: np.ndarray
    relax: np.ndarray
    integrals: np.ndarray


def integrals() -> np.ndarray:
    """Integrals from 0 to each of Lobatto's five nodes on [0, 1], by the values there."""
    places = 0.5 + 0.5 * np.array([-1.0, -math.sqrt(3.0 / 7.0), 0.0, math.sqrt(3.0 / 7.0), 1.0])
    powers = np.arange(places.size)
    return places[:, None] ** (powers + 1) / (powers + 1) @ np.linalg.inv(np.vander(places, increasing=True))


def relaxation(z: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Weights of panels that span z time constants: the target is the polynomial through its values."""
    size, nodes = len(table), table.sum(1)
    basis = np.linalg.inv(np.vander(nodes, increasing=True))
    out = np.zeros((z.size, size - 1, 1 + size))
    for panel, span in enumerate(z):
        # g' = span (target - g): of each power of the place, by the recursion of its own solution.
        coefficients = np.zeros((size, size))
        for power in range(size):
            coefficients[power, power] = 1.0
            for lower in range(power - 1, -1, -1):
                coefficients[power, lower] = -(lower + 1) / span * coefficients[power, lower + 1]
        particular = np.vander(nodes, increasing=True) @ coefficients.T @ basis
        left = np.exp(-span * nodes)[:, None]
        out[panel] = np.hstack([left, particular - left * particular[:1]])[1:]
    return out


def nodes(edges: np.ndarray, tau_of_length: dict[float, np.ndarray]) -> Nodes:
    """Tables of intervals with these edges and these nodes for each length."""
    lengths, table = np.diff(edges), integrals()
    tau = np.stack(list(tau_of_length.values()))
    panels = tau[:, STEP::STEP] - tau[:, :-STEP:STEP]
    weights = np.zeros_like(tau)
    for place, weight in enumerate(table[-1]):
        weights[:, place : tau.shape[1] - STEP + place : STEP] += weight * panels
    kind = np.array([list(tau_of_length).index(length) for length in lengths])
    relax = np.stack([relaxation(CAF["relaxation"] * h, table) for h in panels])
    return Nodes(kind, tau, panels, weights / (edges[-1] * math.log(10.0)), relax, table)


@njit(nogil=True, fastmath=False)
def _rates(drug, blocker, factor, patient, gone, tape):
    """Net growth at the nodes; the tape takes its slopes in drug, blocker and growth factor."""
    scale, span = patient[0], patient[1] - _RMIN
    for q in range(factor.size):
        d, free = drug * gone[0, q], 1.0 - blocker * gone[1, q]
        open_ = max(free, 0.0)
        shielded = math.exp(-_SLOPE * (factor[q] * open_ - _MID))
        shift = 1.0 + shielded
        x = d * shift / scale
        if x > SECANT:
            power = math.exp(_HILL * math.log(x))
            steep = _HILL * power / x
        else:
            steep = SECANT ** (_HILL - 1.0)
            power = steep * x
        share = 1.0 / (1.0 + power)
        by_x = -span * share * share * steep
        by_free = -by_x * d / scale * _SLOPE * shielded
        tape[0, q] = _RMIN + span * share
        tape[1, q] = by_x * shift / scale
        tape[2, q] = -by_free * factor[q] if free > 0.0 else 0.0
        tape[3, q] = by_free * open_


@njit(nogil=True, fastmath=False)
def _forward(drug, blocker, start, log, patient, gone, panels, weights, relax, table, factor, tape):
    """An interval: its share of the objective, and growth factor and log cells at its end."""
    for q in range(factor.size):
        tape[4, q] = _MOST / (1.0 + math.exp(-_STEEP * (drug * gone[0, q] - _STRESS)))
    factor[0] = start
    for j in range(panels.size):
        first = STEP * j
        for i in range(STEP):
            g = relax[j, i, 0] * factor[first]
            for r in range(STEP + 1):
                g += relax[j, i, 1 + r] * tape[4, first + r]
            factor[first + 1 + i] = g
    _rates(drug, blocker, factor, patient, gone, tape)
    cells = math.exp(log)
    total, tape[5, 0] = weights[0] * math.log(cells + 1.0), weights[0] * cells / (cells + 1.0)
    for j in range(panels.size):
        first, begin = STEP * j, log
        for i in range(1, STEP + 1):
            grown = 0.0
            for r in range(STEP + 1):
                grown += table[i, r] * tape[0, first + r]
            log, q = begin + panels[j] * grown, first + i
            cells = math.exp(log)
            total, tape[5, q] = total + weights[q] * math.log(cells + 1.0), weights[q] * cells / (cells + 1.0)
    return total, factor[-1], log


@njit(nogil=True, fastmath=False)
def _backward(back, gone, panels, relax, table, tape, rate, target):
    """The same interval back: `back` holds the adjoints of drug, blocker, growth factor and log cells at its end."""
    rate[:], target[:] = 0.0, 0.0
    log = back[3] + tape[5, -1]
    for j in range(panels.size - 1, -1, -1):
        first, end = STEP * j, log
        for i in range(1, STEP + 1):
            own = end if i == STEP else tape[5, first + i]
            for r in range(STEP + 1):
                rate[first + r] += panels[j] * table[i, r] * own
            log += tape[5, first + i - 1]
    last = rate.size - 1
    factor = back[2] + rate[last] * tape[3, last]
    for j in range(panels.size - 1, -1, -1):
        first, begin = STEP * j, rate[STEP * j] * tape[3, STEP * j]
        for i in range(STEP):
            q = first + 1 + i
            own = factor if i == STEP - 1 else rate[q] * tape[3, q]
            begin += relax[j, i, 0] * own
            for r in range(STEP + 1):
                target[first + r] += relax[j, i, 1 + r] * own
        factor = begin
    drug, blocker = back[0] * gone[0, last], back[1] * gone[1, last]
    for q in range(rate.size):
        level = tape[4, q]
        drug += gone[0, q] * (rate[q] * tape[1, q] + target[q] * _STEEP * level * (1.0 - level / _MOST))
        blocker += gone[1, q] * rate[q] * tape[2, q]
    back[0], back[1], back[2], back[3] = drug, blocker, factor, log


@njit(nogil=True, fastmath=False)
def _decays(elimination, tau, gone):
    """Shares of both drugs that are left at the nodes, for each kind of interval."""
    for kind in range(tau.shape[0]):
        for q in range(tau.shape[1]):
            gone[kind, 0, q] = math.exp(-elimination * tau[kind, q])
            gone[kind, 1, q] = math.exp(-_BLOCKER * tau[kind, q])


@njit(nogil=True, fastmath=False)
def value_and_gradient(doses, patients, kind, tau, panels, weights, relax, table, values, slopes):
    """Objective [P] and its gradient by the doses [P, K, 2], written into the last two arguments.

    A patient is the largest half-maximal concentration, the net growth without drug, and the elimination [P, 3].
    """
    count, size = kind.size, tau.shape[1]
    gone, tape = np.empty((tau.shape[0], 2, size)), np.empty((count, 6, size))
    factor, rate, target, back = np.empty(size), np.empty(size), np.empty(size), np.empty(4)
    for p in range(patients.shape[0]):
        _decays(patients[p, 2], tau, gone)
        drug, blocker, start, log, value = 0.0, 0.0, 0.0, _FIRST, 0.0
        for k in range(count):
            i = kind[k]
            drug, blocker = drug + doses[k, 0], blocker + doses[k, 1]
            tables = gone[i], panels[i], weights[i], relax[i], table
            part, start, log = _forward(drug, blocker, start, log, patients[p], *tables, factor, tape[k])
            value, drug, blocker = value + part, drug * gone[i, 0, -1], blocker * gone[i, 1, -1]
        values[p] = value
        back[:] = 0.0
        for k in range(count - 1, -1, -1):
            i = kind[k]
            _backward(back, gone[i], panels[i], relax[i], table, tape[k], rate, target)
            slopes[p, k, 0], slopes[p, k, 1] = back[0], back[1]


def look(doses: np.ndarray, patients: np.ndarray, made: Nodes) -> tuple[np.ndarray, np.ndarray]:
    """The same, into arrays of its own."""
    values, slopes = np.empty(len(patients)), np.empty((len(patients), *doses.shape))
    value_and_gradient(doses, patients, *made, values, slopes)
    return values, slopes
