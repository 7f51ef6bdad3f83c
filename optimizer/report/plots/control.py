"""The figures of a trial (survival with bands, patients as swimmers, changes, regret and doses) and of a training."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from optimizer.control.comparators import CLAIRVOYANT
from optimizer.control.decisions import LAST, TIMES, decide
from optimizer.control.train_report import visit
from optimizer.control.train_run import Learned
from optimizer.control.trial_run import TrialResult
from optimizer.control.trial_summary import after_of, counted, followed, horizon_of, of_policy
from optimizer.report.plots.style import (
    GREY,
    change_axis,
    color,
    dose_scale,
    footnote,
    kaplan_meier,
    line,
    new_figure,
    swim,
)

# Patients of a swimmer plot; of more, the first ones are drawn.
_MOST_SWIMMERS = 30


def swimmers(ax: Axes, result: TrialResult, name: str, patients: np.ndarray) -> QuadMesh:
    """The patients of one policy up to progression."""
    edges, horizon = np.asarray(result.trial.ensemble.task.grid.edges), horizon_of(result)
    rows = np.array(result.table["policy"]) == name
    days = dict(zip(result.table["patient"][rows], result.table["progression_day"][rows], strict=True))
    given = np.stack([intensity(result, name, int(patient)) for patient in patients])
    progressed = np.array([days[int(patient)] for patient in patients])
    shade = swim(ax, edges, np.where(edges[None, :-1] < progressed[:, None], given, np.nan), progressed, horizon)
    ax.set(yticks=[], ylabel="patients")
    ax.set_title(name, loc="left", fontsize=8)
    return shade


def changes(result: TrialResult, name: str, patients: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Days of the decisions of each patient before progression, and the change of all cells since the first [%]."""
    log, found = result.decisions, []
    rows, ends = np.array(log["policy"]) == name, np.array(result.table["policy"]) == name
    for patient in patients:
        own = rows & (np.asarray(log["patient"]) == patient)
        [end] = result.table["progression_day"][ends & (np.asarray(result.table["patient"]) == patient)]
        days, burden = np.asarray(log["day"])[own], np.asarray(log["burden"])[own]
        kept = days <= end
        found.append((days[kept], 100.0 * (burden[kept] / burden[0] - 1.0)))
    return found


def spider(ax: Axes, result: TrialResult, name: str, patients: np.ndarray) -> Axes:
    """Change of all cells of each patient over time, up to progression."""
    for days, change in changes(result, name, patients):
        ax.plot(days, change, color=color(0), lw=0.7, alpha=0.6)
    ax.set(xlabel="time [day]", xlim=(0.0, 1.02 * horizon_of(result)), title=name)
    change_axis(ax, "change of all cells [%]")
    return ax


