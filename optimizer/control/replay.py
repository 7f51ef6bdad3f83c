"""Replay: real courses forecast from what came before, and scored against the patient's own previous cycle.

Protocol: a patient is fitted on what was measured before the second stop of treatment, and PSA is forecast from then
to the third start (or to the end). The error is the root mean square of ln(PSA + 0.1). The rival repeats the first
rest: the same days after the stop, the last value beyond. Patients are forecast in groups; what is learned of the
population comes from the other groups, and so do the shares a, b and the width of bands: from the errors of the others,
in whose populations, as in cross-conformal prediction, the patient is.

| forecast | of ln(PSA + 0.1), t days after the second stop |
|---|---|
| a model | median of draws of the patient's numbers |
| `by evidence` | the models' mean with weights p(what was known given the model), by Laplace's method |
| `mean` | their plain mean m(t) |
| `corrected` | m(t) + a r_1(t) + b r_0 exp(-t / 150 day): r_1 what m missed so long after the first stop, r_0 at last |
| `with cycle` | mean of m and of the repeated rest |
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from optimizer.control.course_fit import CourseModel
from optimizer.control.courses import OFFSET, Rests, read_courses, rests
from optimizer.files.faults import DataError
from optimizer.scenario import Scenario
from optimizer.search.multistart import Progress
from optimizer.settings import ReplaySettings

CYCLE, EVIDENCE, MEAN = "previous cycle", "models by evidence", "mean of models"
CORRECTED, WITH_CYCLE = "mean of models, corrected", "mean of models and previous cycle"
LEVEL = 0.9
# Draws of a patient's numbers; patients from whom a spread, and what models miss, can be learned.
_DRAWS, _FEWEST = 64, 4
# Days in which what a model missed at last fades.
_FADES = 150.0
# Errors that differ by less are the same.
_SAME = 1e-9


class Modeled(NamedTuple):
    """What one model says of P patients, all their rows: those known and those ahead."""

    middle: list[np.ndarray]  #: median of ln(PSA + 0.1) of each patient, [L] each
    variance: list[np.ndarray]  #: about it of a measurement, likewise
    evidence: Float[np.ndarray, "P"]  #: ln of the probability of what was known [P]


@dataclass(frozen=True)
class Replayed:
    """All courses."""

    rests: tuple[Rests, ...]  #: of the P patients with two rests from treatment
    left_out: tuple[str, ...]  #: names of the others
    forecasts: dict[str, list[np.ndarray]]  #: of each forecaster, ln(PSA + 0.1) of each patient
    half_width: list[np.ndarray]  #: of the band about `CORRECTED`, of each patient
    weights: Float[np.ndarray, "P models"]  #: of the models by their evidence [P, models]

    def errors(self) -> dict[str, Float[np.ndarray, "P"]]:
        """Root mean square error of each forecaster in each patient."""
        return {
            name: np.array([np.sqrt(np.mean((f - r.measured) ** 2)) for f, r in zip(each, self.rests, strict=True)])
            for name, each in self.forecasts.items()
        }

    def covered(self) -> list[np.ndarray]:
        """Whether each measurement lies in its band."""
        bands = zip(self.forecasts[CORRECTED], self.half_width, self.rests, strict=True)
        return [np.abs(forecast - r.measured) <= half for forecast, half, r in bands]

    def band(self, patient: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The corrected forecast of a patient and the ends of its band [ug/L]."""
        middle, half = self.forecasts[CORRECTED][patient], self.half_width[patient]
        low, high = (np.maximum(np.exp(v) - OFFSET, 0.0) for v in (middle - half, middle + half))
        return np.maximum(np.exp(middle) - OFFSET, 0.0), low, high

    def table(self) -> list[dict[str, Any]]:
        """A patient a row."""
        errors, covered = self.errors(), self.covered()
        return [
            {"patient": r.course.patient, "known": int((~r.ahead).sum()), "forecast": int(r.ahead.sum())}
            | {f"error of {name}": float(values[i]) for name, values in errors.items()}
            | {"inside the band": float(covered[i].mean())}
            for i, r in enumerate(self.rests)
        ]

    def visits(self) -> list[dict[str, Any]]:
        """A measurement that was forecast a row [day, ug/L]."""
        names, out = ("day", "psa", "repeated", "forecast", "low", "high"), []
        for i, r in enumerate(self.rests):
            repeated = np.exp(self.forecasts[CYCLE][i]) - OFFSET
            columns = r.course.days[r.ahead], r.course.psa[r.ahead], repeated, *self.band(i)
            rows = zip(*(column.tolist() for column in columns), strict=True)
            out += [{"patient": r.course.patient, **dict(zip(names, row, strict=True))} for row in rows]
        return out

    def summary(self) -> dict[str, Any]:
        """How each forecaster did; better is a smaller error than the previous cycle's in the same patient."""
        errors, covered = self.errors(), np.concatenate(self.covered())
        told = {
            name: {
                "median_error": float(np.median(e)),
                "mean_error": float(np.mean(e)),
                "better_than_previous_cycle": int(np.sum(e < errors[CYCLE] - _SAME)),
            }
            for name, e in errors.items()
        }
        band = {"of": CORRECTED, "level": LEVEL, "covered": float(covered.mean()), "measurements": len(covered)}
        return {"patients": len(self.rests), "left_out": list(self.left_out), "forecasts": told, "band": band}


