"""Dosing tables and grids: what is read, exact round trips, and the sentence that refuses the rest."""

import ast
import os
import random
import re
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.files import event_tables as room
from optimizer.files import events as events_room
from optimizer.files.event_tables import MAX_BYTES, read_events, write_events
from optimizer.files.events import (
    MAX_DOSES,
    DoseEvent,
    EventError,
    compress,
    expand,
    from_grid,
    to_grid,
)

HEADER = "ID,TIME,EVID,CMT,AMT,RATE,II,ADDL,DRUG\n"
BOLUS = {"a": "bolus", "b": "bolus"}
MIXED = {"a": "bolus", "b": "infusion"}


def table(folder: Path, text: str | bytes, name: str = "doses.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def parquet(folder: Path, **columns) -> Path:
    path = folder / "doses.parquet"
    pq.write_table(pa.table(columns), path)
    return path


# Reading


def test_reads_every_column(tmp_path):
    path = table(tmp_path, HEADER + "3,0.5,1,1,100,50,7,3,cetuximab\n")
    assert read_events(path) == [DoseEvent(0.5, "cetuximab", 100.0, 50.0, 7.0, 3, 3)]


def test_absent_columns_have_defaults(tmp_path):
    path = table(tmp_path, "drug,Amt,time\na,1.5,0\n")
    (event,) = read_events(path)
    assert event == DoseEvent(time=0.0, drug="a", amount=1.5, rate=0.0, interval=0.0, additional=0, id=1)


def test_missing_cells_have_defaults(tmp_path):
    path = table(tmp_path, HEADER + ".,0,1,.,1,,.,,a\n")
    assert read_events(path) == [DoseEvent(0.0, "a", 1.0)]


@pytest.mark.parametrize("number", ["1", "1.", "1.0", "+1", "0.1e1", "1E+00", " 1 ", '"1"', "10e-1"])
def test_spellings_of_one(tmp_path, number):
    path = table(tmp_path, f"TIME,AMT,DRUG\n{number},{number},a\n")
    assert read_events(path) == [DoseEvent(1.0, "a", 1.0)]


@pytest.mark.parametrize(
    "text",
    [
        "TIME,AMT,DRUG\n0,1,a\n7,2,a\n",
        "TIME,AMT,DRUG\r\n0,1,a\r\n7,2,a\r\n",
        "TIME,AMT,DRUG\r0,1,a\r7,2,a",
        "\ufeffTIME,AMT,DRUG\n0,1,a\n7,2,a\n",
        '"TIME","AMT","DRUG"\n"0","1","a"\n"7","2","a"\n',
        'TIME, AMT, "DRUG"\n0, 1, "a"\n7, 2, "a"\n',
        "TIME,AMT,DRUG\n0,1,a\n7,2,a\n\n\n  \n,,\n",
        "TIME,AMT,DRUG\n7,2,a\n0,1,a\n",
        "TIME,AMT,DRUG,DV,WT\n0,1,a,x,70\n7,2,a,.,70\n",
        "TIME,AMT,DRUG,EVID\n0,1,a,1\n3,.,.,0\n4,0,,0\n7,2,a,1.0\n",
        "TIME,AMT,DRUG,SS\n0,1,a,0\n7,2,a,.\n",
        ",TIME,AMT,DRUG\n1,0,1,a\n2,7,2,a\n",
    ],
)
def test_dialects(tmp_path, text):
    assert read_events(table(tmp_path, text)) == [DoseEvent(0.0, "a", 1.0), DoseEvent(7.0, "a", 2.0)]


def test_sorted_by_patient_time_and_drug(tmp_path):
    path = table(tmp_path, "ID,TIME,AMT,DRUG\n2,0,1,a\n1,7,1,a\n1,0,1,b\n1,0,1,a\n")
    assert [(e.id, e.time, e.drug) for e in read_events(path)] == [
        (1, 0.0, "a"),
        (1, 0.0, "b"),
        (1, 7.0, "a"),
        (2, 0.0, "a"),
    ]


def test_the_compartment_names_the_drug(tmp_path):
    path = table(tmp_path, "TIME,CMT,AMT\n0,2,1\n0,1,5\n")
    assert [(e.drug, e.amount) for e in read_events(path, drugs=["a", "b"])] == [("a", 5.0), ("b", 1.0)]
    path = table(tmp_path, "TIME,AMT\n0,1\n")
    assert read_events(path, drugs=["a"]) == [DoseEvent(0.0, "a", 1.0)]


def test_an_interval_without_repetitions_is_kept(tmp_path):
    path = table(tmp_path, "TIME,AMT,II,DRUG\n0,1,7,a\n")
    assert read_events(path) == [DoseEvent(0.0, "a", 1.0, interval=7.0)]


def test_no_doses(tmp_path):
    assert read_events(table(tmp_path, HEADER)) == []
    assert read_events(table(tmp_path, HEADER.rstrip("\n"))) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", ":1: column TIME: wanted a comma-separated header with it, got none"),
        ("TIME;AMT;DRUG\n0;1;a\n", ":1: column TIME: wanted a comma-separated header with it"),
        ("TIME,DRUG\n0,a\n", ":1: column AMT: wanted a comma-separated header with it"),
        ("TIME,AMT,time\n", ":1: column TIME: wanted it once, got it 2 times"),
        ("TIME,AMT,SS,SS\n", ":1: column SS: wanted it once, got it 2 times"),
        ("TIME,AMT,II,ADLL,DRUG\n", ":1: column ADDL: wanted this name, or another column, got 'ADLL'"),
        ("TIME,AMT,DRUG\n0,1\n", ":2: wanted 3 cells as in the header, got 2"),
        ("TIME,AMT,DRUG\n\n0,1,a,5\n", ":3: wanted 3 cells as in the header, got 4"),
        ("TIME,AMT\n0,1\n", ":2: column DRUG: wanted the name of the drug, got no such column"),
        ("TIME,AMT,DRUG\n0,1,.\n", ":2: column DRUG: wanted a printable drug name without outer spaces, got nothing"),
        ("TIME,AMT,DRUG\n0,1,a\x07b\n", ":2: column DRUG: wanted a printable drug name"),
        ("TIME,AMT,DRUG\n.,1,a\n", ":2: column TIME: wanted a finite number of at least 0, got nothing"),
        ("TIME,AMT,DRUG\n-1,1,a\n", ":2: column TIME: wanted a finite number of at least 0, got -1.0"),
        ("TIME,AMT,DRUG\nnan,1,a\n", ":2: column TIME: wanted a finite number of at least 0, got 'nan'"),
        ("TIME,AMT,DRUG\n10:30,1,a\n", ":2: column TIME: wanted a finite number of at least 0, got '10:30'"),
        ("TIME,AMT,DRUG\n1_0,1,a\n", ":2: column TIME: wanted a finite number of at least 0, got '1_0'"),
        ("TIME,AMT,DRUG\n1e999,1,a\n", ":2: column TIME: wanted a finite number of at least 0, got inf"),
        ("TIME,AMT,DRUG\n٣,1,a\n", ":2: column TIME: wanted a finite number of at least 0, got '٣'"),
        ("TIME,AMT,DRUG\n0,.,a\n", ":2: column AMT: wanted a finite number of at least 0, got nothing"),
        ("TIME,AMT,DRUG\n0,-5,a\n", ":2: column AMT: wanted a finite number of at least 0, got -5.0"),
        ("TIME,AMT,DRUG\n0,inf,a\n", ":2: column AMT: wanted a finite number of at least 0, got 'inf'"),
        ("TIME,AMT,DRUG\n0,NA,a\n", ":2: column AMT: wanted a finite number of at least 0, got 'NA'"),
        ("TIME,AMT,RATE,DRUG\n0,1,-1,a\n", ":2: column RATE: wanted a finite number of at least 0, as RATE -1 and"),
        ("TIME,AMT,RATE,DRUG\n0,1,-2,a\n", "(modeled rate, duration) are not supported, got -2.0"),
        ("TIME,AMT,RATE,DRUG\n0,1,-3,a\n", ":2: column RATE: wanted a finite number of at least 0"),
        ("TIME,AMT,RATE,DRUG\n0,0,5,a\n", ":2: column AMT: wanted more than 0 with a RATE, got 0.0"),
        ("TIME,AMT,ADDL,II,DRUG\n0,1,-1,7,a\n", ":2: column ADDL: wanted a whole number from 0 to 1000000, got -1"),
        ("TIME,AMT,ADDL,II,DRUG\n0,1,1.5,7,a\n", ":2: column ADDL: wanted a whole number from 0 to 1000000, got 1.5"),
        ("TIME,AMT,ADDL,II,DRUG\n0,1,1e9,7,a\n", ":2: column ADDL: wanted a whole number from 0 to 1000000, got 1000"),
        ("TIME,AMT,ADDL,II,DRUG\n0,1,1e400,7,a\n", ":2: column ADDL: wanted a whole number from 0 to 1000000, got inf"),
        ("TIME,AMT,ADDL,II,DRUG\n0,1,2,0,a\n", ":2: column II: wanted an interval above 0 with ADDL, got 0.0"),
        ("TIME,AMT,ADDL,DRUG\n0,1,2,a\n", ":2: column II: wanted an interval above 0 with ADDL, got 0.0"),
        ("TIME,AMT,ADDL,II,DRUG\n0,1,2,-7,a\n", ":2: column II: wanted a finite number of at least 0, got -7.0"),
        ("TIME,AMT,ADDL,II,DRUG\n0,1,9,1e308,a\n", ":2: column II: wanted doses at finite times, got 1e+308"),
        (
            "TIME,AMT,SS,DRUG\n0,1,1,a\n",
            ":2: column SS: wanted 0, as steady-state doses (SS) are not supported, got '1'",
        ),
        (
            "TIME,AMT,SS,DRUG\n0,1,x,a\n",
            ":2: column SS: wanted 0, as steady-state doses (SS) are not supported, got 'x'",
        ),
        ("TIME,AMT,EVID,DRUG\n0,1,2,a\n", ":2: column EVID: wanted 1 for a dose or 0 for an observation, as EVID 2, 3"),
        ("TIME,AMT,EVID,DRUG\n0,1,3,a\n", "as EVID 2, 3 and 4 are not supported, got '3'"),
        ("TIME,AMT,EVID,DRUG\n0,1,4,a\n", "as EVID 2, 3 and 4 are not supported, got '4'"),
        ("TIME,AMT,EVID,DRUG\n0,1,.,a\n", ":2: column EVID: wanted 1 for a dose or 0"),
        ("TIME,AMT,EVID,DRUG\n0,1,0,a\n", ":2: column AMT: wanted 0 or \".\" in an observation (EVID 0), got '1'"),
        ("ID,TIME,AMT,DRUG\n1.5,0,1,a\n", ":2: column ID: wanted a whole number of at least 0, got 1.5"),
        ("ID,TIME,AMT,DRUG\nx,0,1,a\n", ":2: column ID: wanted a whole number of at least 0, got 'x'"),
        ("TIME,AMT,DRUG\n0,1,a\n0,2,a\n", ":3: column TIME: wanted one dose of a at a time, got one at day 0.0 that "),
        ("TIME,AMT,DRUG\n1.00000000001,1,a\n1,2,a\n", ":3: column TIME: wanted one dose of a at a time, got one at"),
        ("TIME,AMT,II,ADDL,DRUG\n0,1,7,3,a\n14,1,0,0,a\n", ":3: column TIME: wanted one dose of a at a time, got"),
        ("TIME,AMT,II,ADDL,DRUG\n1e17,1,7,3,a\n", ":2: column TIME: wanted one dose of a at a time, got one at day"),
        ('TIME,AMT,DRUG\n0,1,"a\n', ":2: wanted comma-separated cells, got unexpected end of data"),
        ('TIME,AMT,DRUG\n0,1,"a"b\n', ":2: wanted comma-separated cells, got "),
        ("TIME,AMT,DRUG\n0,1," + "x" * 200_000, ":2: wanted comma-separated cells, got field larger than"),
    ],
)
def test_refused_tables(tmp_path, text, sentence):
    path = table(tmp_path, text)
    with pytest.raises(EventError, match=re.escape(sentence)) as caught:
        read_events(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_both_rows_of_a_repeated_dose_are_named(tmp_path):
    path = table(tmp_path, "TIME,AMT,II,ADDL,DRUG\n14,1,0,0,a\n3,1,0,0,a\n0,1,7,3,a\n")
    pattern = rf"doses\.csv:4: .* got one at day 14\.0 that {re.escape(str(path))}:2 gives too$"
    with pytest.raises(EventError, match=pattern):
        read_events(path)


def test_the_same_time_for_other_drugs_and_patients_is_fine(tmp_path):
    path = table(tmp_path, "ID,TIME,AMT,DRUG\n1,0,1,a\n1,0,1,b\n2,0,1,a\n1,2e-10,1,a\n")
    assert len(read_events(path)) == 4


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("TIME,AMT,DRUG\n0,1,c\n", "column DRUG: wanted one of a, b, got 'c'"),
        ("TIME,AMT,DRUG\n0,1,A\n", "column DRUG: wanted one of a, b, got 'A'"),
        ("TIME,AMT,CMT\n0,1,3\n", "column CMT: wanted the number of a drug from 1 to 2, as there is no DRUG, got '3'"),
        ("TIME,AMT,CMT\n0,1,0\n", "column CMT: wanted the number of a drug from 1 to 2"),
        ("TIME,AMT,CMT\n0,1,1.5\n", "column CMT: wanted the number of a drug from 1 to 2"),
        ("TIME,AMT\n0,1\n", "column CMT: wanted a finite number of at least 0, got nothing"),
    ],
)
def test_drugs_that_the_scenario_does_not_know(tmp_path, text, sentence):
    with pytest.raises(EventError, match=re.escape(sentence)):
        read_events(table(tmp_path, text), drugs=["a", "b"])


