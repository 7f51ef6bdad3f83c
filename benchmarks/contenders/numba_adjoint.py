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
        weights: Simpson's, over the horizon, of a natural logarithm that is to be a decadic one [kinds, Q].
        relax: growth factor in the middle and at the end of a panel, as a weighted sum of the growth factor at its
            start and the three targets [kinds, panels, 2, 4].
    """

    kind: np.ndarray
    tau: np.ndarray
    panels: np.ndarray
    weights: np.ndarray
    relax: np.ndarray


def relaxation(z: np.ndarray) -> np.ndarray:
    """Weights of a panel that spans z time constants: the target is the quadratic through its three values."""
    first, middle, last = np.eye(3)[:, :, None] * np.ones_like(z)
    curve = 2.0 * (first + last) - 4.0 * middle
    slope = 4.0 * middle - 3.0 * first - last - 2.0 * curve / z
    level = first - slope / z
    half, whole = level + 0.5 * slope + 0.25 * curve, level + slope + curve
    left = np.exp(-0.5 * z)
    rows = [np.vstack([f[None], at - level * f]) for at, f in ((half, left), (whole, left**2))]
    return np.moveaxis(np.stack(rows), -1, 0)


def nodes(edges: np.ndarray, tau_of_length: dict[float, np.ndarray]) -> Nodes:
    """Tables of intervals with these edges and these nodes for each length."""
    lengths = np.diff(edges)
    tau = np.stack(list(tau_of_length.values()))
    panels = tau[:, 2::2] - tau[:, :-2:2]
    weights = np.zeros_like(tau)
    weights[:, :-2:2] += panels / 6.0
    weights[:, 1::2] += panels / 1.5
    weights[:, 2::2] += panels / 6.0
    kind = np.array([list(tau_of_length).index(length) for length in lengths])
    relax = np.stack([relaxation(CAF["relaxation"] * h) for h in panels])
    return Nodes(kind, tau, panels, weights / (edges[-1] * math.log(10.0)), relax)


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
def _forward(drug, blocker, start, log, patient, gone, panels, weights, relax, factor, tape):
    """An interval: its share of the objective, and growth factor and log cells at its end."""
    for q in range(factor.size):
        level = _MOST / (1.0 + math.exp(-_STEEP * (drug * gone[0, q] - _STRESS)))
        tape[4, q] = level
    factor[0] = start
    for j in range(panels.size):
        first, middle, last, g = tape[4, 2 * j], tape[4, 2 * j + 1], tape[4, 2 * j + 2], factor[2 * j]
        w = relax[j, 0]
        factor[2 * j + 1] = w[0] * g + w[1] * first + w[2] * middle + w[3] * last
        w = relax[j, 1]
        factor[2 * j + 2] = w[0] * g + w[1] * first + w[2] * middle + w[3] * last
    _rates(drug, blocker, factor, patient, gone, tape)
    cells = math.exp(log)
    total, tape[5, 0] = weights[0] * math.log(cells + 1.0), weights[0] * cells / (cells + 1.0)
    for j in range(panels.size):
        first, middle, last = tape[0, 2 * j], tape[0, 2 * j + 1], tape[0, 2 * j + 2]
        cells = math.exp(log + panels[j] * (5.0 * first + 8.0 * middle - last) / 24.0)
        q = 2 * j + 1
        total, tape[5, q] = total + weights[q] * math.log(cells + 1.0), weights[q] * cells / (cells + 1.0)
        log += panels[j] * (first + 4.0 * middle + last) / 6.0
        cells, q = math.exp(log), q + 1
        total, tape[5, q] = total + weights[q] * math.log(cells + 1.0), weights[q] * cells / (cells + 1.0)
    return total, factor[-1], log


@njit(nogil=True, fastmath=False)
def _backward(back, gone, panels, relax, tape, rate, target):
    """The same interval back: `back` holds the adjoints of drug, blocker, growth factor and log cells at its end."""
    rate[:], target[:] = 0.0, 0.0
    log = back[3] + tape[5, -1]
    for j in range(panels.size - 1, -1, -1):
        middle, h = tape[5, 2 * j + 1], panels[j]
        rate[2 * j] += h * (5.0 * middle + 4.0 * log) / 24.0
        rate[2 * j + 1] = h * (8.0 * middle + 16.0 * log) / 24.0
        rate[2 * j + 2] += h * (4.0 * log - middle) / 24.0
        log += middle + tape[5, 2 * j]
    last = rate.size - 1
    factor = back[2] + rate[last] * tape[3, last]
    for j in range(panels.size - 1, -1, -1):
        middle, w, v = rate[2 * j + 1] * tape[3, 2 * j + 1], relax[j, 0], relax[j, 1]
        target[2 * j] += w[1] * middle + v[1] * factor
        target[2 * j + 1] = w[2] * middle + v[2] * factor
        target[2 * j + 2] += w[3] * middle + v[3] * factor
        factor = w[0] * middle + v[0] * factor + rate[2 * j] * tape[3, 2 * j]
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
def value_and_gradient(doses, patients, kind, tau, panels, weights, relax, values, slopes):
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
            part, start, log = _forward(
                drug, blocker, start, log, patients[p], gone[i], panels[i], weights[i], relax[i], factor, tape[k]
            )
            value, drug, blocker = value + part, drug * gone[i, 0, -1], blocker * gone[i, 1, -1]
        values[p] = value
        back[:] = 0.0
        for k in range(count - 1, -1, -1):
            i = kind[k]
            _backward(back, gone[i], panels[i], relax[i], tape[k], rate, target)
            slopes[p, k, 0], slopes[p, k, 1] = back[0], back[1]


def look(doses: np.ndarray, patients: np.ndarray, made: Nodes) -> tuple[np.ndarray, np.ndarray]:
    """The same, into arrays of its own."""
    values, slopes = np.empty(len(patients)), np.empty((len(patients), *doses.shape))
    value_and_gradient(doses, patients, *made, values, slopes)
    return values, slopes
