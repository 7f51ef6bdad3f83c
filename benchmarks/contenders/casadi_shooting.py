"""The main scenario as a script with CasADi and IPOPT: multiple shooting, RK4, weekly boluses.

Model (Kraut et al. 2025, doi 10.1038/s41540-025-00495-0; here in day, cell, ug/mL, pg/mL) with two clones under
one carrying capacity K:

    (log C_i)' = Rmin + (Rmax_i - Rmin) / (1 + (D / D50_i(G))^k) - Rmax_i N / K        D' = -dD D
    G' = (dG + bG S) (Gbar(D) - G)

The last line is the paper's equation for a constant stroma, where its clamp never acts. Its rate is 144/day, so
that RK4 is stable only with steps below half an hour. `--growth-factor full` takes such steps; `quasi-steady`,
the default, does what most people would do on seeing the rate: it sets G = Gbar(D), which changes the objective
in the fifth digit and is many times faster.

Minimized: time average of log10(N + 1) + 0.3 log10(C_resistant + 1), plus 0.05 times the mean of dose / 3, over
180 days with a dose every 7 days, each in [0, 3] ug/mL, their sum at most 26 ug/mL.

    python -m benchmarks.contenders.casadi_shooting --out schedule.csv
"""

import time

STARTED = time.perf_counter()  # before the imports: a user waits for them too

import argparse  # noqa: E402
import csv  # noqa: E402
import json  # noqa: E402

import casadi as ca  # noqa: E402
import numpy as np  # noqa: E402

DAY = 24.0  # hour
HORIZON, EVERY = 180.0, 7.0  # day
DOSE_MAX, BUDGET = 3.0, 26.0  # ug/mL
CELLS = np.array([1e8, 1e3])  # sensitive, resistant
RMAX = np.array([0.0147, 0.006]) * DAY  # 1/day
RMIN = -0.0079 * DAY  # 1/day
EC50_MAX = np.array([7.34, 73.4])  # ug/mL
HILL, SHIFT_SLOPE, SHIFT_MIDPOINT = 0.93, 0.0078, 379.4  # 1, mL/pg, pg/mL
CAPACITY = 1e9  # cell
STROMA = 1000.0  # cell
G_MAX, SECRETION_SLOPE, SECRETION_MIDPOINT = 27.1, 65.7, 0.0049  # pg/mL, mL/ug, ug/mL
G_DECAY, G_PRODUCTION = 5.0 * DAY, 0.001 * DAY  # 1/day, 1/(cell day)
ELIMINATION = 0.006 * DAY  # 1/day
RESISTANCE_WEIGHT, DRUG_WEIGHT = 0.3, 0.05
RK4_STEPS = {"quasi-steady": 14, "full": 504}  # a dosing interval


def steady_growth_factor(drug):
    return G_MAX / (1 + ca.exp(-SECRETION_SLOPE * (drug - SECRETION_MIDPOINT)))


def right_hand_side(full):
    """CasADi function of the state [log cells (2), D, G when full] -> (its derivative, running cost)."""
    x, drug, factor = ca.SX.sym("x", 2), ca.SX.sym("D"), ca.SX.sym("G")
    steady = steady_growth_factor(drug)
    g = factor if full else steady
    ec50 = EC50_MAX / (1 + ca.exp(-SHIFT_SLOPE * (g - SHIFT_MIDPOINT)))
    cells = ca.exp(x)
    crowding = ca.sum1(cells) / CAPACITY
    growth = RMIN + (RMAX - RMIN) / (1 + (drug / ec50) ** HILL) - RMAX * crowding
    cost = ca.log10(ca.sum1(cells) + 1) + RESISTANCE_WEIGHT * ca.log10(cells[1] + 1)
    state, slope = [x, drug], [growth, -ELIMINATION * drug]
    if full:
        state.append(factor)
        slope.append((G_DECAY + G_PRODUCTION * STROMA) * (steady - factor))
    return ca.Function("f", [ca.vertcat(*state)], [ca.vertcat(*slope), cost])


