"""Model files of others: `kind = "sbml"`, "nonmem" or "petab" becomes `kind = "equations"` before it is checked."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from optimizer.equations.imported import Imported
from optimizer.equations.nonmem import read_nonmem
from optimizer.equations.petab import read_petab
from optimizer.equations.sbml import read_sbml
from optimizer.files.faults import DataError
from optimizer.files.toml import toml_text
from optimizer.scenario.faults import ScenarioError
from optimizer.scenario.fields import show
from optimizer.scenario.model_schema import model_branches

OWN_DOSES = "as in the file"
SUFFIXES = {"sbml": (".xml", ".sbml"), "nonmem": (".ctl", ".mod"), "petab": (".yaml", ".yml")}


# Numbers that a stream gives itself; others are those of its data items.
_OWN = re.compile(r"(THETA|ETA)\d+_*")


def _read(kind: str, path: Path, asked: Mapping[str, Any]) -> Imported:
    """The model of a file, as far as a table of the kind asks for it."""
    control, time_unit = asked.get("control") or (), asked.get("time_unit") or ""
    numbers = asked.get("parameters") or {}
    if texts := [name for name, value in numbers.items() if not isinstance(value, float)]:
        raise DataError(f"parameters.{texts[0]}: wanted a number, in the file's unit; got {show(numbers[texts[0]])}")
    if kind == "sbml":
        return read_sbml(path, control, time_unit, numbers, dosed=asked.get("doses") or ())
    if kind == "petab":
        return read_petab(path, control, time_unit, numbers, asked.get("experiment") or "")
    covariates = {name: value for name, value in numbers.items() if not _OWN.fullmatch(name)}
    return read_nonmem(path, control, time_unit, covariates)


def include_model(data: dict[str, Any], folder: Path, name: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The tables with a model file as equations, and what was left out of it.

    Args:
        data: tables of a scenario, drug files included.
        folder: where a relative path starts.
        name: what an error calls the scenario.

    Raises:
        ScenarioError: a file that cannot be read, or holds what is not supported.
    """
    model = data.get("model")
    kind = model.get("kind") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(kind, str) or kind not in SUFFIXES:
        return data, ()
    try:
        asked: Any = model_branches()[kind].model_validate(model)
    except ValidationError:
        return data, ()  # said by the check
    where = f"{name}: model.file"
    path, suffixes = Path(asked.file), SUFFIXES[kind]
    if not asked.file or not asked.file.isprintable() or path.is_absolute() or path.suffix not in suffixes:
        wanted = f"an {' or '.join(suffixes)} file relative to the scenario"
        raise ScenarioError([f"{where}: wanted {wanted}; got {show(asked.file)}"])
    try:
        found = _read(kind, folder / path, asked.model_dump())
    except DataError as error:
        raise ScenarioError([f"{where}: {error}"]) from None
    tables = {**data, "model": equations(found, model, name)}
    tables.setdefault("title", found.title)
    if found.doi:
        tables.setdefault("doi", list(found.doi))
    if found.cohort:
        tables.setdefault("cohort", found.cohort)
    if measured := observations(found, model):
        tables.setdefault("observation", measured)
    own = own_doses(found, model.get("doses") or {}, name)
    regimens = data.get("regimen")
    if own and (regimens is None or isinstance(regimens, list)):
        tables["regimen"] = [*(regimens or []), own]
    return tables, tuple(f"{asked.file}: {note}" for note in found.notes)


