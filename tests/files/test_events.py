"""Dosing tables and grids: what is read, exact round trips, and the sentence that refuses the rest."""

import ast
import os
import random
import re
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from optimizer.files import events as events_room, sheets
from optimizer.files.event_tables import Target, read_events, read_schedule, write_events
from optimizer.files.events import (
    MAX_DOSES,
    TOLERANCE,
    DoseEvent,
    compress,
    expand,
    from_grid,
    to_grid,
    to_mixed_grid,
    within,
)
from optimizer.files.faults import DataError, TableWarning

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
        "TIME,AMT,DRUG,DV\n0,1,a,x\n7,2,a,.\n",
        "TIME;AMT;DRUG\n0;1;a\n7;2;a\n",
        "# made in May\nTIME,AMT,DRUG\n0,1,a\n7,2,a\n",
        "#TIME,AMT,DRUG\n0,1,a\n7,2,a\n",
        "TIME [h],AMT,DRUG\n0,1,a\n168,2,a\n",
        "Time (week),AMT,DRUG\n0,1,a\n1,2,a\n",
        "time_h,amt_ug,drug\n0,1000,a\n168,2000,a\n",
        "TIME,AMT,DRUG,RATE\n0,1,a,NA\n7,2,a,.\n",
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


def test_rows_of_one_time_come_one_after_the_other(tmp_path):
    """A reset above the first dose stands before it; one below stands after it."""
    path = table(tmp_path, "TIME,AMT,EVID,DRUG\n7,2,1,a\n0,.,3,a\n0,1,1,a\n")
    assert [event.amount for event in read_events(path)] == [1.0, 2.0]
    with pytest.raises(DataError, match=r":3: column EVID: wanted a reset .* got 3 after line 2"):
        read_events(table(tmp_path, "TIME,AMT,EVID,DRUG\n0,1,1,a\n0,.,3,a\n"))


def test_an_interval_without_repetitions_is_kept(tmp_path):
    path = table(tmp_path, "TIME,AMT,II,DRUG\n0,1,7,a\n")
    assert read_events(path) == [DoseEvent(0.0, "a", 1.0, interval=7.0)]


