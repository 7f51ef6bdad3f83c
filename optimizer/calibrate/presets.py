"""Published parameter sets that `--against` scores, in the units of their paper.

| preset | source |
|---|---|
| `kraut2025_caf` | Kraut et al. 2025, doi 10.1038/s41540-025-00495-0: colorectal cancer, cetuximab, EGF |
"""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.files.faults import DataError


@dataclass(frozen=True)
class Published:
    """A published fit: name -> (value, unit as in a header, dimension of that unit)."""

    source: str
    values: dict[str, tuple[float, str, str]]


PRESETS: dict[str, Published] = {
    "kraut2025_caf": Published(
        "doi 10.1038/s41540-025-00495-0",
        {
            "ec50_max": (7.34, "ug_per_ml", "concentration"),
            "shift_midpoint": (379.4, "pg_per_ml", "growth_factor"),
            "shift_slope": (0.0078, "pg_per_ml", "1/growth_factor"),
            "net_growth_max": (0.0147, "per_hour", "rate"),
            "net_growth_min": (-0.0079, "per_hour", "rate"),
            "hill": (0.93, "", ""),
            "growth_factor_max": (27.1, "pg_per_ml", "growth_factor"),
            "secretion_slope": (65.7, "ug_per_ml", "1/concentration"),
            "secretion_midpoint": (0.0049, "ug_per_ml", "concentration"),
        },
    )
}
PUBLISHED_GROWTH_FACTOR_MAX = 27.1
"""pg/mL: where the critical concentration is reported; the mean of the fitted EGF maxima, same source."""


def preset(name: str) -> Published:
    """A published set by name; raises `DataError` naming those there are.

    >>> preset("kraut2025_caf").values["hill"][0]
    0.93
    """
    if name not in PRESETS:
        raise DataError(f"against: wanted one of {', '.join(PRESETS)}, got {name!r}")
    return PRESETS[name]
