"""The main job of the README: in no column of its table is a regimen within the limits better."""

import numpy as np

import optimizer as opt
from optimizer.analysis.answer import COLUMNS, answer
from optimizer.search.starts import on_decisions


def test_no_regimen_within_the_limits_is_better_in_any_column():
    scenario = opt.Scenario.load("scenarios/strike_then_hold.toml")
    problem = scenario.problem()
    known = [on_decisions(problem, regimen) for regimen in scenario.regimens()]
    result = opt.optimize(problem, seed=scenario.seed, restarts=2, known=known)
    assert result.status is opt.Status.SOLVED, result.reason
    own, *others = opt.compare(problem, scenario.regimens(), result, scenario.endpoint())
    rivals = [entry for entry in others if not entry.broken]
    assert {"220 mg/day", "10 mg/day", "AT50, a quarter", "no treatment"} <= {entry.name for entry in rivals}
    better = set()
    for column in COLUMNS:
        ours, theirs = column.value(own), min(column.value(entry) for entry in rivals)
        assert ours <= theirs, column.name
        better |= {column.name} if ours < min(0.5 * theirs, theirs) else set()
    # Never progression, less than half of what the best of them has at the end and on average.
    assert len(better) >= 3
    said = answer([own, *others], {"drug": "mg"}, [regimen.name for regimen in scenario.regimens()])
    assert said is not None
    assert said.warnings == ()
    assert said.sentence.startswith("Against ")
    # Above the window for weeks, then below it: never in between for longer than the drug takes to leave.
    level = np.asarray(own.trajectory.conc)[:, 0]
    inside = (level > 0.75) & (level < 14.0)
    assert float(np.sum(np.asarray(own.trajectory.weights)[inside])) < 14.0
