"""Models that are written down under the laws of systems: a tumor in equations, and doses that enter a state."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.models.equations import Equations
from optimizer.pharmacology.first_order import FirstOrder
from optimizer.pharmacology.given import Given
from optimizer.simulate import System
from tests.laws import test_systems as laws

PARAMETERS = {"r": 0.2, "K": 1e9, "kill": 0.3, "half": 1.2, "k": 0.7, "mu": 0.01, "out": 0.6}
MODELS = {
    "levels": Equations(
        PARAMETERS,
        {"S": 1e7, "R": 1e5},
        {"S": "grow*S - kill*hill(u, half, 0.8)*S - mu*S", "R": "k*grow*R + mu*S"},
        {"grow": "r*(1 - (S + R)/K)", "burden": "S + R", "resistant": "R"},
        drugs=("u",),
    ),
    "doses": Equations(
        PARAMETERS,
        {"A": 0.0, "S": 1e7},
        {"A": "-out*A", "S": "r*S*log(K/S) - kill*A*S/(half + A)"},
        {"burden": "S", "resistant": "0.1*S"},
        doses={"A": "k*u"},
        drugs=("u",),
    ),
}
PK = {"levels": FirstOrder(0.4), "doses": Given()}
CHOSEN = ["nothing_is_negative", "time_and_infusions_split", "patients_do_not_see_each_other"]


def patients(name, route):
    """Systems with a leading axis, and doses [P, K, 1] of which some are zero."""
    rng = np.random.default_rng(1)
    one = System(MODELS[name], (PK[name],), ("u",), (route,), laws.MESH)
    drawn = jax.tree.map(lambda a: a * jnp.asarray(rng.uniform(0.7, 1.0, (laws.PATIENTS, *a.shape))), one)
    shape = (laws.PATIENTS, laws.EDGES.size - 1, 1)
    return drawn, jnp.asarray(rng.uniform(0.0, 2.0, shape) * (rng.uniform(size=(laws.PATIENTS, 1, 1)) < 0.9))


@pytest.mark.parametrize(("name", "route"), [("levels", "infusion"), ("doses", "bolus")])
def test_laws(name, route):
    numbers = patients(name, route)
    program = laws.compiled(numbers)
    out = program(numbers, laws.EDGES)
    for law in CHOSEN:
        getattr(laws, f"law_{law}")(program, numbers, out)
    (_, slope), step = out[1], 1e-4
    for k in range(slope.shape[1]):
        more, less = (numbers[1].at[:, k].add(sign * step) for sign in (1.0, -1.0))
        central = (program((numbers[0], more), laws.EDGES)[0][0] - program((numbers[0], less), laws.EDGES)[0][0]) / (
            2.0 * step
        )
        given = np.asarray(numbers[1])[:, k, 0] > 10.0 * step
        assert np.allclose(slope[given, k, 0], central[given], rtol=1e-4, atol=1e-7)


def test_no_dose_is_no_treatment():
    numbers = patients("doses", "bolus")
    program, empty = laws.compiled(numbers), 0.0 * numbers[1]
    other = eqx.tree_at(lambda s: s.model.parameters["kill"], numbers[0], replace_fn=lambda a: 2.0 * a)
    one, two = (program((built, empty), laws.EDGES)[0][0] for built in (numbers[0], other))
    assert np.allclose(one, two, rtol=1e-14)
