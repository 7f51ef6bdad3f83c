"""What a user would pick instead, each behind the same two methods."""

import importlib
from typing import Any

from benchmarks.problems.base import Benchmark

_MODULES = {
    "paper": ("paper", "Paper"),
    "slsqp": ("ours", "Slsqp"),
    "casadi": ("casadi_usual", "build"),
    "expert": ("casadi_expert", "build"),
    "gekko": ("gekko_local", "Gekko"),
    "ours": ("ours", "Ours"),
}
NAMES = tuple(_MODULES)
# Those that are given a limit in time.
CAPPED = ("paper", "gekko")
TITLES = {
    "paper": "odeint, finite differences, L-BFGS-B",
    "slsqp": "SciPy SLSQP with our gradient",
    "casadi": "CasADi + IPOPT, multiple shooting RK4",
    "expert": "CasADi + IPOPT, expert",
    "gekko": "GEKKO, local IPOPT",
    "ours": "ours",
}


def build(name: str, benchmark: Benchmark, cap: float = 20.0) -> Any:
    """A contender, ready to solve.

    Raises:
        ImportError: its package is not installed (`pip install adose[bench]`).
    """
    module, maker = _MODULES[name]
    make = getattr(importlib.import_module(f"benchmarks.contenders.{module}"), maker)
    return make(benchmark, cap) if name in CAPPED else make(benchmark)
