"""A table of doses as a way of dosing that is simulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from optimizer.files.event_tables import read_schedule
from optimizer.files.events import DoseEvent
from optimizer.files.faults import DataError
from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem
from optimizer.regimens import Regimen
from optimizer.scenario import Scenario
from optimizer.simulate import Grid, System
from optimizer.simulate.steady import steady_state


def from_table(scenario: Scenario, problem: Problem, path: Path, time_unit: str | None) -> tuple[Problem, Regimen]:
    """An event table as doses on the decision grid, with further edges where its events need them.

    The problem is that of a patient who has had doses before where the table says so (SS).
    """
    target, system = scenario.target(), problem.task.system
    edges, doses, other, events = read_schedule(path, target, time_unit)
    for j, (drug, pk) in enumerate(zip(system.drugs, system.pharmacokinetics, strict=True)):
        route = "bolus" if system.routes[j] == "infusion" else "infusion"
        if np.any(other[:, j]) and route not in pk.routes:
            raise DataError(
                f"{path}: wanted doses of {drug} by its route, {system.routes[j]} ({pk.kind}); got a {route}"
            )
    primed = _primed(path, system, events)
    if primed is not None:
        changed = eqx.tree_at(lambda t: t.system.primed, problem.task, primed, is_leaf=lambda leaf: leaf is None)
        problem = replace(problem, task=changed)
    grid = Grid(jnp.asarray(edges), jnp.asarray(other) if np.any(other) else None)
    return problem, Regimen(path.name, Schedule(jnp.asarray(doses)), grid)


def _primed(path: Path, system: System, events: Sequence[DoseEvent]) -> tuple[Any, ...] | None:
    """States of the kinetics at the start where first doses find a steady state; None where none does."""
    found = {event.drug: event for event in events if event.steady}
    if not found:
        return None
    states = []
    for drug, pk in zip(system.drugs, system.pharmacokinetics, strict=True):
        event, own = found.get(drug), [event for event in events if event.drug == drug]
        if event is None:
            states.append(pk.initial())
            continue
        lag = pk.delay()
        if event.time > 0.0 or sum(e.steady for e in own) > 1 or (lag is not None and float(lag) > 0.0):
            wanted = f"SS 1 at the first dose of {drug}, on day 0, without a lag"
            raise DataError(f"{path}: column SS: wanted {wanted}; got one on day {event.time:g}")
        try:
            states.append(steady_state(pk, event.amount, event.rate, event.interval))
        except ValueError as error:
            raise DataError(f"{path}: column SS: wanted {error}") from None
    return tuple(states)
