"""Problems in PEtab (version 2) as equations: one experiment of an SBML model, its doses and observables.

A small reader of our own of the tables (https://petab.readthedocs.io, version 2): the library follows addresses on the
network and brings SymPy. Only files beside the problem are read. What of an experiment we cannot compute is refused by
name; how parameters are to be fitted, and to which data, is for `petab_fit`, and said in `notes`.
"""

import csv
import hashlib
from collections.abc import Collection, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.equations.expression import TIME, EquationError, Tree, names, parse, replaced, written
from optimizer.equations.imported import Imported, inlined, limited, refusal
from optimizer.equations.sbml import read_sbml
from optimizer.equations.values import Values
from optimizer.files.faults import DataError
from optimizer.files.run_directory import read_regular

MAX_BYTES = 8 * 2**20
Row = dict[str, str]


def read_petab(
    path: Path,
    control: Collection[str] = (),
    time_unit: str = "",
    values: Mapping[str, float] | None = None,
    experiment: str = "",
) -> Imported:
    """An experiment of a PEtab problem.

    Args:
        path: its YAML file.
        control: quantities of the model that are drugs.
        time_unit: of the model's time, where the model does not say.
        values: numbers in place of nominal values.
        experiment: its id, where the problem has several.

    Raises:
        DataError: not such a problem, or one with something that is not supported; one sentence with its name.
    """
    problem = Problem(path)
    nominal = problem.nominal(values or {})
    model = problem.file("model")
    begin, periods = problem.periods(experiment or problem.only_experiment())
    if begin != 0.0:
        got = "a steady state before it" if begin == -np.inf else f"one at {begin:g}"
        raise problem.refuse("an experiment that starts at time 0", got)
    changes = next((trees for time, trees in periods if time == 0.0), {})
    numbers = nominal | {name: problem.value(tree, nominal, name) for name, tree in changes.items()}
    numbers = {name: value for name, value in numbers.items() if name not in control}
    found = read_sbml(model, control, time_unit, numbers)
    for time, name, tree in ((time, *item) for time, trees in periods if time for item in trees.items()):
        if name in control:
            found.notes.append(f"the level of {name} from time {time:g} on was left out")
            continue
        match tree:
            case ("+", left, right) if name in found.states and name in (left, right):
                amount = problem.value(right if left == name else left, nominal, name)
                found.doses.append((name, time * found.days, amount))
            case _:
                wanted = "conditions behind the start that write a control or add to a state"
                raise problem.refuse(wanted, f'"{written(tree)}" for "{name}" at time {time:g}')
    problem.check_used(found)
    problem.observe(found, found.constants | numbers)
    for name in changes:
        if name in control:
            found.notes.append(f"the level of {name} from the start on was left out")
        else:
            problem.check_target(found, name)
    problem.begin(found, changes, nominal)
    found.constants |= nominal
    return found


