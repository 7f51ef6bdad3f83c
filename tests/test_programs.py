"""Programs that are kept between runs: the same numbers, found again, and never mistaken for another."""

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer import programs
from optimizer.files.store import Store, private_folder
from optimizer.models.growth import Logistic
from optimizer.policies.schedule import Schedule
from optimizer.programs import program
from optimizer.search.multistart import cores


class Foreign(eqx.Module):
    """Not from the package."""

    rate: jax.Array


@pytest.fixture
def folder(own_cache):
    """The cache in a folder of its own; JAX writes into it too, what takes it longer than these programs."""
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 60.0)
    yield own_cache
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


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
    assert list(folder.iterdir()) == []


def test_other_sources_are_other_programs(folder):
    law = Logistic(jnp.asarray(10.0))
    _counted()[0](law, CELLS, 3.0)
    of = programs._source
    grown, traced = _counted()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "_source", lambda name: ("", of(name)[1]) if name.endswith("growth") else of(name))
        grown(law, CELLS, 3.0)
    assert traced


def _damaged(whole: bytes, places: list[int]) -> list[bytes]:
    """One byte changed at each place, and files that are cut short, empty or something else."""
    flipped = [whole[:i] + bytes([whole[i] ^ (1 + n % 255)]) + whole[i + 1 :] for n, i in enumerate(places)]
    return [*flipped, whole[: len(whole) // 2], b"", b"nonsense", whole + b"0"]


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_damaged_file_is_never_run_and_is_deleted(folder, count):
    law = Logistic(jnp.asarray(10.0))
    _counted()[0](law, CELLS, 3.0)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    store, loaded = Store(folder, programs.MOST_BYTES), []
    for damage in _damaged(whole, np.linspace(0, len(whole) - 1, count).astype(int).tolist()):
        path.write_bytes(damage)
        # What would run it never sees a byte of it.
        assert store.read(path, loaded.append) is None
        assert not path.exists()
    assert not loaded
    path.write_bytes(whole[:-1])
    grown, traced = _counted()
    assert np.allclose(grown(law, CELLS, 3.0)[0]["rate"], 2.1)
    assert traced
    assert store.read(path, len) > 0
    again, traced = _counted()
    again(law, CELLS, 3.0)
    assert not traced


def test_a_file_under_another_name_is_not_believed(folder):
    law = Logistic(jnp.asarray(10.0))
    grown = _counted()[0]
    grown(law, CELLS, 3.0)
    (three,) = folder.iterdir()
    grown(law, CELLS, 4.0)
    (four,) = set(folder.iterdir()) - {three}
    three.write_bytes(four.read_bytes())
    again, traced = _counted()
    assert np.allclose(again(law, CELLS, 3.0)[0]["rate"], 2.1)
    assert traced


def test_what_is_verified_and_still_cannot_be_loaded_is_made_again(folder):
    store = Store(folder, programs.MOST_BYTES)
    store.put("key", b"no program")
    assert store.get("key", lambda data: json.loads(data)) is None
    assert list(folder.iterdir()) == []


_JAX_ENTRIES = """
import sys, pathlib
import jax, jax.numpy as jnp
from optimizer.programs import keep_compiled
folder = pathlib.Path(sys.argv[1])
keep_compiled(folder)
print(jax.jit(lambda x: jnp.sin(x) + 3.0 * x)(jnp.arange(3.0)), jax.config.jax_compilation_cache_dir)
"""


def _with_jax_entries(folder) -> str:
    done = subprocess.run([sys.executable, "-c", _JAX_ENTRIES, str(folder)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def test_what_jax_keeps_is_verified_too(tmp_path):
    folder = tmp_path / "cache"
    said = _with_jax_entries(folder)
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert kept
    for path in folder.iterdir():
        whole = path.read_bytes()
        path.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    assert _with_jax_entries(folder) == said
    # Written again from the sources, not believed.
    store = Store(folder, programs.MOST_BYTES)
    assert {path.name for path in folder.iterdir()} == kept.keys()
    assert all(store.read(path, len) for path in folder.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
@pytest.mark.parametrize(("mode", "private"), [(0o700, True), (0o755, True), (0o775, False), (0o777, False)])
def test_a_folder_that_others_can_write_to_is_no_cache(own_cache, mode, private):
    folder = own_cache.with_name("other")
    folder.mkdir()
    folder.chmod(mode)
    programs.keep_compiled(folder)
    assert (jax.config.jax_compilation_cache_dir == str(folder)) == private
    _counted()[0](Logistic(jnp.asarray(10.0)), CELLS, 3.0)
    assert bool(list(folder.iterdir())) == private
    assert stat.S_IMODE(folder.stat().st_mode) == (0o700 if private else mode)


def test_a_link_or_a_file_is_no_cache(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").write_text("mine")
    assert private_folder(tmp_path / "link") is None
    assert private_folder(tmp_path / "file") is None
    assert private_folder(tmp_path / "new" / "deep") is not None


def test_an_edited_room_leaves_the_programs_of_others():
    reached = programs._reached({"optimizer.search.multistart", "optimizer.objectives.burden"})
    assert {"optimizer.search.interior_point", "optimizer.problem", "optimizer.objectives.burden"} <= set(reached)
    above = ("optimizer.cli", "optimizer.report", "optimizer.scenario", "optimizer.ensemble", "optimizer.calibrate")
    assert not [name for name in reached if name.startswith(above)]


def test_programs_are_built_beforehand_and_once_for_all_threads(folder):
    grown, traced = _counted()
    law = Logistic(jnp.asarray(10.0))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: grown.prepare(law, jax.ShapeDtypeStruct((2,), float), 3.0), range(4)))
    assert len(traced) == 1
    assert np.allclose(grown(law, CELLS, 3.0)[0]["rate"], 2.1)
    assert len(traced) == 1


@pytest.mark.parametrize("values", [2.0, [1.0, 2.0], np.ones((2, 3)), np.float32(0.5)])
def test_stored_numbers_are_arrays_as_any_other(values):
    there, wanted = programs.stored(values), jnp.asarray(values, float)
    assert isinstance(there, jax.Array)
    assert (there.shape, there.dtype, there.weak_type) == (wanted.shape, wanted.dtype, wanted.weak_type)
    assert np.array_equal(there, wanted)


def test_what_is_traced_is_not_stored():
    assert jax.jit(lambda x: programs.stored([x, 3.0]))(2.0).tolist() == [2.0, 3.0]


def test_what_was_built_is_forgotten_when_asked(folder):
    doubled = program(lambda x: 2.0 * x)
    assert doubled(CELLS).tolist() == [2.0, 4.0]
    own = programs._KNOWN[-1]
    assert len(own) == 1
    programs.forget()
    assert not any(programs._KNOWN)
    assert doubled(CELLS).tolist() == [2.0, 4.0]
    assert len(own) == 1


def test_linear_algebra_has_one_thread_once_a_program_is_built():
    script = """
import scipy.linalg, numpy, jax.numpy as jnp
from optimizer import blas, programs
several = max(blas._threads(path, None) for path in blas._blas_libraries())
from optimizer.scenario import Scenario
Scenario.load("scenarios/crc_caf_cetuximab.toml").problem().lower
grown = programs.program(lambda x: jnp.linalg.eigh(x))
grown(numpy.eye(4))
print(several, max(blas._threads(path, None) for path in blas._blas_libraries()))
"""
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    environment |= {"OPENBLAS_NUM_THREADS": "3"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before >= min(2, cores())
    assert after == 1


IMPORTS = ["optimizer.simulate", "optimizer.models.growth", "optimizer.scenario", "optimizer.calibrate", "optimizer"]


@pytest.mark.parametrize("first", IMPORTS)
@pytest.mark.parametrize("with_jax", ["", "import jax; jax.numpy.ones(2); "])
def test_whichever_module_comes_first_computes_in_64_bits(first, with_jax):
    script = f"{with_jax}import {first}; import jax.numpy as jnp; print(jnp.ones(1).dtype)"
    environment = {k: v for k, v in os.environ.items() if k != "JAX_ENABLE_X64"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "float64\n"


def test_32_bits_are_refused(small_problem):
    nothing = Schedule(jnp.zeros(small_problem.lower.shape))
    with jax.enable_x64(False), pytest.raises(ValueError, match="simulate: wanted 64-bit numbers"):
        small_problem.simulate(nothing)


def test_what_was_not_used_for_longest_goes_first(folder):
    law, grown = Logistic(jnp.asarray(10.0)), _counted()[0]
    grown(law, CELLS, 1.0)
    (oldest,) = folder.iterdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "MOST_BYTES", int(2.5 * oldest.stat().st_size))
        for times in (2.0, 3.0):
            grown(law, CELLS, times)
    assert len(list(folder.iterdir())) == 2
    assert not oldest.exists()


def test_without_a_cache_nothing_is_written(own_cache):
    jax.config.update("jax_compilation_cache_dir", None)
    grown, traced = _counted()
    assert np.allclose(grown(Logistic(jnp.asarray(10.0)), CELLS, 3.0)[0]["rate"], 2.1)
    assert len(traced) == 1
    assert list(own_cache.iterdir()) == []


def test_inside_of_other_programs_it_is_a_function(folder):
    grown, _ = _counted()
    slope = jax.grad(lambda k: jnp.sum(grown(Logistic(k), CELLS, 3.0)[0]["rate"]))(jnp.asarray(10.0))
    # d/dK of 2 times 3 (1 - 3 / K)
    assert np.isclose(slope, 6.0 * 3.0 / 100.0)
