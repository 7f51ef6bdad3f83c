"""Programs that are traced once: what JAX makes of a function is kept beside its compiled code, from run to run.

A compiled program in JAX's cache is found by its instructions, and writing these down (tracing) takes as long as the
search itself. They are kept too, found by all that they depend on: the sources of this package, the versions of what it
stands on, and the structure and shapes of the arguments. A function with anything among its arguments that is not from
those sources, such as a user's own mechanism, is traced in every run.
"""

import functools
import hashlib
import io
import os
import pickle
import platform
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import equinox as eqx
import jax
import numpy as np
from jax import export

from optimizer.files.run_directory import DirectoryError, write_whole

# Where what is pickled may come from: this package, and packages whose version is part of what a program is found by.
_PACKAGES = ("optimizer", "jax", "jaxlib", "equinox", "diffrax", "numpy")
_STANDARD = ("builtins", "collections", "copyreg", "enum", "functools", "operator")
_MOST_BYTES = 128 * 2**20
# What is wrong with a file that was cut short, or that another version has written, shows itself in many ways.
_UNREADABLE = (OSError, ValueError, TypeError, AttributeError, ImportError, EOFError, pickle.UnpicklingError, KeyError)

# What is an argument of a program rather than a part of it.
_ARRAYS = (np.ndarray, np.generic, jax.Array)

P = ParamSpec("P")
R = TypeVar("R")


class _Foreign(Exception):
    """Something that no program can be found by."""


class _Pickler(pickle.Pickler):
    """Writes down what comes from packages of known versions."""

    def reducer_override(self, obj: Any) -> Any:
        kind = obj if isinstance(obj, type) or callable(obj) else type(obj)
        home = (getattr(kind, "__module__", None) or "").split(".")[0]
        if home not in _PACKAGES + _STANDARD:
            raise _Foreign
        return NotImplemented


def program(function: Callable[P, R]) -> Callable[P, R]:
    """`equinox.filter_jit` for a function of positional arguments whose results are arrays, and kept between runs.

    Arrays are arguments of the program, everything else is a part of it. Without JAX's cache of compiled programs
    (`jax_compilation_cache_dir`) nothing is written; the program is the same.
    """
    traced, known = eqx.filter_jit(function), {}

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        leaves, structure = jax.tree.flatten(args)
        if kwargs or any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return traced(*args, **kwargs)
        arrays = [leaf for leaf in leaves if _is_array(leaf)]
        key = structure, tuple((leaf.shape, leaf.dtype) if _is_array(leaf) else leaf for leaf in leaves)
        if key not in known:
            known[key] = _build(function, leaves, structure)
        built = known[key]
        if built is None:
            return traced(*args)
        run, results = built
        return jax.tree.unflatten(results, run(*arrays))

    return call


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, _ARRAYS)


def _shape(leaf: Any) -> tuple[tuple[int, ...], str]:
    return leaf.shape, str(leaf.dtype)


def _build(function: Callable, leaves: Sequence[Any], structure: Any) -> tuple[Callable, Any] | None:
    """The program for arguments like these and the structure of its results; None for what cannot be kept."""
    try:
        name = _name(function, leaves, structure)
    except (_Foreign, pickle.PicklingError, TypeError, AttributeError):
        return None
    folder = jax.config.jax_compilation_cache_dir
    path = Path(folder) / "programs" / name if folder else None
    built = _read(path) if path else None
    if built is None:
        try:
            kept = _export(function, leaves, structure)
        except (_Foreign, pickle.PicklingError, NotImplementedError):
            return None
        if path:
            _write(path, kept)
        built = _loaded(kept)
    return built


def _export(function: Callable, leaves: Sequence[Any], structure: Any) -> bytes:
    """A program as bytes, with the structure of its results."""
    found: list[Any] = []

    def flat(*arrays: Any) -> list[Any]:
        given = iter(arrays)
        args = jax.tree.unflatten(structure, [next(given) if _is_array(leaf) else leaf for leaf in leaves])
        results, shape = jax.tree.flatten(function(*args))
        found.append(jax.tree.unflatten(shape, range(len(results))))
        return results

    flat.__name__ = function.__name__
    shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves if _is_array(leaf)]
    text = export.export(jax.jit(flat))(*shapes).serialize()
    return pickle.dumps((_checked(found[-1]), bytes(text)))


def _checked(skeleton: Any) -> Any:
    _Pickler(io.BytesIO()).dump(skeleton)
    return skeleton


def _name(function: Callable, leaves: Sequence[Any], structure: Any) -> str:
    """File name of a program: a digest of all that it depends on."""
    like = [f"array {_shape(leaf)}" if _is_array(leaf) else leaf for leaf in leaves]
    said = io.BytesIO()
    home = f"{function.__module__}.{function.__qualname__}"
    if home.split(".")[0] not in _PACKAGES:
        raise _Foreign
    _Pickler(said).dump((home, jax.tree.unflatten(structure, like)))
    return hashlib.sha256(_surroundings() + said.getvalue()).hexdigest()


@functools.cache
def _sources() -> bytes:
    """Digest of this package's sources, and of the versions of what it stands on."""
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    words = [sys.version, platform.machine(), *(f"{name} {version(name)}" for name in _PACKAGES[1:])]
    return digest.digest() + "\n".join(words).encode()


def _surroundings() -> bytes:
    settings = jax.config.jax_enable_x64, jax.default_backend(), os.environ.get("EQX_ON_ERROR")
    return _sources() + repr(settings).encode()


def _loaded(kept: bytes) -> tuple[Callable, Any]:
    skeleton, text = pickle.loads(kept)
    exported = export.deserialize(bytearray(text))
    return jax.jit(exported.call).lower(*exported.in_avals).compile(), jax.tree.structure(skeleton)


def _read(path: Path) -> tuple[Callable, Any] | None:
    """A kept program; None where there is none that can be read."""
    try:
        built = _loaded(path.read_bytes())
        os.utime(path)
    except _UNREADABLE:
        return None
    return built


def _write(path: Path, kept: bytes) -> None:
    """Keep a program, in the place of those that were not used for longest; a cache is a convenience."""
    try:
        write_whole(path, kept)
        ages = sorted(((p.stat().st_mtime, p.stat().st_size, p) for p in path.parent.iterdir()), reverse=True)
        total = 0
        for _, size, old in ages:
            total += size
            if total > _MOST_BYTES:
                old.unlink(missing_ok=True)
    except (OSError, DirectoryError):
        return
