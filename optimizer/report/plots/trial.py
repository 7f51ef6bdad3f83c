"""The figures of a trial: Kaplan-Meier curves with bands, patients as swimmers, regret and doses."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from optimizer.control.trial_run import TrialResult
from optimizer.control.trial_summary import clairvoyant_is_there, counted, horizon_of, of_policy
from optimizer.ensemble.survival import survival
from optimizer.report.plots.style import color, footnote, line, new_figure

# Patients of a swimmer plot; of more, the first ones are drawn.
_MOST_SWIMMERS = 30
_INTENSITY = LinearSegmentedColormap.from_list("intensity", ("#dce9f2", color(0)))


def kaplan_meier(ax: Axes, result: TrialResult) -> Axes:
    """Share of patients without progression over time with confidence bands; a tick marks patients without any."""
    horizon = horizon_of(result)
    for i, name in enumerate(result.trial.rows):
        found = survival(of_policy(result, name, "progression_day"), horizon)
        days = np.r_[found.days, horizon]
        share, low, high = (np.r_[x, x[-1]] for x in (found.share, found.low, found.high))
        median = found.median
        words = "median not reached" if median is None else f"median {median:.4g} day"
        ax.step(days, share, where="post", color=color(i), ls=line(i), label=f"{name} ({words})")
        ax.fill_between(days, low, high, step="post", color=color(i), alpha=0.12, lw=0.0)
        if share[-1] > 0.0:
            ax.plot(horizon, share[-1], "|", color=color(i), ms=9)
    ax.set(xlabel="time [day]", ylabel="without progression", xlim=(0.0, 1.01 * horizon), ylim=(0.0, 1.03))
    ax.legend(fontsize=7, frameon=False)
    return ax


def swimmers(ax: Axes, result: TrialResult, name: str, patients: np.ndarray) -> Axes:
    """A bar for each patient up to progression, dark where more drug was given; a diamond marks the progression."""
    edges, horizon = np.asarray(result.trial.ensemble.task.grid.edges), horizon_of(result)
    rows = np.array(result.table["policy"]) == name
    days = dict(zip(result.table["patient"][rows], result.table["progression_day"][rows], strict=True))
    given = np.stack([intensity(result, name, int(patient)) for patient in patients])
    ends = np.array([min(days[int(patient)], horizon) for patient in patients])
    shown = np.where(edges[None, :-1] < ends[:, None], given, np.nan)
    places = np.arange(len(patients) + 1) - 0.5
    ax.pcolormesh(edges, places, shown, cmap=_INTENSITY, vmin=0.0, vmax=1.0)
    gone = ends < horizon
    ax.plot(ends[gone], np.flatnonzero(gone), "d", color=color(1), ms=4, label="progression")
    ax.set(title=name, xlabel="time [day]", xlim=(0.0, 1.02 * horizon), ylim=(len(patients) - 0.4, -0.6), yticks=[])
    return ax


def intensity(result: TrialResult, name: str, patient: int) -> np.ndarray:
    """Mean share of the largest doses in each decision interval [K]."""
    log = result.decisions
    rows = (np.asarray(log["patient"]) == patient) & (np.array(log["policy"]) == name)
    doses = np.stack([log[key][rows] for key in log if key.startswith("dose.")], axis=1)
    most = np.maximum(result.trial.ensemble.problem.upper.max(axis=0), 1e-300)
    return np.mean(doses / most, axis=1)


def ordered(ax: Axes, result: TrialResult, column: str, label: str) -> Axes:
    """How a number is spread over the patients under each policy."""
    for i, name in enumerate(result.trial.rows):
        own = np.sort(of_policy(result, name, column))
        own = own[np.isfinite(own)]
        share = np.arange(1, len(own) + 1) / max(len(own), 1)
        ax.step(own, share, where="post", color=color(i), ls=line(i), lw=1.4, label=name)
    ax.set(xlabel=label, ylabel="share of patients at most", ylim=(0.0, 1.03))
    ax.legend(fontsize=7, frameon=False)
    return ax


def trial_figures(result: TrialResult) -> dict[str, Figure]:
    """The figures of a trial by the name of their file."""
    rows, names = counted(result.table), result.trial.rows
    patients = np.unique(np.asarray(result.table["patient"])[rows])
    if not patients.size:
        return {}
    drawn = patients[:_MOST_SWIMMERS]
    survived, swam = new_figure(7.0, 4.5), new_figure(3.2 * len(names), 1.5 + 0.16 * len(drawn))
    kaplan_meier(survived.subplots(), result)
    for ax, name in zip(swam.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        swimmers(ax, result, name, drawn)
    swam.axes[0].set_ylabel("patients")
    totals = [key for key in result.table if key.startswith("cumulative_dose.")]
    columns = [(key, key.replace("cumulative_dose.", "cumulative dose, ")) for key in totals]
    if clairvoyant_is_there(result):
        columns.append(("regret_day", "days of progression lost against who knows the patient"))
    spread = new_figure(4.5 * len(columns), 4.0)
    for ax, (key, label) in zip(spread.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
        ordered(ax, result, key, label)
    found = {"kaplan_meier": survived, "swimmers": swam, "regret_and_dose": spread}
    for figure in found.values():
        footnote(figure, f"{result.trial.scenario.title}: {len(patients)} virtual patients.")
    return found


def sweep_figure(rows: list[dict], policies: tuple[str, ...]) -> Figure:
    """Mean time to progression against the visit interval, by noise; one panel a policy.

    Args:
        rows: of the sweep's table.
        policies: by name.
    """
    figure = new_figure(4.2 * len(policies), 4.0)
    noises = sorted({row["noise"] for row in rows}, key=lambda value: -1.0 if value is None else value)
    for ax, name in zip(figure.subplots(1, len(policies), squeeze=False, sharey=True)[0], policies, strict=True):
        for i, noise in enumerate(noises):
            own = [row for row in rows if row["policy"] == name and row["noise"] == noise]
            days = np.array([np.nan if row["visit_every"] is None else row["visit_every"] for row in own])
            held = np.array([row["mean_without_progression_day"] for row in own], dtype=float)
            label = "noise of the scenario" if noise is None else f"noise {noise:g}"
            ax.plot(np.nan_to_num(days), held, "o", ls=line(i), color=color(i), ms=4, label=label)
        ax.set(title=name, xlabel="days between visits")
    figure.axes[0].set_ylabel("mean time without progression [day]")
    figure.axes[0].legend(fontsize=7, frameon=False)
    return figure
