"""What every reader of model files makes: names, numbers and equations in words of the kind "equations"."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from optimizer.equations.expression import MAX_NODES, TIME, EquationError, Tree, is_name, names, replaced, written
from optimizer.files.faults import DataError
from optimizer.units import QuantityError, parse_quantity


@dataclass
class Imported:
    """What a file says, in words of the kind "equations"."""

    title: str  #: name of the model
    doi: tuple[str, ...] = ()  #: sources, as far as the file gives a DOI
    parameters: dict[str, float] = field(default_factory=dict)  #: numbers by name, in the file's own units
    states: dict[str, float | str] = field(default_factory=dict)  #: values at the start, or equations of parameters
    rates: dict[str, str] = field(default_factory=dict)  #: time derivatives [per day]
    outputs: dict[str, str] = field(default_factory=dict)  #: what follows from the states
    #: amounts of dose events: name of the state, day, and what is added
    doses: list[tuple[str, float, float]] = field(default_factory=list)
    #: standard deviations of the logarithm of a measurement, by the output that is measured
    observed: dict[str, float] = field(default_factory=dict)
    #: equations of parameters by state: what of a dose into it arrives, where that is not all
    fractions: dict[str, str] = field(default_factory=dict)
    dosed: str = ""  #: the state that doses enter where nothing else is said; empty where the file does not say
    cohort: dict[str, Any] = field(default_factory=dict)  #: how patients differ, as the table `[cohort]` has it
    #: all numbers of the file that stay as they are, by the names that the file gives them
    constants: dict[str, float] = field(default_factory=dict)
    #: equations of numbers at the start that follow from others
    starting: dict[str, Tree] = field(default_factory=dict)
    called: Mapping[str, str] = field(default_factory=dict)  #: names here by the names that the file gives
    sizes: tuple[str, ...] = ()  #: names of what must keep its number
    notes: list[str] = field(default_factory=list)  #: what was left out or assumed, one sentence each
    days: float = 1.0  #: length of a unit of the file's time [day]


def refusal(file: str, wanted: str, got: str) -> DataError:
    """The fault of a file."""
    return DataError(f"{file}: wanted {wanted}; got {got}")


def days_in(file: str, unit: str) -> float:
    """Days in a unit of time.

    Raises:
        DataError: it is none; one sentence.
    """
    try:
        return parse_quantity(f"1 {unit}", "day")
    except QuantityError as error:
        raise DataError(f"{file}: time_unit: {error}") from None


def lower(
    found: Imported,
    file: str,
    numbers: Mapping[str, float],
    assigned: Mapping[str, Tree],
    slopes: Mapping[str, Tree],
    control: Collection[str] = (),
    may_rest: bool = False,
) -> None:
    """Write trees as equations, under names that the grammar has.

    Args:
        found: what is filled in.
        file: its name.
        numbers: of parameters, and of states at the start.
        assigned: trees of outputs.
        slopes: trees of time derivatives, per unit of the file's time.
        control: names of drugs.
        may_rest: nothing need change.

    Raises:
        DataError: a number that is missing, a name that nobody defines, or nothing that changes.
    """
    if not slopes and not may_rest:
        raise refusal(file, "a model with something that changes", "none")
    words = {*numbers, *assigned, *slopes, *control, TIME}
    used = set().union(*(names(tree) for tree in (*slopes.values(), *assigned.values())))
    for name, tree in (*slopes.items(), *assigned.items()):
        if bad := names(tree) - words:
            raise refusal(file, "equations of names in the file", f'"{min(bad)[:40]}" for {name}')
    found.called = renamed = _renamed(found, file, words - {TIME})

    def say(tree: Tree) -> str:
        return written(replaced(tree, lambda name: renamed.get(name, name)))

    for name, tree in slopes.items():
        found.states[renamed[name]] = numbers[name]
        found.rates[renamed[name]] = say(scaled(tree, 1.0 / found.days))
    found.outputs = {renamed[name]: say(tree) for name, tree in assigned.items() if name not in control}
    changing = {*slopes, *assigned, *control}
    found.constants = {name: value for name, value in numbers.items() if name not in changing}
    found.parameters = {renamed[name]: value for name, value in found.constants.items() if name in used}
    found.starting = {renamed[n]: replaced(tree, lambda m: renamed.get(m, m)) for n, tree in found.starting.items()}
    found.doses = [(renamed[name], day, amount) for name, day, amount in found.doses]
    for name, value in (found.parameters | found.states).items():
        if not math.isfinite(float(value)):
            raise refusal(file, f"a finite value of {name} at the start", str(value))


def scaled(tree: Tree, factor: float) -> Tree:
    """The tree times a number."""
    if factor in (1.0, -1.0):
        return tree if factor > 0.0 else ("neg", tree)
    return ("*", factor, tree)


def limited(tree: Tree) -> Tree:
    """The tree itself.

    Raises:
        EquationError: it would be too large when it is written out: a tree that is used twice is one in two places, and
            its size doubles with each function around it.
    """
    known: dict[int, int] = {}

    def size(part: Tree) -> int:
        if isinstance(part, tuple) and id(part) not in known:
            known[id(part)] = 1 + sum(map(size, part[1:]))
        return known.get(id(part), 1)

    if size(tree) > MAX_NODES:
        raise EquationError(f"wanted an equation of at most {MAX_NODES} parts; got one of more")
    return tree


def inlined(tree: Tree, outputs: Mapping[str, Tree]) -> Tree:
    """The tree with what outputs stand for, down to numbers and states.

    Raises:
        EquationError: more than a text holds.
    """
    done: dict[str, Tree] = {}

    def stands_for(name: str) -> Tree:
        if name in outputs and name not in done:
            done[name] = replaced(outputs[name], stands_for)
        return done.get(name, name)

    return limited(replaced(tree, stands_for))


def _renamed(found: Imported, file: str, own: Collection[str]) -> Mapping[str, str]:
    """Names that our grammar has, which a file's own may not be."""
    out = {}
    for name in sorted(own):
        new = name
        while not is_name(new) or (new != name and new in own) or new in ("burden", "resistant"):
            new = f"{new[:80]}_"
            if not is_name(f"{new}a"):
                raise refusal(file, "names of letters, digits and _", f'"{name[:40]}"')
        out[name] = new
        if new != name:
            found.notes.append(f"{name} is called {new}, as that is a word of the grammar")
    return out