def test_text_that_is_not_utf8(tmp_path):
    with pytest.raises(EventError, match=r"doses\.csv:2: wanted UTF-8 text, got the byte 0xe9"):
        read_events(table(tmp_path, b"TIME,AMT,DRUG\n0,1,\xe9\n"))


def test_files_that_are_none(tmp_path):
    with pytest.raises(EventError, match=r"absent\.csv: wanted a file, got nothing there"):
        read_events(tmp_path / "absent.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(EventError, match=r"folder\.csv: wanted a file, got a folder"):
        read_events(tmp_path / "folder.csv")
    with pytest.raises(EventError, match=r"doses\.xlsx: wanted a \.csv or \.parquet file, got '\.xlsx'"):
        read_events(tmp_path / "doses.xlsx")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(EventError, match=r"pipe\.csv: wanted a file"):
        read_events(tmp_path / "pipe.csv")


def test_a_file_that_is_too_large(tmp_path):
    path = tmp_path / "doses.csv"
    with open(path, "wb") as handle:
        handle.truncate(MAX_BYTES + 1)
    with pytest.raises(EventError, match="wanted at most 16777216 bytes, got more"):
        read_events(path)


def test_a_bomb_of_repetitions(tmp_path):
    rows = "".join(f"{i / 1000},1,7,{MAX_DOSES // 2 - i},a\n" for i in range(3))
    begin = time.process_time()
    with pytest.raises(EventError, match=r":2: column ADDL: wanted 1000000 doses at most, got 1500000 in all"):
        read_events(table(tmp_path, "TIME,AMT,II,ADDL,DRUG\n" + rows))
    assert time.process_time() - begin < 1.0


def test_too_many_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "MAX_DOSES", 2)
    path = table(tmp_path, "TIME,AMT,DRUG\n0,1,a\n1,1,a\n2,1,a\n")
    with pytest.raises(EventError, match=r":4: wanted at most 2 rows, got more"):
        read_events(path)


