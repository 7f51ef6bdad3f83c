"""The cases of the PEtab test suite (version 2, SBML): how many are right, refused by name, and wrong.

    python -m tests.oracle.petab_suite path/to/petab_test_suite/petabtests/cases/v2.0.0/sbml

The suite (https://github.com/PEtab-dev/petab_test_suite) is not carried here. A case is right where every value that
its solution has is within the suite's own tolerance: the values of each experiment as `adose import` reads it, and the
log-likelihood, chi2 and posterior density that `adose calibrate` works with.
"""

import csv
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import yaml

from optimizer.calibrate.likelihood import Likelihood
from optimizer.equations.petab import read_petab
from optimizer.equations.petab_fit import read_measurements
from optimizer.files.faults import DataError
from tests.oracle.sbml_suite import course


def judge_fit(folder):
    """The same of the likelihood."""
    solution = yaml.safe_load((folder / f"_{folder.name}_solution.yaml").read_text())
    try:
        likelihood = Likelihood(read_measurements(folder / f"_{folder.name}.yaml", "day"))
    except DataError as error:
        return f"refused: wanted {str(error).split('wanted ', 1)[-1][:110]}"
    theta = np.array([one.nominal for one in likelihood.data.estimated])
    found = {"llh": likelihood.log_likelihood(theta), "chi2": likelihood.chi2(theta)}
    found["unnorm_log_posterior"] = found["llh"] + likelihood.log_prior(theta)
    off = [abs(found[name] - solution[name]) - solution[f"tol_{name}"] for name in found if name in solution]
    return "right" if off and max(off) <= 0.0 else f"wrong: by {max(off, default=np.inf):.1e}"


def judge(folder):
    """ "right", "refused: ..." or "wrong: ..."."""
    solution = yaml.safe_load((folder / f"_{folder.name}_solution.yaml").read_text())
    rows = [
        row for name in solution["simulation_files"] for row in csv.DictReader((folder / name).open(), delimiter="\t")
    ]
    worst, compared = 0.0, 0
    for experiment in dict.fromkeys(row.get("experimentId") or "" for row in rows):
        own = [row for row in rows if (row.get("experimentId") or "") == experiment]
        try:
            found = read_petab(folder / f"_{folder.name}.yaml", time_unit="day", experiment=experiment)
        except DataError as error:
            return f"refused: wanted {str(error).split('wanted ', 1)[-1][:110]}"
        left = [note for note in found.notes if note.startswith("the observable")]
        if left:
            return f"refused: {left[0].split('left out: ')[1][:110]}"
        times = sorted({float(row["time"]) for row in own})
        if not np.all(np.isfinite(times)):
            return "refused: a measurement of the steady state"
        model, states = course(found, times)
        for row in own:
            time = float(row["time"])
            value = model.values(np.float64(time), states[times.index(time)], np.zeros(0), np)[row["observableId"]]
            worst, compared = max(worst, abs(float(value) - float(row["simulation"]))), compared + 1
    return "right" if compared and worst <= float(solution["tol_simulations"]) else f"wrong: by {worst:.1e}"


def main(place):
    """Print the counts."""
    for what in (judge, judge_fit):
        counts = Counter()
        for folder in sorted(path for path in Path(place).iterdir() if path.is_dir()):
            try:
                said = what(folder)
            except Exception as error:  # a crash is what this looks for
                said = f"wrong: {type(error).__name__}: {str(error)[:80]}"
            counts[said.partition(":")[0]] += 1
            print(what.__name__, folder.name, said, flush=True)
        for said, count in counts.most_common():
            print(f"{count:5d}  {said}")


if __name__ == "__main__":
    main(*sys.argv[1:])
