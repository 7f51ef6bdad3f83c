"""Run: a chunked, digested, resumable directory; its manifest says what was asked, and each finished file's digest.

A digest is written down before its file: a file that is missing is made again, one that is there without its digest or
with another one is refused by name. Processes that share a directory leave the manifest alone: each marks its digests
by empty files `digests/NAME.SHA256`, which the next run that has the directory to itself takes into the manifest.
Tables are columns, as Parquet.
"""

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.files.run_directory import DirectoryError, check_writable, clean, to_text, write_whole

MARKER = "manifest.json"
_FILES, _DIGESTS = "files", "digests"
Columns = dict[str, Any]


def to_bytes(document: Any) -> bytes:
    """JSON that is the same bytes for the same content."""
    return to_text(document).encode()


def digest(path: Path | None) -> str | None:
    """SHA-256 of a file that patients come from."""
    return None if path is None else _sha256(path.read_bytes())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Run:
    """A run that is begun in `out`, or gone on with where one was begun with the same manifest.

    The manifest is what its bytes depend on, JSON-able; `is_shared` where others may be at work there at the same time.

    Raises:
        DirectoryError: the directory holds something else, or a run of which a field of the manifest differs.
    """

    def __init__(self, out: Path, manifest: Mapping[str, Any], is_shared: bool = False):
        check_writable(out)
        self.out, self.digests, self._is_shared = out, dict[str, str](), is_shared
        self._asked = json.loads(to_bytes(manifest))
        known = out / MARKER
        # In this order: whoever else begins here writes the manifest first.
        is_taken = out.is_dir() and any(not entry.name.startswith(".") for entry in out.iterdir())
        if not is_taken:
            self._write(keep=True)
        if not known.is_file():
            raise DirectoryError(f"{out}: wanted a new directory or an earlier run with {MARKER}; got other files")
        self._go_on(known)
        if not is_shared:
            self.gather()

    def _go_on(self, known: Path) -> None:
        try:
            before = json.loads(known.read_text(encoding="utf-8"))
            self.digests = dict(before.pop(_FILES, {}))
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            raise DirectoryError(f"{known}: wanted the manifest of an earlier run; got something else") from None
        differs = _difference(before, self._asked, "")
        if differs is not None:
            field, was, now = differs
            wanted = f"{field} = {_short(was)}, as in the run that is there"
            raise DirectoryError(f"{self.out}: wanted {wanted}; got {_short(now)}: name another directory with --out")

    def _write(self, keep: bool = False) -> None:
        write_whole(self.out / MARKER, to_bytes({**self._asked, _FILES: dict(sorted(self.digests.items()))}), keep)

    def gather(self) -> None:
        """Take the digests that others marked, and whose files are there, into the manifest; what kills left goes."""
        for folder in (self.out, *(e for e in self.out.iterdir() if e.is_dir() and not e.is_symlink())):
            clean(folder)
        folders = sorted({self.out / _DIGESTS, *(self.out / _DIGESTS).glob("**/")}, reverse=True)
        for folder in folders:
            clean(folder)
        marks = [path for folder in folders for path in folder.glob("*") if path.is_file()]
        names = {path: str(path.relative_to(self.out / _DIGESTS).with_suffix("").as_posix()) for path in marks}
        there = {name: digest(self.out / name) for name in set(names.values()) if (self.out / name).is_file()}
        self.digests |= {name: there[name] for path, name in names.items() if there.get(name) == path.suffix[1:]}
        if there:
            self._write()
        for path, name in names.items():
            if name in there:
                path.unlink(missing_ok=True)
        for folder in folders:
            with suppress(OSError):
                folder.rmdir()  # only an empty one goes

    def _mark(self, name: str, sha256: str) -> Path:
        return self.out / _DIGESTS / f"{name}.{sha256}"

    def has(self, names: Sequence[str]) -> bool:
        """Whether files are there, whatever is in them."""
        return all((self.out / name).exists() for name in names)

    def parts(self, names: Sequence[str], make: Callable[[], Sequence[bytes]]) -> list[bytes]:
        """Files that are made together, as they were kept; where one is missing all are made.

        `make` gives their bytes, the same in every run of this manifest.

        Raises:
            DirectoryError: a file that this run did not write, or one that cannot be written.
        """
        kept = [self._read(name) for name in names]
        if not any(data is None for data in kept):
            return [data for data in kept if data is not None]
        made = list(make())
        found = {name: _sha256(data) for name, data in zip(names, made, strict=True)}
        if self._is_shared:
            for name, sha256 in found.items():
                write_whole(self._mark(name, sha256), b"")
        else:
            self.digests |= found
            self._write()
        for name, data in zip(names, made, strict=True):
            write_whole(self.out / name, data, keep=self._is_shared)
        # Of several who made the same file at the same time, the first one's stays.
        return [self._read(name) or data for name, data in zip(names, made, strict=True)] if self._is_shared else made

    def _read(self, name: str) -> bytes | None:
        path = self.out / name
        if not path.is_symlink() and not path.exists():
            return None
        if path.is_symlink() or not path.is_file():
            raise DirectoryError(f"{path}: wanted a file of this run; got something else")
        data = path.read_bytes()
        known = _sha256(data) if self._mark(name, _sha256(data)).is_file() else self.digests.get(name)
        if known != _sha256(data):
            got = "none is written down" if known is None else "another: the file was changed or cut short"
            raise DirectoryError(f"{path}: wanted the digest in {MARKER}; got {got}; delete it to have it made again")
        return data


