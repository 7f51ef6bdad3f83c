"""What a file means: the plan written as a scenario with every default and unit spelled out."""

import re
from collections.abc import Container, Mapping
from typing import Any

from optimizer.models.stromal import PRESETS
from optimizer.policies.sequence import NEVER, Sequential
from optimizer.scenario.files import FORMAT
from optimizer.scenario.plan import Clone, Drug, Part, Plan, RegimenPlan, written


def resolve(plan: Plan, name: str) -> dict[str, Any]:
    """JSON-able tables: `scenario` loads as a scenario again, the rest is derived from it."""
    return {
        "format": FORMAT,
        "name": name,
        "decision_intervals": len(plan.edges) - 1,
        "drugs": {drug.name: {"dose_unit": drug.dose_unit, "total_unit": drug.total_unit} for drug in plan.drugs},
        "notes": list(plan.notes),
        "scenario": _scenario(plan),
    }


def _scenario(plan: Plan) -> dict[str, Any]:
    patient = {"body_weight": (plan.sizes.weight, "kg_bw"), "body_surface": (plan.sizes.surface, "m2_bsa")}
    decision: dict[str, Any] = {"edges": [written(edge, "day") for edge in plan.edges]}
    if plan.every is not None:
        decision = {"every": written(plan.every, "day"), "horizon": written(plan.horizon, "day")}
    cohort = {} if plan.cohort is None else {"cohort": dict(plan.cohort.written)}
    measured = [quantity.table() | assay.table() for quantity, assay in plan.observations]
    observation = {"observation": measured} if measured else {}
    units = {"visit_jitter": "day", "dropout": "1/day", "toxicity": "1/day"}
    asked = (plan.conduct or {}).items()
    conduct = {name: written(value, units.get(name, "1")) for name, value in asked}
    endpoint = {} if plan.endpoint is None else {"endpoint": plan.endpoint.table()}
    rule = {} if plan.rule is None else {"policy": _rule(plan.rule.policy)}
    search: dict[str, Any] = {"restarts": plan.restarts, "seed": plan.seed, "tolerance": plan.tolerance}
    if plan.rule is not None:
        units = plan.rule.units
        search["policy"] = {
            name: [written(end, units[name]) for end in ends] for name, ends in plan.rule.ranges.items()
        }
    return {
        "title": plan.title,
        "doi": list(plan.doi),
        "model": _model(plan),
        "drug": [_drug(drug) for drug in plan.drugs],
        "decision": decision,
        "objective": {part.kind: {"weight": weight} | part.table() for weight, part in plan.objective},
        "constraint": [part.table() for part in plan.constraints],
        "regimen": [_regimen(regimen) for regimen in plan.regimens],
        "search": search,
        "patient": {key: written(value, unit) for key, (value, unit) in patient.items() if value is not None},
        "progression": {"factor": plan.progression_factor, **({"may_stop": True} if plan.may_stop else {})},
        **rule,
        **cohort,
        **({"conduct": conduct} if conduct else {}),
        **observation,
        **endpoint,
    }


def _drug(drug: Drug) -> dict[str, Any]:
    out = {
        "name": drug.name,
        "role": drug.role.kind,
        "route": drug.said_route,
        "pk": drug.pk.table(),
        "dose": {"min": written(drug.minimum, drug.dose_unit), "max": written(drug.maximum, drug.dose_unit)},
        "doi": list(drug.doi),
    }
    spans = {"every": drug.every, "duration": drug.duration}
    out |= {name: written(span, "day") for name, span in spans.items() if span is not None}
    if drug.steady is not None:
        amount, every = drug.steady
        out["steady_state"] = f"{written(amount, drug.total_unit)} every {written(every, 'day')}"
    return out | drug.role.table()


def _model(plan: Plan) -> dict[str, Any]:
    model = plan.model
    if model.alone is not None:
        return model.alone.table()
    out: dict[str, Any] = {"kind": model.kind}
    if model.preset:
        out["preset"] = model.preset
    out |= {name: written(value, model.units[name]) for name, value in model.whole.items()}
    if model.kind == "tumor":
        out["growth"] = {"law": "exponential"} if model.growth is None else model.growth.table()
        out["interaction"] = {"law": "bliss"} if model.interaction is None else model.interaction.table()
    out["mechanism"] = [part.table() for part in model.mechanisms]
    out["transition"] = [{"from": t.source, "to": t.target} | t.law.table() for t in model.transitions]
    out["clone"] = [_clone(clone, plan.drugs if model.kind == "tumor" else ()) for clone in model.clones]
    return out


