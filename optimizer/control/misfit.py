"""Sequential model check: a posterior predictive test at each visit, with the run rule of a control chart.

The tail probability of a visit is the smallest two-sided predictive probability of its results, given all before, times
their number (Bonferroni). A visit is outside when it is below 0.01: its results lie outside the 99 % predictive
interval. The model misfits after one visit below 1e-4, or after two visits outside in a row; were the model right, that
would be so at 2 of 10,000 visits. It fits again after three visits in a row that are not outside.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from optimizer.axes import Flag, Index, Scalar

OUTSIDE = 0.01
_FAR = 1e-4
_RUN = 2
_BACK = 3


class ModelCheck(NamedTuple):
    """What the test says so far.

    Attributes:
        misfits: whether the model is not to be believed now.
        outside: visits outside in a row.
        inside: visits in a row that were not.
        p: tail probability of the last visit; 1 before there is one.
    """

    misfits: Flag
    outside: Index
    inside: Index
    p: Scalar

    @classmethod
    def start(cls) -> ModelCheck:
        """Before the first visit."""
        return cls(jnp.asarray(False), jnp.zeros((), int), jnp.zeros((), int), jnp.ones(()))

    def after(self, p: Scalar) -> ModelCheck:
        """After a visit with a tail probability; NaN for a visit without a result, which changes nothing.

        >>> fits = ModelCheck.start().after(0.5).after(0.005)
        >>> bool(fits.misfits), bool(fits.after(0.005).misfits), bool(fits.after(1e-5).misfits)
        (False, True, True)
        """
        is_out, is_new = p < OUTSIDE, ~jnp.isnan(p)
        outside = jnp.where(is_out, self.outside + 1, 0)
        inside = jnp.where(is_out, 0, self.inside + 1)
        turns = (p < _FAR) | (outside >= _RUN)
        found = (turns | (self.misfits & (inside < _BACK)), outside, inside, jnp.asarray(p, float))
        return ModelCheck(*(jnp.where(is_new, new, old) for new, old in zip(found, self, strict=True)))


def tail_of(p: Float[Array, "*results"]) -> Scalar:
    """Tail probability of a visit from those of its results; NaN for results that are not new, and without any."""
    known = ~jnp.isnan(p)
    least = jnp.min(jnp.where(known, p, jnp.inf), initial=jnp.inf)
    return jnp.where(jnp.any(known), jnp.minimum(least * jnp.sum(known), 1.0), jnp.nan)
