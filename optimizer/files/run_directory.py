"""A file read whole or not at all; a file or a directory written so."""

import ctypes
import glob
import json
import math
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.files.faults import DataError

try:
    import fcntl
except ImportError:  # not on every system
    fcntl = None

# What is not finished, and what is about to go, behind a dot and the name it is meant for.
_PART, _OLD = ".part", ".old"
# Of renameat2(2): relative to the working directory; exchange two names.
_HERE, _EXCHANGE = -100, 2


class DirectoryError(ValueError):
    """A place that cannot be written; the text is one sentence for the user."""


def to_text(document: Any) -> str:
    """JSON text; numbers that JSON does not have become null."""
    text = json.dumps(finite(document), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    # Bytes of a file name that are no UTF-8 become escapes, which JSON has too.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def finite(value: Any) -> Any:
    """What JSON can say of a document: arrays as lists, what has a `to_json` by that; NaN and infinities are null."""
    if hasattr(value, "to_json"):
        value = value.to_json()
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_regular(path: Path, most: int, wanted: str = "a file", name: str = "", absent: str = "nothing there") -> bytes:
    """The bytes of a regular file; a device, a pipe or a socket is not even opened for long.

    `wanted`, `name` (the last part of the path when left out) and `absent` are words of the messages.

    Raises:
        DataError: there is none, it is no regular file, has more than `most` bytes, or cannot be read.
    """
    name = name or path.name
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            data = file.read(most + 1) if stat.S_ISREG(os.fstat(handle).st_mode) else None
    except (FileNotFoundError, IsADirectoryError) as error:
        got = "a folder" if isinstance(error, IsADirectoryError) else absent
        raise DataError(f"{name}: wanted {wanted}; got {got}") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "a name that is no path"
        raise DataError(f"{name}: wanted a readable file; got {why}") from None
    if data is None:
        raise DataError(f"{name}: wanted {wanted}; got a device, pipe or socket")
    if len(data) > most:
        raise DataError(f"{name}: wanted at most {most} bytes; got more")
    return data


def write_whole(path: Path, data: bytes, keep: bool = False) -> None:
    """Write a file in one step: it is there whole, on the disk, or not at all.

    With `keep`, one that is there already is left alone, also if another process wrote it a moment ago.

    Raises:
        DirectoryError: the place cannot be written, or the disk is full.
    """
    handle, name = -1, ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_PART, dir=path.parent)
        _lock(handle)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        if not (keep and _linked(name, path)):
            os.replace(name, path)
    except OSError as error:
        why = error.strerror or str(error)
        raise DirectoryError(f"{path}: wanted a place that can be written; got: {why}") from None
    finally:
        if name and os.path.exists(name):
            os.unlink(name)


def _linked(name: str, path: Path) -> bool:
    """Whether a file is at `path` now, this one or an earlier one; not on a disk that knows no links."""
    try:
        os.link(name, path)
    except FileExistsError:
        return True
    except OSError:
        return path.exists()
    return True


def check_writable(out: Path) -> None:
    """Refuse a directory that cannot be written into, or made.

    Raises:
        DirectoryError: it is a file, or lies where nothing can be written.
    """
    try:
        if (out.exists() or out.is_symlink()) and not out.is_dir():
            raise DirectoryError(f"{out}: wanted a directory; got a file")
        _check_permission(out, out if out.is_dir() else _above(out))
    except OSError as error:
        raise DirectoryError(f"{out}: wanted a place that can be written; got: {error.strerror}") from None


def _above(out: Path) -> Path:
    return next(folder for folder in out.absolute().parents if folder.exists())


def _check_permission(out: Path, above: Path) -> None:
    if not above.is_dir():
        raise DirectoryError(f"{out}: wanted a place that can be written; got: {above} is a file")
    if not os.access(above, os.W_OK | os.X_OK):
        raise DirectoryError(f"{out}: wanted a place that can be written; got: no permission to write in {above}")
    # Permissions do not say all: a system folder, or a disk without a free entry, takes nothing either. A file that has
    # no name leaves nothing behind where the run is killed here.
    tempfile.TemporaryFile(dir=above).close()


