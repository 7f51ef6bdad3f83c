"""From a Plan to the objects of the numeric core: numbers become arrays, once."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from optimizer.mesh import Mesh
from optimizer.models.base import AbstractModel
from optimizer.models.growth import Exponential
from optimizer.models.stromal import StromalClone, stromal
from optimizer.models.transitions import AbstractTransition, clones_with_inflow
from optimizer.models.tumor import Tumor
from optimizer.objectives.base import Objective
from optimizer.observations.base import Channel
from optimizer.pharmacology.interactions import Bliss
from optimizer.policies.base import AbstractPolicy
from optimizer.policies.schedule import Schedule
from optimizer.regimens import Rule
from optimizer.scenario.model_schema import STROMAL, STROMAL_CLONE
from optimizer.scenario.plan import Clone, Model, Part, Plan, RegimenPlan
from optimizer.simulate import Grid, System
from optimizer.simulate.resolution import choose_mesh


def make(part: Part, around: Mapping[str, Any]) -> Any:
    """The object that a part describes.

    Args:
        part: its class and values.
        around: what a field without metadata may ask for by name (roles, drugs, routes, dose_min, dose_max); `drugs`
            also gives the index of a drug to a field that wants a number for a name.
    """
    values = dict(part.values)
    for field in dataclasses.fields(part.cls):
        wants_index = field.type is int or int in typing.get_args(field.type)
        if isinstance(values.get(field.name), str) and wants_index:
            values[field.name] = around["drugs"].index(values[field.name])
        elif isinstance(values.get(field.name), list):
            values[field.name] = tuple(values[field.name])
        elif field.name not in values and field.name in around and field.init:
            values[field.name] = around[field.name]
    return part.cls(**values)


def _around(plan: Plan) -> dict[str, Any]:
    names = tuple(drug.name for drug in plan.drugs)
    base: dict[str, Any] = {"drugs": names, "routes": tuple(drug.route for drug in plan.drugs)}
    return base | {
        "roles": tuple(make(drug.role, base) for drug in plan.drugs),
        "dose_min": jnp.asarray([drug.minimum for drug in plan.drugs]),
        "dose_max": jnp.asarray([drug.maximum for drug in plan.drugs]),
    }


def _mutation(clones: Sequence[Clone]) -> list[list[float]] | None:
    """Shares of the divisions of clone i that give clone j [M, M]; None where there are none."""
    names = [clone.name for clone in clones]
    matrix = [[0.0] * len(clones) for _ in clones]
    for j, clone in enumerate(clones):
        if clone.mutation:
            matrix[names.index(clone.mutation[0])][j] = clone.mutation[1]
    return matrix if any(share > 0.0 for row in matrix for share in row) else None


def _transitions(model: Model, around: Mapping[str, Any]) -> tuple[AbstractTransition, ...]:
    """The transitions, their clones by number."""
    names = [clone.name for clone in model.clones]
    ends = [(names.index(t.source), names.index(t.target)) for t in model.transitions]
    return tuple(
        make(t.law, {**around, "source": i, "target": j}) for t, (i, j) in zip(model.transitions, ends, strict=True)
    )


def build_model(model: Model, around: Mapping[str, Any]) -> AbstractModel:
    """The equations."""
    if model.alone is not None:
        return make(model.alone, around)
    mutation = _mutation(model.clones)
    mechanisms = tuple(make(part, around) for part in model.mechanisms)
    transitions = _transitions(model, around)
    if model.kind == "stromal":
        clones = [
            StromalClone(clone.name, clone.resistant, **{n: jnp.asarray(clone.numbers[n]) for n in STROMAL_CLONE})
            for clone in model.clones
        ]
        whole = {"cells" if name == "stromal_cells" else name: model.whole[name] for name in STROMAL}
        return stromal(
            clones,
            around["roles"],
            whole,
            carrying_capacity=model.whole.get("carrying_capacity"),
            mutation=mutation,
            cell_floor=model.whole["cell_floor"],
            mechanisms=mechanisms,
            transitions=transitions,
        )
    effects = []
    for clone in model.clones:
        own = {j: make(part, around) for j, part in clone.effects}
        effects.append(tuple(own.get(j) for j in range(len(around["drugs"]))))
    return Tumor(
        names=tuple(clone.name for clone in model.clones),
        is_resistant=tuple(clone.resistant for clone in model.clones),
        initial_cells=jnp.asarray([clone.numbers["cells"] for clone in model.clones]),
        growth_rate=jnp.asarray([clone.numbers["growth_rate"] for clone in model.clones]),
        death_rate=jnp.asarray([clone.numbers["death_rate"] for clone in model.clones]),
        effects=tuple(effects),
        growth=Exponential() if model.growth is None else make(model.growth, around),
        mechanisms=mechanisms,
        mutation=None if mutation is None else jnp.asarray(mutation),
        cell_floor=model.whole["cell_floor"],
        has_inflow=clones_with_inflow(len(model.clones), mutation, transitions),
        cost=jnp.asarray([clone.numbers["cost"] for clone in model.clones]),
        interaction=Bliss() if model.interaction is None else make(model.interaction, around),
        transitions=transitions,
        roles=around["roles"],
    )


def build_system(plan: Plan, mesh: Mesh | None = None) -> System:
    """Model and pharmacokinetics, on nodes fine enough for the longest interval of the search and the regimens.

    With a mesh that was chosen before, the plan's numbers may be tracers.
    """
    around = _around(plan)
    model = build_model(plan.model, around)
    kinetics = tuple(make(drug.pk, around) for drug in plan.drugs)
    if mesh is not None:
        return System(model, kinetics, around["drugs"], around["routes"], mesh)
    longest = max(float(np.diff(edges).max()) for edges in (plan.edges, *(r.edges for r in plan.regimens)))
    mesh = choose_mesh(model, kinetics, longest)
    return System(model, kinetics, around["drugs"], around["routes"], mesh)


def build_objective(plan: Plan) -> Objective:
    """Weighted terms."""
    terms = tuple(make(part, {}) for _, part in plan.objective)
    return Objective(terms, jnp.asarray([weight for weight, _ in plan.objective]))


def build_constraints(plan: Plan) -> tuple[Any, ...]:
    """Limits, in the order of the file."""
    around = _around(plan)
    return tuple(make(part, around) for part in plan.constraints)


def build_grid(edges: np.ndarray) -> Grid:
    """Decision intervals."""
    return Grid(jnp.asarray(edges, dtype=float))


def build_rule(plan: Plan) -> Rule | None:
    """The rule with open numbers, where the plan has one."""
    if plan.rule is None:
        return None
    lower, upper = np.array([*plan.rule.ranges.values()]).T
    return Rule(make(plan.rule.policy, _around(plan)), tuple(plan.rule.ranges), lower, upper)


def build_channels(plan: Plan) -> tuple[Channel, ...]:
    """What is measured, in the order of the file."""
    return tuple(Channel(make(entry.quantity, {}), make(entry.assay, {})) for entry in plan.observations)


def build_policy(regimen: RegimenPlan, plan: Plan) -> AbstractPolicy:
    """The regimen as something that doses."""
    if regimen.policy is not None:
        return make(regimen.policy, _around(plan))
    return Schedule(jnp.asarray(regimen.doses))
