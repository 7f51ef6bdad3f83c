"""A model file as tables of a scenario: its equations, what it says of doses, patients and measurements; no JAX."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.equations.expression import TIME, EquationError, names, parse
from optimizer.equations.imported import Imported, inlined
from optimizer.equations.nonmem import read_nonmem
from optimizer.equations.petab import read_petab
from optimizer.equations.sbml import read_sbml
from optimizer.equations.values import Values
from optimizer.files.faults import DataError, show
from optimizer.files.toml import toml_text

OWN_DOSES, HALVES = "as in the file", "half doses"
SUFFIXES = {"sbml": (".xml", ".sbml"), "nonmem": (".ctl", ".mod"), "petab": (".yaml", ".yml")}


# Numbers that a stream gives itself; others are those of its data items.
_OWN = re.compile(r"(THETA|ETA)\d+_*")


def read_model(kind: str, path: Path, asked: Mapping[str, Any]) -> Imported:
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


def equations(found: Imported, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The table of the kind "equations"."""
    outputs: dict[str, Any] = {**found.outputs, "burden": asked["burden"]}
    if "resistant" in asked:
        outputs["resistant"] = asked["resistant"]
    changed = asked.get("parameters") or {}
    unknown = [word for word in changed if word not in found.parameters and word not in found.constants]
    if unknown:
        listed = ", ".join(list(found.parameters)[:12])
        wanted = f"numbers of the file ({listed})"
        raise DataError(f"model.parameters: wanted {wanted}; got {show(unknown[0])}")
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
        raise DataError(f"model.doses: wanted {wanted}; got none")
    return out


