"""Cells to numbers: missing and censored values, thousands separators, decimal commas; nothing is guessed.

| cell | meaning |
|---|---|
| empty, `.`, `NA` | missing |
| `<0.1` | below 0.1, a limit of its own |
| `>50` | above 50 |
| `20,549` | 20549 where the file's decimal mark is a point |
| `0,5` | 0.5 where no cell of the file has a decimal point |
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

MISSING = ("", ".", "NA")
EXACT, BELOW, ABOVE = 0, -1, 1
_PLAIN = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
# Digits in groups of three behind commas, and what only a decimal comma explains.
_GROUPED = re.compile(r"[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]*)?")
_COMMA = re.compile(r"[+-]?([0-9]{1,3}(\.[0-9]{3})+|[0-9]+)?,[0-9]+([eE][+-]?[0-9]+)?")
_POINT = re.compile(r"[+-]?[0-9]*\.[0-9]+([eE][+-]?[0-9]+)?")
_LONGEST = 400


@dataclass(frozen=True)
class Marks:
    """What commas in the numbers of a file mean: "" none, "thousands", "decimal", or what makes them ambiguous."""

    comma: str = ""
    example: str = ""

    @property
    def sentence(self) -> str:
        """What was understood, for the user to check."""
        read = self.number(self.example)
        return f'"{self.example}" is read as {read:.17g} ({self.comma} comma{"s" if self.comma == "thousands" else ""})'

    def number(self, text: str) -> float:
        """A cell's number; NaN where it is none."""
        if self.comma == "thousands" and _GROUPED.fullmatch(text):
            text = text.replace(",", "")
        elif self.comma == "decimal" and _COMMA.fullmatch(text):
            text = text.replace(".", "").replace(",", ".")
        return float(text) if len(text) <= _LONGEST and _PLAIN.fullmatch(text) else np.nan


def marks_of(columns: Iterable[Any], separator: str) -> Marks:
    """What the commas in the columns of numbers of a file mean."""
    grouped = decimal = point = ""
    for cells in columns:
        if isinstance(cells, np.ndarray):
            continue
        for cell in cells:
            text = cell.strip().lstrip("<>").strip()
            if "," in text and _GROUPED.fullmatch(text):
                grouped = grouped or text
                point = point or (text if "." in text else "")
            elif "," in text and _COMMA.fullmatch(text):
                decimal = decimal or text
            elif "." in text and _POINT.fullmatch(text):
                point = point or text
    if decimal and point:
        return Marks("ambiguous", f'one decimal mark in the file; got "{decimal}" beside "{point}"')
    if grouped and not decimal and not point and separator != ",":
        return Marks("ambiguous", f'a decimal mark that can be told from one of thousands; got "{grouped}"')
    if decimal:
        return Marks("decimal", decimal)
    return Marks("thousands", grouped) if grouped else Marks()


def numbers(cells: Any, marks: Marks) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A column as float64, what is censored, and which cells are no number [rows each]; NaN where one is missing.

    Clean columns are converted at once, others cell by cell.
    """
    if isinstance(cells, np.ndarray):
        return cells.astype(float), np.zeros(len(cells), np.int8), ~np.isfinite(cells) & ~np.isnan(cells)
    values, clean = np.empty(len(cells)), False
    if not any("_" in cell for cell in cells):
        try:
            values = np.array(cells, dtype=float)
            clean = bool(np.isfinite(values).all()) and all(map(str.isascii, cells))
        except ValueError:
            clean = False
    if clean:
        return values, np.zeros(len(cells), np.int8), np.zeros(len(cells), bool)
    texts = [cell.strip() for cell in cells]
    signs = np.array([{"<": BELOW, ">": ABOVE}.get(text[:1], EXACT) for text in texts], np.int8)
    values = np.array(
        [marks.number(text[1:].lstrip() if sign else text) for text, sign in zip(texts, signs, strict=True)]
    )
    missing = np.array([text in MISSING for text in texts], bool)
    return values, signs, ~np.isfinite(values) & ~missing


def protected(cell: Any) -> Any:
    """A cell as it is written: text that a spreadsheet would take for a formula begins with an apostrophe.

    >>> protected("=1+1"), protected("drug"), protected(-1.5)
    ("'=1+1", 'drug', -1.5)
    """
    is_formula = isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r", "'"))
    return f"'{cell}" if is_formula and not _PLAIN.fullmatch(cell) else cell


def bare(text: str) -> str:
    """A text cell as it was before `protected`."""
    return text[1:] if text[:1] == "'" and text[1:2] in ("=", "+", "-", "@", "\t", "\r", "'") else text
