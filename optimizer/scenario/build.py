"""From a Plan to the objects of the numeric core: numbers become arrays, once."""

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from optimizer.constraints.base import AbstractStateLimit, ConstraintError
from optimizer.constraints.term import Term
from optimizer.endpoints.base import AbstractEndpoint
from optimizer.mesh import Mesh
from optimizer.models.base import AbstractModel, Branching
from optimizer.models.equations import Equations
from optimizer.models.growth import Exponential
from optimizer.models.stromal import StromalClone, stromal
from optimizer.models.transitions import clones_with_inflow
from optimizer.models.tumor import Tumor
from optimizer.objectives.base import AbstractTerm
from optimizer.observations.base import Channel
from optimizer.pharmacology.base import AbstractPK
from optimizer.pharmacology.interactions import Bliss
from optimizer.pharmacology.oral import Oral
from optimizer.policies.schedule import Schedule
from optimizer.problem import Problem
from optimizer.programs import program, stored
from optimizer.regimens import Regimen
from optimizer.registry import discover
from optimizer.scenario.model_schema import STROMAL, STROMAL_CLONE, TUMOR_CLONE
from optimizer.scenario.plan import Clone, Drug, Model, Part, Plan
from optimizer.scenario.schema import AS_REGIMEN
from optimizer.simulate import Grid, System, rollout
from optimizer.simulate.forms import Infused, Tablets
from optimizer.simulate.resolution import MOST_PANELS, choose_mesh, too_fast
from optimizer.simulate.steady import steady_state

_rolled = program(rollout)


def make(part: Part, around: Mapping[str, Any]) -> Any:
    """The object that a part describes.

    `around` is what a field without metadata may ask for by name (roles, drugs, routes, dose_min, dose_max); its
    `drugs` and `clones` also give the index of a drug or clone to a field that wants a number for a name.
    """
    values = dict(part.values)
    for field in dataclasses.fields(part.cls):
        wants_index = field.type is int or int in typing.get_args(field.type)
        if isinstance(values.get(field.name), str) and wants_index:
            names = around["clones" if field.name == "clone" else "drugs"]
            values[field.name] = names.index(values[field.name])
        elif isinstance(values.get(field.name), list | tuple):
            inner = values[field.name]
            values[field.name] = tuple(make(value, around) if isinstance(value, Part) else value for value in inner)
        elif field.name not in values and field.name in around and field.init:
            values[field.name] = around[field.name]
    return part.cls(**values)


def around(plan: Plan) -> dict[str, Any]:
    """What `make` finds the fields without metadata in: drugs, routes, roles and the limits of doses."""
    names = tuple(drug.name for drug in plan.drugs)
    base: dict[str, Any] = {"drugs": names, "routes": tuple(drug.route for drug in plan.drugs)}
    base |= {"clones": tuple(clone.name for clone in plan.model.clones)}
    return base | {
        "roles": tuple(make(drug.role, base) for drug in plan.drugs),
        "dose_min": stored([drug.minimum for drug in plan.drugs]),
        "dose_max": stored([drug.maximum for drug in plan.drugs]),
        **_visited(plan),
    }


def _visited(plan: Plan) -> dict[str, Any]:
    """The endpoint and its visits, for terms that read it; nothing where the scenario has none."""
    found = build_endpoint(plan)
    return {} if found is None else {"endpoint": found, "visits": stored(found.visits(plan.edges))}


def build_endpoint(plan: Plan) -> AbstractEndpoint | None:
    """What counts as progression, with the first observation that it reads; None where the scenario does not say."""
    part = plan.endpoint
    if part is None:
        return None
    reads: tuple[str, ...] = part.cls.reads  # type: ignore[attr-defined]
    pairs = [pair for pair in plan.observations if pair[0].kind in reads]
    return make(part, {"channel": Channel(*(make(own, {}) for own in pairs[0])) if pairs else None})


