"""What a command came to, in words and tables: the same on a terminal and on a page, where its figures stand beside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.files.run_directory import finite, write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = "report.html"


@dataclass(frozen=True)
class Table:
    """Rows of text below a header; the first column names the row, a line break in a name is one on the page.

    Attributes:
        title: what the rows are.
        header: names of the columns, with their units.
        rows: one cell a column.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Account:
    """What a command came to."""

    title: str  #: of the page
    question: str  #: that the command answers, in one sentence
    answer: Sequence[str]  #: in sentences, the first one first
    tables: Sequence[Table]  #: the numbers; those without rows are left out
    notes: Sequence[str] = ()  #: sentences below the tables


def by_endpoint(body: Mapping[str, Any], before: str = "") -> str:
    """By which endpoint many patients progress, after a word; empty where a multiple of the first cells says it."""
    return "" if body["endpoint"] == "burden_factor" else f"{before} by {body['endpoint']}"


def severe_of(found: Mapping[str, Any]) -> list[str]:
    """One cell: patients with severe neutropenia, of those who count; none where there are no grades."""
    graded = found.get("neutropenia", {})
    return [f"{graded['3'] + graded['4']} of {sum(graded.values())}"] if graded else []


def write_account(
    folder: Path, account: Account, document: Mapping[str, Any], figures: "Mapping[str, Figure] | None" = None
) -> None:
    """Write report.html, and NAME.png and NAME.svg of each figure, into a folder that is there."""
    drawn = {}
    if figures:
        from optimizer.report.plots.style import save_all

        drawn = save_all(figures, folder)
    from optimizer.report.html import account_page

    write_whole(folder / PAGE, account_page(account, finite(document), drawn).encode())
