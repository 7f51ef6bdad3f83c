"""How many threads the linear algebra of NumPy and SciPy has."""

import ctypes
import functools
import os
import sys
from pathlib import Path

_load = functools.cache(ctypes.CDLL)  # asked once: it waits for the system's loader and keeps Python's lock


def one_blas_thread() -> int:
    """Give SciPy's and NumPy's OpenBLAS one thread, now or when it is loaded; beside our own threads more are slower.

    Returns:
        The most threads that one of them has now; 1 where none is loaded yet.
    """
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    return max((_threads(path, 1) for path in _blas_libraries()), default=1)


def _blas_libraries() -> list[str]:
    """Files of OpenBLAS that SciPy and NumPy bring along and that are loaded."""
    names = {"numpy", "scipy"} & sys.modules.keys()
    roots = {name: Path(sys.modules[name].__file__ or "").parent for name in names}
    folders = (at for name, root in roots.items() for at in (root.with_name(f"{name}.libs"), root / ".dylibs"))
    return [str(path) for folder in folders for path in folder.glob("*openblas*")]


def _threads(path: str, count: int | None) -> int:
    """Set the threads of a library that is loaded, if a count is given; how many it has then."""
    try:
        # Without RTLD_NOLOAD there would be a copy of one that was not loaded yet.
        library = _load(path, mode=getattr(os, "RTLD_NOLOAD", 0) | getattr(os, "RTLD_NOW", 0))
    except OSError:
        return 1
    for name in ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}"):
        if hasattr(library, name.format("set_num_threads")):
            if count is not None:
                getattr(library, name.format("set_num_threads"))(count)
            return int(getattr(library, name.format("get_num_threads"))())
    return 1
