"""`calibrate`: a table in, a checked directory of parameters with their uncertainty out."""

import hashlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

from optimizer.calibrate.audit import FITTED, Consequence, audit_rates, audit_secretion
from optimizer.calibrate.fit import Settings
from optimizer.calibrate.fragment import fragment_text
from optimizer.calibrate.ic50 import ic50_report
from optimizer.calibrate.petab_report import petab_report
from optimizer.calibrate.plate_report import plate_report
from optimizer.calibrate.rates_report import rates_report
from optimizer.calibrate.report import DISCLAIMER, FORMAT, FitReport, with_warnings
from optimizer.calibrate.secretion import secretion_report
from optimizer.calibrate.tables import Table, read_table
from optimizer.calibrate.timeseries_report import timeseries_report
from optimizer.equations.petab_fit import read_measurements
from optimizer.files.event_tables import csv_of
from optimizer.files.faults import DataError
from optimizer.files.run_directory import DirectoryError, check_place, to_text, whole
from optimizer.programs import check_64_bits

REPORTS: dict[str, Callable[[Any, Settings], FitReport]] = {
    "rates": rates_report,
    "secretion": secretion_report,
    "plate": plate_report,
    "ic50": ic50_report,
    "timeseries": timeseries_report,
    "petab": petab_report,
}


def calibrate(
    file: str | Path,
    kind: str,
    out: str | Path,
    method: str = "direct",
    *,
    schedule_consequence: Consequence | None = None,
    draw: "Draw | None" = None,
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
    report = fit_table(file, kind, out, method, schedule_consequence, **settings)
    write_report(report, out, draw)
    return report


def fit_table(
    file: str | Path,
    kind: str,
    out: str | Path,
    method: str = "direct",
    schedule_consequence: Consequence | None = None,
    **settings: Any,
) -> FitReport:
    """As `calibrate`, with nothing written; that `out` can be is looked at before the work."""
    chosen = Settings(**settings, method=method)  # type: ignore[arg-type]
    check_64_bits("calibrate")
    if chosen.bayes and find_spec("numpyro") is None:
        raise DataError("bayes: wanted the package numpyro (pip install 'adose[bayes]'); got none")
    _check(chosen, kind)
    check_writable(Path(out))
    chosen.progress("read")
    table = _read(Path(file), kind, chosen)
    report = REPORTS[kind](table, chosen)
    if chosen.against is not None:
        report = _audited(report, table, chosen, schedule_consequence)
    report = with_warnings(report, *table.notes)
    if not report.fragment.tables:
        report = with_warnings(report, *(f"no scenario is written: {why}" for why in report.fragment.notes))
    table_file = {"file": Path(file).name, "sha256": hashlib.sha256(Path(file).read_bytes()).hexdigest()}
    asked = {f.name: getattr(chosen, f.name) for f in fields(chosen) if "doc" in f.metadata}
    versions = {name: importlib.metadata.version(name) for name in ("jax", "optimistix", "numpy", "scipy")}
    # What is needed to run it again: the table's digest, the seed and the versions.
    own = {"table": table_file, "seed": chosen.seed, "settings": asked, "versions": versions}
    chosen.progress("write")
    return replace(report, provenance=own)


def _read(file: Path, kind: str, settings: Settings) -> Any:
    """The table of a kind, or a problem of several."""
    if kind == "petab":
        return read_measurements(file, settings.time_unit or "")
    return read_table(file, kind, settings.time_unit)


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
    if settings.hierarchical and (kind in ("rates", "ic50", "petab") or (kind == "secretion" and not settings.bayes)):
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


# --- the directory ----------------------------------------------------------------------------------------------------


MARKER = "fit.json"
Draw = Callable[[FitReport, Path], None]


def write_report(report: FitReport, out: str | Path, draw: Draw | None = None) -> Path:
    """Write the directory `out` in one step: built beside it under another name, then renamed.

    An earlier calibration of that name is replaced; anything else that is there is left alone and refused.
    `draw(report, directory)` adds the figures (the plotting room provides it; this one never imports matplotlib).
    """
    try:
        with whole(Path(out), MARKER) as work:
            (work / MARKER).write_text(to_text(report.to_json()), encoding="utf-8")
            write_posterior(report, work / "posterior.nc")
            if report.fragment.tables:
                (work / "scenario_fragment.toml").write_text(fragment_text(report), encoding="utf-8")
            for name, rows in report.tables.items():
                columns = list(rows[0]) if rows else ["empty"]
                (work / f"{name}.csv").write_bytes(csv_of(columns, (list(row.values()) for row in rows)))
            if draw is not None:
                draw(report, work)
    except DirectoryError as error:
        raise DataError(f"out: {error}") from None
    return Path(out)


def check_writable(out: Path) -> None:
    """Refuse an output path that holds something else than a calibration."""
    try:
        check_place(out, MARKER)
    except DirectoryError as error:
        raise DataError(f"out: {error}") from None


def write_posterior(report: FitReport, path: Path) -> None:
    """NetCDF in ArviZ's groups: posterior, and posterior_predictive, log_likelihood and observed_data where they exist.

    Variables are [chain, draw] (or [chain, draw, group]) and carry `units`; the attribute `source` says whether the
    draws are NUTS or the Laplace approximation at the optimum. What the fragment calls otherwise than the fit is there
    a second time, by its key path.
    """
    import xarray as xr

    draws = report.draws
    attributes = {"format": FORMAT, "source": draws.source, "kind": report.kind, "disclaimer": DISCLAIMER}
    variables = {}
    coordinates: dict[str, list[str]] = {}
    for name, values in draws.values.items():
        dims = ["chain", "draw"]
        if name in draws.groups:
            dim, labels = draws.groups[name]
            dims.append(dim)
            coordinates[dim] = list(labels)
        meta = {"units": draws.units.get(name, "1")}
        if name in draws.priors:
            meta["prior"] = draws.priors[name]
        variables[name] = xr.Variable(dims, np.asarray(values, dtype=float), meta)
    for key, (values, unit) in report.fragment.draws.items():
        variables[key] = xr.Variable(["chain", "draw"], np.asarray(values, dtype=float), {"units": unit})
    chains, count = next(iter(draws.values.values())).shape[:2]
    index = {"chain": np.arange(chains), "draw": np.arange(count)}
    groups = {"posterior": xr.Dataset(variables, {**index, **coordinates}, attributes)}
    dims = ("chain", "draw", "row")
    for group, values in (("posterior_predictive", draws.predictive), ("log_likelihood", draws.log_likelihood)):
        if values is not None:
            groups[group] = xr.Dataset({"observed": xr.Variable(dims, values)}, index)
    observed = xr.Variable(("row",), report.observed, {"units": report.sse_unit})
    groups["observed_data"] = xr.Dataset({"observed": observed})
    # By way of memory: the HDF5 library crashes when it runs into a full disk itself.
    path.write_bytes(xr.DataTree.from_dict(groups).to_netcdf(engine="h5netcdf"))
