"""NONMEM control streams as equations: $PK, $DES or ADVAN with TRANS, $THETA; $OMEGA says how patients differ.

A small reader of our own (NONMEM 7 users guides, parts IV and VIII): a library for such files would bring forty others
with it, opens what a stream names, and does not say in which line it meets what it cannot do. Only the stream is read.
"""

import re
from collections.abc import Callable, Collection, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.equations.expression import TIME, EquationError, Tree, names, parse, replaced, written
from optimizer.equations.imported import Imported, days_in, inlined, lower, refusal
from optimizer.equations.nonmem_records import Record, behind_bracket, omegas, records, refuse, thetas
from optimizer.files.faults import DataError
from optimizer.files.run_directory import read_regular

MAX_BYTES = 2**20
_ONE, _TWO = "1-0:K", "1-0:K 1-2:K12 2-1:K21"
# Flows between compartments (0: out of the body) by ADVAN, behind the number of compartments.
_ADVANS = {
    1: (1, _ONE),
    2: (2, "1-2:KA 2-0:K"),
    3: (2, _TWO),
    4: (3, "1-2:KA 2-0:K 2-3:K23 3-2:K32"),
    11: (3, f"{_TWO} 1-3:K13 3-1:K31"),
    12: (4, "1-2:KA 2-0:K 2-3:K23 3-2:K32 2-4:K24 4-2:K42"),
}
# Rates by ADVAN and TRANS.
_TRANS: dict[tuple[int, int], dict[str, str]] = {
    (1, 2): {"K": "CL/V"},
    (2, 2): {"K": "CL/V"},
    (3, 3): {"K": "CL/V", "K12": "Q/V", "K21": "Q/(VSS - V)"},
    (4, 3): {"K": "CL/V", "K23": "Q/V", "K32": "Q/(VSS - V)"},
    (3, 4): {"K": "CL/V1", "K12": "Q/V1", "K21": "Q/V2"},
    (4, 4): {"K": "CL/V2", "K23": "Q/V2", "K32": "Q/V3"},
    (11, 4): {"K": "CL/V1", "K12": "Q2/V1", "K21": "Q2/V2", "K13": "Q3/V1", "K31": "Q3/V3"},
    (12, 4): {"K": "CL/V2", "K23": "Q3/V2", "K32": "Q3/V3", "K24": "Q4/V2", "K42": "Q4/V4"},
} | {(advan, 1): {} for advan in _ADVANS}
_GENERAL = (6, 8, 9, 13, 14)
_DEFAULTS, _MOST_STATES = (("ADVAN", "0"), ("TRANS", "1")), 99
_WORDS = {"EQ": "==", "NE": "!=", "GT": ">", "GE": ">=", "LT": "<", "LE": "<=", "AND": "&&", "OR": "||"}
_CALLED = "EXP|LOG|LOG10|SQRT|TANH|SIN|COS|ABS|MIN|MAX"
_ALWAYS = ("==", 0.0, 0.0)
# Names that begin with _ stand for what is indexed: no variable of a stream may begin so.
_INDEXED = r"\b(THETA|ETA|A_0|A|DADT)\s*\(\s*(\d+)\s*\)"


def read_nonmem(
    path: Path, control: Collection[str] = (), time_unit: str = "", values: Mapping[str, float] | None = None
) -> Imported:
    """The typical patient of a control stream; ETAs are parameters that are 0, and vary in the cohort.

    Args:
        path: the stream.
        control: data items that are levels of drugs.
        time_unit: of the stream's time, such as "hour".
        values: numbers of other data items (covariates) that equations use.

    Raises:
        DataError: not such a file, or a construct that is not supported; one sentence with its line.
    """
    try:
        text = read_regular(path, MAX_BYTES, "a NONMEM control stream").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refusal(path.name, "UTF-8 text", f"the byte {error.object[error.start]:#04x}") from None
    if not time_unit:
        raise refusal(path.name, 'time_unit, such as "hour", as the stream does not say in what its time is', "none")
    stream = _Stream(records(text, path.name), path.name, set(control), values or {}, days_in(path.name, time_unit))
    try:
        return stream.imported()
    except (EquationError, RecursionError) as error:
        said = "wanted equations not nested too deep; got deeper ones" if isinstance(error, RecursionError) else error
        raise DataError(f"{path.name}: {said}") from None


