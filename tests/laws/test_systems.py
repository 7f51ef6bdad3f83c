"""Every mechanism, growth law, effect, interaction, transition and kinetics under every law, 50 patients at once.

One compiled program for each tumor; the laws call it with other numbers. In the fast suite a tumor has an entry of
every room, so that each entry is in one of them; the `slow` tests take the entries one by one, draw 1,000 patients of
each, and compare with one patient at a time.
"""

from functools import cache, partial
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.axes import Scalar
from optimizer.fields import parameter
from optimizer.mesh import Mesh
from optimizer.models.growth import AbstractGrowth
from optimizer.pharmacology.base import AbstractPK
from optimizer.pharmacology.interactions import HighestSingleAgent
from optimizer.policies.schedule import Schedule
from optimizer.simulate import Grid, rollout
from tests.laws.factory import Unbuildable, dose_factors, make, registry, rescaled, system

# Whole batches, as the product has them: what is left of a vector register may differ in the last bit.
PATIENTS = 64
MESH = Mesh(24, 12, 20.0)
EDGES = np.array([0.0, 2.0, 5.0, 9.0, 12.0])
SIGNED = {"protection"}  # observables that may be negative
BASES = {"day": 24.0, "cell": 1e-3, "mg": 7.0, "L": 0.3, "mL": 50.0, "pg": 0.2}
ROOMS = registry()
COUNT = max(len(entries) for entries in ROOMS.values())
# The i-th entry of every room together, where it has one.
TOGETHER = [{room: entries[i] for room, entries in ROOMS.items() if i < len(entries)} for i in range(COUNT)]
ALONE = [{room: cls} for room, entries in ROOMS.items() for cls in entries]


def name(entries):
    """What a test is called."""
    return "+".join(cls.kind for cls in entries.values())


def outcome(numbers, edges):
    """Time average of log10(N + 1), and what the laws look at, of one patient."""
    built, doses = numbers
    trajectory = rollout(built, Schedule(doses), Grid(edges))

    def at_ends(values):
        return values.reshape((edges.size - 1, -1, *values.shape[1:]))[:, -1]

    value = jnp.sum(trajectory.weights * jnp.log10(trajectory.burden + 1.0)) / edges[-1]
    lowest = {name: jnp.min(v) for name, v in trajectory.observables.items()}
    seen = {"cells": jnp.min(trajectory.cells), "conc": jnp.min(trajectory.conc), **lowest}
    return value, (at_ends(trajectory.cells), at_ends(trajectory.conc), seen, trajectory.ok)


def compiled(numbers):
    """The outcome and its gradient of patients with a leading axis, as a function of their arrays and the edges.

    Compiled with little optimization: the programs are many and run for milliseconds.
    """
    _, static = eqx.partition(numbers, eqx.is_array)
    whole = eqx.filter_vmap(eqx.filter_value_and_grad(outcome, has_aux=True), in_axes=(0, None))

    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 1})
    def program(arrays, edges):
        return whole(eqx.combine(arrays, static), edges)

    return lambda numbers, edges: program(eqx.filter(numbers, eqx.is_array), jnp.asarray(edges))


def patients(entries, seed):
    """Systems with a leading axis, and doses [P, K, N] of which some are zero."""
    rng = np.random.default_rng(seed)
    # One is built; the others have each of its numbers times a random one, downwards, which no limit forbids.
    drawn = jax.tree.map(
        lambda a: a * jnp.asarray(rng.uniform(0.6, 1.0, (PATIENTS, *a.shape))), system(entries, rng, MESH)
    )
    shape = (PATIENTS, EDGES.size - 1, len(drawn.drugs))
    return drawn, jnp.asarray(rng.uniform(0.0, 2.0, shape) * (rng.uniform(size=(PATIENTS, 1, 1)) < 0.9))


@cache
def program_of(key):
    """The program of a tumor; `key` are its entries."""
    return compiled(patients(dict(key), 0))


