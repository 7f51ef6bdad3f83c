"""A model that is written down: names, equations, units, and numbers at the start."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from optimizer.equations.dimensions import Stated, dimension, of_rate
from optimizer.equations.expression import FUNCTIONS, TIME, EquationError, Tree, is_name, names, parse
from optimizer.models.equations import Equations, hanging_on
from optimizer.scenario.check_parts import Context
from optimizer.scenario.faults import close, one_of
from optimizer.scenario.fields import show
from optimizer.scenario.plan import Model, Part
from optimizer.units import Dimension, QuantityError, base_quantity, parse_unit

_TABLES = ("parameters", "states", "outputs")
_MOST_LEVELS = 30
_FLOOR = 1e-8


class _Equations:
    """What is known of a model while it is checked."""

    def __init__(self, context: Context, spec: Any):
        self.context, self.spec = context, spec
        self.numbers: dict[str, float] = {}
        self.units: dict[str, str] = {}
        self.starts: dict[str, float | str] = {}
        self.start_units: dict[str, str] = {}
        self.trees: dict[str, dict[str, Tree]] = {}

    def add(self, path: str, sentence: str) -> None:
        self.context.faults.add(f"model.{path}", sentence)

    def number(self, path: str, raw: Any) -> tuple[float, str]:
        """A quantity in day, mg, L, cell, ... and its unit; "1" for a bare number."""
        if not isinstance(raw, str):
            return float(raw), "1"
        with self.context.faults.at(f"model.{path}"):
            return base_quantity(raw)
        return float("nan"), "1"

    def check_names(self) -> None:
        """Each name once, and none that the grammar has."""
        seen: dict[str, str] = dict.fromkeys(self.context.drug_names, "drug")
        for drug in self.context.drugs:
            if not is_name(drug.name):
                wanted = "a drug whose name equations can hold: letters, digits and _, no function"
                self.add("kind", f"wanted {wanted}; got {show(drug.name)}")
        for table in _TABLES:
            for name in getattr(self.spec, table) or {}:
                if not is_name(name):
                    words = f"letters, digits and _, not beginning with a digit, not {TIME} nor a function"
                    self.add(table, f"wanted a name of {words} ({', '.join(FUNCTIONS)}); got {show(name)}")
                elif name in seen:
                    self.add(table, f"wanted a name of its own; got {show(name)}, which is a name in {seen[name]} too")
                seen.setdefault(name, f"model.{table}")

    def read(self) -> None:
        """Numbers and trees."""
        for name, raw in (self.spec.parameters or {}).items():
            self.numbers[name], self.units[name] = self.number(f"parameters.{name}", raw)
        for name, raw in self.spec.states.items():
            self.starts[name], self.start_units[name] = raw, "1" if isinstance(raw, float) else ""
            if isinstance(raw, str):
                try:
                    self.starts[name], self.start_units[name] = base_quantity(raw)
                except QuantityError:
                    self.parse("states", name, raw)
        for table in ("rates", "outputs", "doses"):
            for name, raw in (getattr(self.spec, table) or {}).items():
                self.parse(table, name, raw)

    def parse(self, table: str, name: str, raw: str | float) -> None:
        with self.context.faults.at(f"model.{table}.{name}", EquationError):
            self.trees.setdefault(table, {})[name] = parse(raw) if isinstance(raw, str) else raw

    def table(self, name: str) -> dict[str, Tree]:
        return self.trees.get(name, {})

    def check_tables(self) -> None:
        """A rate for each state, doses into states, and a burden."""
        states = self.spec.states
        if not states:
            self.add("states", "wanted at least one state; got none")
        for name in states:
            if name not in self.spec.rates:
                self.add("rates", f"wanted a rate for each state; got none for {show(name)}")
        for table, listed in (("rates", self.spec.rates), ("doses", self.spec.doses), ("linear", self.spec.linear)):
            for name in listed or ():
                if name not in states:
                    self.add(table, one_of(list(states), name))
        if "burden" not in self.spec.outputs:
            self.add("outputs", 'wanted an output burden, the size of the tumor, such as "S + R"; got none')

    def check_words(self) -> None:
        """Every name in an equation is known where it stands, and outputs do not hang on themselves."""
        own = [*self.numbers, *self.spec.states, *self.spec.outputs]
        drugs = self.context.drug_names
        given = [drug.name for drug in self.context.drugs if drug.pk.kind == "given"]
        allowed = {
            "states": [*self.numbers],
            "rates": [*own, *drugs, TIME],
            "outputs": [*own, *drugs, TIME],
            "doses": [*self.numbers, *given],
        }
        for table, trees in self.trees.items():
            for name, tree in trees.items():
                for word in sorted(names(tree) - set(allowed[table])):
                    self.unknown(f"{table}.{name}", word, table, allowed[table])
        used = set().union(*(names(tree) for trees in self.trees.values() for tree in trees.values()))
        self.context.notes += [f"{drug} is in no equation" for drug in drugs if drug not in used]
        self.check_levels()
        for name in ("burden", "resistant"):
            bad = self.reached(name) & {TIME, *drugs, *(self.spec.doses or {})}
            if name in self.table("outputs") and bad:
                wanted = "what hangs on states that no dose enters, and not on drugs or the time"
                self.add(f"outputs.{name}", f"wanted {wanted}; got {show(min(bad))}")

    def unknown(self, path: str, word: str, table: str, allowed: list[str]) -> None:
        if table == "doses":
            wanted = 'parameters and drugs whose pk has the kind "given"'
        elif table == "states":
            wanted = 'a quantity such as "1e8 cell", or parameters'
        else:
            wanted = "a parameter, a state, an output, a drug or time"
        self.add(path, f"wanted {wanted}; got {show(word)}{close(word, allowed)}")

    def reached(self, name: str) -> set[str]:
        """All that an output hangs on."""
        outputs, found, left = self.table("outputs"), set(), [name]
        while left:
            more = names(outputs[word]) - found if (word := left.pop()) in outputs else set()
            found |= more
            left += more
        return found

    def check_levels(self) -> None:
        outputs = self.table("outputs")
        inside = {name: names(tree) & outputs.keys() for name, tree in outputs.items()}
        for _ in range(_MOST_LEVELS):
            done = {name for name, needs in inside.items() if not needs}
            inside = {name: needs - done for name, needs in inside.items() if name not in done}
        for name in inside:
            wanted = f"an output that does not hang on itself, over at most {_MOST_LEVELS} others"
            self.add(f"outputs.{name}", f"wanted {wanted}; got one that does")

    def check_units(self) -> None:
        """Units as far as they are stated."""
        known: dict[str, Stated] = {TIME: Dimension(time=1)}
        known |= {n: self.stated(self.spec.parameters[n], self.units[n]) for n in self.numbers}
        for drug in self.context.drugs:
            is_level = not drug.direct and drug.pk.kind != "given"
            known[drug.name] = parse_unit("mg/L").dimension if is_level else None
        for name, raw in self.spec.states.items():
            with self.context.faults.at(f"model.states.{name}", EquationError):
                tree = self.table("states").get(name)
                known[name] = self.stated(raw, self.start_units[name]) if tree is None else dimension(tree, known)
        left = dict(self.table("outputs"))
        while ready := [name for name, tree in left.items() if not names(tree) & left.keys()]:
            for name in ready:
                with self.context.faults.at(f"model.outputs.{name}", EquationError):
                    known[name] = dimension(left[name], known)
                del left[name]
        for name, tree in self.table("rates").items():
            with self.context.faults.at(f"model.rates.{name}", EquationError):
                of_rate(tree, known.get(name), known)

    @staticmethod
    def stated(raw: Any, unit: str) -> Stated:
        """The dimension of a quantity; None for a bare number."""
        if not isinstance(raw, str) or not raw.strip().lower().strip("+-.e0123456789"):
            return None
        return parse_unit(unit).dimension

    def part(self) -> Part:
        """The model, with states that start at zero or below left as they are, and the numbers at the start checked."""
        linear = tuple(self.spec.linear or ())
        values = {
            "parameters": self.numbers,
            "states": self.starts,
            "rates": dict(self.spec.rates),
            "outputs": dict(self.spec.outputs),
            "doses": dict(self.spec.doses or {}),
        }
        drugs = tuple(self.context.drug_names)
        known = {name: np.float64(value) for name, value in self.numbers.items()}
        plain = Equations(**{**values, "parameters": known}, linear=tuple(self.starts), drugs=drugs)
        with np.errstate(all="ignore"):
            start = np.asarray(plain.start(np), float)
            self.check_start(plain, start, len(drugs))
            burden = float(plain.values(0.0, start, xp=np)["burden"])
        if not burden > 0.0:
            self.add("outputs.burden", f"wanted a tumor at the start, more than 0; got {burden:g}")
        empty = [name for name, value in zip(self.starts, start, strict=True) if not value > 0.0]
        linear = tuple(dict.fromkeys([*linear, *empty]))
        floor = self.spec.cell_floor if self.spec.cell_floor is not None else float(f"{_FLOOR * abs(burden):.1e}")
        units: dict[str, Any] = {name: dict.fromkeys(values[name], "") for name in ("rates", "outputs", "doses")}
        units |= {"parameters": self.units, "states": self.start_units, "linear": "", "cell_floor": "1"}
        return Part("equations", Equations, {**values, "linear": list(linear), "cell_floor": floor}, units)

    def check_start(self, plain: Equations, start: np.ndarray, drugs: int) -> None:
        """Numbers at the start, without drug."""
        for name, value in zip(self.starts, start, strict=True):
            if not np.isfinite(value):
                self.add(f"states.{name}", f"wanted a finite value at the start; got {value}")
        at_start = plain.values(np.float64(0.0), start, np.zeros(drugs), np)
        for table in ("rates", "outputs"):
            for name, tree in self.table(table).items():
                value = at_start.of(tree)
                if not np.isfinite(value):
                    self.add(f"{table}.{name}", f"wanted a finite value at the start; got {value}")
        one, two = (plain.values(0.0, 0.0 * start, scale * np.ones(drugs), np) for scale in (1.0, 2.0))
        for name in self.table("doses"):
            if not np.isclose(2.0 * one[name], two[name], rtol=1e-9):
                self.add(f"doses.{name}", "wanted what is proportional to the amount given; got something else")


def check_equations(context: Context, spec: Any) -> Model:
    """The model of the kind "equations"."""
    found = _Equations(context, spec)
    steps: Iterable[Any] = (found.check_names, found.read, found.check_tables, found.check_words, found.check_units)
    for step in steps:
        step()
    context.faults.stop()
    try:
        part = found.part()
    except (ArithmeticError, RecursionError) as error:
        got = "more" if isinstance(error, RecursionError) else "numbers beyond what a float holds"
        found.add("rates", f"wanted equations that can be worked out, not nested too deep; got {got}")
        part = Part("equations", Equations, {}, {})
    timed = hanging_on({TIME}, found.table("outputs"))
    told = (*spec.states, *(name for name in spec.outputs if name not in timed))
    return Model("equations", {}, {}, alone=part, observables=told)