class _Stream:
    """A stream while it is read; a variable is `NAME#1`, `NAME#2`, ... as often as it is written."""

    def __init__(self, found: list[Record], file: str, control: set[str], values: Mapping[str, float], days: float):
        self.file, self.control = file, control
        self.records = {name: [r for r in found if r.name == name] for name in {r.name for r in found}}
        title = " ".join(self.all("PROBLEM")[0].text.split())[:200] if self.all("PROBLEM") else ""
        self.found = Imported(title if title.isprintable() else "", days=days)
        self.omega = omegas(self.all("OMEGA"), file)
        self.numbers: dict[str, float] = dict(values)
        self.numbers |= {f"_THETA{i}": value for i, value in enumerate(thetas(self.all("THETA"), file), 1)}
        self.numbers |= {f"_ETA{i}": 0.0 for i in range(1, len(self.omega) + 1)}
        self.assigned: dict[str, Tree] = {}
        self.current: dict[str, str] = {}
        self.slopes: dict[str, Tree] = {}
        self.starts: dict[str, Tree] = {}
        self.guards: list[list[Tree]] = []

    def all(self, name: str) -> list[Record]:
        return self.records.get(name, [])

    # --- what kind of model it is -------------------------------------------------------------------------------------

    def advan(self) -> tuple[int, int]:
        """ADVAN and TRANS."""
        if not self.all("SUBROUTINES"):
            raise refusal(self.file, "a record $SUBROUTINES with an ADVAN", "none")
        record = self.all("SUBROUTINES")[0]
        text = " ".join(r.text.strip() for r in self.all("SUBROUTINES")).upper()
        advan, trans = (int((re.findall(rf"\b{word}(\d+)\b", text) or [default])[0]) for word, default in _DEFAULTS)
        known = (advan, trans) in _TRANS or (advan in _GENERAL and trans == 1)
        if not known or re.search(r"=\s*(?!\s|ADVAN|TRANS|TOL|\d)", text):
            wanted = "ADVAN1 to 4, 11 or 12 with its TRANS1 to 4, or ADVAN6, 8, 9, 13 or 14, and no code of its own"
            raise refuse(self.file, record.line, wanted, text.strip())
        return advan, trans

    def compartments(self) -> tuple[int, int]:
        """How many $MODEL has, and which one doses enter."""
        text = " ".join(record.text for record in self.all("MODEL")).upper()
        listed = [re.split(r"[\s,]+", name.strip()) for name in re.findall(r"COMP\w*\s*=?\s*\(([^()]*)\)", text)]
        stated = re.search(r"\bNCOMP\w*\s*=\s*(\d{1,3})", text)
        count = int(stated[1]) if stated else len(listed) or len(re.findall(r"\bCOMP\w*\s*=\s*\w", text))
        dosed = [i for i, words in enumerate(listed, 1) if "DEFDOSE" in words]
        depots = [i for i, words in enumerate(listed, 1) if words[0] == "DEPOT"]
        return count, [*dosed, *depots, 1][0]

    # --- statements ---------------------------------------------------------------------------------------------------

    def tree(self, text: str, line: int, states: range, condition: bool = False) -> Tree:
        """The tree of an expression in Fortran's words."""
        plain = re.sub(rf"\.({'|'.join(_WORDS)})\.", lambda match: f" {_WORDS[match[1]]} ", text)
        plain = re.sub(r"(?<![A-Z_0-9.])(\d+\.?\d*|\.\d+)D([+-]?\d)", r"\1E\2", plain)
        plain = plain.replace("**", "^").replace("/=", "!=")
        plain = re.sub(rf"\bD?({_CALLED})\s*\(", lambda match: f"{match[1].lower()}(", plain)
        plain = re.sub(_INDEXED, r"_\1\2", plain)
        try:
            tree = parse(f"piecewise(1, {plain}, 0)")[2] if condition else parse(plain)  # type: ignore[index]
        except EquationError as error:
            raise DataError(f"{self.file}: line {line}: {error}") from None
        return replaced(tree, lambda name: self.named(name, line, states))

    def named(self, name: str, line: int, states: range) -> Tree:
        if name in self.current:
            return self.current[name]
        if name in self.numbers or name in self.control or name in [f"_A{i}" for i in states]:
            return name
        if name == "T" and states:
            return TIME if self.found.days == 1.0 else ("/", TIME, self.found.days)
        hint = f"; parameters = {{ {name} = ... }} gives a covariate its number" if name.isalpha() else ""
        raise refuse(self.file, line, f"names that are defined above{hint}", name.removeprefix("_"))

    def run(self, record: Record, states: range) -> None:
        """Statements one after the other."""
        for line, text in record.statements():
            if match := re.fullmatch(r"(ELSE\s*)?IF\s*\((.*)\)\s*THEN", text):
                if not match[1]:
                    self.guards.append([])
                self.group(line).append(self.tree(match[2], line, states, condition=True))
            elif text == "ELSE":
                self.group(line).append(_ALWAYS)
            elif re.fullmatch(r"END\s*IF", text):
                self.group(line)
                self.guards.pop()
            elif (match := re.match(r"IF\s*\(", text)) and (end := behind_bracket(text, match.end() - 1)):
                self.guards.append([self.tree(text[match.end() : end - 1], line, states, condition=True)])
                self.assign(text[end:].strip(), line, states)
                self.guards.pop()
            else:
                self.assign(text, line, states)
        if self.guards:
            raise refuse(self.file, record.line, f"ENDIF for each IF in ${record.name}", "none")

    def group(self, line: int) -> list[Tree]:
        if not self.guards:
            raise refuse(self.file, line, "IF above", "none")
        return self.guards[-1]

    def assign(self, text: str, line: int, states: range) -> None:
        match = re.fullmatch(rf"(?:{_INDEXED}|([A-Z][A-Z0-9_]*))\s*=\s*(.+)", text)
        if match is None or match[1] in ("THETA", "ETA", "A") or (match[1] and (match[1] == "DADT") != bool(states)):
            raise refuse(self.file, line, "NAME = EXPRESSION, A_0(1) = in $PK, DADT(1) = in $DES, or IF", text)
        tree = self.tree(match[4], line, states)
        if match[1]:
            table, name = self.slopes if states else self.starts, f"_A{match[2]}"
            table[name] = self.guarded(tree, table.get(name, 0.0))
            return
        target = match[3]
        if re.fullmatch(r"ALAG\d+|MTIME|T|TIME", target) or target in self.numbers or target in self.control:
            raise refuse(self.file, line, "a name that is free (no lag, time, covariate or control)", target)
        count = int(self.current[target].partition("#")[2]) if target in self.current else 0
        self.assigned[f"{target}#{count + 1}"] = self.guarded(tree, self.current.get(target, 0.0))
        self.current[target] = f"{target}#{count + 1}"

    def guarded(self, tree: Tree, before: Tree) -> Tree:
        """The tree where the conditions hold that it stands under, what was before elsewhere."""
        held = [part for group in self.guards for part in (*(("not", c) for c in group[:-1]), group[-1])]
        held = [part for part in held if part != _ALWAYS]
        if not held:
            return tree
        return ("piecewise", tree, held[0] if len(held) == 1 else ("and", *held), before)

    # --- together -----------------------------------------------------------------------------------------------------

    def imported(self) -> Imported:
        """The whole model."""
        advan, trans = self.advan()
        # Records that would be heeded in part, or not at all.
        for record in (*self.all("PROBLEM")[1:], *(self.all("DES") if advan in _ADVANS else ())):
            raise refuse(
                self.file, record.line, "one $PROBLEM, and $DES beside ADVAN6, 8, 9, 13 or 14", f"${record.name}"
            )
        count, dosed = (_ADVANS[advan][0], 1) if advan in _ADVANS else self.compartments()
        if not 0 < count <= _MOST_STATES:
            raise refusal(self.file, f"1 to {_MOST_STATES} compartments in $MODEL", str(count))
        states = [f"_A{i}" for i in range(1, count + 1)]
        for record in self.all("PK"):
            self.run(record, range(0))
        if advan in _ADVANS:
            self.flows(advan, trans)
        else:
            for record in self.all("DES"):
                self.run(record, range(1, count + 1))
        if other := set(states) ^ set(self.slopes) | set(self.starts) - set(states):
            raise refusal(self.file, f"DADT(1) to DADT({count}), as $MODEL has it", f"another for {min(other)[1:]}")
        self.lowered(states, f"_A{dosed}")
        return self.found

    def flows(self, advan: int, trans: int) -> None:
        """Time derivatives of an ADVAN."""
        terms: dict[str, list[Tree]] = {f"_A{i}": [] for i in range(1, _ADVANS[advan][0] + 1)}
        line = self.all("SUBROUTINES")[0].line
        for flow in _ADVANS[advan][1].split():
            source, target, rate = f"_A{flow[0]}", f"_A{flow[2]}", flow[4:]
            moved: Tree = ("*", self.tree(_TRANS[advan, trans].get(rate, rate), line, range(0)), source)
            terms[source].append(("neg", moved))
            if target in terms:
                terms[target].append(moved)
        self.slopes = {name: parts[0] if len(parts) == 1 else ("+", *parts) for name, parts in terms.items()}

    def lowered(self, states: list[str], dosed: str) -> None:
        """Equations under names of their own; starts, and what arrives of a dose, as equations of parameters."""
        called = self.called(states)
        trees: Callable[[Mapping[str, Tree]], dict[str, Tree]] = lambda table: {  # noqa: E731
            called[name]: replaced(tree, lambda word: called.get(word, word)) for name, tree in table.items()
        }
        numbers = {called[name]: value for name, value in self.numbers.items()}
        found, assigned = self.found, trees(self.assigned)
        lower(found, self.file, numbers | {called[s]: 0.0 for s in states}, assigned, trees(self.slopes), self.control)
        starts = {name: inlined(tree, assigned) for name, tree in trees(self.starts).items()}
        arriving: dict[str, Tree] = {s: self.current[f"F{s[2:]}"] for s in states if f"F{s[2:]}" in self.current}
        fractions = {name: inlined(tree, assigned) for name, tree in trees(arriving).items()}
        if free := set().union(*map(names, (*starts.values(), *fractions.values()))) - numbers.keys():
            raise refusal(self.file, "A_0 and F1 without controls", min(free))
        for table, into in ((starts, found.states), (fractions, found.fractions)):
            into.update((name, written(tree)) for name, tree in table.items())
            found.parameters |= {word: numbers[word] for tree in table.values() for word in sorted(names(tree))}
        found.dosed = called[dosed]
        found.cohort = self.cohort(called)
        self.notes()

    def called(self, states: list[str]) -> dict[str, str]:
        """Names of everything: variables as they are written, their last value under the name itself."""
        out, last = {word: word for word in (*self.control, *self.numbers) if word[0] != "_"}, self.current.values()
        for name in (*last, *states, *self.numbers, *self.assigned):
            if name not in out:
                new = name.partition("#")[0] if name in last else name.replace("#", "_").removeprefix("_")
                while new in out.values():
                    new += "_"
                out[name] = new
        return out

    def cohort(self, called: Mapping[str, str]) -> dict[str, Any]:
        """How the ETAs differ that are used."""
        sd = np.sqrt(np.diag(self.omega))
        keys = {i: called[f"_ETA{i + 1}"] for i in range(len(sd)) if sd[i] > 0.0}
        keys = {i: f"model.parameters.{name}" for i, name in keys.items() if name in self.found.parameters}
        vary = [{"key": key, "distribution": "normal", "sd": float(sd[i])} for i, key in keys.items()]
        correlation = [
            {"keys": [keys[j], keys[i]], "value": float(self.omega[i, j] / sd[i] / sd[j])}
            for i, j in product(keys, keys)
            if j < i and self.omega[i, j] != 0.0
        ]
        return ({"vary": vary} if vary else {}) | ({"correlation": correlation} if correlation else {})

    def notes(self) -> None:
        """What was left out."""
        for name, what in (("ERROR", "how data are measured"), ("DATA", "which data there are")):
            said = [f"${name} at line {r.line}, which says {what}, was left out" for r in self.all(name)]
            self.found.notes += said
        if timed := [name for name in self.current if re.fullmatch(r"[RD]\d", name)]:
            self.found.notes.append(f"{', '.join(timed)}: how long doses last is said by the schedule")
