from optimizer import analysis as analysis, calibrate as calibrate, control as control, ensemble as ensemble
from optimizer.analysis.comparison import compare as compare
from optimizer.constraints.base import AbstractDoseLimit as AbstractDoseLimit, AbstractStateLimit as AbstractStateLimit
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
from optimizer.report import plots
from optimizer.report.document import write_run as write_run
from optimizer.scenario import Scenario as Scenario, ScenarioError as ScenarioError
from optimizer.search.optimize import optimize as optimize
from optimizer.search.result import Result as Result
from optimizer.search.tune import tune as tune
from optimizer.simulate import Grid as Grid, System as System, Trajectory as Trajectory, rollout as rollout
from optimizer.status import Status as Status

plot = plots
