"""Synthetic tables with known parameters for the tests of the calibration room."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

DOSES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Rows of dictionaries as a CSV file; the first row names the columns."""
    rows = list(rows)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def plate_rows(
    ec50: Mapping[str, float] | None = None,
    *,
    hill: float = 1.4,
    lower: float = 0.1,
    noise: float = 0.02,
    replicates: int = 3,
    blank: float = 0.05,
    start: float = 0.25,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """One plate with a curve for each culture of `ec50`, four vehicle wells each, blanks and wells of time zero."""
    random = np.random.default_rng(seed)
    wells = iter(f"{row}{column}" for row in "ABCDEFGHIJKLMNOP" for column in range(1, 25))

    def well(content: str, culture: str, dose: float | str, level: float) -> dict[str, Any]:
        signal = blank + level + noise * random.standard_normal()
        return {
            "plate": "1",
            "well": next(wells),
            "role": content,
            "culture": culture,
            "drug_ug_per_ml": dose,
            "absorbance_od": round(max(signal, 0.0), 6),
        }

    rows = [well("blank", "", "", 0.0) for _ in range(6)]
    for culture, half in (ec50 or {"alone": 0.5, "with fibroblasts": 2.0}).items():
        rows += [well("vehicle", culture, "", 1.0) for _ in range(6)]
        rows += [well("time_zero", culture, "", start) for _ in range(4)]
        for dose in DOSES:
            level = lower + (1 - lower) / (1 + (dose / half) ** hill)
            rows += [well("sample", culture, dose, level) for _ in range(replicates)]
    return rows


def rates_rows(theta: tuple[float, ...], noise: float, seed: int = 0) -> list[dict[str, Any]]:
    """Net rates of the stromal model on the published design (8 growth-factor levels by 6 doses)."""
    random = np.random.default_rng(seed)
    ec50_max, midpoint, slope, high, low, hill = theta
    rows = []
    for g in range(0, 800, 100):
        for d in (0.0, 0.001, 0.01, 0.1, 1.0, 10.0):
            half = ec50_max / (1 + np.exp(-slope * (g - midpoint)))
            rate = low + (high - low) / (1 + (d / half) ** hill)
            rate += noise * random.standard_normal()
            rows.append({"egf_pg_per_ml": g, "cetuximab_ug_per_ml": d, "net_growth_rate_per_hour": rate})
    return rows


def patient_rows(
    patient: str,
    *,
    growth: float = 0.03,
    effect: float = 0.15,
    ec50: float = 20.0,
    half_life: float = 5.0,
    initial: float = 500.0,
    noise: float = 0.05,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Exponential growth and log-kill under 100 mg every 7 days for 8 weeks, off 4, on again; a volume each week."""
    random = np.random.default_rng(seed)
    rate = np.log(2) / half_life
    courses = [(0.0, 7), (84.0, 3)]
    doses = [start + 7 * k for start, extra in courses for k in range(extra + 1)]
    grid = np.linspace(0, 140, 140 * 200 + 1)
    amount = sum(100.0 * np.where(grid >= t, np.exp(-rate * (grid - t)), 0.0) for t in doses)
    slope = growth - effect * amount / (amount + ec50)
    log_volume = np.log(initial) + np.concatenate([[0], np.cumsum((slope[1:] + slope[:-1]) / 2 * np.diff(grid))])
    row = dict.fromkeys(("patient", "time_day", "evid", "amt_mg", "ii_day", "addl", "volume_mm3"), "")
    rows = [
        row | {"patient": patient, "time_day": t, "evid": 1, "amt_mg": 100, "ii_day": 7, "addl": n} for t, n in courses
    ]
    for t in np.arange(0, 141, 7.0):
        value = np.exp(np.interp(t, grid, log_volume) + noise * random.standard_normal())
        rows.append(row | {"patient": patient, "time_day": t, "evid": 0, "volume_mm3": round(float(value), 4)})
    return rows
