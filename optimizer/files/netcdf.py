"""Files that a scenario names, read from regular files of a stated size alone; NetCDF without doors to other files."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.files.faults import DataError

if TYPE_CHECKING:
    import xarray as xr

MAX_BYTES = 256 * 2**20
_NUMBERS = "biuf"


def read_regular(path: Path, most: int, wanted: str = "a file") -> bytes:
    """The bytes of a regular file; a device, a pipe or a socket is not even opened for long.

    Raises:
        DataError: there is none, it is no regular file, has more than `most` bytes, or cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise DataError(f"{path.name}: wanted {wanted}; got {_instead(os.fstat(handle).st_mode)}")
            data = file.read(most + 1)
    except FileNotFoundError:
        raise DataError(f"{path.name}: wanted {wanted}; got nothing there") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "a name that is no path"
        raise DataError(f"{path.name}: wanted a readable file; got: {why}") from None
    if len(data) > most:
        raise DataError(f"{path.name}: wanted at most {most} bytes; got more")
    return data


def _instead(mode: int) -> str:
    return "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"


def read_netcdf(path: Path, group: str) -> xr.Dataset:
    """A group of a NetCDF-4 file, in memory.

    Raises:
        DataError: it cannot be read, refers to other files, holds what are no numbers, or unpacks to too much.
    """
    import h5py
    import xarray as xr

    data = read_regular(path, MAX_BYTES, "a NetCDF file as adose calibrate writes it")
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            wrong = _wrong(file, group)
        if wrong is None:
            with xr.open_dataset(io.BytesIO(data), group=group, engine="h5netcdf") as found:
                return found.load()
    except Exception as error:  # whatever a damaged file makes the libraries raise
        wrong = f"wanted NetCDF with a group {group}; got: {str(error)[:80]}"
    raise DataError(f"{path.name}: {wrong}")


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
