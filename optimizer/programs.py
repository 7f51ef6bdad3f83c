"""Programs that are traced once: what JAX makes of a function is kept beside its compiled code, from run to run.

A compiled program in JAX's cache is found by its instructions, and writing these down (tracing) takes as long as the
search itself. They are kept too, found by all that they depend on: the sources that the function and its arguments'
classes reach by imports, the versions of what these stand on, and the structure and shapes of the arguments. A function
with anything among its arguments that is not from those sources, such as a user's own mechanism, is traced in every
run. Both kinds of file are believed only while their digest fits (`files.store`).
"""

import functools
import hashlib
import json
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.core import Tracer

from optimizer.blas import one_blas_thread
from optimizer.files.store import Store, private_folder
from optimizer.spelling import PACKAGES, Foreign, spell, unspell

MOST_BYTES = 640 * 2**20
# On a CPU: half the time to compile (16.7 s to 7.3 s of a shipped search), no more to run.
_QUICK = {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False}

# What is an argument of a program rather than a part of it.
_ARRAYS = (np.ndarray, np.generic, jax.Array, jax.ShapeDtypeStruct)
_ROOT = Path(__file__).parent
# Modules that are imported, what is imported from them, and modules that are named in strings.
_IMPORT = re.compile(r"^\s*(?:from|import)\s+(optimizer[\w.]*)(?:\s+import\s+(\([^)]*\)|[^\n]*))?", re.MULTILINE)
_QUOTED = re.compile(r"""["'](optimizer(?:\.\w+)+)["']""")

# Programs that were built, of all that `program` made.
_KNOWN: list[dict[Any, Future]] = []

P = ParamSpec("P")
R = TypeVar("R")


def program(function: Callable[P, R], options: dict[str, Any] | None = None) -> Callable[P, R]:
    """`equinox.filter_jit` for a function of positional arguments whose results are arrays, and kept between runs.

    Arrays are arguments of the program, everything else is a part of it. Without JAX's cache of compiled programs
    (`jax_compilation_cache_dir`) nothing is written; the program is the same.

    Args:
        function: pure, of pytrees.
        options: of XLA's compiler for this program, `compiler_options` of `jax.jit`; those that compile quickly when
            left out.

    Returns:
        The function. Its attribute `prepare` builds the program for arguments like those it is given (arrays, or
        `jax.ShapeDtypeStruct` in their place) without running it.
    """
    nested = eqx.filter_jit(function)
    known: dict[Any, Future] = {}
    _KNOWN.append(known)
    lock = threading.Lock()

    def built(leaves: Sequence[Any], structure: Any) -> Any:
        key = structure, tuple((leaf.shape, leaf.dtype) if _is_array(leaf) else leaf for leaf in leaves)
        with lock:
            own = known.get(key)
            is_ours = own is None
            if own is None:
                own = known[key] = Future()
        if is_ours:
            # Threads that ask for the same program wait for the first.
            try:
                own.set_result(_build(function, leaves, structure, _options(options)))
            except BaseException as error:
                known.pop(key, None)
                own.set_exception(error)
                raise
        return own.result()

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        leaves, structure = jax.tree.flatten(args)
        if kwargs or any(isinstance(leaf, Tracer) for leaf in leaves):
            return nested(*args, **kwargs)
        run, results = built(leaves, structure)
        return jax.tree.unflatten(results, run(*(leaf for leaf in leaves if _is_array(leaf))))

    call.prepare = lambda *args: built(*jax.tree.flatten(args))  # type: ignore[attr-defined]
    return call


def forget() -> None:
    """Drop the programs of this process, JAX's own among them: each maps memory, of which there is no end else."""
    for known in _KNOWN:
        known.clear()
    jax.clear_caches()


def keep_compiled(folder: Path) -> None:
    """Let JAX keep what it compiles in a private folder, in files with a digest; nowhere if it is not private."""
    store = Store(folder, MOST_BYTES) if private_folder(folder) else None
    try:
        from jax._src import compilation_cache
        from jax._src.compilation_cache_interface import CacheInterface

        class Checked(CacheInterface):
            """What JAX asks for by name."""

            _path = folder

            def get(self, key: str) -> bytes | None:
                return store.get(key) if store else None

            def put(self, key: str, value: bytes) -> None:
                if store:
                    store.put(key, value)

        compilation_cache.reset_cache()
        compilation_cache.get_file_cache = lambda path: (Checked(), path)  # type: ignore[assignment]
    except (ImportError, AttributeError):
        store = None  # a version of JAX whose own files cannot be checked
    # What cannot be read after all is compiled again.
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache")
    jax.config.update("jax_compilation_cache_dir", str(folder) if store else None)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")


def stored(values: Any, dtype: Any = float) -> Any:
    """Numbers as an array of JAX's: `jnp.asarray`, without the program that it compiles for every shape.

    Tracers, alone or in a list, become what `jnp.asarray` makes of them.
    """
    if any(isinstance(value, Tracer) for value in jax.tree.leaves(values)):
        return jnp.asarray(values, dtype)
    return jax.device_put(np.asarray(values, dtype))


