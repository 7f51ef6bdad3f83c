"""Block elimination of a chain of intervals: Newton's direction at a cost linear in their number.

The Hessian of all doses is that of a sum over intervals, each of which sees its own doses and a few numbers that the
one before hands on. From the last interval to the first, its doses are eliminated (a Riccati recursion: Rawlings, Mayne
and Diehl 2017, Model Predictive Control, section 8.8.3; Wright 1993, doi 10.1007/BF00940784); pivots that are not
positive are made so. A limit on a sum of doses is one number more that is handed on, and counts at the end.

Sums are written out: what a matrix product gives for one patient may depend, in its last bit, on who else is there.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from optimizer.axes import Flag, Scalar
from optimizer.search.direction import Dense

# Pivots are positive above this share of the number that stood there before.
_LEAST_PIVOT = 1e-9
# Damping up to which pivots are taken as they are.
_UNDAMPED = 1e-9
# How far a dose is moved where a stationary point has negative curvature, as a share of the largest.
_KICK = 1e-2
# Limits on sums, each of which is one number more that the elimination hands on.
MOST_ROWS = 8


def product(one: Float[Array, "... a b"], other: Float[Array, "... b c"]) -> Float[Array, "... a c"]:
    """Matrix product as plain sums."""
    return jnp.sum(one[..., :, :, None] * other[..., None, :, :], -2)


def adjoint(slopes: Float[Array, "K d_N"], onwards: Float[Array, "K d d_N"]) -> Float[Array, "K N"]:
    """Gradient by all doses, from what each interval adds to the objective by its start and its doses."""
    width = onwards.shape[1]

    def back(later: Array, inputs: Any) -> tuple[Array, Array]:
        own, onwards = inputs
        here = own + jnp.sum(later[:, None] * onwards, 0)
        return here[:width], here[width:]

    return jax.lax.scan(back, jnp.zeros(width, slopes.dtype), (slopes, onwards), reverse=True)[1]


class Blocks(NamedTuple):
    """Hessian of all doses, interval by interval: d numbers at an interval's start, N doses, r limits on sums.

    Attributes:
        hessians: of each interval, of its start and its doses [K, d + N, d + N].
        onwards: derivatives of the next start by those [K, d, d + N].
        matrix: linear limits on all doses [r, K N].
    """

    hessians: Float[Array, "K m m"]
    onwards: Float[Array, "K d m"]
    matrix: Float[Array, "r n"]

    def whole(self) -> Float[Array, "n n"]:
        """The Hessian of all doses as one matrix.

        Backwards, B is the second derivative of all that is to come by an interval's start and doses; forwards, X is
        what earlier doses have done to its start. A pair of doses meets in the later one's interval, as X' B.
        """
        count, width, size = self.onwards.shape

        def back(later: Array, inputs: Any) -> tuple[Array, Array]:
            own, onwards = inputs
            here = own + onwards.T @ later @ onwards
            return here[:width, :width], here[:, width:]

        none = jnp.zeros((width, width), self.onwards.dtype)
        _, meets = jax.lax.scan(back, none, (self.hessians, self.onwards), reverse=True)
        above = jnp.einsum("kdi,kdj->ikj", self.reach(), meets[:, :width]).reshape((count * (size - width),) * 2)
        blocks = jnp.eye(count, dtype=above.dtype)[:, None, :, None] * meets[:, width:][:, :, None, :]
        return above + above.T + blocks.reshape(above.shape)

    def reach(self) -> Float[Array, "K d n"]:
        """Derivatives of every interval's start by all doses."""
        count, width, size = self.onwards.shape

        def forward(moved: Array, inputs: Any) -> tuple[Array, Array]:
            onwards, place = inputs
            later = jax.lax.dynamic_update_slice(onwards[:, :width] @ moved, onwards[:, width:], (0, place))
            return later, moved

        none = jnp.zeros((width, count * (size - width)), self.onwards.dtype)
        return jax.lax.scan(forward, none, (self.onwards, (size - width) * jnp.arange(count)))[1]

    def direction(
        self,
        diagonal: Float[Array, "n"],
        weights: Float[Array, "r"],
        free: Bool[Array, "n"],
        downhill: Float[Array, "n"],
        damping: Scalar,
        solved: Flag,
    ) -> tuple[Float[Array, "n"], Scalar]:
        """Solution of (Hessian + diagonal + matrix' weights matrix) x = downhill with positive pivots.

        Returns:
            The direction [n], and a number that is negative where a pivot was.
        """
        count, width, size = self.onwards.shape
        drugs, rows = size - width, self.matrix.shape[0]
        shaped = [a.reshape(count, drugs) for a in (diagonal, free, downhill)]
        diagonal, free, downhill = shaped
        share = jnp.moveaxis(self.matrix.reshape(rows, count, drugs), 0, 1) * free[:, None]
        # Sums so far stand between the start and the doses.
        onwards = jnp.concatenate(
            [
                jnp.concatenate([self.onwards[:, :, :width], jnp.zeros((count, rows, width))], 1),
                jnp.concatenate([jnp.zeros((count, width, rows)), jnp.tile(jnp.eye(rows), (count, 1, 1))], 1),
                jnp.concatenate([self.onwards[:, :, width:] * free[:, None], share], 1),
            ],
            2,
        )
        kept = jnp.concatenate([jnp.ones((count, width)), free], 1)
        own = self.hessians * kept[:, :, None] * kept[:, None, :]
        start, doses = jnp.split(own, [width], 1)
        zeros = jnp.zeros((count, rows, width + rows + drugs))
        start, doses = (
            jnp.concatenate([p[..., :width], jnp.zeros((*p.shape[:2], rows)), p[..., width:]], 2)
            for p in (start, doses)
        )
        doses = doses.at[:, :, width + rows :].add(diagonal[:, :, None] * jnp.eye(drugs))
        whole = jnp.concatenate([start, zeros, doses], 1)
        last = jnp.zeros((width + rows,) * 2).at[width:, width:].set(jnp.diag(weights))
        return _eliminated(whole, onwards, last, downhill, damping, solved)