def _difference(before: Any, now: Any, path: str) -> tuple[str, Any, Any] | None:
    """The first field that differs, with both its values."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(k for k in now if k not in before)]:
            found = _difference(before.get(key), now.get(key), f"{path}.{key}" if path else key)
            if found is not None:
                return found
        return None
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for i, (a, b) in enumerate(zip(before, now, strict=True)):
            found = _difference(a, b, f"{path}[{i}]")
            if found is not None:
                return found
        return None
    return None if before == now else (path, before, now)


def _short(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


# --- tables -----------------------------------------------------------------------------------------------------------


def table_bytes(columns: Mapping[str, Any]) -> bytes:
    """Columns as Parquet; the same columns give the same bytes. A two-dimensional one is a list in every row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays, names = [], []
    for name, values in columns.items():
        if isinstance(values, np.ndarray) and values.ndim == 2:
            kind = pa.list_(pa.from_numpy_dtype(values.dtype), values.shape[1])
            arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), type=kind))
        elif isinstance(values, np.ndarray):
            arrays.append(pa.array(values))
        else:
            arrays.append(pa.array(list(values), pa.string()))
        names.append(name)
    sink = io.BytesIO()
    pq.write_table(pa.table(arrays, names=names), sink, compression="zstd")
    return sink.getvalue()


def columns_of(data: bytes, path: Path, keys: Mapping[str, Sequence[Any]]) -> Columns:
    """Columns of a table that `table_bytes` made, whose rows have these values of some columns, the `keys`.

    Raises:
        DirectoryError: it cannot be read, or the rows are others.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(data))
        out = {name: _values(table.column(name)) for name in table.column_names}
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise DirectoryError(f"{path}: wanted a chunk of this run; got: {' '.join(str(error).split())[:80]}") from None
    for name, wanted in keys.items():
        if name not in out:
            raise DirectoryError(f"{path}: wanted a column {name}; got none")
        if list(out[name]) != list(wanted):
            said = [f"{len(rows)} rows, {_short(str([*rows[:1], *rows[-1:]]))}" for rows in (wanted, out[name])]
            raise DirectoryError(f"{path}: {name}: wanted {said[0]}; got {said[1]}, or others between")
    return out


def _values(column: Any) -> Any:
    """An Arrow column as an array, lists of one length as rows; text as a list."""
    import pyarrow as pa

    whole = column.combine_chunks()
    if pa.types.is_fixed_size_list(whole.type):
        return whole.flatten().to_numpy(zero_copy_only=False).reshape(len(whole), whole.type.list_size)
    return whole.to_pylist() if pa.types.is_string(whole.type) else whole.to_numpy(zero_copy_only=False)


def joined(parts: Mapping[Path, Columns]) -> Columns:
    """Chunks one below the other.

    Raises:
        DirectoryError: one has other columns than the first.
    """
    first = next(iter(parts.values()))
    kinds = _kinds(first)
    for path, part in parts.items():
        if _kinds(part) != kinds:
            odd = next(iter(set(_kinds(part).items()) ^ set(kinds.items())))[0]
            raise DirectoryError(f"{path}: wanted the columns of the other chunks; got another: {odd}")
    out: Columns = {}
    for name, values in first.items():
        pieces = [part[name] for part in parts.values()]
        out[name] = np.concatenate(pieces) if isinstance(values, np.ndarray) else [x for piece in pieces for x in piece]
    return out


def _kinds(part: Columns) -> dict[str, Any]:
    return {
        name: (str(values.dtype), values.shape[1:]) if isinstance(values, np.ndarray) else "text"
        for name, values in part.items()
    }
