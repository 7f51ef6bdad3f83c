"""The record of a run: one JSON document, and a directory with the schedule, the trajectory, the figure and a page."""

import gc
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from optimizer.analysis.answer import answer
from optimizer.analysis.arcs import arcs
from optimizer.analysis.bounds import bound_of
from optimizer.analysis.comparison import OPTIMIZED, Entry
from optimizer.endpoints.burden_factor import BurdenFactor
from optimizer.files.event_tables import write_schedule
from optimizer.files.run_directory import finite, to_text, whole
from optimizer.objectives.endpoint import Endpoint as EndpointTerm
from optimizer.outcome import Outcome, level_units, remark
from optimizer.problem import Check, Problem, Report
from optimizer.report import plots
from optimizer.scenario import Scenario
from optimizer.search.audit import Audit
from optimizer.search.iterate import LEAST_TEMPERATURE
from optimizer.search.result import Result, SearchRecord
from optimizer.search.verdict import difference
from optimizer.simulate import Grid, Trajectory
from optimizer.status import DISCLAIMER, Status

if TYPE_CHECKING:
    import xarray as xr

FORMAT = "adose-report-1"
MARKER = "report.json"
_PACKAGES = ("adose", "jax", "jaxlib", "diffrax", "equinox", "optax", "numpy", "scipy")
UNITS = {"growth_factor": "pg/mL", "stroma": "cell", "protection": "1"}


def run_document(scenario: Scenario, result: Result, entries: Sequence[Entry]) -> dict[str, Any]:
    """What `report.json` holds; of the entries, by `compare`, the optimized schedule is one."""
    own = next(entry for entry in entries if entry.name == OPTIMIZED)
    body = document(scenario, result.audit.report, entries, own.outcome)
    task = result.problem.task
    searched, differs = _as_searched(result)
    body["objective"] |= searched
    limit = bound_of(result.problem, scenario.progression_factor)
    if limit is not None and limit.quantity != "objective" and not isinstance(scenario.endpoint(), BurdenFactor):
        limit = None  # of cells, not of what the endpoint reads
    reached = (
        result.audit.report.total if limit and limit.quantity == "objective" else own.outcome.time_to_progression_day
    )
    found = None if limit is None else limit.to_json(reached)
    least = result.certificate
    bound = {"bound": found, "certificate": None if least is None else least.to_json(result.audit.report.total)}
    reason = "; ".join([result.reason, *differs, *([] if least is None else [least.said(result.audit.report.total)])])
    if result.status is Status.NOT_CONVERGED and found is not None and found["within_percent"] is not None:
        reason += f"; within {found['within_percent']:.3g} % of a bound that no schedule passes, {found['name']}"
    said = answer(entries, total_units(scenario), [regimen.name for regimen in scenario.plan.regimens])
    head = {"status": result.status.value, "answer": None if said is None else asdict(said)}
    head |= {"reason": reason, "message": result.status.sentence}
    given = arcs(own.trajectory, own.grid, task.system.drugs, np.asarray(task.scale), task.system.routes)
    structure = {"arcs": [asdict(arc) for arc in given]}
    rule = {} if result.tuned is None else {"policy": result.tuned.to_json()}
    audit, search = {"audit": _audit(result.audit)}, {"search": _search(result.search)}
    return {**_head(scenario), **head, **body, **bound, **rule, **structure, **audit, **search, **_tail(result.seed)}


def _as_searched(result: Result) -> tuple[dict[str, Any], list[str]]:
    """Terms read at visits as the search rounds their steps, and where that is more than a visit from what they are."""
    task, values, differs = result.problem.task, {}, []
    scene = task.scene(result.trajectory)
    for term in task.objective.terms:
        if isinstance(term, EndpointTerm):
            values[term.kind] = float(term.smooth(scene, LEAST_TEMPERATURE))
            days = [-float(value * scene.grid.horizon) for value in (result.report.terms[term.kind], values[term.kind])]
            if abs(days[0] - days[1]) > np.max(np.diff(term.visits, append=scene.grid.horizon)):
                differs.append(f"at visits it comes to day {days[0]:.4g}, as searched to day {days[1]:.4g}")
    return ({"searched": values} if values else {}), differs


def simulated_document(scenario: Scenario, entry: Entry, checked: Audit) -> dict[str, Any]:
    """The same document without a search, of one way of dosing."""
    body = document(scenario, checked.report, [entry], entry.outcome)
    status = {"status": simulated_status(entry.report, checked) or "simulated", "reason": simulated_reason(checked)}
    return {**_head(scenario), **status, **body, "audit": _audit(checked), **_tail(scenario.seed)}


