"""What a scan is worth: the same trial for other visit intervals, noises, delays and shares of missing results."""

import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.control.assays import trial_assays, watched
from optimizer.control.trial import Trial
from optimizer.control.trial_run import TrialResult, manifest, run_trial
from optimizer.control.trial_summary import after_of, followed, held, of_policy
from optimizer.ensemble.survival import survival
from optimizer.files.chunks import HERE, Workers
from optimizer.files.event_tables import csv_of
from optimizer.files.run import Run, to_bytes
from optimizer.files.run_directory import DirectoryError, write_whole
from optimizer.scenario import ScenarioError
from optimizer.scenario.faults import one_of
from optimizer.search.multistart import Progress
from optimizer.settings import Changes
from optimizer.status import DISCLAIMER

FORMAT = "adose-sweep-1"
AXES = tuple(field.name for field in fields(Changes))
_MOST = {"missing": 0.9}


def options_of(texts: Sequence[str]) -> dict[str, list[float]]:
    """Values by name, of options such as "noise=0,0.1,0.3".

    Raises:
        ScenarioError: a name that cannot be swept, or values that are no numbers in its range.

    >>> options_of(["noise=0,0.1"])
    {'noise': [0.0, 0.1]}
    """
    found: dict[str, list[float]] = {}
    for text in texts:
        name, _, values = text.partition("=")
        if name not in AXES:
            raise ScenarioError([f"--sweep: {one_of(AXES, name)}"])
        if name in found:
            raise ScenarioError([f"--sweep: wanted {name} once; got it twice"])
        numbers = [_number(name, value) for value in values.split(",")]
        if len(set(numbers)) < len(numbers):
            raise ScenarioError([f"--sweep: wanted different values of {name}; got {values}"])
        found[name] = sorted(numbers)
    return found


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    most = _MOST.get(name, math.inf)
    if not (0.0 <= value <= most and math.isfinite(value)) or (name == "visit_every" and value == 0.0):
        least = "above 0" if name == "visit_every" else "of at least 0"
        upper = f" and at most {most:g}" if math.isfinite(most) else ""
        raise ScenarioError([f'--sweep: {name}: wanted numbers {least}{upper}, such as {name}=7,14; got "{text}"'])
    return value


def run_sweep(
    trial: Trial,
    axes: dict[str, list[float]],
    out: Path,
    write: Callable[[TrialResult, Path], Any],
    versions: dict[str, str] | None = None,
    tell: Callable[[Progress], None] | None = None,
    workers: Workers = HERE,
) -> dict[str, Any] | None:
    """The trial for each combination, each in a directory of its own; the patients and what chance adds are the same.

    Args:
        trial: what is asked.
        axes: values by name.
        out: directory of the sweep.
        write: writes the report of a trial beside its tables.
        versions: of the packages that the numbers depend on.
        tell: hears how it goes.
        workers: who makes the chunks of each trial; of a part nothing comes back.

    Returns:
        sweep.json: `rows`, one for each combination and policy; `worth`, what more visits were worth, one for each pair
        of neighboring intervals, policy and other assay; `sentences`, the same in words.

    Raises:
        ScenarioError: visits on days that are no decisions, or nothing measured that could be swept.
        DirectoryError: the directory holds something else, or a sweep of which a field differs.
    """
    if watched(trial.channels) is None:
        raise ScenarioError([f"{trial.scenario.file}: observation: wanted one that shows the burden; got none"])
    combinations = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    trials = [trial.with_changes(Changes(**combination)) for combination in combinations]
    for one in trials:
        trial_assays(one.scenario, one.channels, one.settings.seed)
    if (out / "sweep.json").is_dir():
        raise DirectoryError(f"{out}: wanted a directory for a sweep; got something else")
    Run(out, {**manifest(trial, versions or {}), "format": FORMAT, "sweep": axes}, workers.is_shared)
    rows = []
    for combination, one in zip(combinations, trials, strict=True):
        place = out / "-".join(f"{name}_{value:g}" for name, value in combination.items())
        result = run_trial(one, place, versions, tell, workers)
        if result is None:
            continue
        write(result, place)
        rows += [_row(result, combination, name) for name in trial.rows]
    if workers.is_shared:
        return None
    worth = _worth(rows, axes)
    # Who sees nothing gains nothing.
    sentences = [_sentence(found) for found in worth if found["mean_day"] != 0.0 or found["median_day"]]
    document = {
        "format": FORMAT,
        "research_use_only": DISCLAIMER,
        "scenario": trial.scenario.name,
        "title": trial.scenario.title,
        "axes": axes,
        "rows": rows,
        "worth": worth,
        "sentences": sentences,
    }
    write_whole(out / "sweep.json", to_bytes(document))
    write_whole(out / "sweep.csv", csv_of(list(rows[0]), [list(row.values()) for row in rows]))
    return document