def test_no_doses(tmp_path):
    assert read_events(table(tmp_path, HEADER)) == []
    assert read_events(table(tmp_path, HEADER.rstrip("\n"))) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", ":1: wanted a header with the names of the columns; got an empty file"),
        ("TIME AMT DRUG\n0 1 a\n", ":1: wanted columns separated by commas, semicolons or tabs; got spaces"),
        ("DRUG\na\n", ":1: column time, amt: wanted a column named time or day or days, and a column named amt"),
        ("TIME,AMT,time\n", ":1: column time: wanted one column of that name; got 2"),
        (
            "TIME [fortnight],AMT\n",
            ":1: column TIME [fortnight]: wanted a unit in the header, such as time [h] (h or day); got",
        ),
        ("TIME,AMT,DRUG\n0,1\n", ":2: wanted 3 cells, as in the header; got 2"),
        ("TIME,AMT,DRUG\n\n0,1,a,5\n", ":3: wanted 3 cells, as in the header; got 4"),
        ("TIME,AMT\n0,1\n", ":2: column DRUG: wanted a column with the name of the drug; got nothing"),
        ("TIME,AMT,DRUG\n0,1,.\n", ":2: column DRUG: wanted a printable drug name without outer spaces; got nothing"),
        ("TIME,AMT,DRUG\n0,1,a\x07b\n", ":2: column DRUG: wanted a printable drug name"),
        ("TIME,AMT,DRUG\n.,1,a\n", ':2: column TIME: wanted a finite number; got "."'),
        ("TIME,AMT,DRUG\n-1,1,a\n", ":2: column TIME: wanted a finite number of at least 0; got -1"),
        ("TIME,AMT,DRUG\nnan,1,a\n", ':2: column TIME: wanted a finite number; got "nan"'),
        ("TIME,AMT,DRUG\n10:30,1,a\n", ':2: column TIME: wanted a finite number; got "10:30"'),
        ("TIME,AMT,DRUG\n1_0,1,a\n", ':2: column TIME: wanted a finite number; got "1_0"'),
        ("TIME,AMT,DRUG\n1e999,1,a\n", ':2: column TIME: wanted a finite number; got "1e999"'),
        ("TIME,AMT,DRUG\n٣,1,a\n", ':2: column TIME: wanted a finite number; got "٣"'),
        (
            "TIME,AMT,DRUG\n<1,1,a\n",
            ":2: column TIME: wanted a number (here a value below or above a limit says too little)",
        ),
        ("TIME,AMT,DRUG\n0,.,a\n", ":2: column AMT: wanted a finite number of at least 0; got nothing"),
        ("TIME,AMT,DRUG\n0,-5,a\n", ":2: column AMT: wanted a finite number of at least 0; got -5"),
        ("TIME,AMT,DRUG\n0,inf,a\n", ':2: column AMT: wanted a finite number; got "inf"'),
        ("TIME,AMT,DRUG\n0,NA,a\n", ":2: column AMT: wanted a finite number of at least 0; got nothing"),
        (
            "TIME,AMT [mg/m2],DRUG\n0,5,a\n",
            ":2: column AMT [mg/m2]: wanted patient.body_surface in the scenario beside a dose in mg/m2_bsa",
        ),
        (
            "TIME,AMT,RATE,DRUG\n0,1,-1,a\n",
            ":2: column RATE: wanted 0, a rate, or -2 beside a column DUR (or TINF); -1, a rate to be",
        ),
        ("TIME,AMT,RATE,DRUG\n0,1,-2,a\n", ":2: column RATE: wanted 0, a rate, or -2 beside a column DUR"),
        (
            "TIME,AMT,RATE,DUR,DRUG\n0,6,2,2,a\n",
            ':2: column DUR: wanted AMT / RATE, 3 day, or no duration; got "2 day"',
        ),
        ("TIME,AMT,DUR,DRUG\n0,6,-2,a\n", ":2: column DUR: wanted a duration of at least 0; got -2"),
        ("TIME,AMT,RATE,DRUG\n0,0,5,a\n", ":2: column AMT: wanted more than 0 with a RATE; got 0"),
        ("TIME,AMT,ADDL,II,DRUG\n0,1,-1,7,a\n", ":2: column ADDL: wanted a whole number from 0 to 1000000; got -1"),
        ("TIME,AMT,ADDL,II,DRUG\n0,1,1.5,7,a\n", ":2: column ADDL: wanted a whole number from 0 to 1000000; got 1.5"),
        (
            "TIME,AMT,ADDL,II,DRUG\n0,1,1e9,7,a\n",
            ":2: column ADDL: wanted a whole number from 0 to 1000000; got 1000000000",
        ),
        ("TIME,AMT,ADDL,II,DRUG\n0,1,2,0,a\n", ":2: column II: wanted an interval above 0 with ADDL; got 0"),
        ("TIME,AMT,ADDL,DRUG\n0,1,2,a\n", ":2: column II: wanted an interval above 0 with ADDL; got 0"),
        ("TIME,AMT,ADDL,II,DRUG\n0,1,2,-7,a\n", ":2: column II: wanted a finite number of at least 0; got -7"),
        ("TIME,AMT [g],DRUG\n0,1e306,a\n", ":2: column AMT [g]: wanted a number that is finite in the units of"),
        ("TIME,AMT,ADDL,II,DRUG\n0,1,9,1e308,a\n", ":2: column II: wanted doses at finite times; got 1e+308"),
        ("TIME,AMT,SS,DRUG\n0,1,1,a\n", ":2: column II: wanted an interval above 0 with SS; got 0"),
        ("TIME,AMT,SS,DRUG\n0,1,2,a\n", ":2: column SS: wanted 0, or 1 for a first dose that finds a steady state"),
        ("TIME,AMT,EVID,DRUG\n0,1,2,a\n", ":2: column AMT: wanted 0 or nothing beside EVID 2, which is no dose; got 1"),
        (
            "TIME,AMT,EVID,DRUG\n0,1,1,a\n7,1,4,a\n",
            ":3: column EVID: wanted a reset (EVID 3, 4) before the first dose, as a tumor does not",
        ),
        (
            "TIME,AMT,EVID,DRUG\n0,1,5,a\n",
            ":2: column EVID: wanted 0 (observation), 1 (dose), 2 (neither), 3 (reset) or 4",
        ),
        ("TIME,AMT,EVID,DRUG\n0,1,.,a\n", ":2: column EVID: wanted 0 (observation), 1 (dose)"),
        ("TIME,AMT,EVID,DRUG\n0,1,0,a\n", ":2: column AMT: wanted 0 or nothing beside EVID 0, which is no dose; got 1"),
        ("ID,TIME,AMT,DRUG\n1.5,0,1,a\n", ":2: column ID: wanted a whole number of at least 0; got 1.5"),
        ("ID,TIME,AMT,DRUG\nx,0,1,a\n", ':2: column ID: wanted a finite number; got "x"'),
        ('TIME,AMT,DRUG\n0,1,"a\n', ":2: wanted cells separated by commas; got unexpected end of data"),
        ('TIME,AMT,DRUG\n0,1,"a"b\n', ":2: wanted cells separated by commas; got "),
        ("TIME,AMT,DRUG\n0,1," + "x" * 200_000, ":2: wanted cells separated by commas; got field larger than"),
        (
            'TIME;AMT;DRUG\n0;"20,549";a\n',
            ': wanted a decimal mark that can be told from one of thousands; got "20,549"',
        ),
        ("TIME;AMT;DRUG\n0,5;1.5;a\n", ': wanted one decimal mark in the file; got "0,5" beside "1.5"'),
    ],
)
def test_refused_tables(tmp_path, text, sentence):
    path = table(tmp_path, text)
    with pytest.raises(DataError, match=re.escape(sentence)) as caught:
        read_events(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("TIME,AMT,RATE,DUR,DRUG\n0,6,-2,3,a\n", [DoseEvent(0.0, "a", 6.0, rate=2.0)]),
        ("TIME,AMT,TINF,DRUG\n0,6,3,a\n7,1,0,a\n", [DoseEvent(0.0, "a", 6.0, rate=2.0), DoseEvent(7.0, "a", 1.0)]),
        ("TIME [h],AMT,RATE,DRUG\n24,6,2,a\n", [DoseEvent(1.0, "a", 6.0, rate=48.0)]),
        ("TIME,AMT [g],RATE [mg/h],DRUG\n1,6,250,a\n", [DoseEvent(1.0, "a", 6000.0, rate=6000.0)]),
        ("TIME [h],AMT,II,ADDL,DRUG\n0,6,24,2,a\n", [DoseEvent(0.0, "a", 6.0, 0.0, 1.0, 2)]),
        ("TIME,AMT,II [h],ADDL,DRUG\n2,6,24,2,a\n", [DoseEvent(2.0, "a", 6.0, 0.0, 1.0, 2)]),
        ("TIME,AMT,EVID,DRUG\n0,1,4,a\n3,0,2,a\n7,2,1,a\n", [DoseEvent(0.0, "a", 1.0), DoseEvent(7.0, "a", 2.0)]),
        ("TIME,AMT,EVID,DRUG\n0,0,3,a\n7,2,1,a\n", [DoseEvent(7.0, "a", 2.0)]),
        ("TIME,AMT,DV,DRUG\n0,1,.,a\n3,.,5,a\n", [DoseEvent(0.0, "a", 1.0)]),
        ("TIME,AMT,SS,II,DRUG\n0,1,1,7,a\n", [DoseEvent(0.0, "a", 1.0, interval=7.0, steady=True)]),
        ("TIME;AMT;DRUG\n0,5;1.234,5;a\n", [DoseEvent(0.5, "a", 1234.5)]),
    ],
)
def test_habits_of_nonmem_and_spreadsheets(tmp_path, text, events):
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        assert read_events(table(tmp_path, text)) == events