def check_place(out: Path, marker: str) -> None:
    """Refuse a place that cannot be written, or that holds something else than an earlier run, known by its `marker`.

    Raises:
        DirectoryError: it is a file or a mount point, has other things in it, or lies where nothing can be written.
    """
    try:
        if out.is_dir():
            if any(out.iterdir()) and not (out / marker).is_file():
                raise DirectoryError(f"{out}: wanted a new directory or an earlier run with {marker}; got other files")
            if os.path.ismount(out):
                wanted = "a directory that can be replaced"
                raise DirectoryError(f"{out}: wanted {wanted}; got a mount point: name one in it")
        elif out.exists() or out.is_symlink():
            raise DirectoryError(f"{out}: wanted a directory; got a file")
        _check_permission(out, _above(out))
    except OSError as error:
        raise DirectoryError(f"{out}: wanted a place that can be written; got: {error.strerror}") from None


@contextmanager
def whole(out: Path, marker: str) -> Iterator[Path]:
    """A directory to fill, which takes the place of `out` in one step when the block ends without an error.

    Whatever goes wrong before that leaves `out` as it was and nothing beside it. What was written is on the disk before
    it takes its place.

    Raises:
        DirectoryError: the place is taken, not writable, or full.
    """
    check_place(out, marker)
    place = Path(os.path.realpath(out))
    made = [folder for folder in place.parents if not folder.exists()]
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        clean(place.parent, place.name)
        work = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=_PART, dir=place.parent))
        handle = os.open(work, os.O_RDONLY) if fcntl is not None else -1
        _lock(handle)
    except OSError as error:
        _remove_empty(made)
        raise DirectoryError(f"{out}: wanted a place that can be written; got: {error.strerror}") from None
    try:
        yield work
        work.chmod(0o755)
        _to_disk(work)
        _swap(work, place)
    except OSError as error:
        raise DirectoryError(f"{out}: wanted a place that can be written; got: {error.strerror or error}") from None
    finally:
        if handle >= 0:
            os.close(handle)
        shutil.rmtree(work, ignore_errors=True)
        _remove_empty(made)


def _remove_empty(folders: list[Path]) -> None:
    """Remove what was made on the way to a directory that was not written, the innermost first."""
    try:
        for folder in folders:
            folder.rmdir()
    except OSError:
        return  # not empty, as it should be, or never made


def _to_disk(folder: Path) -> None:
    """Wait until every file of a folder is on the disk."""
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir() and os.name == "nt":
            continue  # a folder cannot be opened there
        handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _swap(work: Path, out: Path) -> None:
    """Put `work` in the place of `out`; the old one goes only after the new one stands."""
    if not out.exists():
        os.rename(work, out)
        return
    if _exchanged(work, out):
        return  # what is at `work` now is removed by whoever made it
    old = out.with_name(f".{out.name}.{os.getpid()}{_OLD}")
    try:
        os.rename(out, old)
        os.rename(work, out)
    except BaseException:
        # Ctrl-C included. Where it came after the second step, the new one stands and the old one goes.
        if not out.exists():
            os.rename(old, out)
        raise
    finally:
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Whether two names were exchanged, in one step: there is no instant without a directory under either."""
    try:
        exchange = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return False  # not on every system
    return exchange(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0


def clean(folder: Path, name: str = "*") -> None:
    """Remove what runs that were killed left in a folder: half files, and directories that were never put in place.

    Whoever is still at work holds a lock on its own. `name` is that of the file or directory they were meant for.
    """
    if fcntl is None:
        return
    pattern = name if name == "*" else glob.escape(name)
    for path in [*folder.glob(f".{pattern}.*{_PART}"), *folder.glob(f".{pattern}.*{_OLD}")]:
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
            finally:
                os.close(handle)


def _remove(path: Path) -> None:
    meant = path.with_name(path.name[1:].rsplit(".", 2)[0])
    if path.name.endswith(_OLD) and not meant.exists():
        os.rename(path, meant)  # killed between the two steps: the earlier run comes back
    elif path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()


def _lock(handle: int) -> None:
    """Say that somebody is at work on a file or directory, until it is closed."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
