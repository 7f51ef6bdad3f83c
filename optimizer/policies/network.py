"""A small neural network from what a clinic measures to the dose."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.axes import Scalar
from optimizer.fields import parameter, setting
from optimizer.policies.base import AbstractMeasuring, AbstractPolicy

_WEEK = 7.0
# What the network sees besides the last share of each drug.
INPUTS = (
    "log(burden / first measured burden)",
    "change of log(burden) since the last visit, in a week",
    "log(burden / lowest measured burden)",
    "days since the start / span",
)


class Network(AbstractMeasuring):
    """Shares of the largest doses by a network of two hidden layers, trained by `adose train`.

    share = s(C tanh(B tanh(A x + a) + b) + c), s(z) = 1 / (1 + exp(-z)), of x, which is what a clinic has at a visit:
    x = (log(y / y_first), 7 log(y / y_last) / days since then, log(y / y_lowest), t / span, last share of each drug),
    y the measured burden and t the time [day]; all of it 0 at the first visit. The last share is the one asked for,
    before limits on doses.

    | symbol | field | unit | meaning |
    |---|---|---|---|
    | A, a, B, b, C, c | weights | 1 | one after the other, matrices row by row |
    | | hidden | 1 | neurons of each hidden layer |
    | span | span | day | days after which the input for the time is 1 |
    """

    kind: ClassVar[str] = "network"
    weights: Float[Array, "W"] = parameter(unit="1", doc="weights and biases of the layers, in their order", ndim=1)
    hidden: int = setting(doc="neurons of each of the two hidden layers", unit="1", default=16, minimum=1, maximum=64)
    span: Scalar = parameter(unit="day", doc="days that count as 1 at the input", default=365.0, positive=True)

    def start(self) -> Any:
        none, nothing = jnp.asarray(-jnp.inf), jnp.zeros(())
        return none, none, jnp.asarray(jnp.inf), nothing, jnp.ones(()), jnp.zeros(self.dose_max.shape)

    def rule(self, memory: Any, log_burden: Scalar, log_start: Scalar, length: Scalar) -> tuple[Float[Array, "N"], Any]:
        first, last, lowest, time, since, shares = memory
        is_first = ~jnp.isfinite(first)
        first, last = jnp.where(is_first, log_burden, first), jnp.where(is_first, log_burden, last)
        lowest = jnp.minimum(jnp.where(is_first, log_burden, lowest), log_burden)
        change = _WEEK * (log_burden - last) / since
        seen = jnp.stack([log_burden - first, change, log_burden - lowest, time / self.span])
        shares = self.shares(jnp.concatenate([seen, shares]))
        return shares, (first, log_burden, lowest, time + length, jnp.asarray(length), shares)

    def shares(self, inputs: Float[Array, "inputs"]) -> Float[Array, "N"]:
        """Share of each drug's largest dose, from `INPUTS` and the last share of each drug [4 + N]."""
        sizes, x, used = layer_sizes(self.dose_max.shape[0], self.hidden), inputs, 0
        for number, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            matrix = self.weights[used : used + fan_in * fan_out].reshape(fan_out, fan_in)
            used += fan_in * fan_out
            x = matrix @ x + self.weights[used : used + fan_out]
            used += fan_out
            x = jax.nn.sigmoid(x) if number == len(sizes) - 2 else jnp.tanh(x)
        return x

    def smooth(self, temperature: Scalar) -> AbstractPolicy:
        """Itself: a gradient follows it as it is."""
        return self


def layer_sizes(drugs: int, hidden: int) -> tuple[int, ...]:
    """Sizes of the input, the hidden layers and the output."""
    return (len(INPUTS) + drugs, hidden, hidden, drugs)


def weight_count(drugs: int, hidden: int) -> int:
    """Number of weights and biases W.

    >>> weight_count(1, 16)
    385
    """
    sizes = layer_sizes(drugs, hidden)
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(sizes))


def first_weights(drugs: int, hidden: int, seed: int) -> Float[np.ndarray, "W"]:
    """Where a training begins: uniform in +-sqrt(6 / (in + out)), biases 0.

    Glorot and Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html
    """
    rng, sizes, parts = np.random.default_rng(seed), layer_sizes(drugs, hidden), []
    for fan_in, fan_out in pairwise(sizes):
        most = np.sqrt(6.0 / (fan_in + fan_out))
        parts += [rng.uniform(-most, most, fan_in * fan_out), np.zeros(fan_out)]
    return np.concatenate(parts)


def input_names(drugs: Sequence[str]) -> list[str]:
    """What the network sees, in words."""
    return [*INPUTS, *(f"last share of {drug}" for drug in drugs)]