@pytest.mark.parametrize(
    ("text", "said", "count"),
    [
        ("TIME,AMT,DRUG,WT,RACE\n0,1,a,70,2\n", "columns that are not read: WT, RACE$", 1),
        ("TIME,AMT,II,ADLL,DRUG\n0,1,7,3,a\n", "columns that are not read: ADLL", 1),
        ("TIME,AMT,DRUG,ARM\n0,1,a,2\n", r"not read: ARM \(ARM: looks like treatment\)", 1),
        ("ID,TIME,AMT,DRUG\n1,0,1,a\nC,1,5,a\nC,2,0,1,a\n", "by the C that they begin with: line 3, 4", 1),
        ("C,ID,TIME,AMT,DRUG\n.,1,0,1,a\nC,1,5,9,a\n", "by the C that they begin with: line 3", 1),
        ("TIME,AMT,DRUG\n0,1,a\n0,2,a\n", "line 2 and 3: both give a on day 0: they add up", 2),
        ("TIME,AMT,II,ADDL,DRUG\n14,1,0,0,a\n0,1,7,3,a\n", "line 2 and 3: both give a on day 14: they add up", 2),
        ('TIME,AMT,DRUG\n0,"20,549",a\n', '"20,549" is read as 20549 .thousands commas.', 1),
    ],
)
def test_what_is_left_out_or_understood_is_said(tmp_path, text, said, count):
    with pytest.warns(TableWarning, match=said):
        assert len(read_events(table(tmp_path, text))) == count


