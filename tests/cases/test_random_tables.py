"""Random dosing tables in the words of clinics and NONMEM against superposed closed forms (slow)."""

import math
import random
import warnings

import numpy as np
import pytest

from optimizer.cli.schedule import from_table
from optimizer.files.faults import TableWarning
from optimizer.search.audit import dense
from tests.cases.test_tables import scenario

VOLUME, K, KA, LAG, SHARE, HORIZON = 20.0, 26.4 / 20.0, 9.0, 0.4, 0.7, 28.0
K12, K21 = 12.0 / 20.0, 12.0 / 30.0
PKS = {
    "one": {},
    "oral": {"kind": "oral", "absorption": f"{KA} / day", "lag": f"{LAG} day", "bioavailability": SHARE},
    "two": {"kind": "two_compartment", "peripheral_volume": "30 L", "exchange": "12 L/day"},
}


def exponentials(kind: str) -> list[tuple[float, float]]:
    """The level after a unit bolus [1/L] as a sum of weights times exp(-rate t)."""
    if kind == "one":
        return [(1.0 / VOLUME, K)]
    if kind == "oral":
        size = SHARE * KA / (VOLUME * (KA - K))
        return [(size, K), (-size, KA)]
    total = K + K12 + K21
    root = math.sqrt(total**2 - 4.0 * K * K21)
    fast, slow = 0.5 * (total + root), 0.5 * (total - root)
    return [((fast - K21) / (fast - slow) / VOLUME, fast), ((K21 - slow) / (fast - slow) / VOLUME, slow)]


def levels(kind: str, times: np.ndarray, given: list[tuple[float, float, float]]) -> np.ndarray:
    """Concentration [mg/L] of doses (day, amount, duration)."""
    out = np.zeros_like(times)
    for day, amount, lasts in given:
        since = times - day - (LAG if kind == "oral" else 0.0)
        for weight, rate in exponentials(kind):
            if lasts:
                filled = [-np.expm1(-rate * np.maximum(since - end, 0.0)) / rate for end in (0.0, lasts)]
                out += amount / lasts * weight * (filled[0] - filled[1])
            else:
                out += np.where(since >= 0.0, amount * weight * np.exp(-rate * np.maximum(since, 0.0)), 0.0)
    return out


def written(dice: random.Random, infused: bool) -> tuple[bytes, list[tuple[float, float, float]]]:
    """A table, and its doses (day, amount, duration); some of the other route."""
    hours, (separator, comma) = (
        dice.random() < 0.4,
        dice.choice([(",", False), (";", True), (";", False), ("\t", False)]),
    )
    scale = 24.0 if hours else 1.0
    time = dice.choice(["TIME [h]", "time_h", "Time (hours)"] if hours else ["TIME", "time_day", "TIME [d]"])
    rows, given = (
        [[time, dice.choice(["AMT", "Amt [mg]"]), "EVID", "RATE", dice.choice(["DUR", "TINF"]), "II", "ADDL"]],
        [],
    )

    def number(value: float) -> str:
        text = repr(round(value, 9))
        return text.replace(".", ",") if comma else text

    for _ in range(dice.randint(1, 5)):
        day = round(24.0 * dice.choice([0.0, dice.uniform(0.0, 20.0)])) / 24.0
        amount = round(dice.uniform(1.0, 500.0), 2)
        lasts = dice.choice([0.25, 0.5, 1.0, 2.0]) if infused ^ (dice.random() < 0.2) else 0.0
        every = dice.choice([0.0, 0.25, 0.5, 1.0, 7.0])
        more = dice.choice([1, 3, 6, 200]) if every else 0
        rate, length = dice.choice(["0", ".", ""]), dice.choice([".", "0", "NA"])
        if lasts:
            rate, length = dice.choice([(number(amount / lasts / scale), "."), ("-2", number(lasts * scale))])
        rows.append([number(day * scale), number(amount), "1", rate, length, number(every * scale), str(more)])
        if dice.random() < 0.2:
            rows.append([number(day * scale), ".", "0", "0", "0", "0", "0"])
        given += [(day + k * every, amount, lasts) for k in range(more + 1) if day + k * every < HORIZON - 1e-9]
    text = dice.choice(["\n", "\r\n", "\r"]).join([*(separator.join(row) for row in rows), ""])
    return text.encode(dice.choice(["utf-8", "utf-8-sig", "utf-16"])), given


@pytest.mark.slow
@pytest.mark.parametrize("route", ["bolus", "infusion"])
@pytest.mark.parametrize("kind", PKS)
def test_random_tables_are_superposed_closed_forms(tmp_path, kind, route):
    own = scenario(route, PKS[kind])
    problem, path = own.problem(), tmp_path / "doses.csv"
    for seed in range(12):
        data, given = written(random.Random(f"{kind} {route} {seed}"), route == "infusion")
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TableWarning)
            _, regimen = from_table(own, problem, path, None)
        trajectory, _ = dense(problem, np.asarray(regimen.policy.doses), regimen.grid)
        times, found = np.asarray(trajectory.times), np.asarray(trajectory.conc)[:, 0]
        jumps = np.array([day + end for day, _, lasts in given for end in (0.0, lasts)])
        jumps += LAG if kind == "oral" else 0.0
        smooth = np.abs(times[:, None] - jumps).min(axis=1) > 1e-6
        right = levels(kind, times[smooth], given)
        assert found[smooth] == pytest.approx(right, rel=1e-6, abs=1e-9 * right.max()), data
