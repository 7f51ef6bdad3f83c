"""What a PEtab problem (version 2) says of a fit: free parameters and their priors, experiments and measurements."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from optimizer.equations.expression import TIME, EquationError, Tree, names, replaced
from optimizer.equations.imported import Imported, limited
from optimizer.equations.petab import Problem, Row
from optimizer.equations.sbml import read_sbml
from optimizer.equations.sensitivity import Courses, Experiment
from optimizer.files.faults import DataError

NOISES = ("normal", "log-normal", "laplace", "log-laplace")
# Numbers of a prior.
PRIORS = {
    **dict.fromkeys(("uniform", "log-uniform", "normal", "log-normal", "laplace", "log-laplace"), 2),
    **dict.fromkeys(("cauchy", "gamma"), 2),
    **dict.fromkeys(("chisquare", "exponential", "rayleigh"), 1),
}
_MOST_ROWS = 20_000


class Estimated(NamedTuple):
    """A free parameter: bounds, the value of the file, and the name and numbers of its prior."""

    name: str
    low: float
    high: float
    nominal: float
    prior: str
    numbers: tuple[float, ...]


class Measured(NamedTuple):
    """A measurement: of which observable, in which experiment, when [day], and how it comes about."""

    observable: str
    experiment: str
    day: float
    value: float
    formula: Tree
    noise: Tree
    distribution: str


@dataclass(frozen=True)
class Measurements:
    """A problem to fit."""

    courses: Courses  #: the model
    estimated: tuple[Estimated, ...]  #: free parameters [P]
    experiments: Mapping[str, Experiment]  #: by name; the empty name is the model as it stands
    rows: tuple[Measured, ...]  #: what was measured [N]
    days: float  #: length of a unit of the file's time [day]
    files: Mapping[str, str]  #: SHA-256 of each file that was read
    notes: tuple[str, ...]  #: what was left out or assumed


def read_measurements(path: Path, time_unit: str = "") -> Measurements:
    """A PEtab problem as data and model.

    Args:
        path: its YAML file.
        time_unit: of the model's time, where the model does not say.

    Raises:
        DataError: not such a problem, or one with something that is not supported; one sentence with its name.
    """
    problem = Problem(path)
    estimated = tuple(_estimated(problem, row) for row in problem.rows("parameter") if _is_free(problem, row))
    if not estimated:
        raise problem.refuse("a parameter with estimate true", "none")
    free = [one.name for one in estimated]
    nominal = {one.name: one.nominal for one in estimated}
    nominal |= {
        row["parameterId"]: problem.number(row, "nominalValue")
        for row in problem.rows("parameter")
        if row["parameterId"] not in nominal
    }
    problem.text(problem.file("model"))
    found = read_sbml(problem.file("model"), (), time_unit, nominal, free)
    problem.check_used(found)
    day: Tree = TIME if found.days == 1.0 else ("/", TIME, found.days)

    def own(tree: Tree) -> Tree:
        return replaced(tree, lambda word: day if word == TIME else found.called.get(word, word))

    known = {*found.called.values(), *found.outputs, *nominal, TIME}
    rows = tuple(_measured(problem, row, own, known, found.days) for row in problem.rows("measurement"))
    if not 0 < len(rows) <= _MOST_ROWS:
        raise problem.refuse(f"1 to {_MOST_ROWS} measurements", str(len(rows)))
    experiments = {
        name: _experiment(problem, found, name, own, set(nominal)) for name in dict.fromkeys(r.experiment for r in rows)
    }
    for row in rows:
        begin = experiments[row.experiment].begin
        first = min((t for t, _ in experiments[row.experiment].later), default=0.0) if begin == -np.inf else begin
        if not first <= row.day < np.inf:
            wanted = f"measurements of {row.observable[:40]} from time {first / found.days:g} on"
            raise problem.refuse(wanted, f"one at {row.day / found.days:g}")
    called = tuple(one._replace(name=found.called.get(one.name, one.name)) for one in estimated)
    fixed = {found.called.get(name, name): value for name, value in nominal.items()}
    courses = Courses(found, fixed, [one.name for one in called])
    return Measurements(courses, called, experiments, rows, found.days, problem.digests, tuple(found.notes))


def _is_free(problem: Problem, row: Row) -> bool:
    said = row.get("estimate", "").lower()
    if said not in ("true", "false"):
        raise problem.refuse(f"true or false as estimate of {row['parameterId'][:40]}", f'"{said[:40]}"')
    return said == "true"


def _estimated(problem: Problem, row: Row) -> Estimated:
    name = row["parameterId"]
    prior = row.get("priorDistribution") or "uniform"
    low, high = (problem.number(row, f"{end}Bound") for end in ("lower", "upper"))
    if not low < high:
        raise problem.refuse(f"a lower bound of {name[:40]} below the upper", f"{low:g} and {high:g}")
    if prior not in PRIORS:
        raise problem.refuse(f"a prior of {name[:40]}, one of {', '.join(PRIORS)}", f'"{prior[:40]}"')
    said = row.get("priorParameters", "")
    try:
        numbers = tuple(float(part) for part in said.split(";") if part.strip())
    except ValueError:
        numbers = ()
    if not said and prior == "uniform":
        numbers = (low, high)
    if len(numbers) != PRIORS[prior] or not all(map(math.isfinite, numbers if said else ())):
        raise problem.refuse(f"{PRIORS[prior]} numbers of the prior {prior} of {name[:40]}", f'"{said[:40]}"')
    if not _is_density(prior, numbers):
        raise problem.refuse(f"a prior of {name[:40]} with a density", f"{prior} {said[:40]}")
    nominal = problem.number(row, "nominalValue") if row.get("nominalValue") else 0.5 * (low + high)
    return Estimated(name, low, high, nominal, prior, numbers)


def _is_density(prior: str, numbers: tuple[float, ...]) -> bool:
    first, last = numbers[0], numbers[-1]
    if prior.endswith("uniform"):
        return first < last and (prior == "uniform" or first > 0.0)
    return last > 0.0 and (prior != "gamma" or first > 0.0)


def _measured(problem: Problem, row: Row, own: Callable[[Tree], Tree], known: set[str], days: float) -> Measured:
    """A row with the equations of its observable and noise, placeholders in place."""
    name, shown = row["observableId"], row["observableId"][:40]
    said = next((each for each in problem.rows("observable") if each["observableId"] == name), None)
    if said is None:
        raise problem.refuse("measurements of observables that the problem has", f'one of "{shown}"')
    distribution = said.get("noiseDistribution") or "normal"
    if distribution not in NOISES:
        raise problem.refuse(f"noise of {shown}, one of {', '.join(NOISES)}", f'"{distribution[:40]}"')
    given: dict[str, Tree] = {}
    for kind in ("observable", "noise"):
        words, texts = (
            _listed(part.get(key, "")) for part, key in ((said, f"{kind}Placeholders"), (row, f"{kind}Parameters"))
        )
        if len(words) != len(texts):
            raise problem.refuse(f"{len(words)} {kind}Parameters in rows of {shown}", str(len(texts)))
        given |= {
            word: problem.tree(text, f"{kind}Parameters of {shown}") for word, text in zip(words, texts, strict=True)
        }

    def whole(tree: Tree) -> Tree:
        return own(replaced(tree, lambda word: given.get(word, word)))

    formula = whole(problem.tree(said.get("observableFormula", ""), f"observable {shown}"))
    noise = problem.tree(said.get("noiseFormula", ""), f"noise of {shown}")
    try:
        noise = limited(replaced(whole(noise), lambda word: formula if word == name else word))
    except EquationError as error:
        raise DataError(f"{problem.name}: noise of {shown}: {error}") from None
    if unknown := (names(formula) | names(noise)) - known:
        raise problem.refuse(f"an equation of {shown} over the model and parameters", f'"{min(unknown)[:40]}"')
    value = problem.number(row, "measurement")
    if not math.isfinite(value) or (distribution.startswith("log") and value <= 0.0):
        wanted = "a finite number" if not math.isfinite(value) else f"a value above 0 under {distribution} noise"
        raise problem.refuse(f"{wanted} measured of {shown}", f"{value:g}")
    time = problem.number(row, "time")
    return Measured(name, row.get("experimentId", ""), time * days, value, formula, noise, distribution)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()]


def _experiment(
    problem: Problem, found: Imported, name: str, own: Callable[[Tree], Tree], of_problem: set[str]
) -> Experiment:
    """What an experiment does to the model, in the names of its equations."""
    begin, periods = problem.periods(name)
    everything = {*found.called, *of_problem, TIME}
    for time, trees in periods:
        for target, tree in trees.items():
            problem.check_target(found, target)
            if unknown := names(tree) - (of_problem if time == begin else everything):
                wanted = (
                    f"a value of {target[:40]} over {'parameters of the problem' if time == begin else 'the model'}"
                )
                raise problem.refuse(wanted, f'"{min(unknown)[:40]}"')
    if begin == -np.inf and len(periods) < 2:
        raise problem.refuse(f"a time at which the experiment {name[:40]} begins", "a steady state alone")
    named = [
        (time * found.days, {found.called.get(t, t): own(tree) for t, tree in trees.items()}) for time, trees in periods
    ]
    return Experiment(begin * found.days, dict(named[0][1]) if named else {}, named[1:])
