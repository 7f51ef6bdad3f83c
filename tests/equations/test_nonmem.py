"""Control streams against the same equations by hand, constructs one by one, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from optimizer.equations.nonmem import read_nonmem
from optimizer.files.faults import DataError
from optimizer.models.equations import Equations

HERE = Path(__file__).parent / "nonmem"
TIMES = np.array([0.5, 2.0, 7.0])


def course(found, given=(), times=TIMES, **numbers):
    """States at days [T, n], the first of them without what was given, by SciPy."""
    known = {name: np.float64(value) for name, value in (found.parameters | numbers).items()}
    model = Equations(known, found.states, found.rates, found.outputs, dict(given), linear=found.states, drugs=("d",))

    def slope(t, y):
        return model.slope(np.float64(t), y, np.ones(1), np)

    return solved(slope, model.start(np), times)


def solved(slope, start, times):
    """Solution at days [T, n]."""
    done = solve_ivp(slope, (0.0, times[-1]), start, method="LSODA", rtol=1e-12, atol=1e-12, t_eval=times)
    assert done.success
    return done.y.T


def same(found, wanted):
    """Whether two courses agree to 1e-8."""
    return np.allclose(found, wanted, rtol=1e-8, atol=1e-8 * np.abs(wanted).max())


def test_integers_are_floating_point_numbers(tmp_path):
    """NM-TRAN writes every constant of abbreviated code as double precision (1 is 1.D0 in its FSUBS): 1/2 is a half."""
    text = (HERE / "oral.ctl").read_text()
    path = tmp_path / "half.ctl"
    path.write_text(text.replace("**0.75", "**(3/4)"))
    assert path.read_text() != text
    found, half = (read_nonmem(file, time_unit="hour", values={"WT": 84.0}) for file in (HERE / "oral.ctl", path))
    given = {"A1": "100*d"}
    assert same(course(half, given), course(found, given))


def test_one_compartment_by_mouth():
    found = read_nonmem(HERE / "oral.ctl", time_unit="hour", values={"WT": 84.0})
    cl, v, ka = 24.0 * 5.2 * (84.0 / 70.0) ** 0.75, 35.0, 24.0 * 1.1

    def by_hand(t, y):
        # An amount of 100 in the depot, of which 0.8 arrive.
        return [-ka * (y[0] + 80.0), ka * (y[0] + 80.0) - cl / v * y[1]]

    assert (found.dosed, found.fractions) == ("A1", {"A1": "0.8"})
    assert same(course(found, {"A1": f"100*{found.fractions['A1']}*d"}), solved(by_hand, [0.0, 0.0], TIMES))
    ke = cl / v
    closed = 80.0 * ka / (ka - ke) * (np.exp(-ke * TIMES) - np.exp(-ka * TIMES))
    assert np.allclose(solved(by_hand, [0.0, 0.0], TIMES)[:, 1], closed, rtol=1e-8, atol=1e-9)
    assert found.cohort["vary"] == [
        {"key": "model.parameters.ETA1", "distribution": "normal", "sd": pytest.approx(0.3)},
        {"key": "model.parameters.ETA2", "distribution": "normal", "sd": pytest.approx(0.2)},
    ]
    [correlation] = found.cohort["correlation"]
    assert correlation["keys"] == ["model.parameters.ETA1", "model.parameters.ETA2"]
    assert correlation["value"] == pytest.approx(0.03 / 0.3 / 0.2)
    assert found.title == "One compartment, taken by mouth"
    assert [note.partition(",")[0] for note in found.notes] == ["$ERROR at line 12", "$DATA at line 3"]


def test_two_compartments_infused():
    found = read_nonmem(HERE / "infusion.ctl", time_unit="day")
    cl, v1, q, v2 = 2.4, 18.0, 1.7, 44.0

    def by_hand(t, y):
        # 30 a day, from the start on: what was given so far is beside the state.
        central = y[0] + 30.0 * t
        return [-cl / v1 * central - q / v1 * central + q / v2 * y[1], q / v1 * central - q / v2 * y[1]]

    known = {name: np.float64(value) for name, value in found.parameters.items()}
    model = Equations(known, found.states, found.rates, found.outputs, {"A1": "d"}, linear=["A1", "A2"], drugs=("d",))
    ours = solved(lambda t, y: model.slope(np.float64(t), y, np.array([30.0 * t]), np), [0.0, 0.0], TIMES)
    assert same(ours, solved(by_hand, [0.0, 0.0], TIMES))


@pytest.mark.parametrize("sex", [0.0, 1.0])
def test_growth_inhibition(sex):
    found = read_nonmem(HERE / "tumor.ctl", time_unit="week", values={"SEX": sex})
    kg, ke = 0.021 * (1.2 if sex else 1.0), np.log(2.0) / 1.5
    kd = 0.25 / 2 + 0.001 if sex else 0.25

    def by_hand(t, y):
        # Per week, with 600 in the central compartment.
        week = t / 7.0
        cp = (y[1] + 600.0) / 12.0
        kill = kd * cp * np.exp(-0.012 * week) * y[0]
        grown = kg * y[0] * (1.0 - (y[0] / 3e3) ** 0.25)
        return np.array([grown - kill, -ke * (y[1] + 600.0), kill - 0.05 * y[2]]) / 7.0

    assert (found.dosed, found.states) == ("A2", {"A1": "THETA5 * exp(ETA2)", "A2": 0.0, "A3": 0.0})
    assert same(course(found, {"A2": "600*d"}), solved(by_hand, [180.0, 0.0, 0.0], TIMES))
    # The last value of a variable has its name.
    assert {"KG", "KG_1", "KD", "KD_1", "CP", "KILL"} <= found.outputs.keys()
    # Another patient begins at another size.
    assert course(found, times=np.array([1e-9]), ETA2=0.5)[0, 0] == pytest.approx(180.0 * np.exp(0.5))


STREAM = "$PROBLEM a\n$SUBROUTINES {}\n$PK\n{}\n$THETA {}\n"
CLOSED = {
    "ADVAN1 TRANS1": ("K=THETA(1)", "0.3", [[-0.3]]),
    "ADVAN1 TRANS2": ("CL=THETA(1)\nV=THETA(2)", "3 5", [[-0.6]]),
    "ADVAN2": ("KA=THETA(1)\nK=THETA(2)", "2 0.3", [[-2.0, 0.0], [2.0, -0.3]]),
    "ADVAN3": ("K=0.2\nK12=0.5\nK21=0.4", "", [[-0.7, 0.4], [0.5, -0.4]]),
    "ADVAN3 TRANS3": ("CL=2\nV=5\nQ=1\nVSS=15", "", [[-0.6, 0.1], [0.2, -0.1]]),
    "ADVAN4 TRANS4": (
        "KA=2\nCL=2\nV2=5\nQ=1\nV3=10",
        "",
        [[-2.0, 0.0, 0.0], [2.0, -0.6, 0.1], [0.0, 0.2, -0.1]],
    ),
    "ADVAN4 TRANS3": ("KA=2\nCL=2\nV=5\nQ=1\nVSS=15", "", [[-2.0, 0.0, 0.0], [2.0, -0.6, 0.1], [0.0, 0.2, -0.1]]),
    "ADVAN11 TRANS4": (
        "CL=2\nV1=5\nQ2=1\nV2=10\nQ3=0.5\nV3=20",
        "",
        [[-0.7, 0.1, 0.025], [0.2, -0.1, 0.0], [0.1, 0.0, -0.025]],
    ),
    "ADVAN12 TRANS4": (
        "KA=2\nCL=2\nV2=5\nQ3=1\nV3=10\nQ4=0.5\nV4=20",
        "",
        [[-2.0, 0.0, 0.0, 0.0], [2.0, -0.7, 0.1, 0.025], [0.0, 0.2, -0.1, 0.0], [0.0, 0.1, 0.0, -0.025]],
    ),
}


@pytest.mark.parametrize("advan", CLOSED)
def test_advans_are_their_matrix(tmp_path, advan):
    code, theta, matrix = CLOSED[advan]
    path = tmp_path / "a.ctl"
    path.write_text(STREAM.format(advan, code, theta or "1"))
    found = read_nonmem(path, time_unit="day")
    size = len(matrix)
    # One unit in each compartment in turn.
    doses = {f"A{i + 1}": f"{i + 1}*d" for i in range(size)}
    given = np.arange(1.0, size + 1.0)
    ours = course(found, doses) + given
    assert same(ours, np.array([expm(t * np.array(matrix)) @ given for t in TIMES]))


def read(tmp_path, text, **more):
    """The model of a text."""
    path = tmp_path / "a.ctl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_nonmem(path, time_unit="day", **more)


def test_words_of_fortran(tmp_path):
    code = "K = DEXP(-1.5D0)*MAX(0.1,.2)**2 + 1.E0/2 - LOG10(1.0E2) + SQRT(4.)\nIF (K.GE.0.2.OR.K/=K) K = K + 1"
    found = read(tmp_path, STREAM.format("ADVAN1", code.replace("DEXP", "dexp"), "1"))
    k = np.exp(-1.5) * 0.04 + 0.5 - 2.0 + 2.0
    assert course(found, {"A1": "d"})[-1, 0] + 1.0 == pytest.approx(np.exp(-7.0 * (k + 1.0)), rel=1e-6)


def test_a_variable_that_is_called_as_a_state(tmp_path):
    model = "$PROB a\n$SUBS ADVAN6\n$MODEL COMP=(ONE) COMP=(DEPOT)\n$PK\nA1=2\nTHETA1=A1\n$DES\n"
    found = read(tmp_path, model + "DADT(1)=-A1*A(1)+THETA(1)*A(2)\nDADT(2)=-THETA1*A(2)\n$THETA 3\n")
    assert found.states == {"A1_": 0.0, "A2": 0.0}
    assert found.rates["A1_"] == "(-A1) * A1_ + THETA1_ * A2"
    assert (found.parameters, found.dosed) == ({"THETA1_": 3.0}, "A2")


def test_a_level_from_elsewhere_is_a_control(tmp_path):
    text = "$PROB a\n$SUBS ADVAN13\n$MODEL COMP=(T)\n$PK\nA_0(1)=5\n$DES\nDADT(1)=(0.1-CP*THETA(1))*A(1)\n$THETA 2\n"
    found = read(tmp_path, text, control=["CP"])
    assert (found.states, found.parameters) == ({"A1": "5.0"}, {"THETA1": 2.0})
    assert "CP" in found.rates["A1"]


def test_a_start_that_hangs_on_a_control_is_refused(tmp_path):
    with pytest.raises(DataError, match="wanted A_0 and F1 without controls; got CP"):
        read(tmp_path, STREAM.format("ADVAN1", "K=1\nF1=CP", "1"), control=["CP"])


def test_omegas(tmp_path):
    records = "$OMEGA DIAGONAL(2) 0.04 0.09 FIX\n$OMEGA BLOCK(2)\n0.25\n0.1 0.16\n$OMEGA BLOCK(2) SAME\n$OMEGA 0 FIX\n"
    code = "K = 1\n" + "\n".join(f"E{i} = ETA({i})" for i in range(1, 8)) + "\nK = K*EXP(E1+E2+E3+E4+E5+E7)"
    found = read(tmp_path, STREAM.format("ADVAN1", code, "1") + records)
    spread = {entry["key"].removeprefix("model.parameters."): entry["sd"] for entry in found.cohort["vary"]}
    wanted = {"ETA1": 0.2, "ETA2": 0.3, "ETA3": 0.5, "ETA4": 0.4, "ETA5": 0.5, "ETA6": 0.4}
    assert spread == pytest.approx(wanted)
    assert [entry["value"] for entry in found.cohort["correlation"]] == pytest.approx([0.5, 0.5])
    assert found.parameters["ETA7"] == 0.0


BODY = "$PROBLEM a\n$SUBROUTINES ADVAN1\n$PK\nK=1\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a record $SUBROUTINES with an ADVAN; got none"),
        ("hello", "line 1: wanted a control stream, which begins with a record such as $PROBLEM; got hello"),
        (b"\xff\xfe", "wanted UTF-8 text; got the byte 0xff"),
        (BODY + "$PRED\nY=1\n", "line 5: wanted one of the records $PROBLEM"),
        (BODY + "$INCLUDE /etc/passwd\n", "got $INCLUDE"),
        (BODY + "$MIX\n", "got $MIX"),
        (BODY + '"FIRST\n', 'line 5: wanted no verbatim code; got "FIRST'),
        (BODY + "CALL SIMETA(ETA)\n", "line 5: wanted NAME = EXPRESSION, A_0(1) = in $PK, DADT(1) = in $DES, or IF"),
        (BODY + "EXIT 1 2\n", "line 5: wanted NAME = EXPRESSION"),
        (BODY + "X = WT\n", "line 5: wanted names that are defined above; parameters = { WT = ... } gives"),
        (BODY + "X = THETA(2)\n$THETA 1\n", "line 5: wanted names that are defined above; got THETA2"),
        (BODY + "X = A(1)\n", "line 5: wanted names that are defined above; got A1"),
        (BODY + "X = GAMLN(K)\n", 'line 5: wanted one of the functions abs, and, cos'),
        (BODY + "X = MOD(K,2)\n", 'got "MOD"'),
        (BODY + "ALAG1 = 0.5\n", "line 5: wanted a name that is free (no lag, time, covariate or control); got ALAG1"),
        (BODY + "DADT(1) = 2\n", "line 5: wanted NAME = EXPRESSION"),
        (BODY + "IF (K) X = 2\n", "line 5: wanted a condition as argument 2 of piecewise; got a number"),
        (BODY + "IF (K.GT.1) THEN\nX = 2\n", "line 3: wanted ENDIF for each IF in $PK; got none"),
        (BODY + "$PROBLEM b\n", "line 5: wanted one $PROBLEM, and $DES beside ADVAN6, 8, 9, 13 or 14; got $PROBLEM"),
        (BODY + "$DES\nDADT(1)=1\n", "line 5: wanted one $PROBLEM, and $DES beside ADVAN6, 8, 9, 13 or 14; got $DES"),
        (BODY + "$SUBS TRANS4\n", "got ADVAN1 TRANS4"),
        (BODY + "ENDIF\n", "line 5: wanted IF above; got none"),
        (BODY + "X = .NOT.K\n", "line 5: wanted names, numbers"),
        (BODY.replace("ADVAN1", "ADVAN10"), "line 2: wanted ADVAN1 to 4, 11 or 12 with its TRANS1 to 4"),
        (BODY.replace("ADVAN1", "ADVAN1 TRANS4"), "got ADVAN1 TRANS4"),
        (BODY.replace("ADVAN1", "ADVAN1 PK=mine.f90"), "no code of its own; got ADVAN1 PK=MINE.F90"),
        (BODY.replace("ADVAN1", "ADVAN6"), "wanted 1 to 99 compartments in $MODEL; got 0"),
        (BODY.replace("ADVAN1", "ADVAN2"), "line 2: wanted names that are defined above; parameters = { KA = ... }"),
        (BODY + "$THETA (0,1,2,3)\n", "line 5: wanted (value), (low, value) or (low, value, high) in $THETA"),
        (BODY + "$THETA (0,,2)\n", "line 5: wanted (value), (low, value)"),
        (BODY + "$THETA one\n", "line 5: wanted numbers of $THETA, such as (0, 5, 10) or 5 FIX; got one"),
        (BODY + "$THETA 1x9\n", "got 1x9"),
        (BODY + "$THETA (1)x99999999\n", "at most 400 numbers of $THETA"),
        (BODY + "$OMEGA 0.3 SD\n", "line 5: wanted variances and covariances in $OMEGA; got SD"),
        (BODY + "$OMEGA BLOCK(2) 1 2\n", "line 5: wanted 3 numbers of BLOCK(2); got 2"),
        (BODY + "$OMEGA BLOCK(1) SAME\n", "line 5: wanted SAME behind a block; got none before"),
        (BODY + "$OMEGA -1\n", "line 5: wanted at most 400 variances in $OMEGA, none below 0"),
        (BODY + "X = " + "(" * 5000 + "K" + ")" * 5000 + "\n", "line 5: wanted at most 60 brackets in each other"),
        (BODY + "X = " + "K+" * 50_000 + "K\n", "line 5: wanted at most 20000 characters; got 100001"),
        (BODY + "".join("K=K*K+K\n" for _ in range(2000)) + "F1 = K\n", "wanted equations"),
        (BODY + "X" * 2_000_000, "wanted at most 1048576 bytes"),
    ],
)  # fmt: skip
def test_refused(tmp_path, text, said):
    with pytest.raises(DataError) as refused:
        read(tmp_path, text)
    assert str(refused.value).startswith("a.ctl: ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_the_unit_of_time_is_asked_for(tmp_path):
    with pytest.raises(DataError, match=r'wanted time_unit, such as "hour", as the stream does not say'):
        read_nonmem(HERE / "oral.ctl")
    with pytest.raises(DataError, match="time_unit: wanted"):
        read_nonmem(HERE / "oral.ctl", time_unit="month")