@cache
def sample(key, seed):
    """A sample of patients and their outcome."""
    numbers = patients(dict(key), seed)
    return numbers, program_of(key)(numbers, EDGES)


def has_lag(built):
    """Whether a drug's kinetics have a jump of their own."""
    return any(type(pk).delay is not AbstractPK.delay for pk in built.pharmacokinetics)


def law_nothing_is_negative(program, numbers, out):
    """Populations, concentrations and factors."""
    (_, (cells, conc, seen, ok)), _ = out
    assert np.all(ok)
    assert np.all(cells >= 0.0)
    assert np.all(conc >= 0.0)
    for name, lowest in seen.items():
        assert np.all(np.isfinite(lowest)), name
        assert name in SIGNED or np.all(lowest >= 0.0), name


def law_time_and_infusions_split(program, numbers, out):
    """[0, T] is [0, s] and then [s, T]: an interval cut in two at the same rate, no bolus at the cut, is one."""
    built, doses = numbers
    is_bolus = np.array([route == "bolus" for route in built.routes])
    second = jnp.where(is_bolus, 0.0, doses[:, 0])
    ends = []
    for cut in (0.7, 1.9, 4.0):
        # Four intervals as ever: the first two are one interval of 5 days.
        doses_ = doses.at[:, 1].set(second)
        edges = np.array([0.0, cut, *EDGES[2:]])
        (_, (cells, conc, _, _)), _ = program((built, doses_), edges)
        ends.append((np.asarray(cells)[:, 1:], np.asarray(conc)[:, 1:]))
    for cells, conc in ends[1:]:
        # Where the concentration rises from nothing under a Hill exponent below one the steps lose their order.
        rises = has_lag(built) or any(pk.kind == "sustained_release" for pk in built.pharmacokinetics)
        assert np.allclose(np.log(cells), np.log(ends[0][0]), atol=2e-3 if rises else 2e-4)
        assert np.allclose(conc, ends[0][1], rtol=1e-11, atol=1e-13)


def law_no_dose_is_no_treatment(program, numbers, out):
    """Without doses neither a drug's kinetics nor its effects make a difference."""
    built, doses = numbers
    other = eqx.tree_at(
        lambda s: (s.pharmacokinetics, s.model.effects),
        built,
        replace_fn=lambda part: jax.tree.map(lambda a: 1.3 * a, part),
    )
    (mine, _), _ = program((built, 0.0 * doses), EDGES)
    (theirs, (_, conc, _, _)), _ = program((other, 0.0 * doses), EDGES)
    assert np.all(np.asarray(conc) == 0.0)
    # A lag is a panel edge, which moves the error of the steps.
    assert np.allclose(mine, theirs, rtol=1e-6 if has_lag(built) else 1e-14)


def law_units_do_not_matter(program, numbers, out):
    """The same patients in other units, each number by the unit that its field says, are the same patients."""
    built, doses = numbers
    other = rescaled(built, BASES)
    factors = dose_factors(built.pharmacokinetics, built.routes, BASES)
    (_, (cells, conc, _, _)), _ = program((other, doses * factors), EDGES * BASES["day"])
    assert np.allclose(cells, BASES["cell"] * np.asarray(out[0][1][0]), rtol=1e-8)
    assert np.allclose(conc, BASES["mg"] / BASES["L"] * np.asarray(out[0][1][1]), rtol=1e-10, atol=1e-12)


def law_patients_do_not_see_each_other(program, numbers, out):
    """A batch in another order gives the same patients in that order."""
    turned = jax.tree.map(lambda a: a[::-1], numbers)
    (value, _), slope = program(turned, EDGES)
    assert np.array_equal(value[::-1], out[0][0])
    for mine, theirs in zip(jax.tree.leaves(slope), jax.tree.leaves(out[1]), strict=True):
        assert np.array_equal(mine[::-1], theirs)