def _row(result: TrialResult, combination: dict[str, float], name: str) -> dict[str, Any]:
    """What a policy came to with these assays; measurements are those of the watched channel until progression."""
    days = of_policy(result, name, "progression_day")
    changes = {axis: combination.get(axis) for axis in AXES}
    return {
        **changes,
        "policy": name,
        "patients": int(days.size),
        "measurements": _measurements(result, name),
        "median_progression_day": survival(days, followed(result, name), after_of(result, name)).median,
        "mean_without_progression_day": float(np.mean(held(result, name))) if days.size else None,
        "mean_objective": float(np.mean(of_policy(result, name, "objective"))) if days.size else None,
    }


def _measurements(result: TrialResult, name: str) -> float | None:
    """Mean number of results of the watched channel before progression."""
    own, table, log = watched(result.trial.channels), result.table, result.decisions
    if own is None:
        return None
    rows = np.array(table["policy"]) == name
    ends = dict(zip(table["patient"][rows], table["progression_day"][rows], strict=True))
    mine = np.array(log["policy"]) == name
    if not mine.any():
        return None
    seen = np.asarray(log[f"seen.{result.trial.channels[own].label()}"])[mine] > 0
    before = np.asarray(log["day"])[mine] <= np.array([ends[i] for i in np.asarray(log["patient"])[mine]])
    return float(np.sum(seen & before)) / len(np.unique(np.asarray(log["patient"])[mine]))


def _worth(rows: list[dict[str, Any]], axes: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Differences between neighboring visit intervals, by policy and by the other assays."""
    found, others = [], [name for name in AXES if name != "visit_every"]
    for often, seldom in pairwise(axes.get("visit_every", [])):
        for row in (row for row in rows if row["visit_every"] == often):
            same = [*others, "policy"]
            other = next(r for r in rows if r["visit_every"] == seldom and all(r[k] == row[k] for k in same))
            more = (row["measurements"] or 0.0) - (other["measurements"] or 0.0)
            gains = {
                key: None if row[name] is None or other[name] is None else row[name] - other[name]
                for key, name in (("mean", "mean_without_progression_day"), ("median", "median_progression_day"))
            }
            each = {
                f"{key}_day_each": None if gain is None or more <= 0.0 else gain / more for key, gain in gains.items()
            }
            kept = {name: row[name] for name in same}
            totals = {f"{key}_day": gain for key, gain in gains.items()}
            found.append(
                {"visit_every": often, "instead_of": seldom, **kept, "measurements_more": more, **totals, **each}
            )
    return found


def _sentence(found: dict[str, Any]) -> str:
    """What more visits were worth, in words."""
    assay = "".join(f", {name} {found[name]:g}" for name in AXES[1:] if found[name] is not None)
    head = f"{found['policy']}{assay}: visits every {found['visit_every']:g} instead of {found['instead_of']:g} days"
    if found["mean_day"] is None:
        return f"{head}: nobody could be simulated."
    each = found["mean_day_each"]
    median = "" if found["median_day"] is None else f", the median by {found['median_day']:+.3g} days"
    one = "" if each is None else f"; {each:+.3g} days for each of {found['measurements_more']:.3g} more measurements"
    return f"{head} change the mean time without progression by {found['mean_day']:+.3g} days{median}{one}."
