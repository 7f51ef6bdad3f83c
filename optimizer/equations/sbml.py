"""SBML models as equations: compartments, rules, functions and initial assignments become states, rates and outputs.

A species is what its name stands for in the file's equations: a concentration, or an amount where the file says so.
What would be computed otherwise than the file says is refused by name; what is left out is said in `notes`.
"""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.equations.expression import TIME, EquationError, Tree, replaced
from optimizer.equations.imported import Imported, days_in, lower, refusal, scaled
from optimizer.equations.sbml_events import adds, dose_of
from optimizer.equations.sbml_file import each, read_document, unit_faults
from optimizer.equations.sbml_math import Reader
from optimizer.equations.values import Values
from optimizer.files.faults import DataError

# Of a unit of time, as a power of ten.
_MOST_SCALE = 24


def read_sbml(
    path: Path,
    control: Collection[str] = (),
    time_unit: str = "",
    values: Mapping[str, float] | None = None,
    free: Collection[str] = (),
    dosed: Collection[str] = (),
) -> Imported:
    """The model of an SBML file (levels 1 to 3), by python-libsbml.

    Args:
        path: the file.
        control: quantities of the file that are drugs: what the file says of them is left out.
        time_unit: of the file's time, such as "hour"; needed where the file does not say.
        values: numbers in place of those that parameters and species have at the start.
        free: which of them will have others: a dose event may not hang on one.
        dosed: states that drugs of the scenario enter: events that give into them and are no regimen are left out.

    Raises:
        DataError: not such a file, or a construct that is not supported; one sentence with its name.
    """
    document = read_document(path)
    try:
        model = _Model(document.getModel(), path.name, set(control), time_unit, values or {}, free, set(dosed))
        found = model.imported()
    except EquationError as error:
        raise DataError(f"{path.name}: {error}") from None
    except RecursionError:
        raise DataError(f"{path.name}: wanted equations that are not nested too deep; got deeper ones") from None
    if lines := unit_faults(document):
        found.notes.append(f"the units of {len(lines)} equations do not fit together, the first at line {lines[0]}")
    return found