def _mutation(clones: Sequence[Clone]) -> list[list[float]] | None:
    """Shares of the divisions of clone i that give clone j [M, M]; None where there are none."""
    names = [clone.name for clone in clones]
    matrix = [[0.0] * len(clones) for _ in clones]
    for j, clone in enumerate(clones):
        if clone.mutation:
            matrix[names.index(clone.mutation[0])][j] = clone.mutation[1]
    return matrix if any(share > 0.0 for row in matrix for share in row) else None


def build_model(model: Model, around: Mapping[str, Any]) -> AbstractModel:
    """The equations."""
    if model.alone is not None:
        return make(model.alone, around)
    number = {clone.name: i for i, clone in enumerate(model.clones)}
    ends = [{"source": number[t.source], "target": number[t.target]} for t in model.transitions]
    shared: dict[str, Any] = {
        "mechanisms": tuple(make(part, around) for part in model.mechanisms),
        "transitions": tuple(make(t.law, {**around, **e}) for t, e in zip(model.transitions, ends, strict=True)),
        "cell_floor": model.whole["cell_floor"],
    }
    mutation = _mutation(model.clones)
    if model.kind == "stromal":
        return _stromal(model, around, {**shared, "mutation": mutation})
    columns = {name: stored([clone.numbers[name] for clone in model.clones]) for name in TUMOR_CLONE}
    effects = [{j: make(part, around) for j, part in clone.effects} for clone in model.clones]
    return Tumor(
        names=tuple(clone.name for clone in model.clones),
        is_resistant=tuple(clone.resistant for clone in model.clones),
        initial_cells=columns.pop("cells"),
        **columns,
        effects=tuple(tuple(own.get(j) for j in range(len(around["drugs"]))) for own in effects),
        growth=Exponential() if model.growth is None else make(model.growth, around),
        interaction=Bliss() if model.interaction is None else make(model.interaction, around),
        roles=around["roles"],
        has_inflow=clones_with_inflow(len(model.clones), mutation, shared["transitions"]),
        mutation=None if mutation is None else stored(mutation),
        **shared,
    )


def _stromal(model: Model, around: Mapping[str, Any], shared: Mapping[str, Any]) -> Tumor:
    """The recipe of `models.stromal`."""
    clones = [
        StromalClone(clone.name, clone.resistant, **{n: stored(clone.numbers[n]) for n in STROMAL_CLONE})
        for clone in model.clones
    ]
    numbers = {"cells" if name == "stromal_cells" else name: model.whole[name] for name in STROMAL}
    capacity = model.whole.get("carrying_capacity")
    return stromal(clones, around["roles"], numbers, carrying_capacity=capacity, **shared)


def build_system(plan: Plan, mesh: Mesh | None = None) -> System:
    """Model and pharmacokinetics, on nodes fine enough for the longest interval of the search and the regimens.

    With a mesh that was chosen before, the plan's numbers may be tracers.
    """
    given = around(plan)
    model = build_model(plan.model, given)
    kinetics = tuple(_kinetics(drug, make(drug.pk, given), plan.longest) for drug in plan.drugs)
    if mesh is None:
        surveyed = model.surveyed(plan.edges, lambda: _courses(plan, kinetics, given))
        mesh = choose_mesh(surveyed, kinetics, plan.longest, turnover=_turnover(plan, model, kinetics, given))
    primed = None
    if any(drug.steady for drug in plan.drugs):
        primed = tuple(_primed(drug, pk) for drug, pk in zip(plan.drugs, kinetics, strict=True))
    return System(model, kinetics, given["drugs"], given["routes"], mesh, primed)


def too_stiff(plan: Plan, system: System) -> str:
    """Why a search cannot follow the model, as many steps as it may take; empty where it can."""
    if system.mesh.uniform < MOST_PANELS:
        return ""
    kinetics, given = system.pharmacokinetics, around(plan)
    return too_fast(system.model.surveyed(plan.edges, lambda: _courses(plan, kinetics, given)), plan.longest)


