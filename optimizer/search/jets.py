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
    """A function of m numbers with its derivatives."""

    value: Any  #: any pytree
    first: list[Any]  #: such pytrees by each number [m]
    second: dict[tuple[int, int], Any]  #: by each pair i <= j


def pairs(size: int) -> list[tuple[int, int]]:
    """All i <= j below a size."""
    return [(i, j) for i in range(size) for j in range(i, size)]


def jet(function: Callable[[list[Scalar]], Any], point: Sequence[Scalar]) -> Jet:
    """Value, first and second derivatives by nested forward mode, one number at a time: what is zero costs nothing."""
    given = list(point)

    def by(i: int, function: Callable[[list[Scalar]], Any]) -> Callable[[list[Scalar]], tuple[Any, Any]]:
        def both(args: list[Scalar]) -> tuple[Any, Any]:
            return jax.jvp(lambda w: function([*args[:i], w, *args[i + 1 :]]), (args[i],), (jnp.ones_like(args[i]),))

        return both

    found = {(i, j): by(j, by(i, function))(given) for i, j in pairs(len(given))}
    firsts = [found[i, i][0][1] for i in range(len(given))]
    return Jet(function(given), firsts, {pair: bend for pair, (_, (_, bend)) in found.items()})


def symmetric(second: dict[tuple[int, int], Array]) -> Float[Array, "m m ..."]:
    """Both halves of a symmetric matrix from its pairs."""
    size = 1 + max(j for _, j in second)
    rows = [[second[min(i, j), max(i, j)] for j in range(size)] for i in range(size)]
    return jnp.stack([jnp.stack(row) for row in rows])


def split(jets: Jet) -> tuple[Jet, Jet]:
    """Jets of both of two numbers, from one whose leaves are pairs."""
    seconds = jets.second.items()
    return (
        Jet(jets.value[0], [a for a, _ in jets.first], {at: a for at, (a, _) in seconds}),
        Jet(jets.value[1], [b for _, b in jets.first], {at: b for at, (_, b) in seconds}),
    )