def _clone(clone: Clone, drugs: tuple[Drug, ...]) -> dict[str, Any]:
    out: dict[str, Any] = {"name": clone.name, "resistant": clone.resistant}
    out |= {name: written(value, clone.units[name]) for name, value in clone.numbers.items()}
    if clone.mutation:
        out["mutation"] = {"from": clone.mutation[0], "rate": clone.mutation[1]}
    if drugs:
        out["effect"] = [{"drug": drugs[j].name} | part.table() for j, part in clone.effects]
    return out


def _regimen(regimen: RegimenPlan) -> dict[str, Any]:
    if regimen.policy is None:
        return {"name": regimen.name, "dose": [dict(entry) for entry in regimen.listed]}
    part, every = regimen.policy, {} if regimen.every is None else {"every": written(regimen.every, "day")}
    if part.cls is not Sequential:
        return {"name": regimen.name, "policy": part.table() | every}
    return {"name": regimen.name, "phases": _phases(part, every)}


def _rule(part: Part) -> dict[str, Any]:
    """The table of a rule, of its phases where it has some."""
    return part.table() if part.cls is not Sequential else {"kind": part.kind, "phases": _phases(part, {})}


def _phases(part: Part, every: dict[str, Any]) -> list[dict[str, Any]]:
    phases: list[dict[str, Any]] = []
    for i, phase in enumerate(part.values["phases"]):
        ends = {end: part.values[end][i] for end, never in NEVER.items() if part.values[end][i] != never}
        said = {f"ends_{end}": written(value, part.units[end]) for end, value in ends.items()}
        phases.append({"policy": phase.table() | (every if i == 0 else {}), **said})
    return phases


def in_words(resolved: dict[str, Any]) -> str:
    """What a resolved scenario asks, as a paragraph."""
    found = resolved["scenario"]
    model, decision, rule = found["model"], found["decision"], found.get("policy")
    clones = [
        f"{c['name']}{' (resistant)' if c['resistant'] else ''}, {c['cells']:g} cells" for c in model.get("clone", [])
    ]
    preset = f" with the numbers of {model['preset']}" if model.get("preset") else ""
    tumor = f"The model {model['kind']}{preset}" + (f": {'; '.join(clones)}." if clones else ".")
    drugs = [
        f"{d['name']} ({d['role']}, {d['route']}{_form(d)}, {d['dose']['min']} to {d['dose']['max']})"
        for d in found["drug"]
    ]
    count = resolved["decision_intervals"]
    when = f"every {decision['every']} for {decision['horizon']}" if "every" in decision else "at listed times"
    asked = f"the numbers of the rule {rule['kind']} are searched" if rule else "the doses are free"
    terms = [f"{part['weight']:g} {kind}" for kind, part in found["objective"].items()]
    wanted = f"The sum {' + '.join(terms)} is made as small as it can be" if terms else "Nothing is made small"
    limits = list(dict.fromkeys(" of ".join(filter(None, (c["kind"], c.get("drug")))) for c in found["constraint"]))
    bound = f", within the limits {', '.join(limits)}" if limits else ", without limits but those of a single dose"
    regimens = [r["name"] for r in found["regimen"]]
    beside = f" Compared with: {', '.join(regimens)}." if regimens else ""
    said = (
        f"{found['title'] or resolved['name']}. {tumor} Decided {when} ({count} decisions; {asked}): "
        f"{'; '.join(drugs)}. {wanted}{bound}.{beside}"
    )
    return re.sub(r"(\d)\.0\b", r"\1", said)


def _form(drug: Mapping[str, Any]) -> str:
    """How a drug is given, and what the patient has had of it."""
    words = {"every": ", a tablet every {}", "duration": " over {}", "steady_state": ", after {} for long"}
    return "".join(text.format(drug[key]) for key, text in words.items() if key in drug)


def marked(resolved: Any, given: Any, around: Mapping[str, Any] = {}, preset: Container[str] = ()) -> Any:
    """A resolved table whose numbers and words say where they come from, if not from the file.

    Args:
        resolved: tables with every default spelled out.
        given: what the file holds there; None where it holds nothing.
        around: what the file gives for all clones.
        preset: keys that the model's preset gives.
    """
    if isinstance(resolved, list):
        own = given if isinstance(given, list) and len(given) == len(resolved) else [{}] * len(resolved)
        return [marked(value, one, around, preset) for value, one in zip(resolved, own, strict=True)]
    if not isinstance(resolved, dict):
        return resolved
    inner = given if isinstance(given, dict) else {"weight": given} if given is not None else {}
    preset = PRESETS[inner["preset"]].values if inner.get("preset") else preset
    out = {}
    for key, value in resolved.items():
        is_table = isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, dict) for v in value))
        if is_table:
            out[key] = marked(value, inner.get(key), inner if key == "clone" else {}, preset)
        elif key in inner or key in around or value in ("", [], None):
            out[key] = value
        else:
            out[key] = f"{value} ({'preset' if key in preset else 'default'})"
    return out
