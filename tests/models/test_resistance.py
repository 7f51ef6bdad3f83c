"""On-target and bypass resistance, put together from effects of each clone."""

import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.pharmacology.effects import Hill
from optimizer.pharmacology.interactions import Loewe, MuSyC

from .helpers import assert_gradient, final_cells, reference, system, tumor

RATES = (0.3, 0.2)
A, B = Hill(0.5, 0.4, 1.5), Hill(0.2, 0.3)


@pytest.fixture(scope="module")
def ways_out():
    """Sensitive cells, cells whose EC50 of A is shifted 79 times, and cells that live on what B hits."""
    shifted, bypass = Hill(0.5, 79 * 0.4, 1.5), Hill(0.5, 0.3)
    mutation = jnp.array([[0.0, 1e-4, 1e-5], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    clones = [(1e8, 0.2, 0.0, [A, B]), (0.0, 0.18, 0.0, [shifted, B]), (1e3, 0.15, 0.0, [None, bypass])]
    return tumor(clones, mutation=mutation, has_inflow=(False, True, True), interaction=MuSyC(efficacy=0.4))


def curve(c, emax, ec50, hill=1.0):
    """A Hill curve."""
    return emax * (c / ec50) ** hill / (1.0 + (c / ec50) ** hill)


def musyc(c, shift):
    """Both drugs on a clone that feels both, by the shares of its four states."""
    x1, x2 = (c[0] / (0.4 * shift)) ** 1.5, c[1] / 0.3
    shares = np.array([1.0, x1, x2, x1 * x2])
    return shares @ [0.0, 0.5, 0.2, 1.4 * 0.5] / shares.sum()


def test_ways_out(ways_out):
    doses = np.array([[1.0, 0.3], [0.5, 1.0], [2.0, 0.1]])

    def field(y, c):
        return [
            (0.2 - musyc(c, 1.0)) * y[0],
            (0.18 - musyc(c, 79.0)) * y[1] + 1e-4 * 0.2 * y[0],
            (0.15 - curve(c[1], 0.5, 0.3)) * y[2] + 1e-5 * 0.2 * y[0],
        ]

    built = system(ways_out, RATES)
    assert np.allclose(final_cells(built, doses), reference(field, [1e8, 0.0, 1e3], doses, RATES), rtol=1e-5)
    assert_gradient(built, doses)


def test_bypass_ignores_one_drug_and_dies_of_the_other(ways_out):
    built = system(ways_out, RATES)
    only_a = np.asarray(final_cells(built, np.array([[5.0, 0.0], [5.0, 0.0]])))[-1]
    only_b = np.asarray(final_cells(built, np.array([[0.0, 5.0], [0.0, 5.0]])))[-1]
    assert only_a[2] > 1e3 * np.exp(0.15 * 14.0)  # and what sensitive cells leave it
    assert only_b[2] < 1e3
    assert only_a[0] < 1e8 < only_b[0]


def test_two_drugs_of_one_kind_are_one_drug():
    doses = np.array([[1.0, 0.5], [0.2, 2.0]])
    other = Hill(0.5, 0.4 / 3.0, 1.5)  # three times as potent
    pair = tumor([(1e8, 0.2, 0.0, [A, other])], interaction=Loewe())
    single = tumor([(1e8, 0.2, 0.0, [A])])
    summed = doses[:, :1] + 3.0 * doses[:, 1:]
    both = final_cells(system(pair, (0.3, 0.3)), doses)
    assert np.allclose(both, final_cells(system(single, (0.3,)), summed), rtol=1e-6)
