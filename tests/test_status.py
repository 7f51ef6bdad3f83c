"""Every outcome is a sentence with an exit code."""

import json

import pytest

from optimizer.status import DISCLAIMER, Status

CODES = {
    "solved": 0,
    "infeasible": 4,
    "not_converged": 5,
    "audit_failed": 5,
    "simulation_failed": 5,
    "misfit": 5,
    "interrupted": 130,
}


def test_every_status_has_the_agreed_exit_code():
    assert {status.value: status.exit_code for status in Status} == CODES


@pytest.mark.parametrize("status", list(Status), ids=str)
def test_each_is_one_sentence_and_serializes_by_name(status):
    assert status.sentence[0].isupper()
    assert status.sentence.endswith(".")
    assert status.sentence.count(".") == 1
    assert json.loads(json.dumps({"status": status})) == {"status": status.value}
    assert f"{status}" == status.value == status
    assert Status(status.value) is status


def test_sentences_differ():
    assert len({status.sentence for status in Status}) == len(CODES)


def test_only_solved_is_ok():
    assert [status for status in Status if status.ok] == [Status.SOLVED]


def test_an_unknown_status_is_refused():
    with pytest.raises(ValueError, match="'fine' is not a valid Status"):
        Status("fine")


def test_disclaimer():
    assert DISCLAIMER == "Research use only. Not for clinical decisions."


def test_nothing_is_handed_on_from_what_is_infeasible_or_could_not_be_simulated():
    assert {status.value for status in Status if not status.has_schedule} == {"infeasible", "simulation_failed"}