def simulated_reason(checked: Audit) -> str:
    """What decided the status of a simulation, and what its numbers do not say."""
    said = remark(checked.trajectory)
    differs = "" if checked.passed or not checked.report.finite else difference(checked)
    return "; ".join(part for part in (differs, said) if part)


def simulated_status(report: Report, checked: Audit) -> Status | None:
    """What is wrong with a simulation; None when nothing is."""
    if not (report.finite and checked.report.finite):
        return Status.SIMULATION_FAILED
    return None if checked.passed else Status.AUDIT_FAILED


def compared_document(scenario: Scenario, entries: Sequence[Entry]) -> dict[str, Any]:
    """The same document without a search, of a comparison alone."""
    finite = all(entry.report.finite for entry in entries)
    status = {"status": "compared" if finite else Status.SIMULATION_FAILED.value}
    return {**_head(scenario), **status, **document(scenario, None, entries, None), **_tail(scenario.seed)}


def cohort_document(scenario: Scenario, body: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The head and the record of a run around what a cohort came to."""
    units = {"dose": scenario.dose_units, "progression_day": "day"}
    return {**_head(scenario), **body, "progression_factor": scenario.progression_factor, "units": units, **_tail(seed)}


def window_document(scenario: Scenario, body: Mapping[str, Any]) -> dict[str, Any]:
    """The head and the record of a run around the windows of a scenario."""
    return {**_head(scenario), **body, **_tail(scenario.seed)}


def verified_document(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A document without a scenario, of published numbers beside ours."""
    status = "verified" if all(line["passed"] for line in lines) else "differs"
    head = {"format": FORMAT, "research_use_only": DISCLAIMER, "status": status}
    tail = _tail(0)
    return {**head, "numbers": list(lines), "versions": tail["versions"], "device": tail["device"]}


def document(
    scenario: Scenario, report: Report | None, entries: Sequence[Entry], reached: Outcome | None
) -> dict[str, Any]:
    """Objective, constraints, outcome and regimens."""
    out: dict[str, Any] = {}
    if report is not None:
        out["objective"] = {"total": report.total, "terms": report.terms, "weights": report.weights}
        out["constraints"] = [_check(c) for c in report.constraints]
    if reached is not None:
        out["outcome"] = {**reached.to_json(), "solver": entries[0].solver}
    out["progression_factor"] = scenario.progression_factor
    out["endpoint"] = scenario.endpoint().kind
    out["units"] = {"burden": "cell", "dose": scenario.dose_units, "cumulative_dose": total_units(scenario)}
    out["regimens"] = [entry.to_json() for entry in entries if entry.name != OPTIMIZED]
    return out


def total_units(scenario: Scenario) -> dict[str, str]:
    """Unit of each drug's cumulative dose."""
    return {drug.name: drug.total_unit for drug in scenario.plan.drugs}


def _head(scenario: Scenario) -> dict[str, Any]:
    named = {"scenario": scenario.name, "title": scenario.title, "doi": list(scenario.doi)}
    return {"format": FORMAT, "research_use_only": DISCLAIMER, **named, "notes": list(scenario.notes)}


def _tail(seed: int) -> dict[str, Any]:
    device = jax.devices()[0]
    return {"versions": versions(), "seed": seed, "device": {"platform": device.platform, "kind": device.device_kind}}


def versions() -> dict[str, str]:
    """Versions of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _check(check: Check) -> dict[str, Any]:
    said = {"violation": check.violation if check.is_checked else None, "checked": check.is_checked}
    return {"name": check.name, "value": check.value, "limit": check.limit, **said}


def _audit(audit: Audit) -> dict[str, Any]:
    return {
        "passed": audit.passed,
        "method": "adaptive solve of all equations, kinetics included, every dose edge a boundary",
        "rtol": audit.rtol,
        "objective": audit.report.total,
        "objective_difference": audit.objective_difference,
        "constraint_differences": audit.constraint_differences,
        "gradient_difference": audit.gradient_difference,
        "gradient_error": audit.gradient_error,
    }


def _search(search: SearchRecord) -> dict[str, Any]:
    optima = [{"objective": o.objective, "restarts": o.restarts} for o in search.optima]
    names = ("method", "restarts", "converged", "distinct_optima", "iterations", "median_iterations", "kkt_residual")
    out: dict[str, Any] = {name: getattr(search, name) for name in names}
    effort = ("starts", "hops", "tried", "last_improvement", "gap", "spread")
    more = {name: getattr(search, name) for name in ("tolerance", "level_cost", *effort)}
    return {**out, "optima": optima, **more, "seconds": {k: round(v, 3) for k, v in search.seconds.items()}}


def dataset(problem: Problem, trajectory: Trajectory, grid: Grid, dose_units: Mapping[str, str]) -> "xr.Dataset":
    """A trajectory with names and units, as it is written to `trajectory.nc`."""
    system = problem.task.system
    levels = level_units(system, dose_units)
    same = set(levels.values())
    level = {"units": same.pop() if len(same) == 1 else ", ".join(f"{drug}: {unit}" for drug, unit in levels.items())}
    kinds = {"time": ("time", np.asarray(trajectory.times), {"units": "day"})}
    named = {"clone": list(system.model.clone_names()), "drug": list(system.drugs)}
    edges = np.asarray(grid.edges)
    begin = {"interval": ("interval", edges[:-1], {"units": "day", "long_name": "start of the decision interval"})}
    every = ", ".join(f"{drug}: {dose_units.get(drug, '')}" for drug in system.drugs)
    values = {
        "cells": (("time", "clone"), np.asarray(trajectory.cells), {"units": "cell"}),
        "burden": ("time", np.asarray(trajectory.burden), {"units": "cell", "long_name": "all cancer cells"}),
        "resistant": ("time", np.asarray(trajectory.resistant), {"units": "cell"}),
        "concentration": (("time", "drug"), np.asarray(trajectory.conc), level),
        "dose": (("interval", "drug"), np.asarray(trajectory.doses), {"units": every}),
        "interval_end": ("interval", edges[1:], {"units": "day"}),
    }
    # What a model of one's own calls as something here is called is told apart.
    taken = {*values, *kinds, *named, *begin} - {"burden", "resistant"}
    for name, series in trajectory.observables.items():
        values[f"observable.{name}" if name in taken else name] = (
            "time",
            np.asarray(series),
            {"units": UNITS.get(name, "")},
        )
    attributes = {"Conventions": "CF-1.11", "comment": DISCLAIMER, "format": FORMAT}
    import xarray as xr

    return xr.Dataset(values, {**kinds, **named, **begin}, attributes)


def write_run(
    scenario: Scenario,
    result: Result,
    entries: Sequence[Entry],
    out: str | Path,
    plot: bool = True,
    report: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the run directory whole or not at all, and return what `report.json` holds (`report` where it is given).

    Raises:
        DirectoryError: the place is taken by something else, cannot be written, or the disk is full.
    """
    report = run_document(scenario, result, entries) if report is None else report
    task = result.problem.task
    with whole(Path(out), MARKER) as work:
        (work / "resolved.json").write_text(to_text(scenario.resolved()), encoding="utf-8")
        write_schedule(work / "schedule.csv", scenario.target(), task.grid.edges, result.trajectory.doses)
        table = dataset(result.problem, result.trajectory, task.grid, scenario.dose_units)
        # By way of memory: the HDF5 library crashes when it runs into a full disk itself.
        (work / "trajectory.nc").write_bytes(table.to_netcdf(engine="h5netcdf"))
        figure = None
        if plot:
            named = {"title": scenario.title, "dose_units": scenario.dose_units, "factor": scenario.progression_level}
            drawn = plots.overview(result, entries, **named)
            figure = plots.save_all({"overview": drawn}, work)["overview"]
        edges, doses = np.asarray(task.grid.edges).tolist(), np.asarray(result.trajectory.doses)
        from optimizer.report.html import page

        text = page(scenario.resolved(), finite(report), edges, doses, figure)
        (work / "report.html").write_text(text, encoding="utf-8")
        (work / MARKER).write_text(to_text(report), encoding="utf-8")
    return report


def import_writers(plot: bool = True) -> None:
    """Import what `write_run` needs, a second of one core, beside other work; garbage is collected afterwards.

    JAX is told of collections in Python, where another thread may take over. Inside of matplotlib's loading, which
    keeps the system's loader locked, that other thread would wait for the loader, and both for ever.
    """
    is_collecting = gc.isenabled()
    gc.disable()
    try:
        import h5netcdf  # noqa: F401
        import xarray  # noqa: F401

        from optimizer.report.html import page  # noqa: F401

        if plot:
            from optimizer.report.plots.schedule import overview  # noqa: F401
    finally:
        if is_collecting:
            gc.enable()