def shooting_interval(f, length, steps):
    """CasADi function (state, dose) -> (state after `length` days, integral of the cost), RK4."""
    start, dose = ca.SX.sym("start", f.size1_in(0)), ca.SX.sym("dose")
    h = length / steps
    y, integral = ca.SX.sym("y", start.shape), ca.SX.sym("q")
    k1, q1 = f(y)
    k2, q2 = f(y + h / 2 * k1)
    k3, q3 = f(y + h / 2 * k2)
    k4, q4 = f(y + h * k3)
    step = ca.Function(
        "step",
        [ca.vertcat(y, integral)],
        [ca.vertcat(y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), integral + h / 6 * (q1 + 2 * q2 + 2 * q3 + q4))],
    )
    jump = ca.vertcat(ca.SX.zeros(2), dose, ca.SX.zeros(start.shape[0] - 3))
    end = ca.vertcat(start + jump, 0)
    for _ in range(steps):
        end = step(end)
    return ca.Function("interval", [start, dose], [end[:-1], end[-1]])


def build(full):
    """(solver, its bounds, function from K doses to a simulated start) of the nonlinear program."""
    starts = np.arange(0.0, HORIZON, EVERY)
    lengths = np.diff(np.append(starts, HORIZON))
    k = len(starts)
    f = right_hand_side(full)
    steps = RK4_STEPS["full" if full else "quasi-steady"]
    whole = shooting_interval(f, lengths[0], steps)
    last = shooting_interval(f, lengths[-1], steps)
    first = np.append(np.log(CELLS), [0.0, 0.0] if full else [0.0])
    size = len(first)

    doses, states = ca.MX.sym("doses", k), ca.MX.sym("states", size, k - 1)
    begins = ca.horzcat(ca.DM(first), states)
    ends, costs = whole.map(k - 1)(begins[:, :-1], doses[:-1].T)
    _, cost = last(begins[:, -1], doses[-1])
    objective = (ca.sum2(costs) + cost) / HORIZON + DRUG_WEIGHT * ca.sum1(doses) / (k * DOSE_MAX)
    gaps = ca.vec(ends - states)
    nlp = {"x": ca.vertcat(doses, ca.vec(states)), "f": objective, "g": ca.vertcat(gaps, ca.sum1(doses))}
    low_state = np.tile(np.append([-np.inf, -np.inf], np.zeros(size - 2)), k - 1)
    bounds = {
        "lbx": np.append(np.zeros(k), low_state),
        "ubx": np.append(np.full(k, DOSE_MAX), np.full(low_state.shape, np.inf)),
        "lbg": np.append(np.zeros(gaps.shape[0]), -np.inf),
        "ubg": np.append(np.zeros(gaps.shape[0]), BUDGET),
    }
    options = {"print_time": False, "ipopt": {"print_level": 0, "sb": "yes", "bound_relax_factor": 0.0}}
    solver = ca.nlpsol("solver", "ipopt", nlp, options)

    def simulated(guess):
        state, path = first, []
        for dose in guess[:-1]:
            state, _ = whole(state, dose)
            path.append(state)
        return np.append(guess, np.array(ca.vertcat(*path)).ravel())

    return solver, bounds, simulated, starts


def solve(full, starts, seed):
    """Best (objective, doses, dose times, number of converged starts): the even schedule, then random ones."""
    solver, bounds, simulated, times = build(full)
    rng = np.random.default_rng(seed)
    best, doses, converged = np.inf, None, 0
    for index in range(starts):
        guess = np.ones(len(times)) if index == 0 else rng.uniform(0, 2, len(times))
        guess = guess * min(1.0, BUDGET / guess.sum())
        out = solver(x0=simulated(guess), **bounds)
        if solver.stats()["success"]:
            converged += 1
            if float(out["f"]) < best:
                best, doses = float(out["f"]), np.array(out["x"]).ravel()[: len(times)]
    if doses is None:
        raise SystemExit("IPOPT did not converge from any start")
    doses = np.clip(doses, 0, DOSE_MAX)
    return best, doses * min(1.0, BUDGET / doses.sum()), times, converged


def main():
    parser = argparse.ArgumentParser(description="Weekly doses of the main scenario by CasADi and IPOPT.")
    parser.add_argument("--out", required=True, help="CSV file for the schedule: time [day], dose [ug/mL]")
    parser.add_argument("--growth-factor", choices=list(RK4_STEPS), default="quasi-steady")
    parser.add_argument("--starts", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    objective, doses, times, converged = solve(options.growth_factor == "full", options.starts, options.seed)
    with open(options.out, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time_day", "dose_ug_per_mL"])
        writer.writerows((float(t), float(d)) for t, d in zip(times, doses, strict=True))
    seconds = time.perf_counter() - STARTED
    print(json.dumps({"objective": objective, "seconds": round(seconds, 3), "converged": converged}))


if __name__ == "__main__":
    main()
