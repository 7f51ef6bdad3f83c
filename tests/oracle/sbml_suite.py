"""The semantic cases of the SBML Test Suite: how many are right, refused by name, and wrong.

    python -m tests.oracle.sbml_suite path/to/sbml-test-suite/cases/semantic

The suite (https://github.com/sbmlteam/sbml-test-suite) is not carried here. A case is right where every value that its
settings ask for is within the suite's own tolerance, taken at the latest level and version that the case has.
"""

import csv
import re
import sys
from collections import Counter
from pathlib import Path

import libsbml
import numpy as np
from scipy.integrate import solve_ivp

from optimizer.equations.sbml import read_sbml
from optimizer.files.faults import DataError
from optimizer.models.equations import Equations


def settings(path):
    """What a case asks for."""
    pairs = (line.partition(":")[::2] for line in path.read_text().splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def course(found, times):
    """The model and its states at times [T, n], doses given as jumps, each saved time before its dose."""
    numbers = {name: np.float64(value) for name, value in found.parameters.items()}
    names = list(found.states)
    model = Equations(numbers, found.states, found.rates, found.outputs, linear=names)
    y, now, out, doses = model.start(np), 0.0, [], sorted(found.doses, key=lambda dose: dose[1])

    def slope(t, y):
        return model.slope(np.float64(t), y, np.zeros(0), np)

    def moved(y, now, until):
        if until <= now:
            return y
        done = solve_ivp(slope, (now, until), y, method="LSODA", rtol=1e-9, atol=1e-14)
        return done.y[:, -1] if done.status == 0 else np.full_like(y, np.nan)

    for time in times:
        while doses and doses[0][1] <= time:
            state, day, amount = doses.pop(0)
            y, now = moved(y, now, day), day
            y = y + amount * (np.array(names) == state)
        y, now = moved(y, now, time), time
        out.append(y)
    return model, out


def value(model, found, document, name, t, y, wants_amount):
    """A quantity as the suite writes it."""
    known = model.values(np.float64(t), y, np.zeros(0), np)
    species, own = document.getSpecies(name), f"{name}_"
    if name in known or name in found.outputs or own in found.outputs or own in known:
        result = known[name if name in known or name in found.outputs else own]
    else:
        result = found.constants[name]
    if species is None or species.getHasOnlySubstanceUnits() == wants_amount:
        return float(result)
    compartment = document.getCompartment(species.getCompartment())
    size = compartment.getSize() if compartment.isSetSize() else 1.0
    return float(result * size if wants_amount else result / size)


def judge(folder):
    """ "right", "wrong: ...", or why a case is refused."""
    asked = settings(folder / f"{folder.name}-settings.txt")
    files = sorted(folder.glob("*-sbml-l*v*.xml"))
    results = folder / f"{folder.name}-results.csv"
    if not files or not results.is_file() or not asked.get("variables"):
        return "no time course of variables"
    try:
        found = read_sbml(files[-1], time_unit="day")
    except DataError as error:
        wanted = str(error).split("wanted ", 1)[-1].split("; got")[0]
        wanted = re.sub("(such as|value of) .*", "...", wanted)
        return f"refused: wanted {wanted[:90]}"
    rows = list(csv.reader(results.open()))
    names, table = [cell.strip() for cell in rows[0][1:]], np.array(rows[1:], dtype=float)
    document = libsbml.readSBML(str(files[-1])).getModel()
    amounts = {name.strip() for name in asked.get("amount", "").split(",")}
    with np.errstate(all="ignore"):
        model, states = course(found, table[:, 0])
        mine = np.array(
            [
                [value(model, found, document, name, t, y, name in amounts) for name in names]
                for t, y in zip(table[:, 0], states, strict=True)
            ]
        )
    near = float(asked["absolute"]) + float(asked["relative"]) * np.abs(table[:, 1:])
    worst = np.max(np.abs(mine - table[:, 1:]) - near)
    return "right" if worst <= 0.0 else f"wrong: by {worst:.1e}"


def main(place):
    """Print the counts."""
    counts = Counter()
    for folder in sorted(path for path in Path(place).iterdir() if path.is_dir()):
        try:
            said = judge(folder)
        except Exception as error:  # a crash is what this looks for
            said = f"wrong: {type(error).__name__}: {str(error)[:80]}"
        counts[said.split(":")[0] if said.startswith("wrong") else said] += 1
        if said.startswith("wrong"):
            print(folder.name, said, flush=True)
    for said, count in counts.most_common():
        print(f"{count:5d}  {said}")


if __name__ == "__main__":
    main(*sys.argv[1:])
