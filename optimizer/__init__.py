"""adose: search, judge and compare drug schedules against resistant tumors. Research use only.

    import optimizer as opt

    scenario = opt.Scenario.load("scenarios/crc_caf_cetuximab.toml")
    result = opt.optimize(scenario.problem(), seed=0)
    opt.plot.save(opt.plot.overview(result), "overview.png")

Names are loaded when they are first used, so that the command line starts at once. Whichever module is imported first,
JAX is switched to 64-bit numbers, without which a search cannot reach its tolerance; with JAX_ENABLE_X64=0 JAX is left
as it is, and what needs 64 bits is refused.
"""

import ast
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

# Before JAX is imported, which reads both: only what ends the process is told by XLA itself.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if os.environ.setdefault("JAX_ENABLE_X64", "1") == "1" and "jax" in sys.modules:
    sys.modules["jax"].config.update("jax_enable_x64", True)

# The stub beside this file says what is public, to type checkers and here: each name's module, and its name there.
_STUB = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")).body
_LINES = [line for line in _STUB if isinstance(line, ast.ImportFrom)]
_HOMES = {alias.name: (str(line.module), alias.name) for line in _LINES for alias in line.names if alias.asname}
_HOMES["plot"] = "optimizer.report", "plots"
__all__ = [*sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'optimizer' has no attribute {name!r}")
    home, own = _HOMES[name]
    known = vars(import_module(home))
    return known[own] if own in known else import_module(f"{home}.{own}")


def __dir__() -> list[str]:
    return __all__
