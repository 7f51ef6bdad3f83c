"""The adjoint by hand in numba is of our objective: the same value and gradient, across the blocker's kink too."""

import math
import sys

import numpy as np
import pytest

from benchmarks import contenders
from benchmarks.contenders.ours import ensemble_of
from benchmarks.parts import Options, kernel
from benchmarks.problems import BENCHMARKS
from benchmarks.rows import Entry, Row
from benchmarks.targets import table

PATIENTS = 4


@pytest.fixture(scope="module")
def cohort():
    return ensemble_of(BENCHMARKS[kernel.PROBLEM], PATIENTS)


def both(cohort, shares):
    pytest.importorskip("numba", reason="numba is not installed: pip install adose[bench]")
    ensemble, patients = cohort
    own = [part() for part in kernel.ours(ensemble, shares, 2, 2)]
    return own, [part() for part in kernel.by_hand(ensemble, patients, shares, 2)]


def even():
    setting = BENCHMARKS[kernel.PROBLEM].setting
    return (setting.start() / setting.most).ravel()


def gaps(own, theirs, scale):
    value, slope = (np.concatenate(part) for part in zip(*own, strict=True))
    value_, slope_ = (np.concatenate(part) for part in zip(*theirs, strict=True))
    off = np.linalg.norm(slope - (slope_ * scale).reshape(slope.shape), axis=1) / np.linalg.norm(slope, axis=1)
    return np.max(np.abs(value_ / value - 1.0)), np.max(off)


def test_numba_is_ours_where_all_is_smooth(cohort):
    # The even schedule never has as much of the blocker as binds everything.
    apart, off = gaps(*both(cohort, even()), np.asarray(cohort[0].task.scale))
    assert apart < 1e-12
    assert off < 1e-10


def test_numba_agrees_across_the_kink(cohort):
    shares = np.random.default_rng(0).uniform(0.2, 1.0, even().size)
    kernel.check(cohort[0], *both(cohort, shares))


def test_numba_agrees_without_any_drug(cohort):
    kernel.check(cohort[0], *both(cohort, np.zeros(even().size)))


def test_what_differs_is_said(cohort):
    ensemble, _ = cohort
    own = [part() for part in kernel.ours(ensemble, even(), 2, 1)]
    value, slope = (np.asarray(a) for a in own[0])
    doses = slope.reshape(PATIENTS, -1, 2) / np.asarray(ensemble.task.scale)
    kernel.check(ensemble, own, [(value, doses)])
    with pytest.raises(RuntimeError, match="value: wanted ours and numba"):
        kernel.check(ensemble, own, [(1.001 * value, doses)])
    with pytest.raises(RuntimeError, match="gradient: wanted ours and numba"):
        kernel.check(ensemble, own, [(value, 1.1 * doses)])


def test_without_numba_the_part_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "benchmarks.contenders.numba_adjoint", raising=False)
    monkeypatch.delattr(contenders, "numba_adjoint", raising=False)
    monkeypatch.setattr(kernel, "_BLOCKS", (2,))
    rows = list(kernel.measure(Options(cores=2, repeats=1, patients=PATIENTS)))
    (missing,) = (row for row in rows if row.contender == "numba")
    assert math.isnan(missing.value)
    assert missing.note.startswith("not installed")
    assert all(row.value > 0.0 for row in rows if row.contender != "numba")


@pytest.mark.parametrize(("own", "verdicts"), [(3e7, ("reached", "reached")), (1e7, ("missed", "missed"))])
def test_both_marks_come_from_the_rows(own, verdicts):
    rows = [
        Row(kernel.PROBLEM, "ours", kernel.FIGURE, own, "1/s"),
        Row(kernel.PROBLEM, "numba", kernel.FIGURE, 1e7, "1/s"),
        Row(kernel.PROBLEM, "machine", "exp/log a second", 4e8, "1/s"),
        Row(kernel.PROBLEM, "ours", "exp/log a node", 9.0, "1"),
    ]
    lines = table([Entry("2026-01-01", "abc", "some machine, 2 cores", 2, "kernel", row) for row in rows]).splitlines()
    for words, verdict in zip(("nodes/s against", "share of the exp/log bound"), verdicts, strict=True):
        assert next(line for line in lines if words in line).endswith(f"| {verdict} |")
