"""NetCDF files that a scenario names, read without doors to other files."""

import io
import json
import math
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.files.faults import DataError
from optimizer.files.run_directory import read_regular

MAX_BYTES = 256 * 2**20
_NUMBERS = "biuf"
_MOST_CPU, _MOST_SECONDS = 3, 120.0


@dataclass(frozen=True)
class Variable:
    """Numbers of a NetCDF file."""

    dims: tuple[str, ...]  #: name of each axis
    values: np.ndarray  #: in double precision
    unit: str  #: its attribute `units`; "1" where there is none


def read_netcdf(path: Path, group: str) -> dict[str, Variable]:
    """The variables of a group of a NetCDF-4 file, without its coordinates.

    They are read in a process of their own: damage can make the HDF5 library loop or crash.

    Raises:
        DataError: it cannot be read, refers to other files, holds what are no numbers, or unpacks to too much.
    """
    data = read_regular(path, MAX_BYTES, "a NetCDF file as adose calibrate writes it")
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, group],
            input=data,
            capture_output=True,
            timeout=_MOST_SECONDS,
            check=False,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
        head, _, body = done.stdout.partition(b"\n")
        found = json.loads(head)
    except (subprocess.TimeoutExpired, ValueError):
        raise DataError(f"{path.name}: wanted NetCDF with a group {group}; got a damaged file") from None
    if isinstance(found, str):
        raise DataError(f"{path.name}: {found}")
    out, at, numbers = {}, 0, np.frombuffer(body)
    for name, (dims, shape, unit) in found.items():
        count = math.prod(shape)
        out[name] = Variable(tuple(dims), numbers[at : at + count].reshape(shape).copy(), unit)
        at += count
    return out


def _main(group: str) -> None:
    """Read a file from stdin; one line of JSON and the numbers, or a sentence, to stdout."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        # Seconds of the processor, not of a clock: a busy machine changes nothing.
        resource.setrlimit(resource.RLIMIT_CPU, (_MOST_CPU, _MOST_CPU))
        resource.setrlimit(resource.RLIMIT_AS, (16 * MAX_BYTES, 16 * MAX_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        head, body = _read(io.BytesIO(sys.stdin.buffer.read()), group)
    except Exception as error:  # whatever a damaged file makes the library raise
        head, body = f"wanted NetCDF with a group {group}; got: {' '.join(str(error).split())[:80]}", b""
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + body)


def _read(data: io.BytesIO, name: str) -> tuple[Any, bytes]:
    import h5py

    with h5py.File(data, "r") as file:
        wrong = _wrong(file, name)
        if wrong is not None:
            return wrong, b""
        found, body = {}, []
        group: Any = file[name]
        for key, variable in group.items():
            if not isinstance(variable, h5py.Dataset) or variable.is_scale:
                continue
            dims = [str(axis[0].name).rsplit("/", 1)[-1] if len(axis) else "" for axis in variable.dims]
            unit = variable.attrs.get("units", "1")
            unit = unit.decode() if isinstance(unit, bytes) else str(unit)
            found[key] = dims, list(variable.shape), unit
            body.append(np.asarray(variable[()], dtype=float).tobytes())
        return found, b"".join(body)


def _wrong(file: Any, name: str) -> str | None:
    """What keeps a group from being read."""
    import h5py

    if not isinstance(file.get(name, getlink=True), h5py.HardLink) or not isinstance(file[name], h5py.Group):
        return f"wanted NetCDF with a group {name}; got none"
    total, group = 0, file[name]
    for key in group:
        where = f"{name}/{key}"
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            return f"{where}: wanted a variable; got a link"
        variable = group[key]
        if not isinstance(variable, h5py.Dataset):
            continue
        if variable.external or variable.is_virtual:
            return f"{where}: wanted numbers in this file; got some that lie in others"
        is_label = variable.is_scale and variable.ndim == 1
        if not (variable.dtype.kind in _NUMBERS or is_label):
            return f"{where}: wanted real numbers; got {variable.dtype}"
        total += variable.size * variable.dtype.itemsize
        if total > MAX_BYTES:
            return f"wanted at most {MAX_BYTES} bytes when unpacked; got more"
    return None


if __name__ == "__main__":
    _main(sys.argv[1])