# Parquet


def test_parquet_numbers_texts_and_nulls(tmp_path):
    path = parquet(tmp_path, Time=[0, 7], AMT=["1.5", "2"], DRUG=[" a", "a"], II=[None, 7.0], ADDL=[None, 2])
    assert read_events(path) == [DoseEvent(0.0, "a", 1.5), DoseEvent(7.0, "a", 2.0, 0.0, 7.0, 2)]


@pytest.mark.parametrize(
    ("column", "cells", "sentence"),
    [
        ("AMT", [1.0, float("nan")], ":2: column AMT: wanted a finite number of at least 0, got nan"),
        ("AMT", [-1.0, 1.0], ":1: column AMT: wanted a finite number of at least 0, got -1.0"),
        ("TIME", [True, False], ":1: column TIME: wanted a finite number of at least 0, got True"),
        ("TIME", [[1.0], [2.0]], ":1: column TIME: wanted a finite number of at least 0, got a list"),
        ("ADDL", [0.5, 1.0], ":1: column ADDL: wanted a whole number from 0 to 1000000, got 0.5"),
        ("ID", [2**63 - 1, 1], ":1: column ID: wanted a whole number of at least 0, got 9223372036854775807"),
        ("DRUG", [3, 4], ":1: column DRUG: wanted a printable drug name without outer spaces, got 3"),
        ("SS", [1, 0], ":1: column SS: wanted 0, as steady-state doses (SS) are not supported, got 1"),
    ],
)
def test_refused_parquet(tmp_path, column, cells, sentence):
    columns = {"TIME": [0.0, 1.0], "AMT": [1.0, 1.0], "DRUG": ["a", "a"], column: cells}
    with pytest.raises(EventError, match=re.escape(sentence)):
        read_events(parquet(tmp_path, **columns))


