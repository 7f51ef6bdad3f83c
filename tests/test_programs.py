"""Programs that are kept between runs: the same numbers, found again, and never mistaken for another."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer import programs as _programs
from optimizer.models.growth import Logistic
from optimizer.programs import program


class Foreign(eqx.Module):
    """Not from the package."""

    rate: jax.Array


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """JAX's cache in a folder of its own."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    yield tmp_path / "programs"
    jax.config.update("jax_compilation_cache_dir", before)


def _counted(home: str = "optimizer.somewhere") -> tuple[Any, list[int]]:
    """A program as a new process would make it, and how often it was traced."""
    traced: list[int] = []

    def grown(law: Any, cells: jax.Array, times: float) -> tuple[dict[str, jax.Array], Any]:
        traced.append(1)
        return {"rate": times * (law(jnp.ones_like(cells), cells) if callable(law) else law.rate * cells)}, law

    grown.__module__, grown.__qualname__ = home, "grown"
    return program(grown), traced


CELLS = np.array([1.0, 2.0])


def test_a_later_run_does_not_trace(folder):
    law = Logistic(jnp.asarray(10.0))
    first, traced = _counted()
    there, kept = first(law, CELLS, 3.0)
    again, traced_again = _counted()
    here, _ = again(law, CELLS, 3.0)
    assert len(traced) == 1
    assert traced_again == []
    assert np.array_equal(here["rate"], there["rate"])
    assert np.allclose(here["rate"], 3.0 * (1.0 - 3.0 / 10.0))
    assert isinstance(kept, Logistic)


def test_numbers_are_arguments_and_everything_else_is_not(folder):
    grown, traced = _counted()
    grown(Logistic(jnp.asarray(10.0)), CELLS, 3.0)
    other, _ = grown(Logistic(jnp.asarray(20.0)), 2.0 * CELLS, 3.0)
    assert len(traced) == 1
    assert np.allclose(other["rate"], 3.0 * (1.0 - 6.0 / 20.0))
    faster, _ = grown(Logistic(jnp.asarray(10.0)), CELLS, 4.0)
    assert len(traced) == 2
    assert np.allclose(faster["rate"], 4.0 * 0.7)
    grown(Logistic(jnp.asarray(10.0)), np.ones(3), 3.0)
    assert len(traced) == 3
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize("home", ["optimizer.somewhere", "somebody.else"])
def test_what_is_not_from_the_package_is_traced_in_every_run(folder, home):
    law = Foreign(jnp.asarray(2.0)) if home.startswith("optimizer") else Logistic(jnp.asarray(10.0))
    for _ in range(2):
        grown, traced = _counted(home)
        assert np.all(np.isfinite(grown(law, CELLS, 3.0)[0]["rate"]))
        assert traced
    assert not folder.exists()


def test_other_sources_are_other_programs(folder, monkeypatch):
    law = Logistic(jnp.asarray(10.0))
    _counted()[0](law, CELLS, 3.0)
    monkeypatch.setattr(_programs, "_sources", lambda: b"another version")
    grown, traced = _counted()
    grown(law, CELLS, 3.0)
    assert traced


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_file_is_written_again(folder, damage):
    law = Logistic(jnp.asarray(10.0))
    _counted()[0](law, CELLS, 3.0)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    grown, traced = _counted()
    assert np.allclose(grown(law, CELLS, 3.0)[0]["rate"], 2.1)
    assert traced
    _, traced = again = _counted()
    again[0](law, CELLS, 3.0)
    assert not traced


def test_what_was_not_used_for_longest_goes_first(folder, monkeypatch):
    law, grown = Logistic(jnp.asarray(10.0)), _counted()[0]
    grown(law, CELLS, 1.0)
    (oldest,) = folder.iterdir()
    monkeypatch.setattr(_programs, "_MOST_BYTES", int(2.5 * oldest.stat().st_size))
    for times in (2.0, 3.0):
        grown(law, CELLS, times)
    assert len(list(folder.iterdir())) == 2
    assert not oldest.exists()


def test_without_a_cache_nothing_is_written(tmp_path, monkeypatch):
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        grown, traced = _counted()
        assert np.allclose(grown(Logistic(jnp.asarray(10.0)), CELLS, 3.0)[0]["rate"], 2.1)
        assert len(traced) == 1
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_inside_of_other_programs_it_is_a_function(folder):
    grown, _ = _counted()
    slope = jax.grad(lambda k: jnp.sum(grown(Logistic(k), CELLS, 3.0)[0]["rate"]))(jnp.asarray(10.0))
    # d/dK of 2 times 3 (1 - 3 / K)
    assert np.isclose(slope, 6.0 * 3.0 / 100.0)
