"""Simulation: `rollout` on fixed nodes for the search, `adaptive` for the audit."""

from optimizer.simulate.rollout import Grid as Grid
from optimizer.simulate.rollout import System as System
from optimizer.simulate.rollout import Trajectory as Trajectory
from optimizer.simulate.rollout import rollout as rollout