def replay(file: Path, settings: ReplaySettings, tell: Callable[[Progress], None] = lambda event: None) -> Replayed:
    """Forecast the second rest of every patient of a table.

    Args:
        file: courses (`read_courses`).
        settings: scenarios of the models, groups, rounds.
        tell: hears how it goes.

    Raises:
        DataError: the table cannot be read, or too few patients have two rests.
        ScenarioError: a model that cannot be fitted to PSA.
    """
    scenarios = [Scenario.load(Path(place)) for place in settings.model]
    cut = {course.patient: rests(course) for course in read_courses(file, settings.time_unit)}
    found = tuple(r for r in cut.values() if r is not None)
    if len(found) < _FEWEST:
        wanted = f"at least {_FEWEST} patients with a PSA in a first and two in a second rest from treatment"
        raise DataError(f"{file}: wanted {wanted}; got {len(found)}")
    group = np.arange(len(found)) % min(settings.groups, len(found))
    models = [_modeled(scenario, found, group, settings, tell) for scenario in scenarios]
    middles = list(zip(*(m.middle for m in models), strict=True))
    mean = [np.mean(each, axis=0) for each in middles]
    evidence = np.stack([m.evidence for m in models], axis=-1)
    weights = np.exp(evidence - evidence.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    weighted = [np.tensordot(w, np.stack(each), 1) for w, each in zip(weights, middles, strict=True)]
    names = [f"model {i + 1}: {scenario.name}" for i, scenario in enumerate(scenarios)]
    everywhere = dict(zip(names, (m.middle for m in models), strict=True)) | {EVIDENCE: weighted, MEAN: mean}
    forecasts = {CYCLE: [r.repeated(r.course.logs) for r in found]}
    forecasts |= {name: [v[r.ahead] for v, r in zip(each, found, strict=True)] for name, each in everywhere.items()}
    forecasts[CORRECTED] = _corrected(found, mean, group)
    forecasts[WITH_CYCLE] = [(a + b) / 2 for a, b in zip(forecasts[MEAN], forecasts[CYCLE], strict=True)]
    sd = [
        np.sqrt(np.mean(own, axis=0) + np.var(each, axis=0))[r.ahead]
        for own, each, r in zip(zip(*(m.variance for m in models), strict=True), middles, found, strict=True)
    ]
    half = _widths(found, forecasts[CORRECTED], sd, group)
    return Replayed(found, tuple(name for name, r in cut.items() if r is None), forecasts, half, weights)


def _modeled(
    scenario: Scenario,
    found: Sequence[Rests],
    group: np.ndarray,
    settings: ReplaySettings,
    tell: Callable[[Progress], None],
) -> Modeled:
    """One model, each group under the population of the others."""
    courses, count, groups = [r.course for r in found], len(found), int(group.max()) + 1
    model = CourseModel(scenario, courses, int(np.bincount(group).max()))
    whole = model.rows(courses, [np.ones(len(c.days)) for c in courses])
    known = model.rows(courses, [~r.ahead for r in found])
    normal = np.random.default_rng(settings.seed).standard_normal((_DRAWS, len(model.start.mean)))
    middle, variance, evidence = [np.zeros(0)] * count, [np.zeros(0)] * count, np.zeros(count)
    for g in range(groups):
        tell(Progress(f"{scenario.name}: groups", g, groups, None))
        others = model.pool(whole, settings.rounds, np.flatnonzero(group != g))
        which = np.flatnonzero(group == g)
        own = model.fit(known, others, np.tile(others.mean, (count, 1)), which)
        evidence[which] = own.evidence
        for i, draws in zip(which, model.forecast(known, own, which, normal), strict=True):
            each = draws[:, : len(courses[i].days)]
            middle[i], variance[i] = np.median(each, axis=0), np.var(each, axis=0) + others.noise**2
    return Modeled(middle, variance, evidence)


def _corrected(found: Sequence[Rests], mean: Sequence[np.ndarray], group: np.ndarray) -> list[np.ndarray]:
    """The mean with a share of what it missed before; both shares are least squares over the other groups."""
    features, missed = [], []
    for r, m in zip(found, mean, strict=True):
        misses, days = r.course.logs - m, r.course.days[r.ahead] - r.stops[1]
        features.append(np.stack([r.repeated(misses), misses[~r.ahead][-1] * np.exp(-days / _FADES)], axis=1))
        missed.append(misses[r.ahead])
    out = []
    for i, r in enumerate(found):
        others = [j for j in range(len(found)) if group[j] != group[i]]
        # Every patient counts the same, however often PSA was measured.
        scale = [np.sqrt(len(missed[j])) for j in others]
        left = np.concatenate([features[j] / s for j, s in zip(others, scale, strict=True)])
        right = np.concatenate([missed[j] / s for j, s in zip(others, scale, strict=True)])
        out.append(mean[i][r.ahead] + features[i] @ np.linalg.lstsq(left, right)[0])
    return out


def _widths(
    found: Sequence[Rests], forecast: Sequence[np.ndarray], sd: Sequence[np.ndarray], group: np.ndarray
) -> list[np.ndarray]:
    """Half widths of bands: sd times the number within which 90 % of the others' measurements lay (cross-conformal)."""
    ratio = [np.abs(f - r.measured) / s for f, r, s in zip(forecast, found, sd, strict=True)]
    others = [np.concatenate([q for q, h in zip(ratio, group, strict=True) if h != g]) for g in range(group.max() + 1)]
    reach = np.array([np.quantile(each, LEVEL) for each in others])
    return [s * reach[g] for s, g in zip(sd, group, strict=True)]
