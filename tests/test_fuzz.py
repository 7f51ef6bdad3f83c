"""Damaged inputs are read or refused in a sentence, quickly, within bounds; `tests.fuzz` says how they are made."""

import random
import time

import pytest

from tests import fuzz
from tests.fuzz import Kind, attack, damaged_json, damaged_table


@pytest.mark.parametrize("count", [1500, pytest.param(100_000, marks=pytest.mark.slow)])
def test_damaged_inputs_are_read_or_refused(count):
    found = attack(count)
    assert not [finding for one in found.values() for finding in one.findings]
    assert sum(one.tried for one in found.values()) >= 0.99 * count
    # The damages are neither all harmless nor all fatal.
    for name, one in found.items():
        assert one.tried < 50 or 0.02 * one.tried < one.read < 0.8 * one.tried, name


def _faulty(path):
    raise KeyError(path)


def _slow(path):
    began = time.process_time()
    while time.process_time() - began < 5.0:
        pass


def _warns(path):
    import warnings

    warnings.warn("overflow", RuntimeWarning, stacklevel=1)


def _writes(path):
    path.with_name("more").write_text("")


@pytest.mark.parametrize(
    ("read", "said"),
    [(_faulty, "KeyError"), (_slow, "takes more than"), (_warns, "RuntimeWarning"), (_writes, "writes files")],
)
def test_what_is_wrong_is_found(tmp_path, monkeypatch, read, said):
    monkeypatch.setattr(fuzz, "LONGEST", 0.1)
    kind = Kind(1, "file", lambda dice: b"", read)
    assert said in fuzz._one(kind, 0, tmp_path)[1]
    assert fuzz._one(kind._replace(read=lambda path: None), 0, tmp_path) == (True, "")


def test_damages_are_many_and_the_same_for_a_seed():
    tables = [damaged_table(fuzz.EVENTS[0], random.Random(seed)) for seed in range(200)]
    documents = [damaged_json({"a": [1, 2], "b": "c"}, random.Random(seed)) for seed in range(200)]
    assert len(set(tables)) > 100
    assert len(set(documents)) > 50
    assert tables[:9] == [damaged_table(fuzz.EVENTS[0], random.Random(seed)) for seed in range(9)]