def test_what_is_no_parquet(tmp_path):
    with pytest.raises(EventError, match=r"doses\.parquet: wanted a Parquet table, got ArrowInvalid on reading it"):
        read_events(table(tmp_path, "TIME,AMT,DRUG\n", "doses.parquet"))


def test_a_parquet_file_with_too_many_rows(tmp_path):
    path = parquet(tmp_path, TIME=pa.nulls(MAX_DOSES + 1, pa.float64()))
    assert path.stat().st_size < 10_000
    with pytest.raises(EventError, match="wanted at most 1000000 rows, got 1000001 rows"):
        read_events(path)


# The event


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"time": -1.0}, "column TIME: wanted a finite number of at least 0, got -1.0"),
        ({"time": float("nan")}, "column TIME: wanted a finite number of at least 0, got nan"),
        ({"time": 10**5000}, "column TIME: wanted a finite number of at least 0, got a larger whole number"),
        ({"amount": "1"}, "column AMT: wanted a finite number of at least 0, got '1'"),
        ({"amount": True}, "column AMT: wanted a finite number of at least 0, got True"),
        ({"rate": float("inf")}, "column RATE: wanted a finite number of at least 0, as RATE -1 and -2"),
        ({"additional": 1.0}, "column ADDL: wanted a whole number from 0 to 1000000, got 1.0"),
        ({"additional": 1}, "column II: wanted an interval above 0 with ADDL, got 0.0"),
        ({"drug": ""}, "column DRUG: wanted a printable drug name without outer spaces, got ''"),
        ({"drug": " a"}, "column DRUG: wanted a printable drug name without outer spaces, got ' a'"),
        ({"drug": None}, "column DRUG: wanted a printable drug name without outer spaces, got nothing"),
        ({"id": -1}, "column ID: wanted a whole number of at least 0, got -1"),
    ],
)
def test_an_event_is_checked_on_creation(fields, sentence):
    with pytest.raises(EventError, match=re.escape(sentence)):
        DoseEvent(**{"time": 0.0, "drug": "a", "amount": 1.0, **fields})


def test_an_event_has_floats_and_no_negative_zero():
    event = DoseEvent(7, "a", -0.0)
    assert isinstance(event.time, float)
    assert str(event.amount) == "0.0"


# Expansion


def test_additional_doses_follow_the_first():
    event = DoseEvent(1.0, "a", 2.0, interval=7.0, additional=3)
    assert expand([event]) == [DoseEvent(t, "a", 2.0) for t in (1.0, 8.0, 15.0, 22.0)]
    assert expand([]) == []


def test_expansion_interleaves():
    events = [DoseEvent(0.0, "b", 1.0, interval=7.0, additional=1), DoseEvent(7.0, "a", 1.0)]
    assert [(e.time, e.drug) for e in expand(events)] == [(0.0, "b"), (7.0, "a"), (7.0, "b")]


def test_expansion_refuses_a_repeated_dose():
    events = [DoseEvent(0.0, "a", 1.0, interval=7.0, additional=1), DoseEvent(7.0, "a", 1.0)]
    with pytest.raises(EventError, match=r"event 2: column TIME: .* got one at day 7\.0 that event 1 gives too"):
        expand(events)


