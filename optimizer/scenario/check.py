"""From the tables of a file to a Plan: structure first, then what the tables say about each other. Builds no arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, replace
from typing import Any

import numpy as np
from pydantic import ValidationError

from optimizer.endpoints.burden_factor import BurdenFactor
from optimizer.fields import default_of, describe
from optimizer.objectives.progression import Progression
from optimizer.scenario.check_cohort import check_cohort
from optimizer.scenario.check_model import check_model
from optimizer.scenario.check_optional import check_endpoint, check_observations, check_rule, has_observables
from optimizer.scenario.check_parts import Context, check_drugs
from optimizer.scenario.check_regimens import check_decision, check_regimens
from optimizer.scenario.faults import Faults, explain, one_of
from optimizer.scenario.fields import Sizes
from optimizer.scenario.plan import Model, Part, Plan
from optimizer.scenario.schema import AS_REGIMEN, classes
from optimizer.scenario.tables import scenario_spec
from optimizer.units import QuantityError, parse_quantity


def check(
    data: Mapping[str, Any],
    file: str,
    code: Mapping[str, type] | None = None,
    origin: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> Plan:
    """The plan that tables describe, drug files included; `file` is what errors call them.

    `code` are models from a user's own files by their `kind`, `origin` the drug files that keys came from by key path.

    Raises:
        ScenarioError: with every fault that was found.
    """
    context, code = Context(Faults(file, origin), _sizes(data), notes=list(notes)), code or {}
    spec = _structure(context, data, code)
    check_drugs(context, spec.drug)
    context.faults.stop()
    edges, every = check_decision(context, spec.decision)
    model = check_model(context, spec.model, code)
    context.observables = model.observables
    endpoint = context.endpoint = check_endpoint(context, spec)
    factor = _factor(spec, endpoint)
    objective = _objective(context, spec, model, factor)
    constraints = _limits(context, spec, model, factor)
    regimens = () if edges is None else check_regimens(context, spec.regimen or [], edges, constraints)
    _lags(context, [r.edges for r in regimens] if edges is None else [edges, *(r.edges for r in regimens)])
    rule = check_rule(context, spec.policy, spec.search.policy)
    observations = check_observations(context, spec.observation or [], model)
    cohort = None if spec.cohort is None else check_cohort(context, spec.cohort, model)
    context.faults.stop()
    return Plan(
        title=spec.title,
        doi=tuple(spec.doi or ()),
        model=model,
        drugs=context.drugs,
        edges=np.zeros(0) if edges is None else edges,
        every=every,
        objective=objective,
        constraints=constraints,
        regimens=regimens,
        restarts=spec.search.restarts,
        seed=spec.search.seed,
        tolerance=spec.search.tolerance,
        sizes=context.sizes,
        progression_factor=factor,
        notes=tuple(context.notes),
        cohort=cohort,
        rule=rule,
        observations=observations,
        endpoint=endpoint,
        may_stop=spec.progression.may_stop,
        conduct=None if spec.conduct is None else spec.conduct.model_dump(),
    )


def _limits(context: Context, spec: Any, model: Any, factor: float) -> tuple[Any, ...]:
    places = enumerate(spec.constraint or [])
    found = (_limit(context, f"constraint[{i}]", limit, model, factor, spec.regimen or []) for i, limit in places)
    return tuple(filter(None, found))


def _factor(spec: Any, endpoint: Part | None) -> float:
    """The multiple of the first burden that counts as progression."""
    own = endpoint.values.get("factor") if endpoint is not None and endpoint.cls is BurdenFactor else None
    return own or spec.progression.factor or default_of(Progression, "factor")


def _structure(context: Context, data: Mapping[str, Any], code: Mapping[str, type]) -> Any:
    """The tables as pydantic has them."""
    spec = scenario_spec(tuple(code.items()))
    try:
        return spec.model_validate(data, context=context.sizes)
    except ValidationError as error:
        explain(error, data, spec, context.faults)
    context.faults.stop()


def _sizes(data: Mapping[str, Any]) -> Sizes:
    """Size of the patient, before the tables are checked: other keys are read with it."""
    patient = data.get("patient")
    patient = patient if isinstance(patient, dict) else {}
    found = []
    for name, unit in (("body_weight", "kg_bw"), ("body_surface", "m2_bsa")):
        try:
            found.append(parse_quantity(patient[name], unit))
        except (KeyError, QuantityError):
            found.append(None)
    return Sizes(*found)


def _objective(context: Context, spec: Any, model: Model, factor: float) -> tuple[tuple[float, Part], ...]:
    """Terms with their weights; where there is no [objective], `progression` if that is set, else `burden`."""
    known = classes("term")
    if spec.objective is None:
        kind = "progression" if spec.progression.factor is not None else "burden"
        terms = [(1.0, context.part("objective", None, kind, known[kind], None, ""))]
    else:
        given = [(kind, term) for kind in known if (term := getattr(spec.objective, kind)) is not None]
        if not any(term.weight > 0.0 for _, term in given):
            context.faults.add("objective", f"wanted a weight above 0 for at least one of {', '.join(known)}; got none")
        terms = [(t.weight, context.part(f"objective.{kind}", t, kind, known[kind], None, "")) for kind, t in given]
    for _, part in terms:
        _fits_model(context, f"objective.{part.kind}", part, model)
    return tuple(
        (weight, replace(part, values={"factor": factor, **part.values}, units={"factor": "1", **part.units}))
        if part.kind == "progression"
        else (weight, part)
        for weight, part in terms
    )


def _limit(context: Context, path: str, spec: Any, model: Model, factor: float, regimens: Sequence[Any]) -> Part | None:
    """A limit that fits the model; where it names a term, one that there is, with the keys that it needs."""
    part = context.chosen("limit", path, spec)
    if part is None:
        return None
    if part.kind != "term":
        has_observables(context, path, part, model)
        return part
    known, name, limit = classes("term"), part.values["term"], part.values["limit"]
    allowed = [f"{AS_REGIMEN}{regimen.name}" for regimen in regimens]
    if isinstance(limit, str) and limit not in allowed:
        context.faults.add(f"{path}.limit", one_of(allowed, limit))
    if name not in known:
        context.faults.add(f"{path}.term", one_of(list(known), name))
        return part
    keys = describe(known[name])
    for key in keys:
        if key not in part.values and default_of(known[name], key) is MISSING:
            context.faults.add(path, f"wanted the key {key} beside term, which {name} reads; got none")
    own = {key: value for key, value in part.values.items() if key in keys}
    _fits_model(context, path, Part(name, known[name], own, {}), model)
    return replace(part, values={"factor": factor, **part.values}, units={"factor": "1", **part.units})


def _fits_model(context: Context, path: str, part: Part, model: Model) -> None:
    clone, names = part.values.get("clone"), [own.name for own in model.clones]
    if clone is not None and clone not in names:
        context.faults.add(f"{path}.clone", one_of(names, clone))
    if part.kind == "resistance" and model.alone is None and not any(clone.resistant for clone in model.clones):
        context.faults.add(path, "wanted a clone with resistant = true, whose cells it counts; got none")
    at_any_time = context.endpoint is None or (
        context.endpoint.cls is BurdenFactor and not context.endpoint.values.get("every")
    )
    if getattr(part.cls, "at_visits", False) and at_any_time:
        context.faults.add(path, "wanted [endpoint] read at visits beside it; got none: use the term progression")
    if getattr(part.cls, "is_branching", False) and (said := uncountable(model)):
        context.faults.add(path, said)
    has_observables(context, path, part, model)


def uncountable(model: Model) -> str:
    """Why single cells of a model cannot be followed; empty where they can."""
    if model.alone is not None:
        return f'wanted a model that tells births from deaths, such as tumor; got the kind "{model.kind}"'
    first = sum(float(clone.numbers["cells"]) for clone in model.clones)
    return "" if first >= 1.0 else f"wanted numbers of cells, no shares of a capacity; got {first:g} at the start"


_OF = {"every": "on", "duration": "with"}


def _lags(context: Context, grids: Sequence[np.ndarray]) -> None:
    """A lag ends before the next dose: a drug keeps one waiting dose."""
    shortest = min((float(np.diff(edges).min()) for edges in grids), default=np.inf)
    for i, drug in enumerate(context.drugs):
        lag = drug.pk.values.get("lag", 0.0)
        if lag >= shortest:
            wanted = f"less than the time between two decisions, which is {shortest:g} day"
            context.faults.add(f"drug[{i}].pk.lag", f"wanted {wanted}; got {lag:g} day")
        if drug.every is not None and lag >= drug.every:
            wanted = f"less than the time between two tablets, which is {drug.every:g} day"
            context.faults.add(f"drug[{i}].pk.lag", f"wanted {wanted}; got {lag:g} day")
        misfits = (drug.misfit(edges, np.inf) for edges in grids)
        if wrong := next(filter(None, misfits), ""):
            place = "every" if drug.every is not None else "duration"
            context.faults.add(f"drug[{i}].{place}", f"wanted decisions and doses {_OF[place]} {wrong}")