@pytest.mark.parametrize("name", ["RACE", "DATE", "HRATE", "HEIGHT", "SEX"])
def test_covariates_are_no_misspellings(tmp_path, name):
    path = table(tmp_path, f"ID,TIME,AMT,{name}\n1,0,100,7\n")
    with pytest.warns(TableWarning, match=f"columns that are not read: {name}$"):
        assert read_events(path, ["a"]) == [DoseEvent(0.0, "a", 100.0)]


def test_utf_16_is_read_by_its_mark(tmp_path):
    path = table(tmp_path, "TIME,AMT,DRUG\n0,1,a\n".encode("utf-16"))
    assert read_events(path) == [DoseEvent(0.0, "a", 1.0)]
    with pytest.raises(DataError, match="wanted UTF-8 text, or UTF-16 with a byte order mark"):
        read_events(table(tmp_path, "TIME,AMT,DRUG\n0,1,a\n".encode("utf-16-le")))


def target(**changes) -> Target:
    return Target(**{"drugs": ["a"], "routes": BOLUS, "horizon": 21.0, **changes})


def test_repetitions_beyond_the_horizon_are_left_out_and_said(tmp_path):
    path = table(tmp_path, "TIME,AMT,II,ADDL\n0,1,7,9\n")
    with pytest.warns(TableWarning, match="7 doses are cut or left out, as they reach beyond the horizon, day 21"):
        edges, doses, *_ = read_schedule(path, target())
    assert edges.tolist() == [0.0, 7.0, 14.0, 21.0]
    assert doses.tolist() == [[1.0], [1.0], [1.0]]


def test_an_infusion_is_cut_at_the_horizon():
    whole = DoseEvent(0.0, "a", 10.0, rate=2.0, interval=7.0, additional=1)
    assert within([whole], 10.0) == (
        [DoseEvent(0.0, "a", 10.0, 2.0, 7.0, 0), DoseEvent(7.0, "a", 6.0, 2.0)],
        1,
    )
    assert within([whole], 12.0) == ([whole], 0)


def test_bolus_and_infusion_of_one_drug():
    events = [DoseEvent(0.0, "a", 400.0), DoseEvent(0.0, "a", 14.0, rate=2.0), DoseEvent(3.0, "a", 5.0)]
    edges, doses, other = to_mixed_grid(events, ["a"], 14.0, {"a": "infusion"})
    assert edges.tolist() == [0.0, 3.0, 7.0, 14.0]
    assert doses.tolist() == [[2.0], [2.0], [0.0]]
    assert other.tolist() == [[400.0], [5.0], [0.0]]
    again = from_grid(edges, doses, ["a"], {"a": "infusion"}, other)
    assert [part.tolist() for part in to_mixed_grid(again, ["a"], 14.0, {"a": "infusion"}, edges)] == [
        edges.tolist(),
        doses.tolist(),
        other.tolist(),
    ]
    swapped = to_mixed_grid(events, ["a"], 14.0, {"a": "bolus"})
    assert [part.tolist() for part in swapped[1:]] == [other.tolist(), doses.tolist()]