def waterfall(ax: Axes, result: TrialResult, name: str, patients: np.ndarray) -> Axes:
    """Best change of all cells of each patient after the first decision, the worst first."""
    best = np.sort([change[1:].min(initial=np.inf) for _, change in changes(result, name, patients)])[::-1]
    best = best[np.isfinite(best)]
    ax.stairs(best, np.arange(best.size + 1.0), fill=True, color=color(0))
    ax.set(xlabel="patients, sorted", xlim=(0.0, max(best.size, 1)), title=name)
    change_axis(ax, "best change [%]")
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
    survived, swam = new_figure(7.0, 5.5), new_figure(8.0, 0.8 + len(names) * (0.5 + 0.08 * len(drawn)))
    horizon = horizon_of(result)
    days = {name: of_policy(result, name, "progression_day") for name in names}
    visits = {name: own for name in names if (own := after_of(result, name)) is not None}
    until = {name: followed(result, name) for name in names}
    kaplan_meier(survived.subplots(), days, horizon, bands=True, after=visits or None, until=until)
    for ax, name in zip(swam.subplots(len(names), 1, squeeze=False, sharex=True)[:, 0], names, strict=True):
        shade = swimmers(ax, result, name, drawn)
    swam.axes[-1].set_xlabel("time [day]")
    swam.axes[0].legend(fontsize=7, loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False)
    dose_scale(swam, shade)
    changed = new_figure(9.0, 0.6 + 2.2 * len(names))
    for pair, name in zip(changed.subplots(len(names), 2, squeeze=False), names, strict=True):
        spider(pair[0], result, name, drawn)
        waterfall(pair[1], result, name, patients)
    totals = [key for key in result.table if key.startswith("cumulative_dose.")]
    columns = [(key, key.replace("cumulative_dose.", "cumulative dose, ")) for key in totals]
    if CLAIRVOYANT in result.trial.rows:
        columns.append(("regret_day", "days of progression lost against who knows the patient"))
    spread = new_figure(4.5 * len(columns), 4.0)
    for ax, (key, label) in zip(spread.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
        ordered(ax, result, key, label)
    found = {"kaplan_meier": survived, "swimmers": swam, "spider_and_waterfall": changed, "regret_and_dose": spread}
    for figure in found.values():
        footnote(figure, f"{result.trial.scenario.title}: {len(patients)} virtual patients.")
    return found


def sweep_figure(rows: list[dict], policies: tuple[str, ...]) -> Figure:
    """Mean time to progression against the visit interval, by noise, of a sweep's rows; one panel a policy."""
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


# --- the figure of a training -----------------------------------------------------------------------------------------


_SHOWN = np.linspace(0.05, 1.5, 30)


def training_figure(learned: Learned) -> Figure:
    """Loss, survival, and a map of the decisions for each drug."""
    drugs = learned.split.ensemble.task.system.drugs
    columns = max(2, len(drugs))
    figure = new_figure(4.6 * columns, 7.4)
    axes = figure.subplots(2, columns, squeeze=False)
    losses(axes[0, 0], learned)
    horizon = float(learned.split.ensemble.task.grid.horizon)
    days = {name: np.asarray(found.evaluation.progression) for name, found in learned.outcomes.items()}
    kaplan_meier(axes[0, 1], days, horizon)
    for ax in axes[0, 2:]:
        ax.set_axis_off()
    for j, ax in enumerate(axes[1]):
        if j < len(drugs):
            decisions(ax, learned, j)
        else:
            by_time(ax, learned)
    figure.suptitle(learned.scenario.title, fontsize=10)
    who = "patients it has not seen" if learned.split.are_others else "the patient it was trained on"
    footnote(figure, f"Judged on {who}: {learned.held_out}.")
    return figure


def losses(ax: Axes, learned: Learned) -> Axes:
    """What the gradient makes small, and what the network itself came to, against the steps."""
    history, best = learned.training.history, learned.training.best
    steps = [entry.step for entry in history]
    ax.plot(steps, [entry.loss for entry in history], color=color(0), ls=line(0), label="loss (smoothed)")
    ax.plot(steps, [entry.objective for entry in history], color=color(1), ls=line(1), label="objective")
    ax.plot([best.step], [best.objective], "o", color=color(1), label="kept")
    ax.set(xlabel="step", ylabel="objective, patients trained on")
    ax.legend(fontsize=7, frameon=False)
    return ax


def decisions(ax: Axes, learned: Learned, drug: int) -> Axes:
    """Share of a drug over burden and its recent change, halfway in time, after half of the largest dose."""
    table = decide(learned.network, visit(learned), _SHOWN.tolist())
    span = float(learned.network.span)
    chosen = np.isclose(table.day, TIMES[1] * span) & np.isclose(table.last, LAST[1])
    burden, change = np.unique(table.burden), np.unique(table.change)
    shares = table.shares[chosen, drug].reshape(burden.size, change.size)
    shade = ax.pcolormesh(burden, 100.0 * change, shares.T, vmin=0.0, vmax=1.0, cmap="viridis", shading="nearest")
    name = learned.split.ensemble.task.system.drugs[drug]
    ax.figure.colorbar(shade, ax=ax).set_label(f"share of the largest dose of {name}", fontsize=8)
    ax.axvline(1.0, color=GREY, lw=0.8)
    ax.set(xlabel="measured burden / first", ylabel="its change in a week [%]", title=f"day {TIMES[1] * span:g}")
    return ax


def by_time(ax: Axes, learned: Learned) -> Axes:
    """Share of the first drug against a burden that does not change, early, halfway and late."""
    table = decide(learned.network, visit(learned), _SHOWN.tolist())
    span = float(learned.network.span)
    for i, time in enumerate(TIMES):
        rows = np.isclose(table.day, time * span) & np.isclose(table.last, LAST[1]) & (table.change == 0.0)
        ax.plot(table.burden[rows], table.shares[rows, 0], color=color(i), ls=line(i), label=f"day {time * span:g}")
    ax.axvline(1.0, color=GREY, lw=0.8)
    ax.set(xlabel="measured burden / first, steady", ylabel="share of the largest dose", ylim=(-0.03, 1.03))
    ax.legend(fontsize=7, frameon=False)
    return ax