class _Model:
    """One model while it is read: trees by the name of what they belong to."""

    def __init__(
        self,
        model: Any,
        name: str,
        control: set[str],
        time_unit: str,
        values: Mapping[str, float],
        free: Collection[str],
        dosed: set[str],
    ):
        self.model, self.file, self.control, self.values, self.free = model, name, control, values, free
        self.dosed = dosed
        self.days = self.time(time_unit)
        # The model's own time, from days.
        self.reader = Reader(
            {f.getId(): f for f in each(model, "FunctionDefinition")},
            TIME if self.days == 1.0 else ("/", TIME, self.days),
        )
        self.numbers: dict[str, float] = {}
        self.assigned: dict[str, Tree] = {}
        self.slopes: dict[str, Tree] = {}
        self.found = Imported(self.title(), self.doi(), days=self.days)

    def refuse(self, wanted: str, got: str) -> DataError:
        return refusal(self.file, wanted, got)

    def read(self, node: Any, where: str) -> Tree:
        try:
            return self.reader.tree(node)
        except EquationError as error:
            raise DataError(f"{self.file}: {where}: {error}") from None

    # --- what the file says of itself ---------------------------------------------------------------------------------

    def title(self) -> str:
        text = " ".join((self.model.getName() or self.model.getId()).split())[:200]
        return text if text.isprintable() else ""

    def doi(self) -> tuple[str, ...]:
        terms = [self.model.getCVTerm(i) for i in range(self.model.getNumCVTerms())]
        links = [t.getResourceURI(i) for t in terms for i in range(t.getNumResources())]
        found = [link.partition("doi")[2].lstrip(".:/org") for link in links if "doi" in link]
        return tuple(dict.fromkeys(doi for doi in found if doi.startswith("10.") and doi.isprintable()))

    def time(self, asked: str) -> float:
        """Days in a unit of the model's time."""
        if asked:
            return days_in(self.file, asked)
        import libsbml

        definition = self.model.getUnitDefinition(self.model.getTimeUnits() or "time")
        units = [] if definition is None else each(definition, "Unit")
        if len(units) == 1 and units[0].getKind() == libsbml.UNIT_KIND_SECOND and units[0].getExponent() == 1:
            multiplier, scale = units[0].getMultiplier(), units[0].getScale()
            if 0.0 < multiplier < math.inf and abs(scale) <= _MOST_SCALE:
                return multiplier * 10.0**scale / 86400.0
        raise self.refuse('time_unit, such as "day", as the file does not say in what its time is', "none")

    # --- quantities ---------------------------------------------------------------------------------------------------

    def quantities(self) -> None:
        """Numbers of compartments, species and parameters, NaN where only a rule or an assignment gives one."""
        for compartment in each(self.model, "Compartment"):
            self.numbers[compartment.getId()] = compartment.getSize() if compartment.isSetSize() else 1.0
        self.found.sizes = tuple(self.numbers)
        for parameter in each(self.model, "Parameter"):
            self.numbers[parameter.getId()] = parameter.getValue() if parameter.isSetValue() else math.nan
        for species in each(self.model, "Species"):
            self.numbers[species.getId()] = self.first(species)
        if TIME in self.numbers:
            raise self.refuse(f"quantities that are not called {TIME}", "one")
        for name in self.values.keys() & self.numbers.keys():
            if name in self.found.sizes:
                raise self.refuse("numbers in place of those of parameters and species", f'one of "{name[:40]}"')
            self.numbers[name] = self.values[name]

    def first(self, species: Any) -> float:
        size = 1.0 if self.is_amount(species) else self.numbers.get(species.getCompartment(), 1.0)
        if species.isSetConversionFactor() or self.model.isSetConversionFactor():
            raise self.refuse("species without a conversion factor", f'one of "{species.getId()}"')
        if species.isSetInitialAmount():
            return species.getInitialAmount() / size
        whole = self.numbers.get(species.getCompartment(), 1.0) if self.is_amount(species) else 1.0
        return species.getInitialConcentration() * whole if species.isSetInitialConcentration() else math.nan

    @staticmethod
    def is_amount(species: Any) -> bool:
        """Whether the name of a species stands for its amount rather than its concentration."""
        return bool(species.getHasOnlySubstanceUnits())

    def rules(self) -> None:
        for rule in each(self.model, "Rule"):
            name = rule.getVariable()
            if rule.isAlgebraic():
                raise self.refuse("assignment and rate rules", "an algebraic rule")
            if name not in self.numbers:
                raise self.refuse("rules of compartments, species and parameters", f'one of "{name[:40]}"')
            if name in self.control:
                self.found.notes.append(f"the rule of the control {name} was left out")
                continue
            tree = self.read(rule.getMath(), f"rule of {name}")
            if name in self.found.sizes:
                raise self.refuse("compartments of a constant size", f'"{name}", which a rule changes')
            (self.assigned if rule.isAssignment() else self.slopes)[name] = tree

    def reactions(self) -> None:
        """Laws become outputs by the name of the reaction, and their sum the rate of each species."""
        terms: dict[str, list[Tree]] = {}
        for reaction in each(self.model, "Reaction"):
            name = reaction.getId()
            if reaction.isSetFast() and reaction.getFast():
                raise self.refuse("reactions that are not fast", f'the reaction "{name}"')
            law = reaction.getKineticLaw()
            if law is None or law.getMath() is None:
                raise self.refuse("a kinetic law of each reaction", f'none of "{name}"')
            self.assigned[name] = self.localized(law, name, self.read(law.getMath(), f"reaction {name}"))
            for sign, kind in ((-1.0, "Reactant"), (1.0, "Product")):
                for reference in each(reaction, kind):
                    factor = sign * self.stoichiometry(reference, name)
                    species = self.model.getSpecies(reference.getSpecies())
                    if species.getBoundaryCondition() or species.getConstant() or species.getId() in self.control:
                        continue
                    size = 1.0 if self.is_amount(species) else self.numbers[species.getCompartment()]
                    terms.setdefault(species.getId(), []).append(scaled(name, factor / size))
        for species, parts in terms.items():
            if species in self.assigned or species in self.slopes:
                raise self.refuse("species that either a rule or reactions change", f'both for "{species[:60]}"')
            self.slopes[species] = parts[0] if len(parts) == 1 else ("+", *parts)

    def localized(self, law: Any, reaction: str, tree: Tree) -> Tree:
        """The law with parameters of its own under names of their own."""
        kind = "LocalParameter" if self.model.getLevel() > 2 else "Parameter"
        own = {p.getId(): p.getValue() for p in each(law, kind)}
        renamed = {name: f"{reaction}_{name}" for name in own}
        if TIME in own:
            raise self.refuse(f"quantities that are not called {TIME}", f'one of the reaction "{reaction}"')
        self.numbers |= {renamed[name]: value for name, value in own.items()}
        return replaced(tree, lambda name: renamed.get(name, name))

    def stoichiometry(self, reference: Any, reaction: str) -> float:
        if reference.isSetStoichiometryMath() or (reference.isSetId() and reference.getId() in self.varied()):
            raise self.refuse("stoichiometries that are numbers", f'an equation in the reaction "{reaction}"')
        return reference.getStoichiometry() if reference.isSetStoichiometry() or self.model.getLevel() < 3 else 1.0

    def varied(self) -> set[str]:
        rules = {rule.getVariable() for rule in each(self.model, "Rule")}
        return rules | {a.getSymbol() for a in each(self.model, "InitialAssignment")}

    # --- start --------------------------------------------------------------------------------------------------------

    def initial(self) -> None:
        """Numbers at the start, from initial assignments and rules that follow from each other."""
        starts = {
            a.getSymbol(): self.read(a.getMath(), f"initial assignment of {a.getSymbol()}")
            for a in each(self.model, "InitialAssignment")
            if a.getSymbol() not in self.control and a.getSymbol() not in self.values
        }
        for name in starts:
            if name not in self.numbers or name in self.found.sizes:
                raise self.refuse("initial assignments of species and parameters", f'one of "{name[:40]}"')
        known = {n: np.float64(v) for n, v in self.numbers.items() if n not in starts and n not in self.assigned}
        known |= {name: np.float64(known.get(name, math.nan)) for name in self.control}
        self.found.starting = starts
        values = Values({TIME: np.float64(0.0), **known}, self.assigned | starts, np)
        with np.errstate(all="ignore"):
            for name in starts:
                try:
                    self.numbers[name] = float(values[name])
                except KeyError as error:
                    raise self.refuse("equations of names in the file", f"{error} for {name}") from None

    def events(self) -> None:
        """Doses at given times are kept; events that write the control or dose otherwise left out, others refused."""
        varied = {*self.slopes, *self.assigned, *self.free, *(self.found.starting if self.free else ())}
        fixed = {n: v for n, v in self.numbers.items() if n not in varied}
        for event in each(self.model, "Event"):
            name = event.getId() or event.getName() or "without a name"
            targets = {a.getVariable() for a in each(event, "EventAssignment")}
            if targets and targets <= self.control:
                self.found.notes.append(f"the event {name}, which writes {', '.join(sorted(targets))}, was left out")
                continue
            gives = bool(targets) and targets <= self.dosed and adds(event, self.reader)
            try:
                dose = dose_of(event, self.reader, fixed)
            except EquationError:
                if not gives:
                    raise
                dose = None
            if dose is None and gives:
                self.found.notes.append(f"the event {name}, which gives into {', '.join(targets)}, was left out")
                continue
            if dose is None or dose[0] not in self.slopes:
                wanted = "events that write the control, or that add a number to a state at a time"
                raise self.refuse(wanted, f'the event "{name[:60]}" of {", ".join(sorted(targets))[:60]}')
            self.found.doses.append((dose[0], dose[1] * self.days, dose[2]))

    # --- together -----------------------------------------------------------------------------------------------------

    def imported(self) -> Imported:
        """The whole model."""
        if count := self.model.getNumConstraints():
            self.found.notes.append(f"{count} SBML constraints were left out")
        self.quantities()
        missing = sorted(self.control - self.numbers.keys())
        if missing:
            listed = ", ".join(list(self.numbers)[:12])
            raise self.refuse(f"a control that the file has, such as {listed}", f'"{missing[0][:40]}"')
        self.rules()
        self.reactions()
        self.initial()
        self.events()
        kept = {name: tree for name, tree in self.slopes.items() if name not in self.control}
        lower(self.found, self.file, self.numbers, self.assigned, kept, self.control, bool(self.free))
        return self.found
