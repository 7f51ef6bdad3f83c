"""What a calibration hands back: numbers with intervals, draws, warnings, and everything the figures need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from optimizer.calibrate.multistart import Fit
from optimizer.calibrate.uncertainty import Profile, Uncertainty

FORMAT = 1
GOOD_RHAT = 1.01
ENOUGH_DRAWS = 400
DISCLAIMER = "Research use only. Not for clinical decisions."


@dataclass(frozen=True)
class Options:
    """How to fit, the same for every kind of table.

    `level` is that of all intervals; `loss` is `linear` or a robust one (`soft_l1`, `huber`, `cauchy`);
    `deviation` overrides how a kind of table counts residuals; `hierarchical` pools lines or patients.
    """

    method: str = "direct"
    starts: int = 200
    seed: int = 0
    level: float = 0.9
    loss: str = "linear"
    deviation: str | None = None
    bayes: bool = False
    hierarchical: bool = False
    draws: int = 1000
    chains: int = 4
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """One parameter or derived number: value and interval in `unit`; an end is None where the data set no bound."""

    name: str
    value: float
    interval: tuple[float | None, float | None]
    unit: str
    doc: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it stands in fit.json; what is not finite becomes null."""
        ends = [None if end is None else _number(end) for end in self.interval]
        return {"value": _number(self.value), "interval": ends, "unit": self.unit, "meaning": self.doc}


@dataclass(frozen=True)
class Draws:
    """Draws in natural units: name -> [chain, draw] or [chain, draw, group], and where they come from."""

    values: dict[str, np.ndarray]
    units: dict[str, str]
    source: str
    priors: dict[str, str] = field(default_factory=dict)
    groups: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    predictive: np.ndarray | None = None
    log_likelihood: np.ndarray | None = None
    diagnostics: dict[str, dict[str, float]] = field(default_factory=dict)
    divergences: int = 0


@dataclass(frozen=True)
class Panel:
    """One curve against its data for a figure: `band` is the predictive quantile band (low, high) on the grid."""

    title: str
    x_label: str
    y_label: str
    x: np.ndarray
    y: np.ndarray
    grid: np.ndarray
    curve: np.ndarray
    band: tuple[np.ndarray, np.ndarray] | None = None
    log_x: bool = True


@dataclass(frozen=True)
class FitReport:
    """The result of `calibrate`: `to_json()` is fit.json, the rest is for figures and for use in Python.

    `sse` is in the square of `sse_unit`, the data's own unit, whatever objective was minimized.
    """

    kind: str
    method: str
    rows: int
    sse: float | None
    sse_unit: str
    objective: str
    parameters: tuple[Entry, ...]
    derived: dict[str, Any]
    starts: int
    starts_at_optimum: int
    warnings: tuple[str, ...]
    level: float
    draws: Draws
    fragment: dict[str, str | float]
    observed: np.ndarray
    fitted: np.ndarray
    criteria: dict[str, float] = field(default_factory=dict)
    comparisons: dict[str, dict[str, float]] = field(default_factory=dict)
    correlation: np.ndarray | None = None
    profiles: tuple[Profile, ...] = ()
    panels: tuple[Panel, ...] = ()
    against: dict[str, Any] | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def value(self, name: str) -> float:
        """The value of a parameter by name."""
        return next(entry.value for entry in self.parameters if entry.name == name)

    def to_json(self) -> dict[str, Any]:
        """fit.json as a dictionary of plain numbers; what is not finite is null."""
        names = [profile.name for profile in self.profiles]
        body = {
            "format": FORMAT,
            "disclaimer": DISCLAIMER,
            "kind": self.kind,
            "method": self.method,
            "rows": self.rows,
            "objective": self.objective,
            "sse": self.sse,
            "sse_unit": self.sse_unit,
            "interval_level": self.level,
            "parameters": {entry.name: entry.to_json() for entry in self.parameters},
            "derived": self.derived,
            "starts": self.starts,
            "starts_at_optimum": self.starts_at_optimum,
            "warnings": list(self.warnings),
            "criteria": self.criteria,
            "comparisons": self.comparisons,
            "correlation": {"names": names, "matrix": self.correlation},
            "residuals": np.asarray(self.observed - self.fitted) if len(self.observed) <= 10_000 else None,
            "profiles": {p.name: {"values": p.values, "tau": p.tau} for p in self.profiles},
            "draws": {"source": self.draws.source, "priors": self.draws.priors} | _diagnostics(self.draws),
            "against": self.against,
            **self.extra,
            **self.provenance,
        }
        return _plain(body)


def entries(fit: Fit, doubt: Uncertainty, docs: Mapping[str, str] | None = None) -> tuple[Entry, ...]:
    """The parameters of a fit with their profile intervals; a fixed one has its value at both ends."""
    out = []
    for parameter, value in zip(fit.parameters, fit.theta, strict=True):
        fixed = parameter.name in fit.fixed
        interval = (float(value), float(value)) if fixed else doubt.interval(parameter.name)
        out.append(Entry(parameter.name, float(value), interval, parameter.unit, (docs or {}).get(parameter.name, "")))
    return tuple(out)


def with_warnings(report: FitReport, *sentences: str) -> FitReport:
    """The report with further warnings, each once."""
    return replace(report, warnings=tuple(dict.fromkeys((*report.warnings, *sentences))))


def quantiles(values: np.ndarray, level: float) -> tuple[float, float]:
    """The central interval of draws at a level."""
    low, high = np.quantile(np.asarray(values, dtype=float), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def quantity(value: float, unit: str) -> str | float:
    """A number with its unit as a scenario writes it; a dimensionless one stays a number.

    >>> quantity(7.34, "ug/mL"), quantity(0.0147, "1/h"), quantity(0.93, "1")
    ('7.34 ug/mL', '0.0147 / h', 0.93)
    """
    return float(value) if unit == "1" else f"{float(value)!r} {unit}".replace(" 1/", " / ")


def loss_in_words(options: Options) -> str:
    """What to add to the name of an objective under a robust loss."""
    return "" if options.loss == "linear" else f", {options.loss} loss"


def sampling_warnings(draws: Draws) -> list[str]:
    """Plain sentences where chains disagree, effective draws are few or trajectories diverged."""
    out = []
    for name, d in draws.diagnostics.items():
        if not d["r_hat"] <= GOOD_RHAT:
            out.append(f"chains disagree on {name} (R-hat {d['r_hat']:.3f}, wanted at most {GOOD_RHAT})")
        if not d["ess"] >= ENOUGH_DRAWS:
            out.append(f"only {d['ess']:.0f} effective draws of {name} (wanted at least {ENOUGH_DRAWS})")
    if draws.divergences:
        out.append(f"{draws.divergences} divergent transitions: the posterior may be biased")
    return out


def _diagnostics(draws: Draws) -> dict[str, Any]:
    return {"diagnostics": draws.diagnostics} if draws.diagnostics else {}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _plain(value: Any) -> Any:
    """Dictionaries, lists, text and finite numbers only."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Entry):
        return value.to_json()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return _number(float(value))
    return value