def equations(found: Imported, asked: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The table of the kind "equations"."""
    outputs: dict[str, Any] = {**found.outputs, "burden": asked["burden"]}
    if "resistant" in asked:
        outputs["resistant"] = asked["resistant"]
    changed = asked.get("parameters") or {}
    unknown = [word for word in changed if word not in found.parameters and word not in found.constants]
    if unknown:
        listed = ", ".join(list(found.parameters)[:12])
        wanted = f"numbers of the file ({listed})"
        raise ScenarioError([f"{name}: model.parameters: wanted {wanted}; got {show(unknown[0])}"])
    out: dict[str, Any] = {
        "kind": "equations",
        "parameters": found.parameters | {name: x for name, x in changed.items() if name in found.parameters},
        "states": dict(found.states),
        "rates": dict(found.rates),
        "outputs": outputs,
    }
    out |= {key: asked[key] for key in ("doses", "linear", "cell_floor") if key in asked}
    if "doses" in out and isinstance(out["doses"], Mapping):
        arriving = found.fractions
        out["doses"] = {s: f"({arriving[s]}) * ({d})" if s in arriving else d for s, d in out["doses"].items()}
    elif found.dosed and not asked.get("control"):
        wanted = f'{found.dosed} = "DRUG", or another state that doses enter, or a control'
        raise ScenarioError([f"{name}: model.doses: wanted {wanted}; got none"])
    return out


def observations(found: Imported, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the file says is measured."""
    burden = str(asked["burden"]).strip()
    return [
        ({"kind": "burden"} if name == burden else {"kind": "observable", "observable": name}) | {"noise": noise}
        for name, noise in found.observed.items()
    ]


def own_doses(found: Imported, doses: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Dose events of the file as a regimen; None where there are none."""
    listed = []
    for state, day, amount in found.doses:
        drug = doses.get(state)
        if not isinstance(drug, str) or not drug.isidentifier():
            wanted = f'{state} = "DRUG", as the file has an event that gives a dose into it'
            raise ScenarioError([f"{name}: model.doses: wanted {wanted}; got {show(drug)}"])
        listed.append({"drug": drug, "amount": f"{amount!r} mg", "days": [day]})
    return {"name": OWN_DOSES, "dose": listed} if listed else None


def imported_text(path: Path, asked: Mapping[str, Any]) -> str:
    """A scenario of a model file as TOML: its equations, and a first choice of everything else.

    Args:
        path: the file.
        asked: keys of the table `[model]` of its kind: burden, resistant, control, doses (drugs by the state that their
            doses enter), time_unit, parameters, experiment; None is the same as none.

    Raises:
        ScenarioError: the file cannot be read, holds what is not supported, or no drug is named.
    """
    asked = {key: value for key, value in asked.items() if value}
    kind = next((kind for kind, suffixes in SUFFIXES.items() if path.suffix in suffixes), None)
    if kind is None:
        wanted = f"a file with one of the endings {', '.join(sum(SUFFIXES.values(), ()))}"
        raise ScenarioError([f"{path.name}: wanted {wanted}; got {show(path.suffix)}"])
    try:
        found = _read(kind, path, asked)
    except DataError as error:
        raise ScenarioError([str(error)]) from None
    control = asked.get("control", ())
    if found.dosed and not control:
        asked.setdefault("doses", {found.dosed: "drug"})
    doses = asked.get("doses", {})
    drugs = [*control, *dict.fromkeys(doses.values())]
    if not drugs:
        listed = ", ".join([*found.parameters, *found.states][:12])
        wanted = f"--control NAME or --dose STATE=DRUG, NAME one of {listed}"
        raise ScenarioError([f"{path.name}: wanted {wanted}; got neither"])
    own = own_doses(found, doses, path.name)
    horizon = max([60.0, *(day + 1.0 for _, day, _ in found.doses)])
    tables = {
        "title": found.title or path.stem,
        **({"doi": list(found.doi)} if found.doi else {}),
        "model": equations(found, asked, path.name),
        "drug": [_drug(drug, drug in control, found) for drug in drugs],
        "decision": {"every": f"{horizon / 20.0!r} day", "horizon": f"{horizon!r} day"},
        "objective": {"burden": 1.0, "drug_use": 0.01},
        **({"regimen": [own]} if own else {}),
        **({"cohort": found.cohort} if found.cohort else {}),
        **({"observation": observations(found, asked)} if found.observed else {}),
        "search": {"restarts": 16, "seed": 0},
    }
    notes = [
        f"Written by adose import from {show(path.name)[1:-1]}.",
        *(f"Left out or assumed: {note}." for note in found.notes),
        f"A day is {1.0 / found.days:g} units of the file's time; other numbers are in the file's own units.",
        "Chosen here, to be replaced by yours: kinetics, largest doses, decisions, horizon, objective, no limits.",
    ]
    return "".join(f"# {note}\n" for note in notes) + "\n" + toml_text(tables)


def _drug(name: str, is_control: bool, found: Imported) -> dict[str, Any]:
    """A drug whose level is the file's control, or whose doses enter a state."""
    largest = max([1.0, *(amount for _, _, amount in found.doses)])
    if is_control:
        return {"name": name, "route": "infusion", "pk": {"kind": "direct"}, "dose": {"max": 1.0}}
    return {"name": name, "route": "bolus", "pk": {"kind": "given"}, "dose": {"max": f"{largest!r} mg"}}
