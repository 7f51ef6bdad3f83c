"""A directory written whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class DirectoryError(ValueError):
    """A place that cannot be written; the text is one sentence for the user."""


def check_place(out: Path, marker: str) -> None:
    """Refuse a place that holds something else than an earlier run, known by its file `marker`.

    Raises:
        DirectoryError: it is a file, or a directory with other things in it.
    """
    if out.is_dir():
        if any(out.iterdir()) and not (out / marker).is_file():
            raise DirectoryError(f"{out}: wanted a new directory or an earlier run with {marker}; got other files")
    elif out.exists() or out.is_symlink():
        raise DirectoryError(f"{out}: wanted a directory; got a file")


@contextmanager
def whole(out: Path, marker: str) -> Iterator[Path]:
    """A directory to fill, which takes the place of `out` in one step when the block ends without an error.

    Whatever goes wrong before that leaves `out` as it was and nothing beside it.

    Raises:
        DirectoryError: the place is taken, not writable, or full.
    """
    check_place(out, marker)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    except OSError as error:
        raise DirectoryError(f"{out}: wanted a place that can be written; got: {error.strerror}") from None
    try:
        yield work
        work.chmod(0o755)
        _swap(work, out)
    except OSError as error:
        raise DirectoryError(f"{out}: wanted a place that can be written; got: {error.strerror or error}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _swap(work: Path, out: Path) -> None:
    """Put `work` in the place of `out`; the old one goes only after the new one stands."""
    if not out.exists():
        os.rename(work, out)
        return
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    os.rename(out, old)
    try:
        os.rename(work, out)
    except OSError:
        os.rename(old, out)
        raise
    shutil.rmtree(old, ignore_errors=True)
