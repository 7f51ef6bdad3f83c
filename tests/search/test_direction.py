"""The direction of a step, against NumPy's eigenvalues and solutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.search.direction import direction

SIZE = 7


def matrix(eigenvalues, seed=0):
    turned, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(SIZE, SIZE)))
    return turned @ np.diag(eigenvalues) @ turned.T


def found(curvature, downhill, damping=1e-10, solved=False):
    return jax.jit(direction)(jnp.asarray(curvature), jnp.asarray(downhill), jnp.asarray(damping), jnp.asarray(solved))


@pytest.mark.parametrize("flattest", [1.0, 1e-3, 1e-9])
def test_a_bowl_gets_newtons_step(flattest):
    bowl = matrix(np.geomspace(flattest, 10.0, SIZE))
    downhill = np.arange(1.0, SIZE + 1.0)
    step, lowest = found(bowl, bowl @ downhill)
    assert lowest > 0.0
    np.testing.assert_allclose(bowl @ np.asarray(step), bowl @ downhill, rtol=1e-6)


def test_curvature_downwards_is_followed_by_its_size():
    values = np.array([-4.0, -0.5, 0.2, 1.0, 2.0, 3.0, 4.0])
    saddle = matrix(values)
    # Scaled so that its diagonal stays as it is.
    saddle = saddle / np.sqrt(np.abs(np.outer(np.diag(saddle), np.diag(saddle))))
    values, vectors = np.linalg.eigh(saddle)
    downhill = np.arange(1.0, SIZE + 1.0)
    step, lowest = found(saddle, downhill)
    np.testing.assert_allclose(step, vectors @ ((vectors.T @ downhill) / np.abs(values)), rtol=1e-8)
    assert lowest == pytest.approx(values[0], rel=1e-10)
    assert downhill @ np.asarray(step) > 0.0


def test_a_saddle_is_left_where_nothing_pulls():
    saddle = matrix([-1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    step, lowest = found(saddle, np.zeros(SIZE), solved=True)
    assert lowest < -1e-3
    assert np.asarray(step) @ saddle @ np.asarray(step) < 0.0
    still, _ = found(np.eye(SIZE), np.zeros(SIZE), solved=True)
    assert not np.any(still)


def test_a_large_damping_does_not_hide_a_saddle():
    _, lowest = found(matrix([-1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]), np.ones(SIZE), damping=100.0)
    assert lowest < -1e-3


def test_directions_side_by_side_are_those_one_by_one():
    curves = [matrix(np.geomspace(1e-3, 10.0, SIZE)), matrix([-1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], seed=1)]
    downhill = jnp.arange(1.0, SIZE + 1.0)
    many = jax.jit(jax.vmap(direction, (0, None, None, None)))
    steps, lowest = many(jnp.asarray(curves), downhill, jnp.asarray(1e-10), jnp.asarray(False))
    for curve, step, least in zip(curves, steps, lowest, strict=True):
        alone, value = found(curve, downhill)
        np.testing.assert_allclose(step, alone, rtol=1e-8)
        assert np.sign(least) == np.sign(value)