def _kinetics(drug: Drug, pk: AbstractPK, longest: float) -> AbstractPK:
    """The kinetics under what a prescription says of tablets or of the length of an infusion."""
    if drug.every is not None:
        return Tablets(typing.cast(Oral, pk), stored(drug.every), round(longest / drug.every))
    return pk if drug.duration is None else Infused(pk, stored(drug.duration))


def _primed(drug: Drug, pk: AbstractPK) -> Array:
    """The state of kinetics at the start: after doses for long, or before any."""
    if drug.steady is None:
        return pk.initial()
    (amount, every), length = drug.steady, drug.duration
    if drug.route == "infusion" and drug.every is None:
        length = every
    try:
        return steady_state(pk, amount, amount / length if length else 0.0, every)
    except ValueError as error:
        raise ValueError(f"steady_state of {drug.name}: wanted {error}") from None


@program
def _branching(model: AbstractModel, conc: Array) -> Branching:
    """What single cells do in the state of the start at some concentrations [T, N]."""
    return jax.vmap(lambda each: model.branching(model.initial_state(), each))(conc)


def _turnover(plan: Plan, model: AbstractModel, kinetics: tuple[AbstractPK, ...], given: Mapping[str, Any]) -> float:
    """Rate [1/day] at which chances of survival change, without doses and under the largest ones, where a term asks."""
    known = discover("optimizer.objectives", AbstractTerm)
    terms = {part.kind for _, part in plan.objective}
    terms |= {part.values["term"] for part in plan.constraints if issubclass(part.cls, Term)}
    if not any(known[kind].is_branching for kind in terms):
        return 0.0
    found = [_branching(model, jnp.asarray(conc)) for _, conc in _courses(plan, kinetics, given)]
    return max(float(jnp.max(jnp.mean(r.birth + r.death + jnp.sum(r.switching, 2), 0))) for r in found)


def _courses(
    plan: Plan, kinetics: tuple[AbstractPK, ...], given: Mapping[str, Any]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Times [T, day] and concentrations [T, N, mg/L] without doses and under the largest ones."""
    nothing = Equations({}, {"y": 0.0}, {"y": 0.0}, {"burden": "y"})
    system = System(nothing, kinetics, given["drugs"], given["routes"], Mesh(2))
    grid, found = Grid(stored(plan.edges)), []
    for share in (0.0, 1.0):
        doses = jnp.broadcast_to(share * given["dose_max"], (len(plan.edges) - 1, len(plan.drugs)))
        course = _rolled(system, Schedule(doses), grid)
        found.append((np.asarray(course.times), np.asarray(course.conc)))
    return found


def number_of(value: Any) -> Any:
    """Zero for a number that a regimen decides, until `as_regimens` finds it."""
    return 0.0 if isinstance(value, str) and value.startswith(AS_REGIMEN) else value


def as_regimens(plan: Plan, problem: Problem, regimens: Sequence[Regimen]) -> Problem:
    """The problem with the limits that are written "as regimen NAME", by simulation of its own patient.

    Raises:
        ConstraintError: a regimen whose simulation fails.
    """
    limits, scenes = [], {}
    written = [part for part in plan.constraints if issubclass(part.cls, AbstractStateLimit)]
    for part, limit in zip(written, problem.task.state_limits, strict=True):
        text = part.values.get("limit")
        if isinstance(text, str) and isinstance(limit, Term):
            name = text.removeprefix(AS_REGIMEN)
            if name not in scenes:
                regimen = next(regimen for regimen in regimens if regimen.name == name)
                trajectory, _ = problem.simulate(problem.delivered(regimen.policy), regimen.grid)
                scenes[name] = problem.task.scene(trajectory, regimen.grid)
            value = jnp.max(limit.named().parts(scenes[name]))
            if not jnp.isfinite(value):
                raise ConstraintError(f'"{text}" wanted a regimen whose simulation succeeds; got one that fails')
            limit = dataclasses.replace(limit, limit=value)
        limits.append(limit)
    task = dataclasses.replace(problem.task, state_limits=tuple(limits))
    return dataclasses.replace(problem, task=task) if scenes else problem
