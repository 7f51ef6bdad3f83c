"""Hostile tables: each a clear message that names file, line and column, or a flagged result."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from optimizer.calibrate import DataError, read_table
from optimizer.calibrate.plate import plate_wells
from optimizer.calibrate.rates import rate_data
from optimizer.calibrate.timeseries import patient_series

from .synthetic import patient_rows, plate_rows, write_csv

RATES = "egf_pg_per_ml,cetuximab_ug_per_ml,birth_rate_per_hour,death_rate_per_hour\n"


def rates(tmp_path: Path, body: str, header: str = RATES) -> Path:
    path = tmp_path / "rates.csv"
    path.write_text(header + body, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("0,0,0.01,n.d.\n", r"rates\.csv:2: column death_rate_per_hour: wanted a finite number; got \"n\.d\.\""),
        (
            "0,0,0.01,0.0\n0,1,nan,0.0\n",
            r"rates\.csv:3: column birth_rate_per_hour: wanted a finite number; got \"nan\"",
        ),
        ("0,0,,0.0\n", r"rates\.csv:2: column birth_rate_per_hour: wanted a finite number; got nothing"),
        (
            "0,-1,0.01,0.0\n",
            r"rates\.csv:2: column cetuximab_ug_per_ml: wanted a value of 0 to 100000 ug/mL; got \"-1\"",
        ),
        ("0,1_0,0.01,0.0\n", r"column cetuximab_ug_per_ml: wanted a finite number; got \"1_0\""),
        ("0,0,0,5,0\n", r"rates\.csv:2: wanted 4 cells, as in the header; got 5"),
        ("0,0,1e9,0\n", r"column birth_rate_per_hour: wanted a value of 0 to 0\.5 1/h; got \"1e9\""),
        ("", r"rates\.csv:1: wanted at least one row of data"),
    ],
)
def test_faulty_cells_are_named(tmp_path, body, message):
    with pytest.raises(DataError, match=message):
        read_table(rates(tmp_path, body), "rates")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "egf,cetuximab_ug_per_ml,birth_rate_per_hour,death_rate_per_hour\n",
            r"column egf: wanted a unit in the header, such as egf \[pg/mL\] \(pg/mL\); got nothing",
        ),
        (
            "egf_pg_per_ml,cetuximab,birth_rate_per_hour,death_rate_per_hour\n",
            r"column drug: wanted a column named drug",
        ),
        ("a_ug_per_ml,b_ug_per_ml,birth_rate_per_hour,death_rate_per_hour\n", r"wanted one column for drug; got a_ug"),
        (
            "egf_pg_per_ml,egf_pg_per_ml,birth_rate_per_hour,death_rate_per_hour\n",
            r"column egf_pg_per_ml: wanted one column of that name; got 2",
        ),
    ],
)
def test_faulty_headers_are_named(tmp_path, header, message):
    body = "0,0,0,0\n"
    with pytest.raises(DataError, match=message):
        read_table(rates(tmp_path, body, header), "rates")


def test_every_fault_is_named(tmp_path):
    path = rates(tmp_path, "0,0,x,0\n0,1,0.01,0\n0,2,0.01,y\n")
    with pytest.raises(DataError) as caught:
        read_table(path, "rates")
    assert [(fault.line, fault.column) for fault in caught.value.faults] == [
        (2, "birth_rate_per_hour"),
        (4, "death_rate_per_hour"),
    ]


def test_unreadable_files_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="wanted UTF-16 text"):
        read_table(path, "rates")
    with pytest.raises(DataError, match="wanted a file"):
        read_table(tmp_path / "none.csv", "rates")
    with pytest.raises(DataError, match="wanted one of rates, secretion"):
        read_table(path, "rate")
    broken = tmp_path / "a.parquet"
    broken.write_bytes(b"PAR1nonsense")
    with pytest.raises(DataError, match="wanted a Parquet table"):
        read_table(broken, "rates")


def test_comments_and_a_byte_order_mark_are_skipped(tmp_path):
    path = tmp_path / "rates.csv"
    path.write_text("\ufeff# measured in May\n" + RATES + "0,0,0.01,0.001\n", encoding="utf-8")
    table = read_table(path, "rates")
    assert table["birth"].tolist() == [0.01]
    assert table.lines.tolist() == [3]


def test_parquet_reads_as_csv():
    table = read_table("data/crc_birth_death_rates.csv", "rates")
    assert len(table) == 48
    assert table.units == {
        "growth_factor": "pg/mL",
        "birth": "1/h",
        "death": "1/h",
        "drug": "ug/mL",
    }


def test_a_million_rows_are_read_checked_and_reduced(tmp_path):
    random = np.random.default_rng(0)
    n = 1_000_000
    doses, factors = random.choice([0.0, 0.01, 0.1, 1.0, 10.0], n), random.choice([0.0, 300.0, 600.0], n)
    net = random.standard_normal(n) * 0.001
    path = tmp_path / "many.parquet"
    columns = {"egf_pg_per_ml": factors, "drug_ug_per_ml": doses, "net_growth_rate_per_hour": net}
    pq.write_table(pa.table(columns), path)
    start = time.process_time()
    data = rate_data(read_table(path, "rates"))
    assert time.process_time() - start < 20.0
    assert len(data.net) == 15
    assert data.counts.sum() == n
    total = np.sum(data.counts * data.net**2) + data.within
    np.testing.assert_allclose(total, np.sum(net**2), rtol=1e-12)


def test_one_fault_in_many_csv_rows_is_named(tmp_path):
    path = tmp_path / "rates.csv"
    lines = ["0,0.1,0.01,0.001"] * 200_000
    lines[165_432] = "0,0.1,0.01,O.001"
    path.write_text(RATES + "\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r'rates\.csv:165434: column death_rate_per_hour: .* got "O\.001"'):
        read_table(path, "rates")


def test_rates_need_doses_and_levels(tmp_path):
    one = rates(tmp_path, "".join(f"{g},1,0.01,0.001\n" for g in (0, 100, 200)))
    with pytest.raises(DataError, match=r"wanted at least 4 different doses to fit a curve; got 1 \(1\)"):
        rate_data(read_table(one, "rates"))
    with pytest.raises(DataError, match="wanted birth and death rates, or net rates"):
        rate_data(read_table(rates(tmp_path, "1,0.01\n", "drug_ug_per_ml,birth_rate_per_hour\n"), "rates"))


def test_swapped_units_are_flagged(tmp_path):
    daily = RATES.replace("hour", "day")
    body = "".join(f"{g},{d},{0.015 / (1 + d)},0.001\n" for g in (0, 300, 600) for d in (0, 0.1, 1, 10))
    flags = rate_data(read_table(rates(tmp_path, body, daily), "rates")).flags
    assert any("are the rates really 1/d?" in flag for flag in flags)
    fast = "".join(f"{g},{d},{0.36 / (1 + d)},0.001\n" for g in (0, 300, 600) for d in (0, 0.1, 1, 10))
    flags = rate_data(read_table(rates(tmp_path, fast), "rates")).flags
    assert any("are the rates really 1/h?" in flag for flag in flags)
    swapped = "".join(f"{g},{d},0.01,0.001\n" for d in (0, 300, 600, 700) for g in (0, 0.1, 10))
    flags = rate_data(read_table(rates(tmp_path, swapped), "rates")).flags
    assert any("swapped" in flag for flag in flags)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r[3].update(well="A1"), r"wanted each well of plate 1 once; got A1 again \(first on line 2\)"),
        (
            lambda r: r[3].update(well="Q9"),
            r"column well: wanted a well of a 96- or 384-well plate, A1 to P24; got 'Q9'",
        ),
        (
            lambda r: r[3].update(absorbance_od=-0.2),
            r"column absorbance_od: wanted a value of 0 to inf 1; got \"-0.2\"",
        ),
        (lambda r: r[-1].update(drug_ug_per_ml=""), r"wanted a dose in a sample well; got an empty cell"),
        (lambda r: r[-1].update(role="smaple"), r"wanted one of sample, vehicle, blank, time_zero; got \"smaple\""),
        (lambda r: [x.update(plate="2") for x in r[:6]], r"wanted a blank well on plate 1"),
        (lambda r: [x.update(role="time_zero") for x in r[6:12]], r"wanted a vehicle well of alone on plate 1"),
        (lambda r: [x.update(absorbance_od=0.05) for x in r], r"wanted vehicle wells brighter than the blanks"),
    ],
)
def test_hostile_plates_are_refused(tmp_path, change, message):
    rows = plate_rows()
    change(rows)
    with pytest.raises(DataError, match=message):
        plate_wells(read_table(write_csv(tmp_path / "plate.csv", rows), "plate"))


def test_missing_and_outlying_wells_are_flagged_and_left_out(tmp_path):
    rows = plate_rows()
    samples = [row for row in rows if row["role"] == "sample"]
    samples[0]["absorbance_od"] = ""
    samples[4]["absorbance_od"] = 3.0
    table = read_table(write_csv(tmp_path / "plate.csv", rows), "plate")
    assert (~plate_wells(table).kept).nonzero()[0].tolist() == [0]
    wells = plate_wells(table, outliers="drop")
    assert (~wells.kept).nonzero()[0].tolist() == [0, 4]
    assert any(f"well {samples[0]['well']} has no signal: left out" in flag for flag in wells.flags)
    assert any(f"well {samples[4]['well']} is far from its replicates" in flag for flag in wells.flags)
    kept = plate_wells(read_table(tmp_path / "plate.csv", "plate"), outliers="keep")
    assert (~kept.kept).nonzero()[0].tolist() == [0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r[1].update(evid=4), r"column evid: wanted a reset \(EVID 3, 4\) before the first dose"),
        (lambda r: r[0].update(evid=5), r"column evid: wanted 0 \(observation\), 1 \(dose\), 2 .* got 5"),
        (lambda r: r[0].update(addl=-1), r"column addl: wanted a whole number from 0 to 1000000; got -1"),
        (lambda r: r[0].update(addl=2.5), r"column addl: wanted a whole number from 0 to 1000000; got 2.5"),
        (lambda r: r[0].update(ii_day=""), r"wanted an interval above 0 with ADDL"),
        (lambda r: r[0].update(amt_mg=0), r"wanted an amount above 0 in a dose row; got 0"),
        (lambda r: r[0].update(ss=1), r"column ss: wanted 0 or nothing \(no SS\); got 1"),
        (lambda r: r[0].update(rate=-2), r"column rate: wanted 0, a rate, or -2 beside a column DUR"),
        (
            lambda r: r[0].update(rate=5),
            r"column rate: wanted 0 or nothing \(boluses; infusions are not fitted\); got 5",
        ),
        (lambda r: [x.update(patient="a") for x in r[:2]], r"wanted an observation of patient a; got none"),
    ],
)
def test_hostile_event_tables_are_refused(tmp_path, change, message):
    rows = [row | {"ss": "", "rate": ""} for row in patient_rows("p")]
    change(rows)
    with pytest.raises(DataError, match=message):
        patient_series(read_table(write_csv(tmp_path / "patients.csv", rows), "timeseries"))


def test_doses_at_one_time_add_up_and_missing_values_are_left_out(tmp_path):
    rows = patient_rows("p")
    rows[1].update(time_day=7, ii_day="", addl="")
    rows[5].update(volume_mm3="NA")
    (one,) = patient_series(read_table(write_csv(tmp_path / "patients.csv", rows), "timeseries"))
    assert one.event_times.tolist() == [7.0 * k for k in range(8)]
    assert one.amounts.tolist() == [100.0, 200.0, *[100.0] * 6]
    assert len(one.times) == len(rows) - 3


@pytest.mark.parametrize("cells", ["1,0", "on,off", "yes,no", "TRUE,FALSE", "1.0,."])
def test_treatment_that_is_on_or_off_is_read(tmp_path, cells):
    rows = [{"id": "a", "time_day": t, "psa_ng_per_ml": 1.0, "Treatment": cells.split(",")[t % 2]} for t in range(6)]
    table = read_table(write_csv(tmp_path / "psa.csv", rows), "timeseries")
    np.testing.assert_array_equal(table["treatment"], [1.0, np.nan if cells.endswith(".") else 0.0] * 3)
    rows[0] |= {"Treatment": "x"}
    with pytest.raises(DataError, match=r"psa\.csv:2: column Treatment: wanted 1 \(on\) or 0 \(off\)"):
        read_table(write_csv(tmp_path / "psa.csv", rows), "timeseries")


@pytest.mark.parametrize("name", ["treatment_arm", "ARM", "drug", "medication", "Regimen", "dose2", "trt"])
def test_treatment_is_never_dropped(tmp_path, name):
    rows = [{"id": "a", "time_day": t, "psa_ng_per_ml": 1.0, name: t % 2} for t in range(8)]
    with pytest.raises(DataError, match=rf"column {name}: wanted the doses as rows .* looks like treatment"):
        read_table(write_csv(tmp_path / "psa.csv", rows), "timeseries")


def test_censored_values_keep_limits_of_their_own(tmp_path):
    rows = [{"ID": "a", "TIME": t, "EVID": 0, "DV": v} for t, v in enumerate(["14", "<1.5", ">50", ".", "NA", "", "2"])]
    table = read_table(write_csv(tmp_path / "psa.csv", rows), "timeseries")
    (one,) = patient_series(table)
    assert one.values.tolist() == [14.0, 1.5, 50.0, 2.0]
    assert one.censored.tolist() == [0, -1, 1, 0]
    assert [note.partition(": ")[2] for note in table.notes] == [
        "column TIME has no unit: d is assumed",
        "column DV has no unit: relative is assumed",
    ]
