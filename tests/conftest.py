"""What all tests share: 64-bit numbers, compiled programs, and array shapes and types checked at every call."""

import os
import signal
from pathlib import Path

import jax
import pytest
from jaxtyping import install_import_hook

import tests.typechecker  # noqa: F401 (the hook finds it by name)

jax.config.update("jax_enable_x64", True)
# The rooms that compute; those above check what they are given themselves, in sentences for a user. Before the first
# import of the package, which this file must therefore not import at its top.
ROOMS = ["mesh", "pharmacology", "models", "mechanisms", "policies", "simulate", "objectives", "constraints"]
COMPUTES = tuple(f"optimizer.{room}" for room in (*ROOMS, "problem", "search"))
install_import_hook(list(COMPUTES), "tests.typechecker.check")

# Tests that need no long compilation: `pytest -m fast`, a minute and a half on two cores. A folder, a file, or a test.
FAST = (
    "benchmarks/test_rows",
    "calibrate/test_tables",
    "constraints",
    "files",
    "observations",
    "pharmacology/test_interactions",
    "scenario",
    "test_architecture",
    "test_mutants",
    "test_outcome",
    "test_public.py::test_every",
    "test_public.py::test_float64",
    "test_readme.py::test_ci",
    "test_readme.py::test_files",
    "test_readme.py::test_its_commands",
    "test_readme.py::test_its_scenario",
    "test_rooms",
    "test_status",
    "test_units",
    "test_own_parts.py::test_there",
    "test_own_parts.py::test_examples",
    "cli/test_cli.py::test_check",
    "cli/test_cli.py::test_schema",
    "cli/test_cli.py::test_help",
    "cli/test_cli.py::test_a_file",
    "cli/test_cli.py::test_a_wide",
    "cli/test_cli.py::test_ctrl_c_during",
    "cli/test_cli.py::test_ctrl_c_that",
)
MAPPINGS = Path("/proc/self/maps")
# Tests run what they compile once or twice: a fifth of the time to compile is worth more than faster code. The
# package's own programs (`programs._QUICK`) have their own options; the processes that tests start have these.
QUICK = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{QUICK} {os.environ.get('XLA_FLAGS', '')}".strip()
# As the command line has it, so that programs of the audit are kept, too: before the first import of equinox.
os.environ.setdefault("EQX_ON_ERROR", "nan")


def pytest_configure(config):
    """One cache of programs for all workers, for the processes that tests start, and for the next run of the tests.

    A program is found by the sources that it depends on, so that what was edited is compiled anew. The environment's
    ADOSE_CACHE goes before: "off" for none, or a folder.
    """
    folder = os.environ.setdefault("ADOSE_CACHE", str(config.rootpath / ".pytest_cache" / "programs"))
    if folder != "off":
        from optimizer.programs import keep_compiled

        keep_compiled(Path(folder))


def pytest_collection_modifyitems(items):
    """Mark what is fast."""
    for item in items:
        name = item.nodeid.removeprefix("tests/")
        if any(name.startswith(place) for place in FAST) and item.get_closest_marker("slow") is None:
            item.add_marker("fast")


@pytest.fixture(scope="module", autouse=True)
def few_programs():
    """Forget compiled programs before there are too many: each maps memory, and Linux allows 65,530 such mappings."""
    yield
    if MAPPINGS.is_file() and MAPPINGS.read_bytes().count(b"\n") > 25_000:
        from optimizer.programs import forget

        forget()


@pytest.fixture
def monkeypatch(monkeypatch):
    """Pytest's own; a patched room that computes has no cache, or its programs would be taken for the true ones."""
    before, patch = jax.config.jax_compilation_cache_dir, monkeypatch.setattr

    def setattr_without_cache(target, *args, **kwargs):
        if str(getattr(target, "__name__", target)).startswith((*COMPUTES, "optimizer.ensemble", "optimizer.control")):
            jax.config.update("jax_compilation_cache_dir", None)
            monkeypatch.setenv("ADOSE_CACHE", "off")
        patch(target, *args, **kwargs)

    monkeypatch.setattr = setattr_without_cache
    yield monkeypatch
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.fixture
def own_cache(tmp_path):
    """A cache in a folder of the test's own; afterwards that of all tests again."""
    from optimizer.programs import keep_compiled

    before = jax.config.jax_compilation_cache_dir
    keep_compiled(tmp_path / "cache")
    yield tmp_path / "cache"
    if before:
        keep_compiled(Path(before))
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.fixture
def ctrl_c():
    """Ctrl-C as in a terminal's foreground: what a shell runs in its background ignores it, and so do its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def small_problem():
    """The caf tumor over six weeks."""
    from tests.small import small

    return small()


@pytest.fixture(scope="session")
def small_result(small_problem):
    """Its optimum."""
    from optimizer.search.optimize import optimize

    return optimize(small_problem, restarts=4)