def observations(found: Imported, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the file says is measured."""
    burden = str(asked["burden"]).strip()
    return [
        ({"kind": "burden"} if name == burden else {"kind": "observable", "observable": name}) | {"noise": noise}
        for name, noise in found.observed.items()
    ]


def own_doses(found: Imported, doses: Mapping[str, Any]) -> dict[str, Any] | None:
    """Dose events of the file as a regimen; None where there are none."""
    listed = []
    for state, day, amount in found.doses:
        drug = doses.get(state)
        if not isinstance(drug, str) or not drug.isidentifier():
            wanted = f'{state} = "DRUG", as the file has an event that gives a dose into it'
            raise DataError(f"model.doses: wanted {wanted}; got {show(drug)}")
        listed.append({"drug": drug, "amount": f"{amount!r} mg", "days": [day]})
    return {"name": OWN_DOSES, "dose": listed} if listed else None


def imported_text(path: Path, asked: Mapping[str, Any]) -> str:
    """A scenario of a model file as TOML: its equations, and a first choice of everything else.

    Args:
        path: the file.
        asked: keys of the table `[model]` of its kind: burden, resistant, control, doses (drugs by the state that their
            doses enter), time_unit, parameters, experiment; None is the same as none.

    Raises:
        DataError: the file cannot be read, holds what is not supported, no drug is named, or the burden is none.
    """
    asked = {key: value for key, value in asked.items() if value}
    kind = next((kind for kind, suffixes in SUFFIXES.items() if path.suffix in suffixes), None)
    if kind is None:
        wanted = f"a file with one of the endings {', '.join(sum(SUFFIXES.values(), ()))}"
        raise DataError(f"{path.name}: wanted {wanted}; got {show(path.suffix)}")
    found = read_model(kind, path, asked)
    control = asked.get("control", ())
    if found.dosed and not control:
        asked.setdefault("doses", {found.dosed: "drug"})
    # A word of the grammar has another name in the equations, and so has its drug.
    control = [found.called.get(name, name) for name in control]
    doses = {found.called.get(state, state): drug for state, drug in asked.get("doses", {}).items()}
    asked |= {"doses": doses} if doses else {}
    drugs = [*control, *dict.fromkeys(doses.values())]
    if not drugs:
        listed = ", ".join([*found.parameters, *found.states][:12])
        wanted = f"--control NAME or --dose STATE=DRUG, NAME one of {listed}"
        raise DataError(f"{path.name}: wanted {wanted}; got neither")
    try:
        own, model = own_doses(found, doses), equations(found, asked)
    except DataError as error:
        raise DataError(f"{path.name}: {error}") from None
    _check(model, drugs, path.name)
    tables = {
        "title": found.title or path.stem,
        **({"doi": list(found.doi)} if found.doi else {}),
        "model": model,
        **_chosen(found, drugs, control, own),
        **({"cohort": found.cohort} if found.cohort else {}),
        **({"observation": observations(found, asked)} if found.observed else {}),
        "search": {"restarts": 16, "seed": 0},
    }
    notes = [
        f"Written by adose import from {show(path.name)[1:-1]}.",
        *(f"Left out or assumed: {note}." for note in found.notes),
        f"A day is {1.0 / found.days:g} units of the file's time; other numbers are in the file's own units.",
        "Chosen here, to be replaced by yours: kinetics, largest doses, decisions, horizon, objective, no limits"
        + (f', the regimen "{HALVES}".' if own is None else "."),
    ]
    return "".join(f"# {note}\n" for note in notes) + "\n" + toml_text(tables)


def _check(model: Mapping[str, Any], drugs: Sequence[str], file: str) -> None:
    """Refuse a burden that is no equation of the file, that doses enter, or that is no tumor at the start."""
    numbers = {**model["parameters"], **model["states"]}
    known, trees = {TIME, *drugs, *numbers, *model["outputs"]}, {}
    for name, text in model["outputs"].items():
        try:
            trees[name] = parse(text)
        except EquationError as error:
            raise DataError(f"{file}: {name}: {error}") from None
        if unknown := names(trees[name]) - known:
            wanted = f"an equation of names in the file, such as {', '.join(list(numbers)[:12])}"
            raise DataError(f"{file}: {name}: wanted {wanted}; got {show(min(unknown))}")
    try:
        if given := names(inlined("burden", trees)) & set(model.get("doses") or ()):
            wanted = "what hangs on states that no dose enters"
            raise DataError(f"{file}: burden: wanted {wanted}; got {show(min(given))}")
        start = {name: parse(x) if isinstance(x, str) else np.float64(x) for name, x in numbers.items()}
        values = Values({TIME: np.float64(0.0), **dict.fromkeys(drugs, np.float64(0.0))}, start | trees, np)
        with np.errstate(all="ignore"):
            found = {name: float(values[name]) for name in trees}
            found |= {f"the rate of {name}": float(values.of(parse(text))) for name, text in model["rates"].items()}
    except RecursionError:
        raise DataError(f"{file}: burden: wanted an output that does not hang on itself; got one that does") from None
    except EquationError as error:
        raise DataError(f"{file}: burden: {error}") from None
    if not 0.0 < found["burden"] < np.inf:
        raise DataError(f"{file}: burden: wanted a tumor at the start, more than 0; got {found['burden']:g}")
    if endless := [(name, x) for name, x in found.items() if not np.isfinite(x)]:
        name, x = endless[0]
        raise DataError(f"{file}: {name}: wanted a finite value at the start, without drug; got {x:g}")


def _chosen(
    found: Imported, drugs: Sequence[str], control: Sequence[str], own: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Tables that a file does not say: drugs whose level is its control or whose doses enter a state, and a goal."""
    largest = max([1.0, *(amount for _, _, amount in found.doses)])
    horizon = max([60.0, *(day + 1.0 for _, day, _ in found.doses)])
    level = {"route": "infusion", "pk": {"kind": "direct"}, "dose": {"max": 1.0}}
    given = {"route": "bolus", "pk": {"kind": "given"}, "dose": {"max": f"{largest!r} mg"}}
    every = f"{horizon / 20.0!r} day"
    halves = [{"drug": name, "amount": 0.5 if name in control else "0.5 mg", "every": every} for name in drugs]
    return {
        "drug": [{"name": name, **(level if name in control else given)} for name in drugs],
        "decision": {"every": every, "horizon": f"{horizon!r} day"},
        "objective": {"burden": 1.0, "drug_use": 0.01},
        "regimen": [own or {"name": HALVES, "dose": halves}],
    }
