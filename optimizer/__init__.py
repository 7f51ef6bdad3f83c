"""adose: search, judge and compare drug schedules against resistant tumors. Research use only.

    import optimizer as opt

    scenario = opt.Scenario.load("scenarios/crc_caf_cetuximab.toml")
    result = opt.optimize(scenario.problem(), seed=0)
    opt.plot.save(opt.plot.overview(result), "overview.png")

Names are loaded when they are first used, so that the command line starts at once. Whichever module is imported first,
JAX is switched to 64-bit numbers, without which a search cannot reach its tolerance; with JAX_ENABLE_X64=0 JAX is left
as it is, and what needs 64 bits is refused.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optimizer import analysis as analysis, calibrate as calibrate, control as control, ensemble as ensemble
    from optimizer.analysis.comparison import compare as compare
    from optimizer.constraints.base import (
        AbstractDoseLimit as AbstractDoseLimit,
        AbstractStateLimit as AbstractStateLimit,
    )
    from optimizer.endpoints.base import AbstractEndpoint as AbstractEndpoint
    from optimizer.fields import parameter as parameter, setting as setting
    from optimizer.mechanisms.base import AbstractMechanism as AbstractMechanism
    from optimizer.models.base import AbstractModel as AbstractModel
    from optimizer.objectives.base import AbstractTerm as AbstractTerm, Objective as Objective
    from optimizer.pharmacology.base import AbstractPK as AbstractPK
    from optimizer.policies.base import AbstractPolicy as AbstractPolicy
    from optimizer.policies.schedule import Schedule as Schedule
    from optimizer.problem import Problem as Problem, Report as Report
    from optimizer.regimens import Regimen as Regimen, Rule as Rule
    from optimizer.report import plots as plot
    from optimizer.report.document import write_run as write_run
    from optimizer.scenario import Scenario as Scenario, ScenarioError as ScenarioError
    from optimizer.search.optimize import optimize as optimize
    from optimizer.search.result import Result as Result
    from optimizer.search.tune import tune as tune
    from optimizer.simulate import Grid as Grid, System as System, Trajectory as Trajectory, rollout as rollout
    from optimizer.status import Status as Status

# Before JAX is imported, which reads both: only what ends the process is told by XLA itself.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if os.environ.setdefault("JAX_ENABLE_X64", "1") == "1" and "jax" in sys.modules:
    sys.modules["jax"].config.update("jax_enable_x64", True)

_HOMES = {
    "optimizer.fields": ("parameter", "setting"),
    "optimizer.analysis.comparison": ("compare",),
    "optimizer.constraints.base": ("AbstractDoseLimit", "AbstractStateLimit"),
    "optimizer.endpoints.base": ("AbstractEndpoint",),
    "optimizer.mechanisms.base": ("AbstractMechanism",),
    "optimizer.models.base": ("AbstractModel",),
    "optimizer.objectives.base": ("AbstractTerm", "Objective"),
    "optimizer.pharmacology.base": ("AbstractPK",),
    "optimizer.policies.base": ("AbstractPolicy",),
    "optimizer.policies.schedule": ("Schedule",),
    "optimizer.problem": ("Problem", "Report"),
    "optimizer.regimens": ("Regimen", "Rule"),
    "optimizer.report.document": ("write_run",),
    "optimizer.scenario": ("Scenario", "ScenarioError"),
    "optimizer.search.optimize": ("optimize",),
    "optimizer.search.result": ("Result",),
    "optimizer.search.tune": ("tune",),
    "optimizer.simulate": ("Grid", "System", "Trajectory", "rollout"),
    "optimizer.status": ("Status",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
_ROOMS = {name: f"optimizer.{name}" for name in ("analysis", "calibrate", "control", "ensemble")}
_ROOMS["plot"] = "optimizer.report.plots"
__all__ = [*sorted(_HOME), "analysis", "calibrate", "control", "ensemble", "plot"]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS and name not in _HOME:
        raise AttributeError(f"module 'optimizer' has no attribute {name!r}")
    if name in _ROOMS:
        return importlib.import_module(_ROOMS[name])
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
