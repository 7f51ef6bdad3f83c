"""Scenario files: text with units becomes checked numbers, and these the objects of the numeric core."""

from optimizer.scenario.faults import ScenarioError as ScenarioError
from optimizer.scenario.scenario import Regimen as Regimen, Scenario as Scenario
