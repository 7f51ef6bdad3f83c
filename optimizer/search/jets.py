"""Values with first and second derivatives of functions of few numbers, and Gauss's rule for where they are asked."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.polynomial import legendre, polynomial

from optimizer.axes import Scalar


def gauss(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gauss's places on [0, 1], weights, and integrals from 0 to each place of the polynomials through them."""
    places, weights = legendre.leggauss(count)
    places = 0.5 + 0.5 * places
    powers = np.linalg.inv(np.vander(places, increasing=True))
    integrals = np.array([polynomial.polyval(places, polynomial.polyint(row)) for row in powers.T]).T
    return places, 0.5 * weights, integrals


class Jet(NamedTuple):
    """A function of m numbers with its derivatives.

    Attributes:
        value: any shape.
        first: by each number [m, ...].
        second: by each pair i <= j, in the order of `pairs` [m (m + 1) / 2, ...].
    """

    value: Any
    first: Any
    second: Any


def pairs(size: int) -> list[tuple[int, int]]:
    """All i <= j below a size."""
    return [(i, j) for i in range(size) for j in range(i, size)]


def jet(function: Callable[[list[Scalar]], Array], point: Sequence[Scalar]) -> Jet:
    """Value, first and second derivatives by nested forward mode, one number at a time: what is zero costs nothing."""
    given = list(point)

    def by(i: int, function: Callable[[list[Scalar]], Any]) -> Callable[[list[Scalar]], tuple[Any, Any]]:
        def both(args: list[Scalar]) -> tuple[Any, Any]:
            return jax.jvp(lambda w: function([*args[:i], w, *args[i + 1 :]]), (args[i],), (jnp.ones_like(args[i]),))

        return both

    found = {(i, j): by(j, by(i, function))(given) for i, j in pairs(len(given))}
    value, firsts = function(given), [found[i, i][0][1] for i in range(len(given))]
    return Jet(value, jnp.stack(firsts), jnp.stack([bend for _, (_, bend) in found.values()]))


def symmetric(listed: Float[Array, "pairs ..."]) -> Float[Array, "m m ..."]:
    """Both halves of a symmetric matrix from its pairs."""
    size = int((np.sqrt(8 * listed.shape[0] + 1) - 1) / 2)
    place = {pair: k for k, pair in enumerate(pairs(size))}
    rows = [[listed[place[min(i, j), max(i, j)]] for j in range(size)] for i in range(size)]
    return jnp.stack([jnp.stack(row) for row in rows])
