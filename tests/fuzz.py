"""Damaged inputs of every kind that a user hands over: read or refused in a sentence. `python -m tests.fuzz [COUNT]`.

A finding is any other exception than the sentence of a refusal, a warning that is not one of a table, more than five
seconds, more than a gigabyte, or a file that was written beside the input.

    python -m tests.fuzz 100000             that many, shared out over the kinds
    python -m tests.fuzz 5000 plates runs   of these kinds alone
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)

from optimizer.calibrate.tables import read_table  # noqa: E402
from optimizer.control.measurements import read_measurements  # noqa: E402
from optimizer.ensemble.patients import load_patients  # noqa: E402
from optimizer.files.event_tables import Target, read_events, read_schedule  # noqa: E402
from optimizer.files.faults import DataError, TableWarning  # noqa: E402
from optimizer.files.run import MARKER, Run, columns_of, joined, table_bytes  # noqa: E402
from optimizer.files.run_directory import DirectoryError  # noqa: E402
from optimizer.policies.network import Network, first_weights  # noqa: E402
from optimizer.scenario import Scenario, ScenarioError  # noqa: E402
from optimizer.scenario.networks import network_document  # noqa: E402
from tests.scenario.test_mutations import damaged as damaged_scenario  # noqa: E402

ROOT = Path(__file__).parents[1]
LONGEST, LARGEST = 5.0, 2**30
REFUSALS = (ScenarioError, DataError, DirectoryError)
DOSES = Target(["a", "b"], {"a": "bolus", "b": "infusion"}, 84.0, np.arange(0.0, 85.0, 7.0), {"a": "mg", "b": "mg"})

# --- what is damaged --------------------------------------------------------------------------------------------------

EVENTS = [
    "TIME,AMT,DRUG\n0,100,a\n7,50,a\n14,25,b\n",
    "ID,TIME,EVID,CMT,AMT,RATE,II,ADDL,DRUG\n1,0,1,1,100,0,7,3,a\n1,3,1,2,10,5,0,0,b\n1,28,3,1,.,0,0,0,a\n",
    "ID;TIME [h];AMT [mg];DUR [h];DRUG\n1;0,5;100,5;0;a\n1;48;3;2;b\n",
    "#ID,TIME,EVID,AMT,RATE,DUR,DRUG,SS,II\n1,0,1,10,-2,4,b,0,0\nC,1,1,10,0,0,a,0,0\n1,9,4,10,0,0,a,1,12\n",
]
OBSERVATIONS = [
    "day,burden [cell],variant_fraction.resistant [1]\n0,0.55,<0.01\n14,0.42,\n28,0.33,0.011\n42,0.30,NA\n",
    "TIME [h],EVID,burden\n0,0,1e8\n24,1,.\n48,0,>1e9\n",
]
PATIENTS = [
    "patient,model.clone[sensitive].cells,model.clone[resistant].cost\n1,0.09,0.92\n2,0.48,0.29\n",
    "id;model.clone[sensitive].death_rate [1/hour];model.clone[0].cells\nann;0,001;0,3\nbob;0,002;\n",
]
PLATES = [
    "plate,well,role,cell_line,drug_umol_per_l,signal_rlu\n1,A1,blank,X,,10\n1,A2,vehicle,X,,1010\n1,A3,sample,X,1,510\n",
    "plate;well;role;drug [nM];signal\n1;A1;Blank;;10,5\n1;B2;DMSO;;1.010,0\n1;C3;Sample;1000;510\n",
    ",1,2,3\nA,10,1010,510\nB,11,990,250\n",
]
TABLES = [
    ("rates", (ROOT / "data" / "crc_birth_death_rates.csv").read_text()),
    ("secretion", (ROOT / "data" / "caf_egf_secretion.csv").read_text()),
    ("timeseries", (ROOT / "data" / "caf_egf_timeseries.csv").read_text()),
    ("ic50", (ROOT / "data" / "lapatinib_ic50.csv").read_text()),
]
CELLS = (
    *("", ".", "NA", "nan", "inf", "-inf", "0", "-1", "1e308", "1e999", "-0.0", "1e-320", "0x10", "1_000", "9" * 400),
    *('"', "'", '""', "<", ">", "<0.1", ">1e9", "<<1", "1,5", "1.000,5", "1,000,000", "1 000", "½", "٣", "\x00", "#1"),
    *("true", "=1+1", "-2", "2", "3", "4", "7", "1e9", "4294967296", "9223372036854775808", "a" * 70_000, "\ud800"),
)
HEADERS = (
    *("TIME", "TIME [h]", "AMT", "dose [nM]", "EVID", "ADDL", "II", "SS", "RATE", "DUR", "drug", "treatment"),
    *("[", "]"),
)
JUNK = (
    *(b"\x00", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\r", b"\r\n", b",", b";", b"\t"),
    *(b'"', b"#", b"1e9", b"-"),
)


def recelled(text: str, dice: random.Random) -> str:
    """Another cell, or another name of a column."""
    rows = re.split(r"([\n,;\t])", text)
    at = dice.randrange(0, len(rows), 2)
    rows[at] = dice.choice(HEADERS if dice.random() < 0.2 else CELLS)
    return "".join(rows)


def relined(text: str, dice: random.Random) -> str:
    """Lines left out, doubled, exchanged."""
    lines = text.splitlines(keepends=True)
    at, to = dice.randrange(len(lines)), dice.randrange(len(lines))
    return "".join(
        dice.choice(([*lines[:at], *lines[at + 1 :]], [*lines[:to], lines[at] * 40, *lines[to:]], lines[at:]))
    )


def recoded(text: str, dice: random.Random) -> bytes:
    """Other line ends, separators and encodings."""
    text = dice.choice(
        [text, text.replace("\n", "\r"), text.replace("\n", "\r\n"), text.replace(",", dice.choice(";\t|"))]
    )
    return text.encode(dice.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"]), "replace")


def rebyted(data: bytes, dice: random.Random) -> bytes:
    """Bytes changed, put in, left out, or a file cut short."""
    for _ in range(dice.choice([1, 1, 2, 8])):
        at = dice.randrange(len(data) + 1)
        data = dice.choice(
            [
                data[:at] + dice.choice(JUNK) + data[at:],
                data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :],
                data[:at] + data[at + dice.randrange(1, 30) :],
                data[:at] if dice.random() < 0.2 else data,
            ]
        )
    return data


def damaged_table(text: str, dice: random.Random) -> bytes:
    """One to four damages to a table."""
    for _ in range(dice.choice([0, 1, 1, 2, 4])):
        text = dice.choice([recelled, recelled, relined])(text, dice) or "\n"
    data = recoded(text, dice)
    return rebyted(data, dice) if dice.random() < 0.4 else data


def damaged_json(document: Any, dice: random.Random) -> bytes:
    """A document with another value somewhere, or other bytes."""
    values = (None, True, "1", -1, 0, 1e308, 10**400, float("nan"), [], {}, [[1]], "drug", "\ud800", "x" * 10_000)

    def other(value: Any) -> Any:
        if isinstance(value, (dict, list)) and value and dice.random() < 0.8:
            key = dice.choice(list(value) if isinstance(value, dict) else range(len(value)))
            if isinstance(value, dict) and dice.random() < 0.2:
                return {name: own for name, own in value.items() if name != key}
            return {**value, key: other(value[key])} if isinstance(value, dict) else [*value[:key], other(value[key])]
        return dice.choice(values)

    text = json.dumps(other(document)) if dice.random() < 0.7 else json.dumps(document)
    data = text.encode()
    if dice.random() < 0.02:
        data = b"[" * 100_000 + data
    return rebyted(data, dice) if dice.random() < 0.4 else data


# --- how it is read ---------------------------------------------------------------------------------------------------


class Kind(NamedTuple):
    """A kind of input: its share of all, the name of the file, what it is damaged to, and what reads it."""

    share: float
    file: str
    damage: Callable[[random.Random], bytes]
    read: Callable[[Path], Any]


def _tables(texts: Sequence[str]) -> Callable[[random.Random], bytes]:
    return lambda dice: damaged_table(dice.choice(texts), dice)


def _either(path: Path) -> None:
    """Doses with and without a scenario."""
    read_events(path, ["a", "b"])
    read_schedule(path, DOSES)


def _seen(channels: Sequence[Any], path: Path) -> None:
    read_measurements(path, channels)


def _calibrated(path: Path) -> None:
    kind = path.read_bytes()[:1]
    for name, text in TABLES:
        if text.encode()[:1] == kind or not kind:
            read_table(path, name)


def _run(folder: Path) -> tuple[dict[str, Any], bytes, bytes]:
    """What was asked, the manifest and the chunk of a finished run."""
    asked = {"seed": 3, "limits": [{"drug": "a", "most": 2.0}]}
    rows = np.arange(3)
    chunk = table_bytes({"patient": rows, "name": ["p0", "p1", "p2"], "dose": rows * 1.5})
    Run(folder, asked).parts(["0.parquet"], lambda: [chunk])
    return asked, (folder / MARKER).read_bytes(), chunk


def _netcdf(path: Path) -> bytes:
    """Draws as a fit writes them."""
    import xarray as xr

    draws = xr.Variable(("chain", "draw"), np.linspace(0.01, 0.04, 8).reshape(2, 4), {"units": "1/day"})
    group = xr.Dataset({"model.clone[sensitive].growth_rate": draws}, {"chain": [0, 1], "draw": np.arange(4)})
    xr.DataTree.from_dict({"posterior": group}).to_netcdf(path, engine="h5netcdf")
    return path.read_bytes()


def kinds(folder: Path) -> dict[str, Kind]:
    """All kinds of input; `folder` is for what they need."""
    trial = Scenario.load(ROOT / "scenarios" / "competing_clones_trial.toml")
    clones = Scenario.load(ROOT / "scenarios" / "competing_clones_patients.toml")
    tables = {name: clones.resolved()["scenario"][name] for name in ("model", "drug", "decision", "objective")}
    network = network_document(
        Network(jnp.ones(1), jnp.asarray(first_weights(1, 3, 0)), hidden=3), ["drug"], "clones", {"seed": 0}
    )
    asked, manifest, chunk = _run(folder / "run")
    netcdf = _netcdf(folder / "whole.nc")

    def of_run(path: Path) -> None:
        (folder / "run" / MARKER).write_bytes(path.read_bytes())
        Run(folder / "run", asked).parts(["0.parquet"], lambda: [chunk])

    def of_chunk(path: Path) -> None:
        who = {"patient": range(3), "name": ["p0", "p1", "p2"]}
        joined({path: columns_of(path.read_bytes(), path, who)})

    def of_network(path: Path) -> None:
        regimen = {"name": "trained", "policy": {"kind": "network", "file": path.name}}
        Scenario.from_tables(tables | {"regimen": [regimen]}, "network", folder=path.parent).regimens()

    def of_patients(path: Path) -> None:
        scenario = Scenario.from_tables(tables | {"cohort": {"table": path.name}}, "table", folder=path.parent)
        load_patients(scenario, None, 0)

    def of_draws(path: Path) -> None:
        load_patients(clones, 4, 0, path)

    def scenario(dice: random.Random) -> bytes:
        return damaged_scenario(dice.randrange(10**9)).encode("utf-8", "replace")

    return {
        "scenarios": Kind(20, "scenario.toml", scenario, lambda path: Scenario.load(path).resolved()),
        "events": Kind(20, "doses.csv", _tables(EVENTS), _either),
        "observations": Kind(15, "seen.csv", _tables(OBSERVATIONS), partial(_seen, trial.channels())),
        "patients": Kind(5, "patients.csv", _tables(PATIENTS), of_patients),
        "plates": Kind(15, "plate.csv", _tables(PLATES), lambda path: read_table(path, "plate")),
        "measurements": Kind(5, "table.csv", _tables([text for _, text in TABLES]), _calibrated),
        "draws": Kind(5, "draws.csv", _tables(PATIENTS), of_draws),
        "posteriors": Kind(0.2, "draws.nc", lambda dice: rebyted(netcdf, dice), of_draws),
        "networks": Kind(5, "network.json", lambda dice: damaged_json(network, dice), of_network),
        "runs": Kind(5, "manifest.json", lambda dice: damaged_json(json.loads(manifest), dice), of_run),
        "chunks": Kind(5, "chunk.parquet", lambda dice: rebyted(chunk, dice), of_chunk),
    }


# --- what comes of it -------------------------------------------------------------------------------------------------


class Found(NamedTuple):
    """What came of many inputs: how many there were, how many were read, findings, the slowest [s]."""

    tried: int
    read: int
    findings: tuple[str, ...]
    slowest: float


class TooSlow(BaseException):
    """More than the longest time; no reader catches it."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Seconds of the processor, and twenty times as many of the clock, for what waits."""

    def stop(*_: Any) -> None:
        raise TooSlow

    before = [signal.signal(each, stop) for each in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, 20.0 * seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        for each, handler in zip((signal.SIGPROF, signal.SIGALRM), before, strict=True):
            signal.signal(each, handler)


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _one(kind: Kind, seed: int, inputs: Path) -> tuple[bool, str]:
    """Whether a damaged input was read, and what is wrong about how; empty when nothing is."""
    path, peak = inputs / kind.file, _peak()
    path.write_bytes(kind.damage(random.Random(seed)))
    before, is_read, wrong = sorted(inputs.rglob("*")), False, ""
    try:
        with at_most(LONGEST), warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", TableWarning)
            kind.read(path)
            is_read = True
    except REFUSALS as error:
        said = str(error)
        if "Traceback" in said or not re.search(r"wanted|: ", said):
            wrong = f"says {said[:200]!r}"
    except TooSlow:
        wrong = f"takes more than {LONGEST:g} s"
    except Exception:
        wrong = traceback.format_exc(limit=-3)
    if _peak() - peak > LARGEST:
        wrong += " takes more than a gigabyte"
    if sorted(inputs.rglob("*")) != before:
        wrong += " writes files"
    path.unlink(missing_ok=True)
    return is_read, wrong


def attack(count: int, only: Sequence[str] = (), first: int = 0) -> dict[str, Found]:
    """Try damaged inputs, by kind.

    Args:
        count: how many in all, shared out over the kinds.
        only: names of kinds; all when left out.
        first: seed of the first input of each kind.
    """
    found: dict[str, Found] = {}
    with tempfile.TemporaryDirectory(prefix="adose-fuzz-") as name:
        folder = Path(name)
        chosen = {name: kind for name, kind in kinds(folder).items() if not only or name in only}
        total = sum(kind.share for kind in chosen.values())
        for name, kind in chosen.items():
            inputs = folder / "inputs" / name
            inputs.mkdir(parents=True)
            if name == "scenarios":
                shutil.copytree(ROOT / "scenarios" / "drugs", inputs / "drugs")
            read, findings, slowest = 0, dict[str, str](), 0.0
            tried = max(1, round(count * kind.share / total))
            for seed in range(first, first + tried):
                began = time.process_time()
                is_read, wrong = _one(kind, seed, inputs)
                slowest = max(slowest, time.process_time() - began)
                read += is_read
                if wrong:
                    findings.setdefault(wrong[-300:], f"{name} {seed}: {wrong}")
            found[name] = Found(tried, read, tuple(findings.values()), slowest)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Try damaged inputs and say what was found; 0 where nothing was."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=100_000)
    parser.add_argument("kinds", nargs="*")
    parser.add_argument("--first", type=int, default=0, help="seed of the first input of each kind")
    chosen = parser.parse_args(arguments)
    found = attack(chosen.count, chosen.kinds, chosen.first)
    for name, one in found.items():
        print(f"{name:13} {one.tried:7} tried, {one.read:6} read, {len(one.findings)} findings, {one.slowest:.2f} s")
        for finding in one.findings:
            print(f"  {finding}")
    print(f"{sum(one.tried for one in found.values())} inputs, at most {_peak() / 2**20:.0f} MiB")
    return int(any(one.findings for one in found.values()))


if __name__ == "__main__":
    sys.exit(main())
