"""The directory of a cohort: a manifest, one file for each finished chunk, and what is made of them at the end."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from optimizer.files.run_directory import DirectoryError, write_whole

MARKER = "manifest.json"
FORMAT = "adose-cohort-1"
Columns = dict[str, Any]


def to_bytes(document: Any) -> bytes:
    """JSON that is the same bytes for the same content."""
    return (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def digest(path: Path | None) -> str | None:
    """SHA-256 of a file that patients come from."""
    return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()


def open_run(out: Path, manifest: Mapping[str, Any]) -> None:
    """Begin a run, or go on with one that was begun with the same manifest.

    Raises:
        DirectoryError: the directory holds something else, or a run of which a field of the manifest differs.
    """
    known = out / MARKER
    if out.exists() and not out.is_dir():
        raise DirectoryError(f"{out}: wanted a directory; got a file")
    if not known.is_file():
        if out.is_dir() and any(not entry.name.startswith(".") for entry in out.iterdir()):
            raise DirectoryError(f"{out}: wanted a new directory or an earlier run with {MARKER}; got other files")
        write_whole(known, to_bytes(manifest))
        return
    try:
        before = json.loads(known.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise DirectoryError(f"{known}: wanted the manifest of an earlier run; got something else") from None
    differs = _difference(before, json.loads(to_bytes(manifest)), "")
    if differs is not None:
        field, was, now = differs
        wanted = f"{field} = {_short(was)}, as in the run that is there"
        raise DirectoryError(f"{out}: wanted {wanted}; got {_short(now)}: name another directory with --out")


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


def table_bytes(columns: Mapping[str, Any]) -> bytes:
    """Columns as Parquet; the same columns give the same bytes. A two-dimensional one is a list in every row."""
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


def read_table(path: Path) -> Columns:
    """Columns of a file that `table_bytes` made.

    Raises:
        DirectoryError: it cannot be read.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DirectoryError(f"{path}: wanted a chunk of this run; got: {str(error)[:80]}") from None
    out: Columns = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if pa.types.is_fixed_size_list(column.type):
            out[name] = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size)
        elif pa.types.is_string(column.type):
            out[name] = column.to_pylist()
        else:
            out[name] = column.to_numpy(zero_copy_only=False)
    return out


def joined(parts: Sequence[Columns]) -> Columns:
    """Chunks one below the other."""
    out: Columns = {}
    for name, first in parts[0].items():
        pieces = [part[name] for part in parts]
        out[name] = np.concatenate(pieces) if isinstance(first, np.ndarray) else [x for piece in pieces for x in piece]
    return out