@pytest.mark.parametrize(
    ("text", "unit", "times"),
    [("TIME,AMT,II,ADDL\n0,1,24,2\n", "h", [0.0, 1.0, 2.0]), ("TIME,AMT\n0,1\n1,1\n", "week", [0.0, 7.0])],
)
def test_the_time_unit_may_be_said(tmp_path, text, unit, times):
    edges, doses, *_ = read_schedule(table(tmp_path, text), target(), unit)
    assert edges[:-1][doses[:, 0] > 0].tolist() == times


def test_times_that_look_like_hours_are_doubted(tmp_path):
    path = table(tmp_path, "TIME,AMT,II,ADDL\n0,1,24,2\n")
    with pytest.warns(TableWarning, match="times are read as days and look like hours; .* --time-unit h"):
        assert read_schedule(path, target(horizon=84.0))[0].tolist() == [0.0, 24.0, 48.0, 84.0]
    late = table(tmp_path, "TIME,AMT\n0,1\n72,1\n")
    with pytest.raises(
        DataError, match=r"column TIME: wanted doses before the horizon, day 5\.4; got day 72; .* TIME \[h\]"
    ):
        read_schedule(late, target(horizon=5.4))
    with pytest.raises(DataError, match='--time-unit: wanted a unit of time such as h, day or week; got "parsec"'):
        read_schedule(late, target(), "parsec")


def test_doses_by_the_size_of_the_patient(tmp_path):
    path = table(tmp_path, "TIME,AMT [mg/kg],RATE [mg/kg/day]\n0,2,4\n")
    found = read_schedule(path, target(routes={"a": "infusion"}, body=(70.0, None)))
    assert found[3] == [DoseEvent(0.0, "a", 140.0, rate=280.0)]
    with pytest.raises(DataError, match="wanted no unit, as this drug's dose is its level itself"):
        read_schedule(path, target(units={"a": "1"}))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("TIME,AMT,DRUG\n0,1,c\n", "column DRUG: wanted one of a, b; got"),
        ("TIME,AMT,DRUG\n0,1,A\n", "column DRUG: wanted one of a, b; got"),
        (
            "TIME,AMT,CMT\n0,1,3\n",
            "column CMT: wanted the number of a drug from 1 to 2, as there is no column DRUG; got 3",
        ),
        ("TIME,AMT,CMT\n0,1,0\n", "column CMT: wanted the number of a drug from 1 to 2"),
        ("TIME,AMT,CMT\n0,1,1.5\n", "column CMT: wanted the number of a drug from 1 to 2"),
        (
            "TIME,AMT\n0,1\n",
            "column CMT: wanted the number of a drug from 1 to 2, as there is no column DRUG; got nothing",
        ),
    ],
)
def test_drugs_that_the_scenario_does_not_know(tmp_path, text, sentence):
    with pytest.raises(DataError, match=re.escape(sentence)):
        read_events(table(tmp_path, text), drugs=["a", "b"])


def test_text_that_is_not_utf8(tmp_path):
    with pytest.raises(DataError, match=r"doses\.csv:2: wanted UTF-8 text .*; got the byte 0xe9"):
        read_events(table(tmp_path, b"TIME,AMT,DRUG\n0,1,\xe9\n"))


def test_files_that_are_none(tmp_path):
    with pytest.raises(DataError, match=r"absent\.csv: wanted a file; got nothing of that name"):
        read_events(tmp_path / "absent.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=r"folder\.csv: wanted a file; got a folder"):
        read_events(tmp_path / "folder.csv")
    with pytest.raises(DataError, match=r'doses\.xlsx: wanted a \.csv or \.parquet file; got "\.xlsx"'):
        read_events(tmp_path / "doses.xlsx")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match=r"pipe\.csv: wanted a file"):
        read_events(tmp_path / "pipe.csv")


def test_a_file_that_is_too_large(tmp_path):
    path = tmp_path / "doses.csv"
    with open(path, "wb") as handle:
        handle.truncate(sheets.MAX_BYTES + 1)
    with pytest.raises(DataError, match=f"wanted at most {sheets.MAX_BYTES} bytes; got more"):
        read_events(path)


