"""A folder of kept bytes that are believed only while their digest fits; a file that is wrong in any way is a miss.

What is kept here is run: the folder belongs to the user alone, nothing in it is unpickled, and a file that was cut
short, damaged, renamed or written for another processor is deleted when it is met.
"""

import functools
import hashlib
import os
import platform
import stat
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SUFFIX, _PART = ".kept", ".part"
_DIGEST = hashlib.sha256().digest_size
# After this many seconds nobody is still writing a file.
_FORGOTTEN = 3600.0


def private_folder(folder: Path) -> Path | None:
    """The folder, made where it is not there, if it belongs to the user and nobody else may enter; else None."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        if os.name == "nt":
            return folder
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            return None
        if found.st_mode & 0o077:
            folder.chmod(0o700)  # others could read it, never write
        return folder if os.access(folder, os.W_OK) else None
    except OSError:
        return None


@dataclass(frozen=True)
class Store:
    """Bytes by key in a private folder, those that were not used for longest the first to go."""

    folder: Path  #: see `private_folder`
    most_bytes: int  #: of all files

    def path(self, key: str) -> Path:
        """File of a key; compiled code is of use to one kind of processor."""
        name = hashlib.sha256(f"{_processor()} {key}".encode()).hexdigest()
        return self.folder / f"{name}{_SUFFIX}"

    def get(self, key: str, made: Callable[[bytes], Any] = lambda data: data) -> Any:
        """What `made` makes of the bytes that were put; None where there are none that can be believed."""
        return self.read(self.path(key), made)

    def read(self, path: Path, made: Callable[[bytes], Any]) -> Any:
        """The same for a file of the folder."""
        try:
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
            with os.fdopen(handle, "rb") as file:
                said, data = file.read(_DIGEST), file.read(self.most_bytes)
            if said != _digest(path, data):
                raise ValueError
            found = made(data)
            os.utime(path)
        except FileNotFoundError:
            return None
        except Exception:  # a cache is a convenience: whatever is wrong with a file, it is made again
            with suppress(OSError):
                path.unlink()
            return None
        return found

    def put(self, key: str, data: bytes) -> None:
        """Keep bytes, whole or not at all; without room for them nothing is kept."""
        path = self.path(key)
        if len(data) > self.most_bytes:
            return
        name = ""
        try:
            handle, name = tempfile.mkstemp(suffix=_PART, dir=self.folder)
            with os.fdopen(handle, "wb") as file:
                file.write(_digest(path, data) + data)
            os.replace(name, path)
            self._make_room()
        except OSError:
            with suppress(OSError):
                os.unlink(name)

    def _make_room(self) -> None:
        with os.scandir(self.folder) as found:
            files = [(entry, entry.stat()) for entry in found if entry.is_file(follow_symlinks=False)]
        total = 0
        for entry, about in sorted(files, key=lambda pair: pair[1].st_mtime, reverse=True):
            total += about.st_size if entry.name.endswith(_SUFFIX) else 0
            is_old = entry.name.endswith(_PART) and time.time() - about.st_mtime > _FORGOTTEN
            if is_old or (entry.name.endswith(_SUFFIX) and total > self.most_bytes):
                os.unlink(entry)


def _digest(path: Path, data: bytes) -> bytes:
    return hashlib.sha256(path.name.encode() + data).digest()


@functools.cache
def _processor() -> str:
    """What kind of processor this is."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("flags", "Features")):
                return f"{platform.machine()} {line}"
    return f"{platform.machine()} {platform.processor()}"
