"""Tables of features: PyRadiomics exports and clinical columns as numbers, one row a patient."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
from jaxtyping import Float

from optimizer.files.faults import DataError, Fault, refuse, show
from optimizer.files.sheets import Sheet, read_sheet

CLINICAL = "clinical"
_PATIENT = ("patient", "patientid", "id", "name", "subject", "case", "caseid")
_MISSING = ("", "na", "n/a", "nan", "null", "none", ".", "unknown", "not collected")
# Columns of PyRadiomics that describe the software and the image.
_DROPPED = ("diagnostics_",)
# original_glcm_Contrast, wavelet-LLH_firstorder_Mean, log-sigma-3-0-mm-3D_glszm_ZoneEntropy
_RADIOMICS = re.compile(r"([a-zA-Z]+[a-zA-Z0-9]*)[^_]*_(shape2D|shape|firstorder|glcm|glrlm|glszm|gldm|ngtdm)_\w+")
# Text of more kinds than this names things; it is no category.
_MOST_KINDS = 10


@dataclass(frozen=True)
class Features:
    """Features of P patients."""

    names: tuple[str, ...]  #: of the columns; a category is "column = kind" [F]
    #: to which group each belongs: "clinical", or filter and class of PyRadiomics, or "features" [F]
    groups: tuple[str, ...]
    values: Float[np.ndarray, "P F"]  #: NaN where missing [P, F]
    patients: tuple[str, ...]  #: names [P]
    left_out: tuple[str, ...] = ()  #: columns that are no features
    labels: tuple[str, ...] = ()  #: text of the label, "" where there is none [P]; empty without one
    lines: tuple[int, ...] = ()  #: of the file, of each patient [P]

    def of(self, names: Sequence[str], path: Path) -> Float[np.ndarray, "P G"]:
        """The columns of these names; a category that no patient has is 0.

        Raises:
            DataError: one is not there.
        """
        own, found = dict(zip(self.names, self.values.T, strict=True)), []
        kinds = {name.split(" = ")[0] for name in self.names if " = " in name}
        for name in names:
            if name not in own and name.split(" = ")[0] not in kinds:
                raise DataError(f"{path}: wanted the column {show(name)}, which the model was trained on; got none")
            found.append(own.get(name, np.zeros(len(self.patients))))
        return np.stack(found, axis=1)


def read_features(path: Path, label: str | None = None, clinical: Path | None = None) -> Features:
    """The features of a table, those of a clinical one behind them.

    Args:
        path: CSV or Parquet, one row a patient; a column of names, else patients are numbered.
        label: column that is to be foretold, of either table.
        clinical: a second table, whose patients are found by name; it may have others.

    Raises:
        DataError: no patients, two of one name, no such label, or a table that cannot be read.
    """
    sheet = read_sheet(path)
    patients = _patients(sheet, path)
    names, groups, columns, left_out = _columns(sheet, "", {label})
    labels = _texts(sheet, label) if label in sheet.header else None
    if clinical is not None:
        more = read_sheet(clinical)
        if not any(_is_name(name) for name in more.header):
            raise refuse(clinical, more.header_line, "", "a column of patients, such as patient", "none")
        rows = {name: i for i, name in enumerate(_patients(more, clinical))}
        missing = [name for name in patients if name not in rows]
        if missing:
            raise DataError(f"{clinical}: wanted a row for each patient of {path}; got none for {show(missing[0])}")
        order = [rows[name] for name in patients]
        others = _columns(more, CLINICAL, {label})
        names, groups, left_out = names + others[0], groups + others[1], left_out + others[3]
        columns += [column[order] for column in others[2]]
        if labels is None and label in more.header:
            labels = [_texts(more, label)[i] for i in order]
    if label is not None and labels is None:
        known = ", ".join(name for name in sheet.header if not name.startswith(_DROPPED))
        listed = shorten(known, 120, placeholder=" ...")
        raise refuse(path, sheet.header_line, "", f"the label {show(label)}", f"the columns {listed}")
    if not columns:
        raise refuse(path, sheet.header_line, "", "at least one column of numbers", "none")
    values, lines = np.stack(columns, axis=1), tuple(sheet.lines.tolist())
    return Features(tuple(names), tuple(groups), values, patients, tuple(left_out), tuple(labels or ()), lines)


def classes(features: Features, path: Path, label: str) -> tuple[np.ndarray, tuple[str, str]]:
    """The label as 0 and 1 [P], and what they stand for: of two texts the later one is 1.

    Raises:
        DataError: a patient without a label, one class alone, or more than two.
    """
    pairs = zip(features.labels, features.lines, strict=True)
    faults = [Fault(str(path), line, label, "a label", "none") for text, line in pairs if text.lower() in _MISSING]
    DataError.stop(faults)
    kinds = sorted(set(features.labels))
    if len(kinds) != 2:
        listed = ", ".join(show(kind) for kind in kinds[:5])
        raise DataError(f"{path}: column {label}: wanted two classes; got {len(kinds)}: {listed}")
    return np.array([int(text == kinds[1]) for text in features.labels]), (kinds[0], kinds[1])


def _is_name(header: str) -> bool:
    return re.sub(r"[^a-z]", "", header.lower()) in _PATIENT


def _texts(sheet: Sheet, name: str | None) -> list[str]:
    cells = sheet.cells[sheet.header.index(str(name))]
    return [
        "" if value != value else f"{value:g}" if isinstance(value, float) else str(value).strip() for value in cells
    ]


def _patients(sheet: Sheet, path: Path) -> tuple[str, ...]:
    if not len(sheet.lines):
        raise refuse(path, sheet.header_line, "", "a header and a row for each patient", "no row")
    named = next((name for name in sheet.header if _is_name(name)), None)
    if named is None:
        return tuple(map(str, range(len(sheet.lines))))
    names = _texts(sheet, named)
    for i, name in enumerate(names):
        if name in names[:i]:
            raise refuse(path, int(sheet.lines[i]), named, "each patient once", f"{show(name)} twice")
    return tuple(names)


def _columns(
    sheet: Sheet, group: str, apart: set[str | None]
) -> tuple[list[str], list[str], list[np.ndarray], list[str]]:
    """Names, groups and numbers of the features of a table, and the columns that are none."""
    names, groups, columns, left_out = list[str](), list[str](), list[np.ndarray](), list[str]()
    for header in sheet.header:
        if header in apart or _is_name(header):
            continue
        if header.startswith(_DROPPED):
            left_out.append(header)
            continue
        found = _RADIOMICS.fullmatch(header)
        own = group or (f"{found[1]} {found[2]}" if found else "features")
        for name, column in _numbers(header, _texts(sheet, header)).items():
            names.append(name)
            groups.append(own)
            columns.append(column)
        if not names or names[-1].split(" = ")[0] != header:
            left_out.append(header)
    return names, groups, columns, left_out


def _numbers(header: str, texts: Sequence[str]) -> Mapping[str, Any]:
    """A column as numbers, or a column of 0 and 1 for each kind of text; nothing of text that names things."""
    is_known = np.array([text.lower() not in _MISSING for text in texts])
    try:
        numbers = np.array([float(t) if known else np.nan for t, known in zip(texts, is_known, strict=True)])
        return {header: np.where(np.isfinite(numbers), numbers, np.nan)}
    except ValueError:
        kinds = sorted({text for text, known in zip(texts, is_known, strict=True) if known})
    if len(kinds) > min(_MOST_KINDS, len(texts) // 2):
        return {}
    return {f"{header} = {kind}": np.where(is_known, np.array(texts) == kind, np.nan) for kind in kinds}