class Problem:
    """The tables of a problem."""

    def __init__(self, path: Path):
        self.path, self.name = path, path.name
        self.digests: dict[str, str] = {}
        self.read: dict[str, list[Row]] = {}
        if find_spec("yaml") is None:
            raise DataError(f"{self.name}: wanted the package pyyaml (pip install 'adose[models]'); got none")
        import yaml

        text = self.text(path)
        try:
            said = yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            raise self.refuse("YAML", " ".join(str(error).split())[:80]) from None
        self.said: dict[str, Any] = said if isinstance(said, dict) else {}
        if not str(self.said.get("format_version", "")).startswith("2"):
            raise self.refuse("a problem with format_version 2", str(self.said.get("format_version", "none"))[:20])
        if self.said.get("extensions"):
            raise self.refuse("a problem without extensions", "one with")
        for row in self.rows("mapping"):
            if row.get("modelEntityId", "") not in ("", row["petabEntityId"]):
                raise self.refuse("names of the model itself", f'a mapping of "{row["petabEntityId"]}"')

    def refuse(self, wanted: str, got: str) -> DataError:
        return refusal(self.name, wanted, got)

    def text(self, path: Path) -> str:
        data = read_regular(path, MAX_BYTES, "a file of PEtab")
        self.digests[path.name] = hashlib.sha256(data).hexdigest()
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise self.refuse(f"UTF-8 text in {path.name}", f"the byte {error.object[error.start]:#04x}") from None

    def beside(self, place: Any) -> Path:
        """The path of a file that lies in the folder of the problem, or below it."""
        path = Path(place) if isinstance(place, str) and place.isprintable() else Path("/")
        if path.is_absolute() or ".." in path.parts or "://" in str(place):
            raise self.refuse("files in the folder of the problem", f'"{str(place)[:40]}"')
        whole = self.path.parent / path
        if self.path.parent.resolve() not in whole.resolve().parents:
            raise self.refuse("files in the folder of the problem", f'a link out of it, "{str(place)[:40]}"')
        return whole

    def file(self, kind: str) -> Path:
        """The model, of which there is one."""
        models = self.said.get(f"{kind}_files")
        listed = list(models.values()) if isinstance(models, dict) else []
        if len(listed) != 1 or not isinstance(listed[0], dict) or listed[0].get("language") != "sbml":
            raise self.refuse("one model in SBML", f"{len(listed)} models")
        return self.beside(listed[0].get("location"))

    def rows(self, kind: str) -> list[Row]:
        """Rows of the tables of a kind."""
        if kind not in self.read:
            self.read[kind] = self._rows(kind)
        return self.read[kind]

    def _rows(self, kind: str) -> list[Row]:
        listed = self.said.get(f"{kind}_files") or []
        if not isinstance(listed, list):
            raise self.refuse(f"a list {kind}_files", type(listed).__name__)
        found: list[Row] = []
        for path in map(self.beside, listed):
            reader = csv.DictReader(self.text(path).splitlines(), delimiter="\t", restkey="", restval="")
            needed = {"mapping": "petabEntityId"}.get(kind, f"{kind}Id" if kind != "measurement" else "observableId")
            if needed not in (reader.fieldnames or ()):
                raise self.refuse(
                    f"a column {needed} in {path.name}", ", ".join(reader.fieldnames or ())[:80] or "none"
                )
            found += [{str(key): str(value).strip() for key, value in row.items()} for row in reader]
        ids = [row[needed] for row in found] if kind in ("parameter", "observable") else []
        if twice := [name for name in ids if ids.count(name) > 1]:
            raise self.refuse(f"each {kind} once", f'"{twice[0][:40]}" twice')
        return found

    def number(self, row: Row, column: str) -> float:
        try:
            return float(row.get(column, ""))
        except ValueError:
            wanted, name = f"a number as {column}", next(iter(row.values()))
            raise self.refuse(wanted, f'"{row.get(column, "")[:40]}" of {name[:40]}') from None

    def tree(self, text: str, where: str) -> Tree:
        try:
            return parse(text)
        except EquationError as error:
            raise DataError(f"{self.name}: {where}: {error}") from None

    def value(self, tree: Tree, known: Mapping[str, float], where: str) -> float:
        """The number of an equation of parameters."""
        if unknown := names(tree) - known.keys():
            raise self.refuse(f"a value of {where} over parameters of the problem", f'"{min(unknown)[:40]}"')
        with np.errstate(all="ignore"):
            found = float(Values({n: np.float64(v) for n, v in known.items()}, {}, np).of(tree))
        if not np.isfinite(found):
            raise self.refuse(f"a finite value of {where}", str(found))
        return found

    def nominal(self, values: Mapping[str, float]) -> dict[str, float]:
        """Values of the parameter table by name, but those that are given."""
        left = [row for row in self.rows("parameter") if row["parameterId"] not in values]
        return {row["parameterId"]: self.number(row, "nominalValue") for row in left} | dict(values)

    def only_experiment(self) -> str:
        """The experiment where there is one; empty where there is none."""
        listed = list(dict.fromkeys(row["experimentId"] for row in self.rows("experiment")))
        if len(listed) > 1:
            raise self.refuse(f"experiment, one of {', '.join(listed)[:120]}", "none")
        return listed[0] if listed else ""

    def periods(self, experiment: str) -> tuple[float, list[tuple[float, dict[str, Tree]]]]:
        """When an experiment begins, and at which times it sets what to which equation; 0 and none without a name."""
        rows = self.rows("experiment")
        own = [
            (self.number(row, "time"), row.get("conditionId", "")) for row in rows if row["experimentId"] == experiment
        ]
        if experiment and not own:
            listed = ", ".join(dict.fromkeys(row["experimentId"] for row in rows))[:120] or "none"
            raise self.refuse(f"experiment, one of {listed}", f'"{experiment[:40]}"')
        conditions: dict[str, dict[str, Tree]] = {}
        for row in self.rows("condition"):
            tree = self.tree(row.get("targetValue", ""), f"condition {row['conditionId'][:40]}")
            conditions.setdefault(row["conditionId"], {})[row.get("targetId", "")] = tree
        set_at: dict[float, dict[str, Tree]] = {}
        for time, name in sorted(own):
            if name and name not in conditions:
                raise self.refuse("conditions that the problem has", f'"{name[:40]}"')
            set_at[time] = set_at.get(time, {}) | conditions.get(name, {})
        return min(set_at, default=0.0), list(set_at.items())

    def begin(self, found: Imported, changes: Mapping[str, Tree], nominal: Mapping[str, float]) -> None:
        """States that begin where a free parameter says, as equations of it: draws of a fit move them too."""
        free = {row["parameterId"] for row in self.rows("parameter") if row.get("estimate", "").lower() == "true"}
        own = {found.called.get(name, name): tree for name, tree in changes.items()}
        starting = {name: tree for name, tree in found.starting.items() if name not in own}
        for state in found.states.keys() & {*own, *starting}:
            try:
                # What a condition sets is over parameters of the problem, among them perhaps one of the same name.
                tree = limited(replaced(inlined(state, starting), lambda name: own.get(name, name)))
            except EquationError as error:
                raise DataError(f"{self.name}: start of {state[:40]}: {error}") from None
            kept = all(found.parameters.get(name, nominal.get(name)) == nominal.get(name) for name in names(tree))
            if names(tree) & free and names(tree) <= nominal.keys() and kept:
                found.states[state] = written(tree)
                found.parameters |= {name: nominal[name] for name in names(tree)}

    def check_used(self, found: Imported) -> None:
        """Refuse a parameter that neither the model nor a table has."""
        columns = ("observableFormula", "noiseFormula", "targetValue", "observableParameters", "noiseParameters")
        rows = [row for kind in ("observable", "condition", "measurement") for row in self.rows(kind)]
        parts = {part.strip() for row in rows for column in columns for part in row.get(column, "").split(";")} - {""}
        used = set().union(*(names(self.tree(part, "a table")) for part in parts))
        listed = [row["parameterId"] for row in self.rows("parameter")]
        if unused := [name for name in listed if name not in found.called and name not in used]:
            raise self.refuse("parameters that the model or a table has", f'"{unused[0][:40]}"')

    def check_target(self, found: Imported, name: str) -> None:
        """Refuse a condition that would do nothing."""
        if name not in {*found.constants, *found.parameters, *found.states} or name in found.sizes:
            raise self.refuse("conditions that set parameters and states of the model", f'one that sets "{name}"')

    def noise(self, row: Row, numbers: Mapping[str, float]) -> float | None:
        """Standard deviation of the logarithm of an observable; None where its noise is of another kind.

        Normal noise in proportion to the observable is taken as log-normal with the same coefficient of variation.
        """
        name, distribution = row["observableId"], row.get("noiseDistribution") or "normal"
        match distribution, self.tree(row.get("noiseFormula") or "0", f"noise of {name[:40]}"):
            case ("log-normal", tree):
                is_log = True
            case ("normal", ("*", one, other)) if name in (one, other):
                is_log, tree = False, other if one == name else one
            case _:
                return None
        if not names(tree) <= numbers.keys():
            return None
        value = float(Values({word: np.float64(x) for word, x in numbers.items()}, {}, np).of(tree))
        value = value if is_log else float(np.sqrt(np.log1p(value**2)))
        return value if 0.0 < value < np.inf else None

    def observe(self, found: Imported, numbers: Mapping[str, float]) -> None:
        """Observables as outputs, and in words what a fit needs."""
        day: Tree = TIME if found.days == 1.0 else ("/", TIME, found.days)
        note, known = found.notes.append, {*found.parameters, *found.states, *found.outputs, TIME}
        for row in self.rows("observable"):
            name = row["observableId"]
            tree = self.tree(row.get("observableFormula", ""), f"observable {name[:40]}")
            own = names(tree) - known
            if name in known or not own <= numbers.keys():
                got = "a name of the model" if name in known else f'"{min(own - numbers.keys())[:40]}"'
                note(f"the observable {name} was left out: wanted an equation over the model and parameters; got {got}")
                continue
            found.parameters |= {word: numbers[word] for word in sorted(own)}
            is_timed = TIME in names(inlined(tree, {name: parse(text) for name, text in found.outputs.items()}))
            found.outputs[name] = written(replaced(tree, lambda word: day if word == TIME else word))
            if (noise := self.noise(row, numbers)) is not None and not is_timed:
                found.observed[name] = noise
                continue
            got = f"{row.get('noiseDistribution') or 'normal'} noise {row.get('noiseFormula')}"
            wanted = "log-normal noise that is a number, of what does not hang on the time"
            note(f"{name} is no [[observation]]: wanted {wanted}; got {got}{' and the time' if is_timed else ''}")
        fitted = [row["parameterId"] for row in self.rows("parameter") if row.get("estimate", "").lower() == "true"]
        if fitted:
            kept = f"{', '.join(fitted)[:200]} have their nominal values"
            note(f"{kept}; bounds and priors were left out (adose calibrate fits them)")
        if count := len(self.rows("measurement")):
            note(f"{count} measurements were left out")