def test_compression():
    weekly = [DoseEvent(7.0 * k, "a", 1.0) for k in range(5)]
    assert compress(weekly) == [DoseEvent(0.0, "a", 1.0, interval=7.0, additional=4)]
    assert compress([*weekly, DoseEvent(36.0, "a", 1.0)]) == [*compress(weekly), DoseEvent(36.0, "a", 1.0)]
    assert compress([DoseEvent(0.0, "a", 1.0), DoseEvent(7.0, "a", 2.0)]) == [
        DoseEvent(0.0, "a", 1.0),
        DoseEvent(7.0, "a", 2.0),
    ]
    assert compress([]) == []


def test_compression_keeps_times_that_no_interval_gives_exactly():
    times = [0.1, 0.1 + 0.2 + 1e-16, 0.1 + 0.7, 1.1000000000000003]
    events = [DoseEvent(t, "a", 1.0) for t in times]
    assert expand(compress(events)) == events


def test_compression_of_many_single_doses_is_quick():
    events = [DoseEvent(float(k * k), "a", 1.0) for k in range(20_000)]
    begin = time.process_time()
    assert expand(compress(events)) == events
    assert time.process_time() - begin < 2.0


# Writing

amounts = st.floats(0.0, 1e6, allow_subnormal=True)
names = st.sampled_from(["a", "b", "cetuximab", 'x, "y"', "anti-EGF", "=1", "µ"])
single = st.builds(
    DoseEvent,
    time=st.one_of(st.integers(0, 50).map(float), st.floats(0.0, 1e4)),
    drug=names,
    amount=amounts,
    id=st.integers(0, 3),
)
repeated = st.builds(
    DoseEvent,
    time=st.floats(0.0, 1e4),
    drug=names,
    amount=st.floats(1e-3, 1e6),
    rate=st.one_of(st.just(0.0), st.floats(1e-3, 1e3)),
    interval=st.floats(1e-3, 100.0),
    additional=st.integers(0, 20),
    id=st.integers(0, 3),
)


def distinct(events):
    """The events whose doses do not meet those of the ones before."""
    kept = []
    for event in events:
        try:
            expand([*kept, event])
        except EventError:
            continue
        kept.append(event)
    return kept


tables = st.lists(st.one_of(single, repeated), max_size=6).map(distinct)


@settings(deadline=None, max_examples=60)
@given(tables, st.sampled_from(["doses.csv", "doses.parquet", "DOSES.CSV"]))
def test_what_is_written_is_read_back(tmp_path_factory, events, name):
    path = tmp_path_factory.mktemp("round") / name
    write_events(path, events)
    assert sorted(read_events(path), key=repr) == sorted(events, key=repr)
    assert [entry.name for entry in path.parent.iterdir()] == [name]


@settings(deadline=None, max_examples=100)
@given(tables)
def test_compression_is_exact(events):
    assert expand(compress(events)) == expand(events)
    assert len(compress(events)) <= len(expand(events))


def test_the_written_table(tmp_path):
    path = tmp_path / "doses.csv"
    write_events(path, [DoseEvent(7.0, "b", 0.1), DoseEvent(0.0, "a", 3.0, 1.5, 7.0, 2)])
    assert path.read_bytes().decode() == HEADER + "1,0.0,1,1,3.0,1.5,7.0,2,a\n1,7.0,1,2,0.1,0.0,0.0,0,b\n"
    write_events(path, [DoseEvent(0.0, "b", 1.0)], drugs=["a", "b"])
    assert path.read_text() == HEADER + "1,0.0,1,2,1.0,0.0,0.0,0,b\n"
    write_events(path, [])
    assert path.read_text() == HEADER


def test_a_refused_table_leaves_the_old_one(tmp_path):
    path = table(tmp_path, "old")
    with pytest.raises(EventError, match="event 2: column TIME: wanted one dose of a at a time"):
        write_events(path, [DoseEvent(0.0, "a", 1.0), DoseEvent(0.0, "a", 2.0)])
    assert path.read_text() == "old"


@pytest.mark.parametrize("name", ["doses.csv", "doses.parquet"])
def test_a_failed_write_leaves_the_old_one(tmp_path, monkeypatch, name):
    def fail(handle, rows):
        handle.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(room, f"_write_{name.split('.')[1]}", fail)
    path = table(tmp_path, "old", name)
    with pytest.raises(EventError, match=r"wanted a place for a dosing table, got No space left on device"):
        write_events(path, [DoseEvent(0.0, "a", 1.0)])
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(EventError, match="wanted a place for a dosing table, got No such file or directory"):
        write_events(tmp_path / "absent" / "doses.csv", [])
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(EventError, match="wanted a place for a dosing table, got Is a directory"):
        write_events(tmp_path / "folder.csv", [])
    with pytest.raises(EventError, match=r"wanted a \.csv or \.parquet file, got '\.json'"):
        write_events(tmp_path / "doses.json", [])
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder.csv"]


# Grids


def test_boluses_on_a_grid():
    events = [DoseEvent(7.0, "a", 3.0, interval=7.0, additional=1), DoseEvent(10.0, "b", 5.0)]
    edges, doses = to_grid(events, ["a", "b"], 21.0, BOLUS)
    assert edges.tolist() == [0.0, 7.0, 10.0, 14.0, 21.0]
    assert doses.tolist() == [[0.0, 0.0], [3.0, 0.0], [0.0, 5.0], [3.0, 0.0]]