def test_a_bomb_of_repetitions(tmp_path):
    rows = "".join(f"{i / 1000},1,7,{MAX_DOSES // 2 - i},a\n" for i in range(3))
    begin = time.process_time()
    with pytest.raises(DataError, match=r":2: column ADDL: wanted 1000000 doses at most; got 1500000 in all"):
        read_events(table(tmp_path, "TIME,AMT,II,ADDL,DRUG\n" + rows))
    assert time.process_time() - begin < 1.0


def test_too_many_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(sheets, "MOST_ROWS", 3)
    path = table(tmp_path, "TIME,AMT,DRUG\n0,1,a\n1,1,a\n2,1,a\n")
    with pytest.raises(DataError, match=r":4: wanted at most 3 rows; got more"):
        read_events(path)


# Parquet


def test_parquet_numbers_texts_and_nulls(tmp_path):
    path = parquet(tmp_path, Time=[0, 7], AMT=["1.5", "2"], DRUG=[" a", "a"], II=[None, 7.0], ADDL=[None, 2])
    assert read_events(path) == [DoseEvent(0.0, "a", 1.5), DoseEvent(7.0, "a", 2.0, 0.0, 7.0, 2)]


@pytest.mark.parametrize(
    ("column", "cells", "sentence"),
    [
        ("AMT", [1.0, float("nan")], ":2: column AMT: wanted a finite number of at least 0; got nothing"),
        ("AMT", [-1.0, 1.0], ":1: column AMT: wanted a finite number of at least 0; got -1"),
        ("TIME", [True, False], ':1: column TIME: wanted a finite number; got "True"'),
        ("TIME", [[1.0], [2.0]], ':1: column TIME: wanted a finite number; got "[1.0]"'),
        ("ADDL", [0.5, 1.0], ":1: column ADDL: wanted a whole number from 0 to 1000000; got 0.5"),
        ("ID", [2**63 - 1, 1], ":1: column ID: wanted a whole number of at least 0; got 9.22337"),
        ("SS", [2, 0], ":1: column SS: wanted 0, or 1 for a first dose that finds a steady state"),
    ],
)
def test_refused_parquet(tmp_path, column, cells, sentence):
    columns = {"TIME": [0.0, 1.0], "AMT": [1.0, 1.0], "DRUG": ["a", "a"], column: cells}
    with pytest.raises(DataError, match=re.escape(sentence)):
        read_events(parquet(tmp_path, **columns))


def test_what_is_no_parquet(tmp_path):
    with pytest.raises(DataError, match=r"doses\.parquet: wanted a Parquet table; got ArrowInvalid on reading it"):
        read_events(table(tmp_path, "TIME,AMT,DRUG\n", "doses.parquet"))


def test_a_parquet_file_with_too_many_rows(tmp_path):
    path = parquet(tmp_path, TIME=pa.nulls(sheets.MOST_ROWS + 1, pa.float64()))
    assert path.stat().st_size < 10_000
    with pytest.raises(DataError, match="wanted at most 2000000 rows; got 2000001 rows"):
        read_events(path)


# The event


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"time": -1.0}, "column TIME: wanted a finite number of at least 0; got -1"),
        ({"time": float("nan")}, "column TIME: wanted a finite number of at least 0; got nan"),
        ({"time": 10**5000}, "column TIME: wanted a finite number of at least 0; got a larger whole number"),
        ({"amount": "1"}, 'column AMT: wanted a finite number of at least 0; got "1"'),
        ({"amount": True}, "column AMT: wanted a finite number of at least 0; got True"),
        ({"rate": float("inf")}, "column RATE: wanted a finite number of at least 0; got inf"),
        ({"additional": 1.0}, "column ADDL: wanted a whole number from 0 to 1000000; got 1"),
        ({"additional": 1}, "column II: wanted an interval above 0 with ADDL; got 0"),
        ({"drug": ""}, "column DRUG: wanted a printable drug name without outer spaces; got nothing"),
        ({"drug": " a"}, 'column DRUG: wanted a printable drug name without outer spaces; got " a"'),
        ({"drug": None}, "column DRUG: wanted a printable drug name without outer spaces; got nothing"),
        ({"id": -1}, "column ID: wanted a whole number of at least 0; got -1"),
    ],
)
def test_an_event_is_checked_on_creation(fields, sentence):
    with pytest.raises(DataError, match=re.escape(sentence)):
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


