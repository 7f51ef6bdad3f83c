"""A run directory, whole or not at all: fit.json, posterior.nc, scenario_fragment.toml, tables and figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from optimizer.calibrate.fragment import fragment_text
from optimizer.calibrate.report import DISCLAIMER, FORMAT, FitReport
from optimizer.files.event_tables import csv_of
from optimizer.files.faults import DataError
from optimizer.files.run_directory import DirectoryError, check_place, whole

MARKER = "fit.json"
Draw = Callable[[FitReport, Path], None]


def write_report(report: FitReport, out: str | Path, draw: Draw | None = None) -> Path:
    """Write the directory `out` in one step: built beside it under another name, then renamed.

    An earlier calibration of that name is replaced; anything else that is there is left alone and refused.
    `draw(report, directory)` adds the figures (the plotting room provides it; this one never imports matplotlib).
    """
    try:
        with whole(Path(out), MARKER) as work:
            text = json.dumps(report.to_json(), indent=1, allow_nan=False) + "\n"
            (work / MARKER).write_text(text, encoding="utf-8")
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
