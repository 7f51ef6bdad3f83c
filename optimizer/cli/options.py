"""Options that several commands have."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

File = Annotated[Path, typer.Argument(help="scenario file (TOML)", metavar="FILE", show_default=False)]
Out = Annotated[Path | None, typer.Option(help="run directory; runs/NAME when left out", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="print one JSON document on stdout, and nothing else there")]
NoPlot = Annotated[bool, typer.Option("--no-plot", help="draw no figures")]
TimeUnit = Annotated[
    str | None,
    typer.Option("--time-unit", help="of times in tables without a unit: h, day, week", show_default=False),
]
AllowCode = Annotated[bool, typer.Option("--allow-code", help="run Python files that the scenario names")]


class Device(StrEnum):
    """Where a command computes."""

    CPU = "cpu"
    GPU = "gpu"


Where = Annotated[
    Device | None, typer.Option("--device", help="where to compute; a GPU if there is one", show_default=False)
]


class Precision(StrEnum):
    """Numbers that a command computes with."""

    FLOAT64 = "float64"
    FLOAT32 = "float32"


class Risk(StrEnum):
    """How the objectives of many patients are made one."""

    MEAN = "mean"
    CVAR = "cvar"
    WORST = "worst"