def test_overlapping_infusions_add():
    events = [DoseEvent(0.0, "b", 6.0, rate=1.0), DoseEvent(2.0, "b", 8.0, rate=2.0), DoseEvent(3.0, "a", 9.0)]
    edges, doses = to_grid(events, ["a", "b"], 10.0, MIXED)
    assert edges.tolist() == [0.0, 2.0, 3.0, 6.0, 10.0]
    assert doses.tolist() == [[0.0, 1.0], [0.0, 3.0], [9.0, 3.0], [0.0, 0.0]]


def test_a_long_table_is_put_on_a_grid_quickly():
    weekly = DoseEvent(0.0, "a", 1.0, interval=0.01, additional=MAX_DOSES - 1)
    begin = time.process_time()
    assert to_grid([weekly], ["a"], 0.01 * MAX_DOSES, BOLUS)[1].sum() == MAX_DOSES
    assert time.process_time() - begin < 2.0


def test_an_infusion_may_last_until_the_horizon():
    edges, doses = to_grid([DoseEvent(1.0, "b", 0.3, rate=0.1)], ["b"], 4.0, MIXED)
    assert edges.tolist() == [0.0, 1.0, 4.0]
    assert doses.tolist() == [[0.0], [0.1]]


def test_an_infusion_that_rounding_carries_past_the_horizon_is_kept():
    edges = [0.0, 11.0, 25.2]
    (event,) = from_grid(edges, [[0.0], [2.8]], ["b"], MIXED)
    assert event.time + event.amount / event.rate > edges[-1]
    again = to_grid([event], ["b"], edges[-1], MIXED)
    assert again[0].tolist() == edges
    assert again[1].tolist() == [[0.0], [2.8]]


def test_no_events_are_one_interval():
    edges, doses = to_grid([], ["a"], 30.0, BOLUS)
    assert edges.tolist() == [0.0, 30.0]
    assert doses.tolist() == [[0.0]]


def test_close_times_are_one_edge():
    events = [DoseEvent(1e-11, "a", 1.0), DoseEvent(7.0, "a", 2.0), DoseEvent(7.0 + 5e-11, "b", 4.0)]
    edges, doses = to_grid(events, ["a", "b"], 14.0, BOLUS)
    assert edges.tolist() == [0.0, 7.0, 14.0]
    assert doses.tolist() == [[1.0, 0.0], [2.0, 4.0]]


def test_given_edges_are_kept():
    edges, doses = to_grid([DoseEvent(7.0 + 1e-11, "a", 1.0)], ["a"], 14.0, BOLUS, edges=[0.0, 3.0, 7.0, 14.0])
    assert edges.tolist() == [0.0, 3.0, 7.0, 14.0]
    assert doses.tolist() == [[0.0], [0.0], [1.0]]


def test_a_zero_dose_is_an_edge_for_either_route():
    events = [DoseEvent(3.0, "a", 0.0), DoseEvent(4.0, "b", 0.0)]
    edges, doses = to_grid(events, ["a", "b"], 10.0, MIXED)
    assert edges.tolist() == [0.0, 3.0, 4.0, 10.0]
    assert not doses.any()


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (DoseEvent(10.0, "a", 1.0), "dose of a at day 10.0: wanted doses before the horizon 10.0, got 10.0"),
        (DoseEvent(99.0, "a", 1.0), "dose of a at day 99.0: wanted doses before the horizon 10.0, got 99.0"),
        (
            DoseEvent(4.0, "a", 1.0, interval=3.0, additional=2),
            "dose of a at day 4.0: wanted doses before the horizon 10.0, got 10.0",
        ),
        (DoseEvent(0.0, "c", 1.0), "dose of c at day 0.0: wanted one of a, b, got 'c'"),
        (DoseEvent(1.0, "a", 1.0, id=2), "dose of a at day 1.0: wanted one patient, ID 1, got 2"),
        (DoseEvent(1.0, "a", 1.0, rate=1.0), "dose of a at day 1.0: wanted RATE 0, as its route is bolus, got 1.0"),
        (DoseEvent(1.0, "b", 1.0), "dose of b at day 1.0: wanted a RATE, as its route is infusion, got 0.0"),
        (DoseEvent(1.0, "b", 10.0, rate=1.0), "wanted an infusion that ends by the horizon 10.0, got 11.0"),
        (DoseEvent(1.0, "b", 1e308, rate=1e-5), "wanted an infusion that ends by the horizon 10.0, got inf"),
        (
            DoseEvent(1.0, "b", 1e-12, rate=1.0),
            "dose of b at day 1.0: wanted a dose more than 1e-10 day before the horizon",
        ),
    ],
)
def test_refused_on_a_grid(event, sentence):
    with pytest.raises(EventError, match=re.escape(sentence)):
        to_grid([DoseEvent(0.0, "a", 1.0), event], ["a", "b"], 10.0, MIXED)


def test_a_dose_that_merges_with_the_horizon_is_not_lost():
    events = [DoseEvent(10.0 - 1.5e-10, "a", 1.0)]
    with pytest.raises(
        EventError, match=r"wanted a dose more than 1e-10 day before the horizon, an infusion as long, got 9\.9999"
    ):
        to_grid(events, ["a"], 10.0, BOLUS, edges=[10.0 - 8e-11])