def test_two_doses_at_one_time_stay_two():
    events = [DoseEvent(0.0, "a", 1.0, interval=7.0, additional=1), DoseEvent(7.0, "a", 1.0)]
    assert [event.time for event in expand(events)] == [0.0, 7.0, 7.0]
    assert expand(compress(events)) == expand(events)
    assert to_grid(events, ["a"], 14.0, BOLUS)[1].tolist() == [[1.0], [2.0]]


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


tables = st.lists(st.one_of(single, repeated), max_size=6)


@settings(deadline=None, max_examples=60)
@given(tables, st.sampled_from(["doses.csv", "doses.parquet", "DOSES.CSV"]))
def test_what_is_written_is_read_back(tmp_path_factory, events, name):
    path = tmp_path_factory.mktemp("round") / name
    write_events(path, events)
    warnings.simplefilter("ignore", TableWarning)
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


def test_a_failed_write_leaves_the_old_one(tmp_path, monkeypatch):
    def fail(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    path = table(tmp_path, "old")
    with pytest.raises(DataError, match=r"wanted a place that can be written; got: No space left on device"):
        write_events(path, [DoseEvent(0.0, "a", 1.0)])
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["doses.csv"]


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="wanted a place that can be written; got: Is a directory"):
        write_events(tmp_path / "folder.csv", [])
    with pytest.raises(DataError, match=r'wanted a \.csv or \.parquet file; got "\.json"'):
        write_events(tmp_path / "doses.json", [])
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder.csv"]


def test_formulas_are_quoted(tmp_path):
    path = tmp_path / "doses.csv"
    write_events(path, [DoseEvent(0.0, "=1+1", 1.0), DoseEvent(0.0, "@b", 1.0)])
    assert [line.rsplit(",")[-1] for line in path.read_text().splitlines()] == ["DRUG", "'=1+1", "'@b"]
    assert [event.drug for event in read_events(path)] == ["=1+1", "@b"]


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


def test_what_is_short_and_longer_than_the_tolerance_has_edges_of_its_own():
    brief = 50.0 * TOLERANCE
    edges, doses = to_grid([DoseEvent(1.0, "b", 5.0 * brief, rate=5.0)], ["b"], 4.0, MIXED)
    assert edges.tolist() == [0.0, 1.0, pytest.approx(1.0 + brief, abs=1e-15), 4.0]
    assert doses[:, 0].tolist() == [0.0, 5.0, 0.0]


def test_a_zero_dose_is_an_edge_for_either_route():
    events = [DoseEvent(3.0, "a", 0.0), DoseEvent(4.0, "b", 0.0)]
    edges, doses = to_grid(events, ["a", "b"], 10.0, MIXED)
    assert edges.tolist() == [0.0, 3.0, 4.0, 10.0]
    assert not doses.any()


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (DoseEvent(10.0, "a", 1.0), "dose of a at day 10.0: wanted doses before the horizon 10.0; got 10"),
        (DoseEvent(99.0, "a", 1.0), "dose of a at day 99.0: wanted doses before the horizon 10.0; got 99"),
        (
            DoseEvent(4.0, "a", 1.0, interval=3.0, additional=2),
            "dose of a at day 4.0: wanted doses before the horizon 10.0; got 10",
        ),
        (DoseEvent(0.0, "c", 1.0), "dose of c at day 0.0: wanted one of a, b; got"),
        (DoseEvent(1.0, "a", 1.0, id=2), "dose of a at day 1.0: wanted one patient, ID 1; got 2"),
        (DoseEvent(1.0, "a", 1.0, rate=1.0), "dose of a at day 1.0: wanted RATE 0, as its route is bolus; got 1"),
        (DoseEvent(1.0, "b", 1.0), "dose of b at day 1.0: wanted a RATE, as its route is infusion; got 0"),
        (DoseEvent(1.0, "b", 10.0, rate=1.0), "wanted an infusion that ends by the horizon 10.0; got 11"),
        (DoseEvent(1.0, "b", 1e308, rate=1e-5), "wanted an infusion that ends by the horizon 10.0; got inf"),
        (
            DoseEvent(1.0, "b", 1e-12, rate=1.0),
            "dose of b at day 1.0: wanted a dose more than 1e-10 day before the horizon",
        ),
    ],
)
def test_refused_on_a_grid(event, sentence):
    with pytest.raises(DataError, match=re.escape(sentence)):
        to_grid([DoseEvent(0.0, "a", 1.0), event], ["a", "b"], 10.0, MIXED)


