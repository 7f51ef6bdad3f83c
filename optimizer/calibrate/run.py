"""`calibrate`: a table in, a checked directory of parameters with their doubt out."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from optimizer.calibrate.audit import FITTED, Consequence, audit_rates, audit_secretion
from optimizer.calibrate.files import Draw, check_writable, write_report
from optimizer.calibrate.fit import Settings
from optimizer.calibrate.ic50 import ic50_report
from optimizer.calibrate.plate_report import plate_report
from optimizer.calibrate.rates_report import rates_report
from optimizer.calibrate.report import FitReport, with_warnings
from optimizer.calibrate.secretion import secretion_report
from optimizer.calibrate.tables import Table, read_table
from optimizer.calibrate.timeseries_report import timeseries_report
from optimizer.files.faults import DataError
from optimizer.programs import check_64_bits

REPORTS: dict[str, Callable[[Table, Settings], FitReport]] = {
    "rates": rates_report,
    "secretion": secretion_report,
    "plate": plate_report,
    "ic50": ic50_report,
    "timeseries": timeseries_report,
}


def calibrate(
    file: str | Path,
    kind: str,
    out: str | Path,
    method: str = "direct",
    *,
    schedule_consequence: Consequence | None = None,
    draw: Draw | None = None,
    **settings: Any,
) -> FitReport:
    """Fit the table `file` of one `kind` and write the directory `out` whole or not at all.

    Args:
        file: CSV or Parquet.
        kind: a key of `REPORTS`.
        out: new directory, or that of an earlier calibration, which is replaced.
        method: `direct`, or `two-stage` for rates.
        schedule_consequence: turns a parameter set into its best schedule and burden for the audit `against` a preset.
        draw: writes figures, called with the report and the directory.
        settings: any other field of `FitSettings`.

    Raises:
        DataError: for whatever a user can mend: the table, a setting or `out`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = calibrate("data/lapatinib_ic50.csv", "ic50", folder + "/fit")
    >>> round(report.derived["fold_resistance"]["BT-474"], 1)
    78.6
    """
    chosen = Settings(**settings, method=method)  # type: ignore[arg-type]
    check_64_bits("calibrate")
    if chosen.bayes and find_spec("numpyro") is None:
        raise DataError("bayes: wanted the package numpyro (pip install 'adose[bayes]'); got none")
    _check(chosen, kind)
    check_writable(Path(out))
    chosen.progress("read")
    table = read_table(file, kind, chosen.time_unit)
    report = REPORTS[kind](table, chosen)
    if chosen.against is not None:
        report = _audited(report, table, chosen, schedule_consequence)
    report = with_warnings(report, *table.notes)
    if not report.fragment.tables:
        report = with_warnings(report, *(f"no scenario is written: {why}" for why in report.fragment.notes))
    report = replace(report, provenance=_provenance(Path(file), chosen))
    chosen.progress("write")
    write_report(report, out, draw)
    return report


def _check(settings: Settings, kind: str) -> None:
    if kind not in REPORTS:
        raise DataError(f"kind: wanted one of {', '.join(REPORTS)}; got {kind!r}")
    for name, of in get_type_hints(Settings).items():
        known = [w for part in (of, *get_args(of)) if get_origin(part) is Literal for w in get_args(part)]
        if known and getattr(settings, name) not in (*known, *([None] if type(None) in get_args(of) else [])):
            words = " or ".join(known) if len(known) == 2 else f"one of {', '.join(known)}"
            raise DataError(f"{name}: wanted {words}; got {getattr(settings, name)!r}")
    if settings.against not in (None, *FITTED):
        raise DataError(f"against: wanted one of {', '.join(FITTED)}; got {settings.against!r}")
    for name in ("starts", "draws", "chains"):
        if getattr(settings, name) < 1:
            raise DataError(f"{name}: wanted at least 1; got {getattr(settings, name)}")
    for name in ("assay_time", "doubling_time", "elimination_rate", "hill"):
        value = getattr(settings, name)
        if value is not None and not 0.0 < value < float("inf"):
            raise DataError(f"{name}: wanted more than 0; got {value}")
    if not 0.0 < settings.level < 1.0:
        raise DataError(f"level: wanted a number between 0 and 1; got {settings.level}")
    if settings.bayes and settings.loss != "linear":
        raise DataError(f"bayes: wanted loss linear; got {settings.loss}")
    if settings.method == "two-stage" and kind != "rates":
        raise DataError(f"method: wanted direct for a table of kind {kind}; got two-stage")
    if settings.hierarchical and (kind in ("rates", "ic50") or (kind == "secretion" and not settings.bayes)):
        raise DataError(f"hierarchical: wanted kind plate or timeseries, or secretion with bayes; got {kind}")
    if settings.against is not None and kind not in ("rates", "secretion"):
        raise DataError(f"against: wanted kind rates or secretion, which {settings.against} was fitted to; got {kind}")


def _audited(report: FitReport, table: Table, settings: Settings, consequence: Consequence | None) -> FitReport:
    name = str(settings.against)
    if report.kind == "rates":
        audit = audit_rates(table, name, settings, consequence)
    elif "drug" in table:
        audit = audit_secretion(table, name, settings)
    else:
        raise DataError(f"against: wanted a secretion table with doses, which {name} was fitted to; got times")
    return with_warnings(replace(report, against=audit), *audit["sentences"])


def _provenance(path: Path, settings: Settings) -> dict[str, Any]:
    """What is needed to run it again: the table's digest, the seed and the versions."""
    packages = ("jax", "optimistix", "numpy", "scipy")
    return {
        "table": {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
        "seed": settings.seed,
        "settings": {f.name: getattr(settings, f.name) for f in fields(settings) if "doc" in f.metadata},
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }
