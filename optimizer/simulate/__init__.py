"""Simulation: `rollout` on fixed nodes for the search, `adaptive` for the audit."""

from optimizer.simulate.rollout import (
    Grid as Grid,
    System as System,
    Trajectory as Trajectory,
    flow as flow,
    read_out as read_out,
    rollout as rollout,
)
