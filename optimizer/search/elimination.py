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
    parts = [one[..., :, b, None] * other[..., b, None, :] for b in range(one.shape[-1])]
    return sum(parts[1:], parts[0]) if parts else jnp.sum(one[..., :, :, None] * other[..., None, :, :], -2)


def adjoint(slopes: Float[Array, "K d_N"], onwards: Float[Array, "K d d_N"]) -> Float[Array, "K N"]:
    """Gradient by all doses, from what each interval adds to the objective by its start and its doses."""
    width = onwards.shape[1]

    def back(later: Array, inputs: Any) -> tuple[Array, Array]:
        own, onwards = inputs
        here = own + jnp.sum(later[:, None] * onwards, 0)
        return here[:width], here[width:]

    return jax.lax.scan(back, jnp.zeros(width, slopes.dtype), (slopes, onwards), reverse=True)[1]


class Blocks(NamedTuple):
    """Hessian of all doses, interval by interval: d numbers at an interval's start, N doses, r limits on sums."""

    hessians: Float[Array, "K m m"]  #: of each interval, of its start and its doses [K, d + N, d + N]
    onwards: Float[Array, "K d m"]  #: derivatives of the next start by those [K, d, d + N]
    matrix: Float[Array, "r n"]  #: linear limits on all doses [r, K N]

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
        diagonal, free, downhill = (a.reshape(count, drugs) for a in (diagonal, free, downhill))
        kept = jnp.concatenate([jnp.ones((count, width)), free], 1)
        share = jnp.moveaxis(self.matrix.reshape(rows, count, drugs), 0, 1) * free[:, None]

        def parted(values: Array, between: Array) -> Array:
            """With something between what is of the start and what is of the doses, in the last axis."""
            return jnp.concatenate([values[..., :width], between, values[..., width:]], -1)

        # Between them stand the sums so far, and a one, whose row and column are the right-hand side.
        more = parted(jnp.zeros((count, rows + 1, size)), jnp.tile(jnp.eye(rows + 1), (count, 1, 1)))
        more = more.at[:, :rows, size - drugs + rows + 1 :].set(share)
        onwards = parted(self.onwards * kept[:, None], jnp.zeros((count, width, rows + 1)))
        own = self.hessians * kept[:, :, None] * kept[:, None]
        own = own.at[:, width:, width:].add(diagonal[:, :, None] * jnp.eye(drugs))
        right = jnp.pad(-downhill, ((0, 0), (width, 0)))[:, :, None]
        own = parted(own, jnp.concatenate([jnp.zeros((count, size, rows)), right], 2))
        right = parted(right[..., 0], jnp.zeros((count, rows + 1)))[:, None]
        none = jnp.zeros((count, rows, size + rows + 1))
        whole = jnp.concatenate([own[:, :width], none, right, own[:, width:]], 1)
        return _eliminated(whole, jnp.concatenate([onwards, more], 1), jnp.pad(weights, (width, 1)), damping, solved)


class Chain(NamedTuple):
    """Blocks whose Hessian may bend downwards far from an optimum."""

    blocks: Blocks  #: of one patient

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
    whole: Float[Array, "K m m"], onwards: Float[Array, "K d m"], last: Float[Array, "d"], damping: Scalar, solved: Flag
) -> tuple[Float[Array, "n"], Scalar]:
    """Doses from quadratic forms of what stands at an interval's start, a one as the last of it, and of its doses."""
    width, size = onwards.shape[1:]

    def back(later: Array, inputs: Any) -> tuple[Array, Any]:
        whole, onwards = inputs
        matrix = whole + product(product(onwards.T, later), onwards)
        own = jnp.diagonal(matrix)
        pivots, lines = [], []
        # The last dose first: each takes its row and column away.
        for i in reversed(range(width, size)):
            pivot = matrix[i, i]
            safe = jnp.maximum(jnp.abs(pivot) * (1.0 + damping), _LEAST_PIVOT * jnp.abs(own[i]) + 1e-30)
            line = matrix[i, :i] / safe
            matrix = matrix[:i, :i] - matrix[:i, i, None] * line
            pivots.append(pivot <= _LEAST_PIVOT * jnp.abs(own[i]))
            lines.append(line)
        return matrix, (tuple(lines), jnp.stack(pivots))

    _, (lines, turned) = jax.lax.scan(back, jnp.diag(last), (whole, onwards), reverse=True)

    def forward(start: Array, inputs: Any) -> tuple[Array, Array]:
        onwards, lines, turned = inputs
        all_ = start
        for line, is_negative in zip(reversed(lines), reversed(turned), strict=True):
            kick = jnp.where(is_negative & solved, _KICK, 0.0)
            all_ = jnp.append(all_, kick - jnp.sum(line * all_))
        return jnp.sum(onwards * all_, 1), all_[width:]

    _, x = jax.lax.scan(forward, jnp.zeros(width).at[-1].set(1.0), (onwards, lines, turned))
    return x.ravel(), jnp.where(jnp.any(turned), -jnp.inf, 1.0)