class Chain(NamedTuple):
    """Blocks whose Hessian may bend downwards far from an optimum.

    Attributes:
        blocks: of one patient.
    """

    blocks: Blocks

    def whole(self) -> Float[Array, "n n"]:
        """The Hessian of all doses as one matrix."""
        return self.blocks.whole()

    def direction(
        self,
        diagonal: Float[Array, "n"],
        weights: Float[Array, "r"],
        free: Bool[Array, "n"],
        downhill: Float[Array, "n"],
        damping: Scalar,
        solved: Flag,
    ) -> tuple[Float[Array, "n"], Scalar]:
        """By elimination where all pivots are positive, by the eigenvalues of the whole matrix elsewhere."""
        given = diagonal, weights, free, downhill, damping, solved
        x, lowest = self.blocks.direction(*given)

        def by_eigenvalues() -> tuple[Array, Scalar]:
            return Dense(self.whole(), self.blocks.matrix).direction(*given)

        return jax.lax.cond((lowest > 0.0) & (damping <= _UNDAMPED), lambda: (x, lowest), by_eigenvalues)


def _eliminated(
    whole: Array, onwards: Array, last: Array, downhill: Array, damping: Scalar, solved: Flag
) -> tuple[Array, Scalar]:
    width, drugs = onwards.shape[1], downhill.shape[1]

    def back(later: tuple[Array, Array], inputs: Any) -> tuple[tuple[Array, Array], Any]:
        hessian, slope = later
        whole, onwards, downhill = inputs
        matrix = whole + product(product(onwards.T, hessian), onwards)
        right = jnp.sum(onwards * slope[:, None], 0).at[width:].add(-downhill)
        own = jnp.diagonal(matrix)
        pivots, lines = [], []
        # The last dose first: each takes its row and column away, that of the right-hand side with it.
        for i in reversed(range(width, width + drugs)):
            pivot = matrix[i, i]
            safe = jnp.maximum(jnp.abs(pivot) * (1.0 + damping), _LEAST_PIVOT * jnp.abs(own[i]) + 1e-30)
            line = jnp.append(matrix[i, :i], right[i]) / safe
            matrix, right = matrix[:i, :i] - matrix[:i, i, None] * line[:-1], right[:i] - matrix[:i, i] * line[-1]
            pivots.append(pivot <= _LEAST_PIVOT * jnp.abs(own[i]))
            lines.append(line)
        return (matrix, right), (tuple(lines), jnp.stack(pivots))

    none = (last, jnp.zeros(width))
    _, (lines, turned) = jax.lax.scan(back, none, (whole, onwards, downhill), reverse=True)

    def forward(start: Array, inputs: Any) -> tuple[Array, Array]:
        onwards, lines, turned = inputs
        all_ = start
        for line, is_negative in zip(reversed(lines), reversed(turned), strict=True):
            kick = jnp.where(is_negative & solved, _KICK, 0.0)
            all_ = jnp.append(all_, kick - line[-1] - jnp.sum(line[:-1] * all_))
        return jnp.sum(onwards * all_, 1), all_[width:]

    _, x = jax.lax.scan(forward, jnp.zeros(width), (onwards, lines, turned))
    return x.ravel(), jnp.where(jnp.any(turned), -jnp.inf, 1.0)