def check_64_bits(where: str) -> None:
    """Refuse to compute in 32 bits.

    Raises:
        ValueError: 64-bit numbers are switched off.
    """
    if not jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        wanted = 'wanted 64-bit numbers, jax.config.update("jax_enable_x64", True) before anything is built'
        raise ValueError(f"{where}: {wanted}; got 32-bit")


# --- building ---------------------------------------------------------------------------------------------------------


def _options(options: dict[str, Any] | None) -> dict[str, Any]:
    return (_QUICK if jax.default_backend() == "cpu" else {}) if options is None else options


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, _ARRAYS)


def _build(function: Callable, leaves: Sequence[Any], structure: Any, options: Any) -> tuple[Callable, Any]:
    """The program for arguments like these, kept where it can be, and the structure of its results."""
    one_blas_thread()
    found: list[Any] = []

    def flat(*arrays: Any) -> list[Any]:
        given = iter(arrays)
        args = jax.tree.unflatten(structure, [next(given) if _is_array(leaf) else leaf for leaf in leaves])
        results, shape = jax.tree.flatten(function(*args))
        found.append(jax.tree.unflatten(shape, range(len(results))))
        return results

    flat.__name__ = function.__name__
    shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves if _is_array(leaf)]
    with _traced_quickly():
        try:
            built = _kept(_key(function, leaves, structure), jax.jit(flat), shapes, found, options)
        except (Foreign, NotImplementedError):
            run = jax.jit(flat).lower(*shapes).compile(compiler_options=options)
            built = run, jax.tree.structure(found[-1])
    one_blas_thread()
    return built


def _traced_quickly() -> AbstractContextManager[Any]:
    """Reverse mode by partial evaluation of a whole function: traced in half the time of one by single operations."""
    try:
        from jax._src.config import use_direct_linearize

        return use_direct_linearize(False)
    except (ImportError, AttributeError):
        return nullcontext()  # a version of JAX that has one way


def _kept(key: str, flat: Any, shapes: Sequence[Any], found: list[Any], options: Any) -> tuple[Callable, Any]:
    """A program that an earlier run wrote down, or that later ones find; the structure of its results comes in a line
    of JSON before it."""
    folder = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    store = Store(Path(folder), MOST_BYTES) if folder and private_folder(Path(folder)) else None
    built = store.get(key, lambda kept: _loaded(kept, options)) if store else None
    if built is None:
        text = export.export(flat)(*shapes).serialize()
        kept = json.dumps(spell(found[-1], set())).encode() + b"\n" + bytes(text)
        if store:
            store.put(key, kept)
        built = _loaded(kept, options)
    return built


def _loaded(kept: bytes, options: Any) -> tuple[Callable, Any]:
    skeleton, _, text = kept.partition(b"\n")
    exported = export.deserialize(bytearray(text))
    lowered = jax.jit(exported.call).lower(*exported.in_avals)
    return lowered.compile(compiler_options=options), jax.tree.structure(unspell(json.loads(skeleton)))


# --- what a program depends on ----------------------------------------------------------------------------------------


def _key(function: Callable, leaves: Sequence[Any], structure: Any) -> str:
    """A digest of all that a program depends on."""
    home = function.__module__
    if home.split(".")[0] not in PACKAGES:
        raise Foreign
    homes = {home, __name__}
    said = json.dumps([home, function.__qualname__, spell(jax.tree.unflatten(structure, leaves), homes)])
    x64 = jax.config.jax_enable_x64  # type: ignore[attr-defined]
    settings = repr((x64, jax.default_backend(), os.environ.get("EQX_ON_ERROR")))
    parts = [said, settings, *_versions(), *(f"{name} {_source(name)[0]}" for name in _reached(homes))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@functools.cache
def _versions() -> tuple[str, ...]:
    return sys.version, *(f"{name} {version(name)}" for name in PACKAGES[1:])


def _reached(homes: set[str]) -> list[str]:
    """Modules of this package that are imported from some modules, directly or not, in order."""
    found: set[str] = set()
    waiting = [home for home in homes if home.startswith("optimizer.")]
    while waiting:
        name = waiting.pop()
        if name not in found and _file(name):
            found.add(name)
            waiting += _source(name)[1]
    return sorted(found)


def _file(name: str) -> Path | None:
    place = _ROOT.joinpath(*name.split(".")[1:])
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


@functools.cache
def _source(name: str) -> tuple[str, frozenset[str]]:
    """Digest of a module's text, and names in it that may be modules; of a registry, all modules beside it."""
    path = _file(name)
    text = path.read_text(encoding="utf-8") if path else ""
    names = set(_QUOTED.findall(text))
    for home, items in _IMPORT.findall(text):
        names |= {home, *(f"{home}.{item}" for item in re.findall(r"\w+", items))}
    if path and path.name == "__init__.py" and re.search(r"import_module|modules_of|registry", text):
        names |= {f"{name}.{file.stem}" for file in path.parent.glob("*.py") if file.stem != "__init__"}
    return hashlib.sha256(text.encode()).hexdigest(), frozenset(names - {name, "optimizer"})
