"""How replicates spread: a variance that may rise with the level, and the wells that are too far from the others.

    Var(y) = a + b m^2,   a, b >= 0          m the mean of a group, fitted to the groups' variances
    t_i = (y_i - m_-i) / sqrt(v(m_-i) (1 + 1 / (n - 1)))

Each well is compared with the other replicates of its group, at the spread of all other wells: without the well, t_i
of Gaussian wells has Student's distribution, so that the share of good wells that the rule takes for odd is known
(`FALSE_ALARMS`; measured at 0.05 to 0.3 %, whether the noise is constant or in proportion).
"""

import numpy as np
from scipy.optimize import nnls
from scipy.stats import bartlett, t as student

FALSE_ALARMS = 5e-4
UNEQUAL = 1e-3
_ROUNDS = 4


def variance(means: np.ndarray, squares: np.ndarray, freedom: np.ndarray) -> tuple[float, float]:
    """(a, b) from means, sums of squares inside and degrees of freedom of groups [g], by iterated least squares.

    >>> variance(np.array([0.0, 1.0]), np.array([2.0, 2.0]), np.array([2.0, 2.0]))
    (1.0, 0.0)
    """
    a, b = float(squares.sum() / freedom.sum()), 0.0
    design = np.column_stack([np.ones_like(means), means**2])
    for _ in range(_ROUNDS):
        expected = a + b * means**2
        if not expected.min() > 0.0:
            break
        scale = np.sqrt(freedom) / expected
        a, b = map(float, nnls(design * scale[:, None], squares / freedom * scale)[0])
    return a, b


def replicate_groups(values: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, sum of squares inside and number of each group [g], numbered from 0."""
    counts = np.bincount(group)
    means = np.bincount(group, values) / np.maximum(counts, 1)
    return means, np.bincount(group, (values - means[group]) ** 2), counts


def weights(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """One over the variance at the level of each well [n], their mean 1; equal where no group has replicates."""
    means, squares, counts = replicate_groups(values, group)
    some = counts > 1
    if not squares[some].sum() > 0.0:
        return np.ones_like(values)
    a, b = variance(means[some], squares[some], counts[some] - 1.0)
    level = a + b * means[group] ** 2
    found = 1.0 / np.maximum(level, 1e-3 * level.max())
    return found / found.mean()


def unequal(values: np.ndarray, group: np.ndarray) -> bool:
    """Whether groups of at least three replicates differ in spread (Bartlett's test at one in a thousand)."""
    parts = [values[group == g] for g in np.unique(group)]
    parts = [part for part in parts if len(part) > 2 and np.ptp(part) > 0.0]
    return len(parts) > 1 and bool(bartlett(*parts).pvalue < UNEQUAL)


def outlying(values: np.ndarray, group: np.ndarray, least: int = 4) -> np.ndarray:
    """Wells that are too far from their replicates [n], the farthest first, each without those before it.

    Groups of fewer than `least` wells are not looked at.
    """
    off, enough = np.zeros(len(values), bool), np.isin(group, np.flatnonzero(np.bincount(group) >= least))
    while (enough & ~off).sum() > 6:
        here = np.flatnonzero(enough & ~off)
        excess = _excess(values[here], np.unique(group[here], return_inverse=True)[1])
        worst = int(np.argmax(excess))
        if excess[worst] <= 1.0:
            break
        off[here[worst]] = True
    return off


def _excess(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """abs(t_i) over the limit that good wells pass with a probability of `FALSE_ALARMS` [n]."""
    means, squares, counts = replicate_groups(values, group)
    out = np.zeros(len(values))
    for i, g in enumerate(group):
        n = counts[g]
        freedom, level = np.where(counts > 1, counts - 1.0, 0.0), means.copy()
        if n < 3:
            continue
        freedom[g] -= 1.0
        level[g] = (n * means[g] - values[i]) / (n - 1)
        inside = squares.copy()
        inside[g] = max(squares[g] - (values[i] - means[g]) ** 2 * n / (n - 1), 0.0)
        some = freedom > 0
        a, b = variance(level[some], inside[some], freedom[some])
        scale = np.sqrt((a + b * level[g] ** 2) * (1.0 + 1.0 / (n - 1)))
        limit = student.ppf(1.0 - FALSE_ALARMS / 2, max(freedom.sum() - 2.0, 1.0))
        out[i] = abs(values[i] - level[g]) / max(scale * limit, 1e-300)
    return out
