"""What a calibration hands back: numbers with intervals, draws, warnings, and everything the figures need.

Each kind of table makes a `Part` of every fit (a condition, a patient, or the whole table) and lets `compose` report
them all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from optimizer.calibrate.fit import Fit, Settings
from optimizer.calibrate.posterior import Draws, curve, predictive_quantiles, sample_fit, sampling_warnings
from optimizer.calibrate.tables import Table
from optimizer.calibrate.uncertainty import Profile, Uncertainty, uncertainty
from optimizer.files.run_directory import finite

FORMAT = 1
# Quantiles of new measurements that a visual predictive check shows.
CHECKED = (0.05, 0.5, 0.95)
DISCLAIMER = "Research use only. Not for clinical decisions."


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
        return finite({"value": self.value, "interval": self.interval, "unit": self.unit, "meaning": self.doc})


class Fragment(NamedTuple):
    """A scenario that holds the fit."""

    tables: Mapping[str, Any] = {}  #: as a scenario file has them; empty where the fit cannot be a scenario
    #: what the data did not say and is taken from elsewhere; where there are no tables, why
    notes: tuple[str, ...] = ()
    #: key path in the scenario -> (draws [chain, draw], unit) of what the fit names otherwise
    draws: Mapping[str, tuple[np.ndarray, str]] = {}


NO_FRAGMENT = Fragment()


@dataclass(frozen=True)
class Panel:
    """One curve against its data for a figure: measurements x, y [n], the fit on a grid [g]."""

    title: str
    x_label: str
    y_label: str
    x: np.ndarray
    y: np.ndarray
    grid: np.ndarray
    curve: np.ndarray
    band: np.ndarray | None = None  #: predictive interval, low and high [2, g]
    log_x: bool = True
    #: of a course: `CHECKED` quantiles of new measurements [3, g], with the noise of the fit
    simulated: np.ndarray | None = None
    censored: np.ndarray | None = None  #: -1 where a measurement was below its value, 1 where above, else 0 [n]

    def covered(self) -> np.ndarray:
        """Which measurements lie within the outer simulated quantiles, or may [n]."""
        assert self.simulated is not None
        low, _, high = (np.interp(self.x, self.grid, values) for values in self.simulated)
        sign = np.zeros(len(self.y)) if self.censored is None else self.censored
        return ((self.y >= low) | (sign > 0)) & ((self.y <= high) | (sign < 0))


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
    observed: np.ndarray
    fitted: np.ndarray
    criteria: dict[str, float] = field(default_factory=dict)
    comparisons: dict[str, dict[str, float]] = field(default_factory=dict)
    correlation: np.ndarray | None = None
    fragment: Fragment = NO_FRAGMENT
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
            **{"format": FORMAT, "disclaimer": DISCLAIMER},
            **{name: getattr(self, name) for name in ("kind", "method", "rows", "objective", "sse", "sse_unit")},
            "interval_level": self.level,
            "parameters": {entry.name: entry for entry in self.parameters},
            **{name: getattr(self, name) for name in ("derived", "starts", "starts_at_optimum", "warnings")},
            **{name: getattr(self, name) for name in ("criteria", "comparisons")},
            "correlation": {"names": names, "matrix": self.correlation},
            "residuals": np.asarray(self.observed - self.fitted) if len(self.observed) <= 10_000 else None,
            "profiles": {p.name: {"values": p.values, "tau": p.tau} for p in self.profiles},
            "draws": {"source": self.draws.source, "priors": self.draws.priors}
            | ({"diagnostics": self.draws.diagnostics} if self.draws.diagnostics else {}),
            "against": self.against,
            **self.extra,
            **self.provenance,
        }
        return finite(body)


@dataclass(frozen=True)
class Part:
    """One fit as it is reported: its uncertainty, and what is printed and drawn."""

    label: str  #: condition or patient, in brackets behind each parameter; empty where there is one alone
    fit: Fit
    uncertainty: Uncertainty
    draws: Draws
    theta: np.ndarray  #: the draws, flat [m, P]
    sigma: np.ndarray  #: and their noise [m]
    size: int  #: rows of the problem that are data, not padding
    entries: tuple[Entry, ...]
    warnings: tuple[str, ...]
    panels: tuple[Panel, ...] = ()

    def panel(
        self, title: str, labels: tuple[str, str], data: tuple[np.ndarray, np.ndarray], design: Any, **how
    ) -> Panel:
        """The fitted curve and its predictive band over the grid design[0], against data (x, y).

        Doses are drawn on a logarithmic axis; a linear one has times, and the panel can be checked as a course.
        """
        level = self.uncertainty.level
        at = ((1 - level) / 2, (1 + level) / 2, *CHECKED)
        found = predictive_quantiles(self.fit, self.theta, self.sigma, design, at)
        simulated = None if how.get("log_x", True) else found[2:]
        return Panel(title, *labels, *data, design[0], curve(self.fit, design), found[:2], simulated=simulated, **how)


def part(
    fit: Fit,
    settings: Settings,
    docs: Mapping[str, str],
    *,
    label: str = "",
    who: str = "",
    size: int | None = None,
    pooled: np.ndarray | None = None,
) -> Part:
    """A fit with its uncertainty and draws; `who` stands before each warning."""
    settings.progress("intervals")
    found = uncertainty(fit, settings.level)
    sampled, theta, sigma = sample_fit(fit, found, settings, pooled)
    suffix = f"[{label}]" if label else ""
    named = tuple(replace(entry, name=f"{entry.name}{suffix}") for entry in entries(fit, found, docs))
    notes = [*found.warnings, *sampling_warnings(sampled)]
    said = tuple(f"{who}: {note}" if who else note for note in notes)
    return Part(label, fit, found, sampled, theta, sigma, size or len(fit.problem.observed), named, said)


def compose(kind: str, table: Table, parts: Sequence[Part], settings: Settings, **own: Any) -> FitReport:
    """The report of a table from its parts; `own` are the fields that are the kind's own, or replace what is usual."""
    fits = [p.fit for p in parts]
    alone = parts[0] if len(parts) == 1 else None
    usual = {
        "kind": kind,
        "method": settings.method,
        "rows": len(table),
        "sse": sum(fit.sse for fit in fits),
        "parameters": tuple(entry for p in parts for entry in p.entries),
        "derived": {},
        "starts": fits[0].starts,
        "starts_at_optimum": min(fit.starts_at_optimum for fit in fits),
        "warnings": tuple(warning for p in parts for warning in p.warnings),
        "level": settings.level,
        "draws": parts[0].draws,
        "observed": np.concatenate([np.asarray(p.fit.problem.observed)[: p.size] for p in parts]),
        "fitted": np.concatenate([p.fit.predicted()[: p.size] for p in parts]),
        "criteria": parts[0].uncertainty.criteria,
        "correlation": alone.uncertainty.correlation if alone else None,
        "profiles": tuple(profile for p in parts for profile in p.uncertainty.profiles),
        "panels": tuple(panel for p in parts for panel in p.panels),
    }
    fields = usual | own
    fields["warnings"] = tuple(dict.fromkeys(fields["warnings"]))
    fields["objective"] += "" if settings.loss == "linear" else f", {settings.loss} loss"
    return FitReport(**fields)


