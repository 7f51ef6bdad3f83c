"""The mutants of `tests.mutants`: by room, what is changed from what to what, and the tests that must fail of it."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """A wrong change.

    Attributes:
        room: what it belongs to.
        what: in words.
        old: text that stands once in the package.
        new: what it becomes.
        tests: arguments of pytest; those that must fail.
    """

    room: str
    what: str
    old: str
    new: str
    tests: tuple[str, ...]


AUDIT = ("tests/search/test_audit.py",)
CASES = ("tests/cases/test_numbers.py",)
LIMITS = ("tests/constraints/test_limits.py",)
KINETICS = ("tests/pharmacology/test_kinetics.py",)
GROWTH = ("tests/models/test_growth.py",)
EXACT = ("tests/exact/test_exact.py",)
PARTS = ("tests/search/test_parts.py",)
EVENTS = ("tests/files/test_events.py",)
MEASURED = ("tests/calibrate/test_tables.py",)
UNITS = ("tests/test_units.py",)
RUNS = ("tests/files/test_run_directory.py",)
RISK = ("tests/ensemble/test_risk.py",)
BOUNDS = ("tests/analysis/test_bounds_and_arcs.py", "-k", "containment or bound or arcs")
INTERACTIONS = ("tests/pharmacology/test_interactions.py",)
PROGRESSION = ("tests/laws/test_progression.py",)
OBSERVED = ("tests/observations/test_observations.py",)
OUTCOME = ("tests/test_outcome.py",)
FACTS = ("tests/facts/test_facts.py",)
STEEP = ("tests/simulate/test_steep_curves.py", "-k", "20")


def _cases(words: str) -> tuple[str, ...]:
    """Some of the cases, by what stands in their names."""
    return (*CASES, "-k", words)


MUTANTS = (
    # --- audit and outcome --------------------------------------------------------------------------------------------
    Mutant("audit", "the audit ignores the objective difference", "and abs(difference) <= TOLERANCE", "", AUDIT),
    Mutant(
        "audit",
        "the audit ignores the gradient",
        "slopes <= GRADIENT_TOLERANCE + error)",
        "slopes <= 1e9)",
        AUDIT,
    ),
    Mutant(
        "audit",
        "the audit ignores the constraints",
        "and all(abs(d) <= TOLERANCE for d in by_name.values())",
        "",
        AUDIT,
    ),
    Mutant("audit", "a failed solve passes", "        audited.finite\n        and", "        True\n        and", AUDIT),
    Mutant(
        "audit",
        "an unconverged point is solved",
        "if not is_close(choice.left, record.tolerance, record.spread):",
        "if False:",
        AUDIT,
    ),
    Mutant(
        "audit",
        "a failed audit is solved",
        "    if not checked.passed:\n        return Status.AUDIT_FAILED, difference(checked)\n    if not is_close",
        "    if not is_close",
        AUDIT,
    ),
    Mutant("audit", "differences know no error of their own", "_UNSETTLED = 8.0", "_UNSETTLED = 0.0", AUDIT),
    Mutant("audit", "extrapolation by the wrong order", "(4.0**order - 1.0)", "(2.0**order - 1.0)", AUDIT),
    Mutant(
        "audit",
        "steps do not fit the dose",
        "doses * (1.0 + sign * step * way)",
        "doses + sign * step * way * scale",
        _cases("step_of_the_audit"),
    ),
    Mutant("audit", "a loose audit", "RTOL = 1e-9", "RTOL = 1e-4", _cases("steep")),
    Mutant(
        "audit",
        "doses do not wait for their lag",
        "boluses.append((j, times + lag, sizes))",
        "boluses.append((j, times + lag, 0.5 * sizes))",
        _cases("in_a_queue"),
    ),
    Mutant(
        "audit",
        "infusions do not wait",
        "infusions.append((j, starts + lag, ends + lag, speeds))",
        "infusions.append((j, starts, ends, speeds))",
        _cases("infusion_waits or what_is_simulated"),
    ),
    Mutant(
        "audit",
        "the queue is not used",
        "if isinstance(policy, Schedule) and overtakes(",
        "if False and overtakes(",
        _cases("in_a_queue"),
    ),
    Mutant(
        "audit",
        "an interval's rate is forgotten",
        "p.field(s, r) for p, s, r",
        "p.field(s, 0.0 * r) for p, s, r",
        _cases("infusion_waits or what_is_simulated"),
    ),
    Mutant(
        "audit",
        "a crossing is a saved time",
        "return _root(_polynomial(times, values, stop - 1, stop), level",
        "return float(times[stop])\n    return _root(_polynomial(times, values, stop - 1, stop), level",
        _cases("crossings_and"),
    ),
    Mutant(
        "audit",
        "a hidden crossing is missed",
        "            if most > level:\n",
        "            if False:\n",
        _cases("crossings_and"),
    ),
    Mutant(
        "audit",
        "a peak is a saved value",
        "most = max(most, _highest(",
        "most = max(most, 0.0 * _highest(",
        _cases("crossings_and"),
    ),
    Mutant(
        "audit",
        "polynomials pass corners",
        "right = last + 1 < len(times) and times[last + 1] > times[last]",
        "right = last + 1 < len(times)",
        _cases("crossings_and or progression"),
    ),
    Mutant(
        "audit",
        "progression is interpolated",
        "terms = dict(terms) | {",
        "terms = dict(terms) or {",
        _cases("progression_is_read"),
    ),
    Mutant(
        "audit",
        "less than one cell goes without a word",
        "few = burden < 1.0",
        "few = burden < 0.0",
        _cases("less_than"),
    ),
    Mutant("audit", "overflow is a solver's fault", "> _HUGE:", "> 1e308:", _cases("out_of_the_range")),
    Mutant(
        "outcome",
        "the first step to treatment counts twice",
        "int(np.sum(on[1:] != on[:-1]))",
        "int(np.sum(on[1:] != on[:-1])) + 1",
        OUTCOME,
    ),
    Mutant(
        "outcome",
        "rates count without their length",
        "doses * lengths, doses), axis=0)",
        "doses, doses), axis=0)",
        OUTCOME,
    ),
    Mutant("outcome", "boluses treat until the next edge", "np.isin(owner, owner[given])", "given", CASES),
    Mutant(
        "outcome",
        "doses off the grid count for their interval",
        "decided = _on_decisions(self, trajectory.doses, grid)",
        "decided = trajectory.doses",
        CASES,
    ),
    # --- limits -------------------------------------------------------------------------------------------------------
    Mutant(
        "limits",
        "off the grid the sum is not judged",
        "own.total if self.window is None",
        "0.0 if self.window is None",
        LIMITS,
    ),
    Mutant(
        "limits",
        "windows begin at events alone",
        "first = np.r_[events, events - self.window]",
        "first = events",
        LIMITS,
    ),
    Mutant("limits", "a window holds its end", "+ (SAME if closed else -SAME)", "+ SAME", LIMITS),
    Mutant(
        "limits",
        "rolling windows are forgotten on the grid",
        "starts = begins[:1] if self.window is None else begins",
        "starts = begins[:1]",
        LIMITS,
    ),
    Mutant(
        "limits",
        "a rate counts once in a sum",
        'lengths if self.routes[self.column(drug)] == "infusion" else np.ones_like(lengths)',
        "np.ones_like(lengths)",
        LIMITS,
    ),
    Mutant(
        "limits",
        "steps down are free",
        "for sign in (1.0, -1.0):\n                used",
        "for sign in (1.0,):\n                used",
        LIMITS,
    ),
    Mutant(
        "limits",
        "steps of rates are free off the grid",
        "np.abs(np.diff(after, prepend=0.0)), 0.0)",
        "0.0, 0.0)",
        LIMITS,
    ),
    Mutant("limits", "unlike boluses are not judged", "over = step > self.limit or", "over =", LIMITS),
    Mutant("limits", "rests come once", "(since + SAME) % self.every - SAME", "since", LIMITS),
    Mutant(
        "limits",
        "an infusion flows on into a rest",
        "there = np.r_[own.rate(begins), own.doses",
        "there = np.r_[own.doses",
        LIMITS,
    ),
    Mutant(
        "limits",
        "rests are not kept by the search",
        "            frame.upper[inside, j] = 0.0",
        "            pass",
        LIMITS,
    ),
    Mutant(
        "limits",
        "a smallest dose is not asked for",
        "lower[inside] = np.maximum(lower[inside], self.minimum)",
        "pass",
        LIMITS,
    ),
    Mutant("limits", "levels need not be met", "away = np.abs(doses - nearest) / doses", "away = 0.0 * doses", LIMITS),
    Mutant(
        "limits",
        "a limit without a meaning holds",
        'name, float("nan"), limit, 0.0, is_checked=False',
        "name, 0.0, limit, 0.0",
        LIMITS,
    ),
    Mutant("limits", "sums hold in floats", "(over >= -doubt and _exceeds(row, doses))", "over > 0.0", PARTS),
    Mutant("limits", "traces stay", "_TRACE, _FREE = 1e-3, 1e-6", "_TRACE, _FREE = 0.0, 1e-6", PARTS),
    Mutant("limits", "traces go at any price", "_TRACE, _FREE = 1e-3, 1e-6", "_TRACE, _FREE = 1e-3, 1e6", PARTS),
    Mutant(
        "limits", "traces go against a limit", "if free[i] and satisfies(unleveled, candidates[i])", "if free[i]", PARTS
    ),
    # --- search -------------------------------------------------------------------------------------------------------
    Mutant(
        "search",
        "active limits are not seen",
        "-identity[:, free & (shares - lower <= _ACTIVE * width)]",
        "-identity[:, free & (shares - lower < 0.0)]",
        PARTS,
    ),
    Mutant(
        "search",
        "multipliers of any sign",
        "multipliers, _ = nnls(active, -slope)",
        "multipliers = np.linalg.lstsq(active, -slope, rcond=None)[0]",
        PARTS,
    ),
    Mutant(
        "search",
        "a saddle is an optimum",
        "done = done & (lowest > -1e-6 * jnp.maximum(1.0, scale))",
        "done = done",
        PARTS,
    ),
    Mutant("search", "the worst is the mean", "return float(np.max(values))", "return float(np.mean(values))", RISK),
    Mutant(
        "search",
        "a share of the wrong tail",
        "larger / len(ordered) / (1.0 - alpha)",
        "larger / len(ordered) / alpha",
        RISK,
    ),
    Mutant(
        "search",
        "the bound forgets the growth to the level",
        "grows = end > begin and all(",
        "grows = False and all(",
        BOUNDS,
    ),
    Mutant(
        "search",
        "the bound counts drugs that kill",
        "if not any(effect is not None for effect in row) and start[i] > 0.0",
        "if start[i] > 0.0",
        BOUNDS,
    ),
    # --- kinetics and models ------------------------------------------------------------------------------------------
    Mutant(
        "models",
        "oral doses lose nothing on the way",
        "jnp.stack([self.bioavailability * amount, earlier + last",
        "jnp.stack([amount, earlier + last",
        KINETICS,
    ),
    Mutant(
        "models",
        "a lag is forgotten",
        "open_for = jnp.clip(since + tau - self.lag, 0.0, tau)",
        "open_for = tau",
        KINETICS,
    ),
    Mutant(
        "models",
        "drug that waits is lost by the next dose",
        "self.bioavailability * amount, earlier + last, body",
        "self.bioavailability * amount, earlier, body",
        KINETICS,
    ),
    Mutant(
        "models",
        "plasma takes nothing back",
        "k12 * away[0] - (k21 - beta) * away[1]",
        "k12 * away[0] - k21 * away[1]",
        KINETICS,
    ),
    Mutant(
        "models",
        "a carrier loses nothing",
        "return self.release + self.carrier_loss, self.clearance / self.volume",
        "return self.release, self.clearance / self.volume",
        KINETICS,
    ),
    Mutant("models", "an infusion fills too fast", "-jnp.expm1(-rate_constant * tau) / rate_constant", "tau", KINETICS),
    Mutant(
        "models",
        "clones do not crowd each other",
        "return rate * (1.0 - jnp.sum(cells) / self.capacity)",
        "return rate * (1.0 - cells / self.capacity)",
        GROWTH,
    ),
    Mutant(
        "models",
        "Gompertz by decades",
        "return rate * (jnp.log(self.capacity) - jnp.log(jnp.sum(cells)))",
        "return rate * (jnp.log10(self.capacity) - jnp.log10(jnp.sum(cells)))",
        GROWTH,
    ),
    Mutant(
        "models",
        "competition the other way round",
        "1.0 - self.competition @ cells",
        "1.0 - self.competition.T @ cells",
        GROWTH,
    ),
    Mutant(
        "models",
        "half of the effect at half the concentration",
        "raised = power(x, exponent)\n    return raised / (1.0 + raised)",
        "raised = power(x, exponent)\n    return raised / (2.0 + raised)",
        EXACT,
    ),
    Mutant(
        "models",
        "no slope at no drug",
        "jnp.exp(exponent * jnp.log(safe)), x * _SECANT ** (exponent - 1.0))",
        "jnp.exp(exponent * jnp.log(safe)), 0.0)",
        FACTS,
    ),
    Mutant(
        "models",
        "a killed decade is a factor e",
        "kill = math.log(10.0) * self.decades * conc / shift",
        "kill = self.decades * conc / shift",
        ("tests/laws/test_systems.py", "tests/models", "--doctest-modules", "optimizer/pharmacology/effects.py"),
    ),
    Mutant(
        "models",
        "the growth factor follows another level",
        "stress = self.secretion_slope * (self.inhibitor(conc) - self.secretion_midpoint * stretch)",
        "stress = self.secretion_slope * (self.inhibitor(conc) - self.secretion_midpoint)",
        ("tests/models", "tests/laws/test_terms.py"),
    ),
    Mutant(
        "models",
        "the growth factor does not decay",
        "secreted - self.growth_factor_decay * state.growth_factor",
        "secreted",
        EXACT,
    ),
    Mutant(
        "models",
        "secretion of the start alone",
        "rate = self.growth_factor_decay + self.secretion_rate * stroma",
        "rate = self.growth_factor_decay + 0.9 * self.secretion_rate * stroma",
        EXACT,
    ),
    # --- simulation ---------------------------------------------------------------------------------------------------
    Mutant("simulate", "a bolus is an infusion", "s if amount is None else pk.bolus(s, amount)", "s", FACTS),
    Mutant(
        "simulate", "not a number is a number", "ok=jnp.all(jnp.stack(leaves)) & solved", "ok=jnp.asarray(True)", FACTS
    ),
    Mutant(
        "simulate",
        "progression before it happens",
        "crossing = jnp.where(above[0], times[0], root)",
        "crossing = times[0]",
        ("tests/published/test_competing_clones.py", "-k", "exact", "tests/laws/test_progression.py"),
    ),
    Mutant(
        "simulate",
        "steep curves have no edges",
        "found += jax.vmap(kinetics.crossings, (None, None, 0))(state, rate, jnp.stack(levels))",
        "found += [0.0 * t for t in jax.vmap(kinetics.crossings, (None, None, 0))(state, rate, jnp.stack(levels))]",
        STEEP,
    ),
    Mutant("simulate", "survival has the wrong ramp", "width * far * along", "far * along", PROGRESSION),
    Mutant("simulate", "hazard without its curve", "0.5 * x**2 + 1.0 - _tail(x)", "0.5 * x**2 + 1.0", PROGRESSION),
    # --- readers ------------------------------------------------------------------------------------------------------
    Mutant(
        "readers",
        "repetitions are left out",
        "[1 + event.additional for event in events]",
        "[1 for event in events]",
        EVENTS,
    ),
    Mutant("readers", "overlapping infusions do not add", "column[i]] += rates[i]", "column[i]] = rates[i]", EVENTS),
    Mutant("readers", "other patients' doses are taken", "if event.id != events[0].id:", "if False:", EVENTS),
    Mutant(
        "readers",
        "an infusion's end is folded away",
        "points[by_time], prepend=points.min()) > near",
        "points[by_time], prepend=points.min()) > 1e3 * near",
        EVENTS,
    ),
    Mutant(
        "readers",
        "folded doses drift",
        "first.time + more * step == same[start + more].time",
        "abs(first.time + more * step - same[start + more].time) < 1.0",
        EVENTS,
    ),
    Mutant(
        "readers",
        "a negative dose is a dose",
        "not 0 <= value <= sys.float_info.max",
        "not value <= sys.float_info.max",
        EVENTS,
    ),
    Mutant("readers", "hours are days", "return values / inverse\n", "return values\n", EVENTS),
    Mutant("readers", "a limit is a value", '{"<": BELOW, ">": ABOVE}', '{"<": EXACT, ">": EXACT}', MEASURED),
    Mutant(
        "readers",
        "thousands are a decimal",
        "if decimal:\n        return",
        "if decimal or grouped:\n        return",
        EVENTS,
    ),
    Mutant("readers", "a reset is nothing", "elif kind in (3, 4):", "elif kind > 4:", EVENTS),
    Mutant("readers", "an observation is a dose", "return np.isin(evid, (1, 4))", "return evid >= 0", EVENTS),
    Mutant("readers", "a duration gives no rate", "rate = amount / duration", "rate = 0.0", EVENTS),
    Mutant("readers", "treatment is dropped", "if treated and schema.treatment:", "if False:", MEASURED),
    Mutant(
        "readers",
        "routes are exchanged",
        "np.where(infused, rate, at_once), np.where(infused, at_once, rate)",
        "np.where(infused, at_once, rate), np.where(infused, rate, at_once)",
        EVENTS,
    ),
    Mutant(
        "readers",
        "commented rows are read",
        "kept = [i for i, out in enumerate(marked) if not out]",
        "kept = [*range(len(rows))]",
        EVENTS,
    ),
    Mutant("readers", "infusions outlast the horizon", "event.rate * (horizon - time)", "event.amount", EVENTS),
    # --- resume -------------------------------------------------------------------------------------------------------
    Mutant("resume", "a chunk of another hand is believed", "if known != _sha256(data):", "if known is None:", RUNS),
    Mutant(
        "resume",
        "a file that nobody wrote down is believed",
        "if known != _sha256(data):",
        "if known is not None and known != _sha256(data):",
        RUNS,
    ),
    Mutant(
        "resume",
        "other questions go on with a run",
        "if differs is not None:\n            field",
        "if False:\n            field",
        RUNS,
    ),
    Mutant(
        "resume",
        "a link is a file of the run",
        'path.is_file():\n            raise DirectoryError(f"{path}: wanted a file of this run',
        'path.exists():\n            raise DirectoryError(f"{path}: wanted a file of this run',
        RUNS,
    ),
    Mutant(
        "resume",
        "fields that were left out do not count",
        "for key in [*before, *(k for k in now if k not in before)]:",
        "for key in before:",
        RUNS,
    ),
)
