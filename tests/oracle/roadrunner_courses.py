"""Courses of BioModels under doses, by roadrunner (CVODE): states, and how the tumor at the end hangs on each dose.

    python -m tests.oracle.roadrunner_courses > tests/equations/sbml/courses.json

Events that give the drug are taken out of the files first, as `adose import` leaves them out. Derivatives are
differences of the fourth order.
"""

import json
import sys
from pathlib import Path

import numpy as np

FILES = Path(__file__).parents[1] / "equations" / "sbml"
# What of a file is the drug: a level, or a state that doses enter; what the tumor is; days of an interval, unit of the
# file's time in days; doses [K, N].
CASES = {
    "BIOMD0000000234": {"doses": ["Ce"], "burden": ["TumorSize"], "every": 21.0, "unit": "week"},
    "BIOMD0000000521": {"doses": ["C"], "burden": ["P", "Q", "Qp"], "every": 5.0, "unit": "day"},
    "BIOMD0000000762": {"doses": ["E"], "burden": ["T"], "every": 7.0, "unit": "day"},
    "BIOMD0000000776": {"control": ["C0"], "burden": ["S", "R"], "every": 14.0, "unit": "day"},
    "BIOMD0000000825": {
        "control": ["u"],
        "burden": ["Sensitive_tumor_S", "Resistant_tumor_R"],
        "every": 6.0,
        "unit": "day",
    },
    "BIOMD0000000909": {"control": ["v"], "burden": ["T"], "every": 4.0, "unit": "day"},
    "BIOMD0000000913": {"doses": ["M", "I"], "burden": ["T"], "every": 7.0, "unit": "day"},
    "BIOMD0000001041": {
        "doses": ["CAR_T_cells"],
        "burden": ["Antigen_presenting_tumour_cells"],
        "every": 7.0,
        "unit": "day",
    },
}
DOSES = {
    "BIOMD0000000234": [[5203.84], [5203.84], [2000.0], [0.0], [6000.0]],
    "BIOMD0000000521": [[1.0], [0.5], [0.0], [1.5], [0.3]],
    "BIOMD0000000762": [[1e6], [0.0], [2e5], [5e5], [1e5]],
    "BIOMD0000000776": [[2.0], [0.5], [1.5], [0.2], [1.0]],
    "BIOMD0000000825": [[1.5], [0.2], [0.7], [2.0], [0.4]],
    "BIOMD0000000909": [[1.0], [0.2], [0.5], [0.8], [0.1]],
    "BIOMD0000000913": [[1.0, 1e5], [0.5, 0.0], [2.0, 5e5], [0.2, 1e6], [0.7, 2e5]],
    "BIOMD0000001041": [[1.0], [0.2], [0.0], [2.0], [0.5]],
}
DAYS = {"day": 1.0, "week": 7.0}


class Course:
    """A file under doses."""

    def __init__(self, name):
        import libsbml
        import roadrunner

        roadrunner.Logger.setLevel(roadrunner.Logger.LOG_CRITICAL)
        self.case = CASES[name]
        document = libsbml.readSBML(str(FILES / f"{name}.xml"))
        model = document.getModel()
        while model.getNumEvents():
            model.removeEvent(0)
        self.run = roadrunner.RoadRunner(libsbml.writeSBMLToString(document))
        self.run.integrator.relative_tolerance, self.run.integrator.absolute_tolerance = 1e-12, 1e-20
        self.run.integrator.maximum_num_steps = 1_000_000
        ids = [s.getId() for s in (model.getSpecies(i) for i in range(model.getNumSpecies()))]
        floating = [i for i in ids if i in self.run.model.getFloatingSpeciesIds()]
        ruled = [r.getVariable() for r in (model.getRule(i) for i in range(model.getNumRules())) if r.isRate()]
        self.states = [*ruled, *(i for i in floating if i not in ruled)]
        self.called = {
            i: f"[{i}]" if i in ids and not model.getSpecies(i).getHasOnlySubstanceUnits() else i for i in ids
        }

    def at(self, name):
        return self.run[self.called.get(name, name)]

    def put(self, name, value):
        self.run[self.called.get(name, name)] = value

    def states_after(self, doses):
        """States at the end of each interval [K, n]."""
        self.run.resetAll()
        out, long = [], self.case["every"] / DAYS[self.case["unit"]]
        for i, row in enumerate(doses):
            for name, dose in zip(self.case.get("control", []), row, strict=False):
                self.put(name, float(dose))
            for name, dose in zip(self.case.get("doses", []), row, strict=False):
                self.put(name, self.at(name) + float(dose))
            self.run.simulate(i * long, (i + 1) * long, 2)
            out.append([float(self.at(name)) for name in self.states])
        return np.array(out)

    def tumor(self, doses):
        """Logarithm of the tumor at the end."""
        last = self.states_after(doses)[-1]
        return np.log(sum(last[self.states.index(name)] for name in self.case["burden"]))


def main():
    """Print what the tests compare with."""
    out = {}
    for name in CASES:
        doses, course = np.array(DOSES[name]), Course(name)
        slope = np.zeros_like(doses)
        for place in np.ndindex(doses.shape):
            step = 2e-3 * doses[:, place[1]].max()
            near = np.zeros_like(doses)
            near[place] = step
            by = [course.tumor(doses + k * near) for k in (-2, -1, 1, 2)]
            slope[place] = (by[0] - 8.0 * by[1] + 8.0 * by[2] - by[3]) / (12.0 * step)
        out[name] = CASES[name] | {
            "given": doses.tolist(),
            "states": dict(zip(course.states, course.states_after(doses).T.tolist(), strict=True)),
            "gradient": slope.tolist(),
        }
    json.dump(out, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
