"""What a user would pick instead, each behind the same two methods."""

import importlib
from typing import Any

from benchmarks.problems.base import Benchmark

_MODULES = {
    "paper": ("paper", "Paper"),
    "slsqp": ("ours", "Slsqp"),
    "casadi": ("casadi_usual", "build"),
    "expert": ("casadi_expert", "build"),
    "fatrop": ("casadi_fatrop", "build"),
    "gekko": ("gekko_local", "Gekko"),
    "ours": ("ours", "Ours"),
}
NAMES = tuple(_MODULES)
# Those that are given a limit in time.
CAPPED = ("paper", "gekko")
# Problems that a contender is not given: on the smoothed survival's corners FATROP meets a NaN and does not return.
_NOT = {"fatrop": ("clones",)}
TITLES = {
    "paper": "odeint, finite differences, L-BFGS-B",
    "slsqp": "SciPy SLSQP with our gradient",
    "casadi": "CasADi + IPOPT, multiple shooting RK4",
    "expert": "CasADi + IPOPT, expert",
    "fatrop": "CasADi + FATROP, the expert's intervals as stages",
    "gekko": "GEKKO, local IPOPT",
    "ours": "ours",
}


def build(name: str, benchmark: Benchmark, cap: float = 20.0) -> Any:
    """A contender, ready to solve.

    Raises:
        ImportError: its package is not installed (`pip install adose[bench]`).
        NotImplementedError: it is not given this problem.
    """
    if benchmark.name in _NOT.get(name, ()):
        raise NotImplementedError(f"{TITLES[name]}: not for {benchmark.name}")
    module, maker = _MODULES[name]
    make = getattr(importlib.import_module(f"benchmarks.contenders.{module}"), maker)
    return make(benchmark, cap) if name in CAPPED else make(benchmark)