@pytest.mark.parametrize("horizon", [0.0, -1.0, float("nan"), float("inf")])
def test_refused_horizons(horizon):
    with pytest.raises(EventError, match="horizon: wanted a finite time above 0, got"):
        to_grid([], ["a"], horizon, BOLUS)


def test_refused_routes_and_edges():
    with pytest.raises(EventError, match='routes: wanted "bolus" or "infusion" for a, got \'oral\''):
        to_grid([], ["a"], 1.0, {"a": "oral"})
    with pytest.raises(EventError, match='routes: wanted "bolus" or "infusion" for a, got nothing'):
        from_grid([0.0, 1.0], [[1.0]], ["a"], {})
    for edges in ([-1.0], [2.0], [float("nan")]):
        with pytest.raises(EventError, match=r"edges: wanted times from 0 to the horizon 1\.0, got others"):
            to_grid([], ["a"], 1.0, BOLUS, edges=edges)


def test_events_of_a_grid():
    events = from_grid([0.0, 7.0, 10.0], [[1.0, 2.0], [0.0, 0.5]], ["a", "b"], MIXED)
    assert events == [
        DoseEvent(0.0, "a", 1.0),
        DoseEvent(0.0, "b", 14.0, rate=2.0),
        DoseEvent(7.0, "b", 1.5, rate=0.5),
    ]


def test_an_empty_schedule_is_a_header(tmp_path):
    path = tmp_path / "schedule.csv"
    write_events(path, from_grid([0.0, 7.0, 14.0], np.zeros((2, 2)), ["a", "b"], MIXED))
    assert path.read_text() == HEADER


@pytest.mark.parametrize(
    ("edges", "doses", "sentence"),
    [
        ([0.0, 1.0], [[1.0, 0.0], [1.0, 0.0]], "doses: wanted [K, 2] on edges [K+1], got doses (2, 2) on edges (2,)"),
        ([0.0, 1.0], [[1.0]], "doses: wanted [K, 2] on edges [K+1], got doses (1, 1) on edges (2,)"),
        ([0.0], np.zeros((0, 2)), "doses: wanted [K, 2] on edges [K+1], got doses (0, 2) on edges (1,)"),
        ([0.0, 0.0], [[1.0, 0.0]], "horizon: wanted a finite time above 0, got 0.0"),
        ([0.0, 1.0, 1.0], [[1.0, 0.0]] * 2, "edges: wanted times from 0 on, more than 2e-10 day apart, got others"),
        ([-1.0, 1.0], [[1.0, 0.0]], "edges: wanted times from 0 on"),
        ([0.0, float("nan"), 1.0], [[1.0, 0.0]] * 2, "edges: wanted times from 0 on"),
        ([0.0, 1.0], [[-1.0, 0.0]], "column AMT: wanted a finite number of at least 0, got -1.0"),
        ([0.0, 1.0], [[float("nan"), 0.0]], "column AMT: wanted a finite number of at least 0, got nan"),
        ([0.0, 1.0], [[0.0, float("inf")]], "column AMT: wanted a finite number of at least 0, got inf"),
        ([0.0, 7.3], [[0.0, 5e-324]], "wanted a rate within the range of floats, got 5e-324"),
    ],
)
def test_refused_grids(edges, doses, sentence):
    with pytest.raises(EventError, match=re.escape(sentence)):
        from_grid(edges, doses, ["a", "b"], MIXED)


@st.composite
def grids(draw):
    lengths = draw(st.lists(st.floats(1e-6, 100.0), min_size=1, max_size=12))
    cell = st.one_of(st.just(0.0), st.just(1.0), st.floats(1e-9, 1e6))
    doses = draw(st.lists(st.tuples(cell, cell), min_size=len(lengths), max_size=len(lengths)))
    return np.concatenate([[0.0], np.cumsum(lengths)]), np.array(doses)


@settings(deadline=None, max_examples=150)
@given(grids())
def test_a_grid_comes_back_exactly(grid):
    edges, doses = grid
    events = from_grid(edges, doses, ["a", "b"], MIXED)
    again = to_grid(events, ["a", "b"], edges[-1], MIXED, edges=edges)
    np.testing.assert_array_equal(again[0], edges)
    np.testing.assert_array_equal(again[1], doses)


@settings(deadline=None, max_examples=50)
@given(grids(), st.sampled_from(["s.csv", "s.parquet"]))
def test_a_grid_comes_back_exactly_through_a_compressed_file(tmp_path_factory, grid, name):
    edges, doses = grid
    path = tmp_path_factory.mktemp("grid") / name
    write_events(path, compress(from_grid(edges, doses, ["a", "b"], MIXED)), drugs=["a", "b"])
    again = to_grid(read_events(path, drugs=["a", "b"]), ["a", "b"], edges[-1], MIXED, edges=edges)
    np.testing.assert_array_equal(again[0], edges)
    np.testing.assert_array_equal(again[1], doses)