def along(parts: Sequence[Part], dimension: str, names: Sequence[str] | None = None) -> Draws:
    """Draws of all parts along one more dimension, labeled with `names` or the parts' own labels."""
    first, labels = parts[0].draws, tuple(names or (p.label for p in parts))
    values = {name: np.stack([p.draws.values[name] for p in parts], axis=-1) for name in first.values}
    told = {f"{n}[{p.label}]": d for p in parts for n, d in p.draws.diagnostics.items()}
    groups = dict.fromkeys(values, (dimension, labels))
    divergences = sum(p.draws.divergences for p in parts)
    return Draws(values, first.units, first.source, first.priors, groups, None, None, told, divergences)


def entries(fit: Fit, found: Uncertainty, docs: Mapping[str, str] | None = None) -> tuple[Entry, ...]:
    """The parameters of a fit with their profile intervals; a fixed one has its value at both ends."""
    out = []
    for parameter, value in zip(fit.parameters, fit.theta, strict=True):
        fixed = parameter.name in fit.fixed
        interval = (float(value), float(value)) if fixed else found.interval(parameter.name)
        out.append(Entry(parameter.name, float(value), interval, parameter.unit, (docs or {}).get(parameter.name, "")))
    return tuple(out)


def with_warnings(report: FitReport, *sentences: str) -> FitReport:
    """The report with further warnings, each once."""
    return replace(report, warnings=tuple(dict.fromkeys((*report.warnings, *sentences))))


def quantiles(values: np.ndarray, level: float, nearest: bool = False) -> tuple[float, float]:
    """The central interval of draws at a level; `nearest` where some are infinite, so that none is between."""
    how: Any = "nearest" if nearest else "linear"
    low, high = np.quantile(np.asarray(values, dtype=float), [(1 - level) / 2, (1 + level) / 2], method=how)
    return float(low), float(high)


def quantity(value: float, unit: str) -> str | float:
    """A number with its unit as a scenario writes it; a dimensionless one stays a number.

    >>> quantity(7.34, "ug/mL"), quantity(0.0147, "1/h"), quantity(0.93, "1")
    ('7.34 ug/mL', '0.0147 / h', 0.93)
    """
    return float(value) if unit == "1" else f"{float(value)!r} {unit}".replace(" 1/", " / ")
