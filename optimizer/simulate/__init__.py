"""Simulation: `rollout` on fixed nodes for the search, `adaptive` for the audit."""

from optimizer.simulate.rollout import Grid as Grid
from optimizer.simulate.rollout import System as System
from optimizer.simulate.rollout import Trajectory as Trajectory
from optimizer.simulate.rollout import flow as flow
from optimizer.simulate.rollout import read_out as read_out
from optimizer.simulate.rollout import rollout as rollout
