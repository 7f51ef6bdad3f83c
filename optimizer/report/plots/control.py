"""The figures of a trial (survival with bands, patients as swimmers, regret and doses), a training, and a replan."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from optimizer.control.comparators import CLAIRVOYANT
from optimizer.control.courses import OFFSET
from optimizer.control.decisions import LAST, TIMES, decide
from optimizer.control.replan import Replanned
from optimizer.control.replay import CORRECTED, CYCLE, Replayed
from optimizer.control.train_report import curve, visit
from optimizer.control.train_run import Learned
from optimizer.control.trial_run import TrialResult
from optimizer.control.trial_summary import counted, horizon_of, of_policy
from optimizer.ensemble.survival import survival
from optimizer.observations import MEASURED
from optimizer.report.plots.style import (
    GREY,
    color,
    dose_bars,
    footnote,
    kaplan_meier,
    line,
    log_axis,
    new_figure,
    with_unit,
)

# Patients of a swimmer plot; of more, the first ones are drawn.
_MOST_SWIMMERS = 30
# Courses of a replay.
_MOST_COURSES = 6
_INTENSITY = LinearSegmentedColormap.from_list("intensity", ("#dce9f2", color(0)))


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
    horizon = horizon_of(result)
    curves = {name: survival(of_policy(result, name, "progression_day"), horizon) for name in result.trial.rows}
    kaplan_meier(survived.subplots(), curves, horizon, bands=True)
    for ax, name in zip(swam.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        swimmers(ax, result, name, drawn)
    swam.axes[0].set_ylabel("patients")
    totals = [key for key in result.table if key.startswith("cumulative_dose.")]
    columns = [(key, key.replace("cumulative_dose.", "cumulative dose, ")) for key in totals]
    if CLAIRVOYANT in result.trial.rows:
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
    kaplan_meier(axes[0, 1], {name: curve(learned, name) for name in learned.outcomes}, horizon)
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
    ax.set(xlabel="step", ylabel="over the patients trained on")
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


# --- the figure of a replan -------------------------------------------------------------------------------------------


def expected_burden(ax: Axes, found: Replanned) -> Axes:
    """Quantiles of the burden under the plan, its median on the other course, and what was measured of it."""
    plan, course = found.predictions
    start = float(found.asked.inference.problem.task.grid.edges[found.asked.index])
    for low, high, shade in ((0, 4, 0.15), (1, 3, 0.3)):
        label = "plan: 90 % and 50 % of what is believed" if low else None
        ax.fill_between(
            plan.days, plan.burden[:, low], plan.burden[:, high], color=color(0), alpha=shade, lw=0, label=label
        )
    ax.plot(plan.days, plan.burden[:, 2], color=color(0), label="plan: median")
    later = course.days >= start
    ax.plot(course.days[later], course.burden[later, 2], color=color(1), ls=line(1), label=f"{found.course[0]}: median")
    for i, channel in enumerate(found.asked.inference.channels):
        if channel.quantity.kind == "burden":
            seen = found.asked.seen.seen[:, i] == MEASURED
            ax.plot(
                found.asked.seen.days[seen],
                found.asked.seen.values[seen, i],
                "o",
                color="black",
                ms=3,
                label="measured",
            )
    ax.axvline(start, color=GREY, lw=0.8, ls=(0, (1, 2)))
    ax.set(yscale="log", ylabel="cancer cells", xlim=(plan.days[0], plan.days[-1]))
    ax.legend(fontsize=7, frameon=False)
    return ax


def chance(ax: Axes, found: Replanned) -> Axes:
    """Probability of progression by each day."""
    names = ("plan", found.course[0])
    for i, (name, ahead) in enumerate(zip(names, found.predictions, strict=True)):
        ax.plot(ahead.days, ahead.probability(), color=color(i), ls=line(i), label=name)
    ax.set(ylabel="progressed by then", ylim=(-0.02, 1.03))
    ax.legend(fontsize=7, frameon=False)
    return ax


def doses(ax: Axes, found: Replanned) -> Axes:
    """Doses that were given, those that are planned, and the other course."""
    task = found.asked.inference.problem.task
    edges, drugs = np.asarray(task.grid.edges), task.system.drugs
    before = np.arange(len(found.doses))[:, None] < found.asked.index
    for j, drug in enumerate(drugs):
        unit = found.asked.scenario.dose_units[drug]
        place = (j, len(drugs))
        past, planned = np.where(before, found.doses, 0.0)[:, j], np.where(before, 0.0, found.doses)[:, j]
        dose_bars(ax, edges, past, place, 0.0, color=GREY, label=with_unit(f"{drug}, given", unit))
        dose_bars(ax, edges, planned, place, 0.0, color=color(j), label=with_unit(f"{drug}, planned", unit))
        ax.stairs(np.where(before, np.nan, found.course[1])[:, j], edges, color="black", lw=0.8, baseline=None)
    ax.plot([], [], color="black", lw=0.8, label=found.course[0])
    ax.set(xlabel="time [day]", ylabel="dose")
    ax.legend(fontsize=7, framealpha=0.85, edgecolor="none")
    return ax


def replan_figure(found: Replanned) -> Figure:
    """What was measured and is expected, the chance of progression, and the doses, on one time axis."""
    figure = new_figure(8.0, 8.0)
    rows = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1.5, 2))
    expected_burden(rows[0], found)
    chance(rows[1], found)
    doses(rows[2], found)
    count = len(found.asked.seen.days)
    day = float(found.asked.inference.problem.task.grid.edges[found.asked.index])
    footnote(figure, f"{found.asked.scenario.title}: {count} visits, planned on day {day:g}.")
    return figure


def replay_figure(found: Replayed) -> Figure:
    """Measured and forecast PSA + 0.1 of a few patients, by their error; treatment is shaded."""
    order = np.argsort(found.errors()[CORRECTED])
    chosen = order[np.unique(np.linspace(0, len(order) - 1, _MOST_COURSES).astype(int))]
    figure = new_figure(9.6, 6.4)
    for ax, i in zip(figure.subplots(2, 3).ravel(), chosen, strict=False):
        rests = found.rests[i]
        course, days = rests.course, rests.course.days[rests.ahead]
        middle, low, high = (values + OFFSET for values in found.band(int(i)))
        ends = np.append(course.changes[1:], course.days[-1])
        for begin, end, level in zip(course.changes, ends, course.levels, strict=True):
            if level > 0.0 and begin < course.days[-1]:
                ax.axvspan(begin, min(end, course.days[-1]), color=GREY, alpha=0.15, lw=0.0)
        ax.fill_between(days, low, high, color=color(0), alpha=0.2, lw=0.0, label="90 % band")
        ax.plot(days, middle, color=color(0), ls=line(0), label="forecast")
        ax.plot(days, np.exp(found.forecasts[CYCLE][i]), color=color(1), ls=line(1), label="previous cycle")
        ax.plot(course.days, course.psa + OFFSET, "k.", ms=4, label="measured")
        ax.set(title=f"patient {course.patient}", xlabel="time [day]", ylabel="PSA + 0.1 [ug/L]", yscale="log")
        log_axis(ax)
    figure.axes[0].legend(fontsize=7, frameon=False)
    footnote(figure)
    return figure