def test_a_dose_that_merges_with_the_horizon_is_not_lost():
    events = [DoseEvent(10.0 - 1.5e-10, "a", 1.0)]
    with pytest.raises(
        DataError, match=r"wanted a dose more than 1e-10 day before the horizon, an infusion as long; got 9\.9999"
    ):
        to_grid(events, ["a"], 10.0, BOLUS, edges=[10.0 - 8e-11])


@pytest.mark.parametrize("horizon", [0.0, -1.0, float("nan"), float("inf")])
def test_refused_horizons(horizon):
    with pytest.raises(DataError, match="horizon: wanted a finite time above 0; got"):
        to_grid([], ["a"], horizon, BOLUS)


def test_refused_routes_and_edges():
    with pytest.raises(DataError, match='routes: wanted "bolus" or "infusion" for a; got "oral"'):
        to_grid([], ["a"], 1.0, {"a": "oral"})
    with pytest.raises(DataError, match='routes: wanted "bolus" or "infusion" for a; got nothing'):
        from_grid([0.0, 1.0], [[1.0]], ["a"], {})
    for edges in ([-1.0], [2.0], [float("nan")]):
        with pytest.raises(DataError, match=r"edges: wanted times from 0 to the horizon 1\.0; got others"):
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
        ([0.0, 1.0], [[1.0, 0.0], [1.0, 0.0]], "doses: wanted [K, 2] on edges [K+1]; got doses (2, 2) on edges (2,)"),
        ([0.0, 1.0], [[1.0]], "doses: wanted [K, 2] on edges [K+1]; got doses (1, 1) on edges (2,)"),
        ([0.0], np.zeros((0, 2)), "doses: wanted [K, 2] on edges [K+1]; got doses (0, 2) on edges (1,)"),
        ([0.0, 0.0], [[1.0, 0.0]], "horizon: wanted a finite time above 0; got 0"),
        ([0.0, 1.0, 1.0], [[1.0, 0.0]] * 2, "edges: wanted times from 0 on, more than 2e-10 day apart; got others"),
        ([-1.0, 1.0], [[1.0, 0.0]], "edges: wanted times from 0 on"),
        ([0.0, float("nan"), 1.0], [[1.0, 0.0]] * 2, "edges: wanted times from 0 on"),
        ([0.0, 1.0], [[-1.0, 0.0]], "column AMT: wanted a finite number of at least 0; got -1"),
        ([0.0, 1.0], [[float("nan"), 0.0]], "column AMT: wanted a finite number of at least 0; got nan"),
        ([0.0, 1.0], [[0.0, float("inf")]], "column AMT: wanted a finite number of at least 0; got inf"),
        ([0.0, 7.3], [[0.0, 5e-324]], "wanted a rate within the range of floats; got 4.94"),
    ],
)
def test_refused_grids(edges, doses, sentence):
    with pytest.raises(DataError, match=re.escape(sentence)):
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TableWarning)
            events = read_events(path, drugs=drugs)
        result = "read"
        for one in {event.id for event in events}:
            own = [event for event in events if event.id == one]
            routes = {event.drug: "infusion" if event.rate else "bolus" for event in own}
            to_grid(own, drugs, 1e4, dict.fromkeys(drugs, "bolus") | routes)
    except DataError as error:
        text = str(error)
        assert "wanted " in text
        assert "; got " in text
        assert all(len(line) < 500 + len(str(path)) for line in text.splitlines())
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
    for room_ in (events_room,):
        text = Path(room_.__file__).read_text(encoding="utf-8")
        tree = ast.parse(text)
        modules = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
        modules |= {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
        assert "math" in modules
        assert modules <= sys.stdlib_module_names | {"numpy", "collections.abc", "optimizer.files.faults"}
        assert "pandas" not in text