def law_gradient_is_that_of_differences(program, numbers, out):
    """In the doses, and in every parameter of the model and the drugs."""
    slopes = out[1]
    # The highest single agent changes hands at a kink, across which differences measure something between two slopes.
    has_kink = isinstance(numbers[0].model.interaction, HighestSingleAgent)
    step = 1e-6 if has_kink else 1e-5
    rng = np.random.default_rng(1)
    leaves, tree = jax.tree.flatten(numbers)
    ways = [jnp.asarray(rng.uniform(-1.0, 1.0, leaf.shape)) for leaf in leaves]
    moved = [
        program(jax.tree.unflatten(tree, [a * (1.0 + h * w) for a, w in zip(leaves, ways, strict=True)]), EDGES)[0][0]
        for h in (step, -step)
    ]
    measured = (np.asarray(moved[0]) - np.asarray(moved[1])) / (2.0 * step)
    parts = [
        np.asarray(s * a * w).reshape(PATIENTS, -1)
        for s, a, w in zip(jax.tree.leaves(slopes), leaves, ways, strict=True)
    ]
    claimed = sum(part.sum(1) for part in parts)
    size = np.sqrt(sum((part**2).sum(1) for part in parts))
    assert np.all(np.isfinite(claimed))
    assert np.all(np.abs(claimed - measured) <= (1e-4 if has_kink else 1e-5) * size + 1e-8)


LAWS = [law for key, law in list(globals().items()) if key.startswith("law_")]


def broken_laws(entries, seed):
    """What each law that a sample of patients breaks says."""
    key = tuple(entries.items())
    program, (numbers, out) = program_of(key), sample(key, seed)
    broken = []
    for law in LAWS:
        try:
            law(program, numbers, out)
        except AssertionError as said:
            broken.append(f"{law.__name__.removeprefix('law_')}: {law.__doc__}\n{said}")
    return broken


@pytest.mark.parametrize("entries", TOGETHER, ids=name)
def test_laws(entries):
    # All laws in one test: workers that share the tests would each compile the program.
    broken = broken_laws(entries, 0)
    assert not broken, "\n".join(broken)


@pytest.mark.slow
@pytest.mark.parametrize("entries", ALONE, ids=name)
def test_laws_one_by_one(entries):
    broken = [text for seed in range(20) for text in broken_laws(entries, seed)]
    assert not broken, "\n".join(broken)


@pytest.mark.slow
@pytest.mark.parametrize("entries", ALONE, ids=name)
def test_batch_is_the_loop(entries):
    numbers, ((value, _), slope) = sample(tuple(entries.items()), 0)
    alone = eqx.filter_jit(eqx.filter_value_and_grad(outcome, has_aux=True))
    for i in range(0, PATIENTS, 10):
        (own, _), gradient = alone(jax.tree.map(lambda a, i=i: a[i], numbers), jnp.asarray(EDGES))
        assert float(own) == pytest.approx(float(value[i]), rel=1e-12)
        for mine, theirs in zip(jax.tree.leaves(gradient), jax.tree.leaves(slope), strict=True):
            assert np.allclose(mine, theirs[i], rtol=1e-8, atol=1e-12)


def test_every_entry_is_tested():
    assert len(LAWS) == 6
    assert all(ROOMS.values())
    together = [cls for entries in TOGETHER for cls in entries.values()]
    assert sorted(c.kind for c in together) == sorted(c.kind for entries in ALONE for c in entries.values())
    assert len(together) >= 20


def test_an_entry_that_cannot_be_built_says_what_to_add():
    class Odd(AbstractGrowth):
        kind: ClassVar[str] = "odd"
        strange: Scalar = parameter(unit="furlong", doc="no one knows")

        def __call__(self, rate, cells):
            return rate

    with pytest.raises(Unbuildable, match=r"Odd.strange: no range for the unit 'furlong'; add one to RANGES"):
        make(Odd, np.random.default_rng(0), {})
