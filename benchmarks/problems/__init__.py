"""The problems that every contender is given."""

from dataclasses import replace

from benchmarks.problems.base import Benchmark
from benchmarks.problems.clones import Clones
from benchmarks.problems.persisters import Persisters
from benchmarks.problems.stromal import CAF, DAY, GENERAL, Stromal

_COLORECTAL = Stromal(CAF, ("ec50_max", "net_growth_max", "elimination"), blocker=True)
_BISTABLE = Stromal(GENERAL, ("ec50_max", "elimination"))
_LONG = Stromal(
    CAF,
    ("ec50_max", "elimination"),
    second={"cells": 1e3, "ec50_max": 73.4, "net_growth_max": 0.006 * DAY},
    capacity=1e9,
    resistance=0.3,
)

BENCHMARKS = {
    b.name: b
    for b in (
        Benchmark(
            "colorectal",
            "two drugs, 26 weekly boluses each, budgets",
            _COLORECTAL,
            replace(_COLORECTAL, full=True),
            steps=14,
            patients=1000,
            quadrature=True,
        ),
        Benchmark(
            "bistable",
            "one drug, 26 weekly boluses, a budget",
            _BISTABLE,
            replace(_BISTABLE, full=True),
            steps=56,
            starts=8,
            quadrature=True,
        ),
        Benchmark(
            "clones",
            "progression, one drug, 52 weekly levels",
            Clones(),
            Clones(),
            steps=7,
            patients=256,
            starts=16,
            temperatures=(1.0, 0.3, 0.1, 0.03, 0.01),
        ),
        Benchmark(
            "persisters",
            "two drugs by infusion, 26 intervals",
            Persisters(),
            Persisters(),
            steps=112,
            drug_use=0.1,
        ),
        Benchmark(
            "long",
            "two clones, 104 weekly boluses, a budget",
            _LONG,
            replace(_LONG, full=True),
            steps=14,
            drug_use=0.05,
            patients=32,
        ),
    )
}
