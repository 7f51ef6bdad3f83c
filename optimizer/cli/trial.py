"""`trial`: policies in closed loop on virtual patients whose numbers nobody knows."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.control.comparators import AT50, CONTINUOUS
from optimizer.control.sweep import options_of, run_sweep
from optimizer.control.trial import prepare
from optimizer.control.trial_run import TrialResult, run_trial as try_policies
from optimizer.control.trial_summary import summary
from optimizer.files.run import table_bytes
from optimizer.files.run_directory import check_writable, write_whole
from optimizer.report import plots
from optimizer.report.account import Account, Table, by_endpoint, severe_of, write_account
from optimizer.report.document import cohort_document, to_text, versions
from optimizer.report.terminal import number, progress, put, say_kept, say_part, say_written, show, workers
from optimizer.scenario import Scenario
from optimizer.settings import Command, TrialSettings
from optimizer.status import Status

REPORT = "trial.json"
_SWEPT = ("measurements", "median_progression_day", "mean_without_progression_day")


def run_trial(run: Command, asked: TrialSettings) -> int:
    """Try the policies, write and print; a sweep does it for every combination of assays."""
    scenario, shared = Scenario.load(run.file, run.allow_code), workers(run)
    place, plot = run.place(f"{scenario.name}-trial"), not run.no_plot
    check_writable(place)
    axes = options_of(asked.sweep)
    trial = prepare(scenario, asked, run.allow_code)
    try:
        with progress() as tell:
            if axes:
                written = partial(write, plot=plot)
                sweep = run_sweep(trial, axes, place, written, versions(), tell, shared)
                return _swept(sweep, trial.rows, place, run.json, plot) if sweep else say_part(run, place)
            result = try_policies(trial, place, versions(), tell, shared)
    except KeyboardInterrupt:
        say_kept(place)
        return Status.INTERRUPTED.exit_code
    if result is None:
        return say_part(run, place)
    body = write(result, place, plot)
    put(run.json, to_text(body), lambda: show(account(body, scenario.title)))
    say_written(place, body["faults"])
    return 0 if body["counted"] else Status.SIMULATION_FAILED.exit_code


def write(result: TrialResult, place: Path, plot: bool) -> dict[str, Any]:
    """The summary, the patients and the figures beside the chunks."""
    body = cohort_document(result.trial.scenario, summary(result), result.trial.settings.seed)
    write_whole(place / "patients.parquet", table_bytes(_patients(result)))
    told = account(body, result.trial.scenario.title)
    write_account(place, told, body, plots.trial_figures(result) if plot else {})
    write_whole(place / REPORT, to_text(body).encode())
    return body


def _patients(result: TrialResult) -> dict[str, Any]:
    """The hidden patients, one row each."""
    ensemble = result.trial.ensemble
    count = len(ensemble.names)
    return {
        "patient": np.arange(count),
        "name": list(ensemble.names),
        "simulated": ensemble.included,
        "reason": [ensemble.excluded.get(i, "") for i in range(count)],
        **ensemble.patients.columns(),
    }


def account(body: dict[str, Any], title: str) -> Account:
    """The report in words."""
    truth = "" if body["truth"] is None else f"; truth: {body['truth']}"
    named = f"{title}: {body['counted']} of {body['patients']} patients, time to progression{by_endpoint(body)}{truth}"
    tables = [_table(body["policies"], named), _pairs(body["comparisons"])]
    notes = [found["sentence"] for found in body["policies"].values() if found["median_progression_day"] is None]
    left = {name: found["conduct"]["dropped_out"] for name, found in body["policies"].items() if found["conduct"]}
    if any(left.values()):
        said = ", ".join(f"{name} {count}" for name, count in left.items())
        notes.append(f"Left before progression, and censored then: {said} of {body['counted']} patients.")
    plans = body["replan"]
    if plans is not None and plans["patients_with_misfit"]:
        many = f"{plans['patients_with_misfit']} of {body['counted']} patients"
        notes.append(
            f"The model of replan did not fit what was measured in {many}: "
            "there it gave the doses of the best rule tuned on the widened belief until it did."
        )
    means = {n: found["mean_without_progression_day"] for n, found in body["policies"].items()}
    known = sorted((n for n, mean in means.items() if mean is not None), key=lambda n: -means[n])
    said = ", ".join(f"{n} {means[n]:.4g}" for n in known)
    question = "Which policy keeps patients whose numbers nobody knows longest without progression?"
    return Account(title, question, [f"Mean days without progression, the longest first: {said}."], tables, notes)


def _table(policies: dict[str, Any], named: str) -> Table:
    """A row a policy."""
    header = ["policy", "Kaplan-Meier\nmedian [day]", "from", "to", "mean [day]", "progressed"]
    header += [
        "worse than\ncontinuous",
        "worse than\nAT50",
        "visits\noutside 99 %",
        "regret,\nmedian [day]",
        "violation",
    ]
    header += ["neutropenia,\ngrade 3 or 4"] * bool(next(iter(policies.values())).get("neutropenia"))
    rows = []
    for name, found in policies.items():
        outside, regret = found["outside_99_percent"], found["regret_day"]["quantiles"].get("0.5")
        ends = map(number, (found["median_progression_day"], *found["median_interval_day"]))
        rest = [number(found["mean_without_progression_day"]), str(found["progressed"])]
        rest += [str(found["worse_than"].get(other, "")) for other in (CONTINUOUS, AT50)]
        rest += ["" if outside is None else f"{100 * outside:.1f} %", "" if regret is None else number(regret)]
        rows.append([name, *ends, *rest, f"{found['worst_violation']:.1e}", *severe_of(found)])
    return Table(named, header, rows)


def _pairs(comparisons: list[dict[str, Any]]) -> Table:
    pairs = []
    for pair in comparisons:
        low, high = pair["restricted_mean_difference"]["interval_95"]
        span = "" if low is None else f"{number(low)} to {number(high)}"
        ratio = "" if pair["hazard_ratio"] is None else number(pair["hazard_ratio"]["ratio"])
        tests = [_p(pair["wilcoxon"]), _p(pair["log_rank"])]
        counts = [str(pair["patients_longer"]), str(pair["patients_shorter"])]
        names = " against ".join(pair["policies"])
        pairs.append([names, number(pair["longer_day"]["mean"]), span, ratio, *tests, *counts])
    header = ["policies", "longer by [day]", "95 %", "hazard\nratio", "Wilcoxon p\n(Holm)", "log-rank p\n(Holm)"]
    return Table("Comparisons", [*header, "patients longer", "shorter"], pairs)


def _p(test: dict[str, Any] | None) -> str:
    return "" if test is None else f"{test['p_holm']:.2g}"


def _swept(sweep: dict[str, Any], policies: tuple[str, ...], place: Path, json: bool, plot: bool) -> int:
    """Print a sweep that is written."""
    figures, told = {}, _sweep_account(sweep)
    if plot:
        figures = {"sweep": plots.sweep_figure(sweep["rows"], policies)}
        plots.footnote(figures["sweep"], sweep["title"])
    write_account(place, told, sweep, figures)
    put(json, to_text(sweep), lambda: show(told))
    say_written(place)
    return 0


def _sweep_account(sweep: dict[str, Any]) -> Account:
    names = [name for name in ("visit_every", "noise", "delay", "missing") if name in sweep["axes"]]
    header = [*names, "policy", "measurements", "median [day]", "mean [day]"]
    rows = [
        [*(f"{row[name]:g}" for name in names), row["policy"], *(number(row[key]) for key in _SWEPT)]
        for row in sweep["rows"]
    ]
    question = "How much does it help to measure more often, more exactly, or sooner?"
    return Account(
        sweep["title"], question, sweep["sentences"][:1], [Table(sweep["title"], header, rows)], sweep["sentences"][1:]
    )
