"""The time course of one way of dosing: times, concentrations, cells; as NetCDF, CSV and a figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.analysis.comparison import Entry
from optimizer.files.event_tables import csv_of, write_schedule
from optimizer.files.run_directory import to_text, whole
from optimizer.outcome import level_units
from optimizer.problem import Problem
from optimizer.report import plots
from optimizer.report.account import Account, write_account
from optimizer.report.document import MARKER, UNITS, dataset
from optimizer.scenario import Scenario

# Rows of a table that a spreadsheet still opens.
_MOST_ROWS = 100_000


def write_course(
    scenario: Scenario,
    problem: Problem,
    entry: Entry,
    body: Mapping[str, Any],
    account: Account,
    out: Path,
    plot: bool = True,
) -> None:
    """Write report.json, report.html, schedule.csv, trajectory.nc, trajectory.csv and a figure, whole or not at all.

    Raises:
        DirectoryError: the place is taken by something else, cannot be written, or the disk is full.
    """
    grid = entry.grid
    with whole(out, MARKER) as work:
        write_schedule(work / "schedule.csv", scenario.target(), grid.edges, entry.trajectory.doses, grid.other)
        table = dataset(problem, entry.trajectory, grid, scenario.dose_units)
        # By way of memory: the HDF5 library crashes when it runs into a full disk itself.
        (work / "trajectory.nc").write_bytes(table.to_netcdf(engine="h5netcdf"))
        (work / "trajectory.csv").write_bytes(course_csv(scenario, problem, [entry]))
        figures = {}
        if plot:
            units, factor = scenario.dose_units, scenario.progression_level
            head = f"{entry.name}: objective {entry.report.total:.5g}"
            parts = problem, entry.trajectory, (), scenario.title, units, factor, head
            figures = {"overview": plots.patient(*parts, grid=grid)}
        write_account(work, account, body, figures)
        (work / MARKER).write_text(to_text(body), encoding="utf-8")


def course_csv(scenario: Scenario, problem: Problem, entries: Sequence[Entry]) -> bytes:
    """Times, burdens, concentrations and observables as a table, one row a saved time of each way of dosing.

    Of two rows of one time the first is just before a dose, the second just after. Long courses are thinned.
    """
    system = problem.task.system
    names = [f"concentration.{drug} [{unit}]" for drug, unit in level_units(system, scenario.dose_units).items()]
    clones = [f"cells.{name} [cell]" for name in system.model.clone_names()]
    more = sorted(set().union(*(entry.trajectory.observables for entry in entries)))
    header = ["regimen", "time [day]", "burden [cell]", "resistant [cell]", *clones, *names]
    header += [f"{name} [{UNITS[name]}]" if name in UNITS else name for name in more]
    every = -(-sum(len(entry.trajectory.times) for entry in entries) // _MOST_ROWS)
    rows: list[list[object]] = []
    for entry in entries:
        found = entry.trajectory
        columns = [found.times, found.burden, found.resistant, *np.asarray(found.cells).T, *np.asarray(found.conc).T]
        columns += [found.observables[name] for name in more]
        block = np.stack([np.asarray(column) for column in columns], axis=1)
        rows += [[entry.name, *row] for row in block[::every].tolist()]
    return csv_of(header, rows)
