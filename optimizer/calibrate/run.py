"""`calibrate`: a table in, a checked directory of parameters with their doubt out."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from optimizer.calibrate.audit import Consequence, audit_rates, audit_secretion
from optimizer.calibrate.files import Draw, check_writable, write_report
from optimizer.calibrate.ic50 import ic50_report
from optimizer.calibrate.plate_report import plate_report
from optimizer.calibrate.presets import preset
from optimizer.calibrate.rates_report import rates_report
from optimizer.calibrate.report import FitReport, Options, with_warnings
from optimizer.calibrate.secretion import secretion_report
from optimizer.calibrate.tables import Table, read_table
from optimizer.calibrate.timeseries_report import timeseries_report
from optimizer.files.faults import DataError
from optimizer.programs import check_64_bits

REPORTS: dict[str, Callable[[Table, Options], FitReport]] = {
    "rates": rates_report,
    "secretion": secretion_report,
    "plate": plate_report,
    "ic50": ic50_report,
    "timeseries": timeseries_report,
}
LOSSES = ("linear", "soft_l1", "huber", "cauchy")


def calibrate(
    file: str | Path,
    kind: str,
    out: str | Path,
    method: str = "direct",
    bayes: bool = False,
    against: str | None = None,
    seed: int = 0,
    starts: int = 200,
    *,
    level: float = 0.9,
    loss: str = "linear",
    deviation: str | None = None,
    hierarchical: bool = False,
    settings: Mapping[str, Any] | None = None,
    schedule_consequence: Consequence | None = None,
    draw: Draw | None = None,
) -> FitReport:
    """Fit the table `file` of one `kind` and write the directory `out` whole or not at all.

    `level` is that of every interval. `draw(report, directory)` writes figures; `schedule_consequence` turns a
    parameter set into its best schedule and burden for the audit `against` a preset.

    Raises `DataError` for whatever a user can
    mend: the table, the kind, the method, the preset or `out`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = calibrate("data/lapatinib_ic50.csv", "ic50", folder + "/fit")
    >>> round(report.derived["fold_resistance"]["BT-474"], 1)
    78.6
    """
    options = Options(
        method=method,
        starts=starts,
        seed=seed,
        level=level,
        loss=loss,
        deviation=deviation,
        bayes=bayes,
        hierarchical=hierarchical,
        settings=dict(settings or {}),
    )
    check_64_bits("calibrate")
    if bayes and find_spec("numpyro") is None:
        raise DataError("bayes: wanted the package numpyro (pip install 'adose[bayes]'); got none")
    _check(options, kind, against)
    check_writable(Path(out))
    table = read_table(file, kind)
    report = REPORTS[kind](table, options)
    if against is not None:
        report = _audited(report, table, against, options, schedule_consequence)
    report = with_warnings(report, *table.flags)
    report = replace(report, provenance=_provenance(Path(file), options))
    write_report(report, out, draw)
    return report


def _check(options: Options, kind: str, against: str | None) -> None:
    if kind not in REPORTS:
        raise DataError(f"kind: wanted one of {', '.join(REPORTS)}, got {kind!r}")
    if options.method not in ("direct", "two-stage"):
        raise DataError(f"method: wanted direct or two-stage, got {options.method!r}")
    if options.starts < 1:
        raise DataError(f"starts: wanted at least 1, got {options.starts}")
    if not 0.0 < options.level < 1.0:
        raise DataError(f"level: wanted a number between 0 and 1, got {options.level}")
    if options.loss not in LOSSES:
        raise DataError(f"loss: wanted one of {', '.join(LOSSES)}, got {options.loss!r}")
    if options.bayes and options.loss != "linear":
        raise DataError(f"bayes: wanted loss linear, got {options.loss}")
    if options.method == "two-stage" and kind != "rates":
        raise DataError(f"method: wanted direct for a table of kind {kind}, got two-stage")
    if options.hierarchical and (kind in ("rates", "ic50") or (kind == "secretion" and not options.bayes)):
        raise DataError(f"hierarchical: wanted kind plate or timeseries, or secretion with bayes, got {kind}")
    if against is not None:
        preset(against)
        if kind not in ("rates", "secretion"):
            raise DataError(f"against: wanted kind rates or secretion, which {against} was fitted to, got {kind}")


def _audited(
    report: FitReport, table: Table, name: str, options: Options, consequence: Consequence | None
) -> FitReport:
    if report.kind == "rates":
        audit = audit_rates(table, name, options, consequence)
    elif "drug" in table:
        audit = audit_secretion(table, name, options)
    else:
        raise DataError(f"against: wanted a secretion table with doses, which {name} was fitted to, got times")
    return with_warnings(replace(report, against=audit), *audit["sentences"])


def _provenance(path: Path, options: Options) -> dict[str, Any]:
    """What is needed to run it again: the table's digest, the seed and the versions."""
    packages = ("jax", "optimistix", "numpy", "scipy")
    return {
        "table": {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
        "seed": options.seed,
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }
