"""Searches in slots: each comes to its own end, in whatever slot; slots do not wait for the slowest."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.ensemble.slots import through_slots


class Counter(NamedTuple):
    """Stands for the state of a search: over after so many steps."""

    left: jax.Array
    seen: jax.Array
    iterations: jax.Array
    done: jax.Array
    stuck: jax.Array


def run(steps, slots, most=400):
    """Counters that count their steps down, and remember which job they were stepped for."""
    steps = jnp.asarray(steps)

    def begin(job):
        none = jnp.zeros((), int)
        return Counter(steps[job], none, none, jnp.asarray(False), jnp.asarray(False))

    def step(job, at):
        over = at.done | at.stuck
        left = jnp.where(over, at.left, at.left - 1)
        last = left <= 0
        return Counter(
            left,
            jnp.where(over, at.seen, at.seen + job),
            jnp.where(over, at.iterations, at.iterations + 1),
            at.done | (last & (job % 2 == 0)),
            at.stuck | (last & (job % 2 == 1)),
        )

    return jax.jit(lambda: through_slots(begin, step, lambda s: (s.seen, s.iterations), steps.size, slots))()


@pytest.mark.parametrize("slots", [1, 3, 16, 40, 64])
def test_every_search_comes_to_its_own_end(slots):
    steps = np.random.default_rng(0).integers(1, 30, 40)
    (seen, iterations), turns = run(steps, slots)
    np.testing.assert_array_equal(iterations, steps)
    np.testing.assert_array_equal(seen, steps * np.arange(40))
    assert turns >= max(steps.max(), -(-steps.sum() // slots))


def test_slots_are_filled_again():
    # As colorectal patients are: most take 11 steps, some 30.
    rng = np.random.default_rng(1)
    steps = np.where(rng.uniform(size=1000) < 0.1, 30, 11)
    slots = 64
    _, turns = run(steps, slots)
    assert int(turns) * slots <= 1.3 * steps.sum()
    together = sum(max(steps[first : first + slots]) for first in range(0, 1000, slots)) * slots
    assert together > 2.0 * steps.sum()


def test_a_search_without_end_is_given_up():
    (_, iterations), _ = run([5, 10_000, 7], 2)
    assert iterations.tolist() == [5, 400, 7]
