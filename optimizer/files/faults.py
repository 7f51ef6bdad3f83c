"""What is wrong with a table, said so that its owner can mend it: one sentence a fault."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SHOWN = 20


class TableWarning(UserWarning):
    """A table was read, and something in it was left out, added up or assumed."""


@dataclass(frozen=True)
class Fault:
    """One fault of one cell: `FILE:LINE: column X: wanted ...; got ...`; of the line where no column is named.

    >>> print(Fault("plate.csv", 7, "dose_ug_per_ml", "a finite number", '"n.d."'))
    plate.csv:7: column dose_ug_per_ml: wanted a finite number; got "n.d."
    """

    file: str
    line: int
    column: str
    wanted: str
    got: str

    def __str__(self) -> str:
        column = f" column {self.column}:" if self.column else ""
        return f"{self.file}:{self.line}:{column} wanted {self.wanted}; got {self.got}"


class DataError(ValueError):
    """A table (or what was asked of it) that cannot be used; `faults` holds every fault, the text the first 20.

    >>> raise DataError([Fault("a.csv", 2, "time_day", "a time >= 0", "-1")])
    Traceback (most recent call last):
    ...
    optimizer.files.faults.DataError: a.csv:2: column time_day: wanted a time >= 0; got -1
    """

    def __init__(self, faults: str | Sequence[Fault]):
        self.faults: tuple[Fault, ...] = () if isinstance(faults, str) else tuple(faults)
        if isinstance(faults, str):
            text = faults
        else:
            text = "\n".join(str(fault) for fault in faults[:SHOWN])
            if len(faults) > SHOWN:
                text += f"\n... and {len(faults) - SHOWN} more faults"
        super().__init__(text)

    @classmethod
    def stop(cls, faults: Sequence[Fault]) -> None:
        """Raise what was found, if anything."""
        if faults:
            raise cls(faults)


def refuse(path: str | Path, line: int, column: str, wanted: str, got: str) -> DataError:
    """The error of a single fault, ready to be raised.

    >>> str(refuse("data/a.csv", 1, "header", "a drug column", "none"))
    'data/a.csv:1: column header: wanted a drug column; got none'
    """
    return DataError([Fault(str(path), line, column, wanted, got)])


def show(value: object) -> str:
    """A value in an error message: short, printable, text in quotes; "nothing" where there is none."""
    if value is None or value == "":
        return "nothing"
    if isinstance(value, int) and abs(value) > 2**64:
        return "a larger whole number"
    if isinstance(value, str):
        text = value if value.isprintable() else value.encode("unicode_escape").decode("ascii")
        return f'"{text if len(text) <= 40 else text[:37] + "..."}"'
    if isinstance(value, float):
        return f"{value:.15g}"
    return repr(value) if isinstance(value, int) else f"a {type(value).__name__}"