@settings(deadline=None, max_examples=100)
@given(grids(), st.floats(0.0, 1.0))
def test_without_its_edges_a_grid_gives_the_same_doses_at_every_time(grid, share):
    edges, doses = grid
    own, sparse = to_grid(from_grid(edges, doses, ["a", "b"], MIXED), ["a", "b"], edges[-1], MIXED)
    middle = edges[:-1] + (0.1 + 0.8 * share) * np.diff(edges)
    rates = sparse[np.searchsorted(own, middle) - 1, 1]
    np.testing.assert_array_equal(rates, doses[:, 1])
    given_at = {time: dose for time, dose in zip(own.tolist(), sparse[:, 0].tolist(), strict=False) if dose}
    assert given_at == {t: d for t, d in zip(edges.tolist(), doses[:, 0].tolist(), strict=False) if d}


# Mutants

VALID = (
    HEADER + "1,0.0,1,1,3.0,0.0,7.0,3,a\n1,28.0,1,2,0.1,0.5,0.0,0,b\n1,35,0,.,.,.,.,.,\n1,42.5,1,1,2,0,0,0,a\n",
    "TIME,AMT,DRUG\n0,1,a\n7,2,a\n14,0.5,b\n",
    "\ufeffTIME;AMT\r\n".replace(";", ",") + "0,400\r\n7,250\r\n",
    'ID,TIME,"AMT",RATE,DRUG,SS,DV\n1,0,100,50,"b",0,x\n2,0,100,25,"b",.,\n',
)
CELLS = ["", ".", "0", "-1", "-2", "1e9", "1e308", "1e-320", "nan", "inf", "NA", "TRUE", '"', "a", "é", "1,2"]
CELLS += ["999999", "0x1", "1e999999", "=1+1", "\x00", "-0", "2.5", "II", "9" * 400]


def mutate(chance: random.Random, text: str) -> bytes:
    """One to four random changes of bytes, lines or cells."""
    data = text.encode()
    for _ in range(chance.randint(1, 4)):
        lines = data.split(b"\n")
        row, at = chance.randrange(len(lines)), chance.randrange(len(data) + 1)
        cells = lines[row].split(b",")
        kind = chance.randrange(9)
        if kind == 0:
            data = data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + data[at + chance.randint(1, 5) :]
        elif kind == 2:
            data = data[:at] + chance.choice([b",", b'"', b"\r", b"\n", b"-", b"e", b"9", b"\xff", b"."]) + data[at:]
        elif kind == 3:
            data = b"\n".join([*lines[:row], *lines[row + 1 :]])
        elif kind == 4:
            data = b"\n".join([*lines[: row + 1], *lines[row:]])
        elif kind == 5:
            data = b"\n".join(chance.sample(lines, len(lines)))
        elif kind == 6:
            data = data[:at]
        else:
            cells[chance.randrange(len(cells))] = chance.choice(CELLS).encode()
            data = b"\n".join([*lines[:row], b",".join(cells), *lines[row + 1 :]])
        data = data or b"\n"
    return data


def outcome(path: Path, drugs: list[str]) -> str:
    """Read the table and put what is read on a grid: "read" or "refused", with a proper sentence at either step."""
    result = "refused"
    try:
        events = read_events(path, drugs=drugs)
        result = "read"
        for one in {event.id for event in events}:
            own = [event for event in events if event.id == one]
            routes = {event.drug: "infusion" if event.rate else "bolus" for event in own}
            to_grid(own, drugs, 1e4, dict.fromkeys(drugs, "bolus") | routes)
    except EventError as error:
        text = str(error)
        assert "wanted " in text
        assert ", got " in text
        assert len(text) < 500 + len(str(path))
    return result


@pytest.mark.parametrize("number", range(len(VALID)))
def test_the_tables_to_be_mutated_are_valid(tmp_path, number):
    assert outcome(table(tmp_path, VALID[number]), ["a"] if number == 2 else ["a", "b"]) == "read"


def test_a_thousand_mutated_tables(tmp_path):
    chance = random.Random(20250101)
    seen = {"read": 0, "refused": 0}
    for number in range(1000):
        path = table(tmp_path, mutate(chance, VALID[number % len(VALID)]))
        begin = time.process_time()
        seen[outcome(path, ["a"] if number % len(VALID) == 2 else ["a", "b"])] += 1
        assert time.process_time() - begin < 2.0
    assert seen["read"] > 100
    assert seen["refused"] > 500
    assert [entry.name for entry in tmp_path.iterdir()] == ["doses.csv"]


def test_mutated_parquet_files(tmp_path):
    chance = random.Random(7)
    valid = tmp_path / "valid.parquet"
    write_events(valid, [DoseEvent(0.0, "a", 3.0, interval=7.0, additional=3), DoseEvent(28.0, "b", 0.1)])
    data, seen = valid.read_bytes(), {"read": 0, "refused": 0}
    for _ in range(200):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 6)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        begin = time.process_time()
        seen[outcome(table(tmp_path, bytes(damaged), "doses.parquet"), ["a", "b"])] += 1
        assert time.process_time() - begin < 2.0
    assert seen["refused"] > 20


def test_its_own_imports_are_light():
    for room_ in (events_room, room):
        text = Path(room_.__file__).read_text(encoding="utf-8")
        tree = ast.parse(text)
        modules = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
        modules |= {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
        assert "math" in modules
        assert modules <= sys.stdlib_module_names | {"numpy", "collections.abc", "optimizer.files.events"}
        assert "pandas" not in text
