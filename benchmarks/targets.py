"""The table: what was measured, and the targets that the project has set itself, missed ones included."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from benchmarks.contenders import NAMES, TITLES
from benchmarks.problems import BENCHMARKS
from benchmarks.rows import Entry, Row


class Key(NamedTuple):
    """Where a figure stands."""

    part: str
    problem: str
    contender: str
    figure: str
    cores: int = 2


Figures = dict[Key, Row]


class Target(NamedTuple):
    """What is to be reached.

    Attributes:
        words: of the line in the table.
        value: from the figures.
        limit: to reach, at least or at most.
        at_least: which of the two.
    """

    words: str
    value: Callable[[Figures], float]
    limit: float
    at_least: bool


def _value(figures: Figures, *key: object) -> float:
    row = figures.get(Key(*key))  # type: ignore[arg-type]
    return math.nan if row is None else row.value


def _ratio(above: tuple, below: tuple) -> Callable[[Figures], float]:
    return lambda figures: _value(figures, *above) / _value(figures, *below)


def _of(*key: object) -> Callable[[Figures], float]:
    return lambda figures: _value(figures, *key)


def _times(part: str, problem: str, figure: str, contender: str, cores: int = 2) -> Callable[[Figures], float]:
    """How many times as long as ours a contender takes."""
    return _ratio((part, problem, contender, figure, cores), (part, problem, "ours", figure, cores))


def _against(contender: str, figure: str) -> Callable[[Figures], float]:
    """How many times as much a second as a contender ours does."""
    return _ratio(("kernel", "colorectal", "ours", figure), ("kernel", "colorectal", contender, figure))


def _share_of_bound(figure: str) -> Callable[[Figures], float]:
    """Exponentials and logarithms that ours needs a second, of those that the machine does."""
    asked = _of("kernel", "colorectal", "ours", "exp/log a node")
    share = _ratio(("kernel", "colorectal", "ours", figure), ("kernel", "colorectal", "machine", "exp/log a second"))
    return lambda figures: asked(figures) * share(figures)


def targets() -> Iterator[Target]:
    """All of them, in the order of the table."""
    slope = "value and gradient"
    for b in BENCHMARKS.values():
        own = _ratio(("gradient", b.name, "ours", slope, 1), ("gradient", b.name, "ours", "value", 1))
        yield Target(f"{slope} / value, {b.name}", own, 1.5 if b.quadrature else 5.0, False)
    for name, words, least in (("paper", "odeint, finite differences", 20_000), ("kvaerno5", "Kvaerno5 1e-6", 700)):
        yield Target(
            f"{slope}, colorectal: {words} / ours", _times("gradient", "colorectal", slope, name, 1), least, True
        )
    for name, two, one in (("expert", 35, 20), ("casadi", 150, 80)):
        for cores, least in ((2, two), (1, one)):
            words = f"1000 patients, colorectal, {cores} core{'s' if cores > 1 else ''}: {TITLES[name]} / ours"
            yield Target(words, _times("cohort", "colorectal", "cohort", name, cores), least, True)
    words = f"256 patients, clones, 2 cores: {TITLES['casadi']} / ours"
    yield Target(words, _times("cohort", "clones", "cohort", "casadi"), 10, True)
    for b in BENCHMARKS.values():
        cores = _ratio(("cohort", b.name, "ours", "cohort", 1), ("cohort", b.name, "ours", "cohort", 2))
        yield Target(f"cohort of {b.name}: 1 core / 2 cores", cores, 1.8, True)
    for b in BENCHMARKS.values():
        share = _of("cohort", b.name, "ours", "share of patients with gap <= 0.1 %", 2)
        yield Target(f"patients with gap <= 0.1 %, {b.name}", share, 0.99, True)
    expert = _times("patient", "colorectal", "warm", "expert", 1)
    yield Target("1 patient warm, colorectal, 1 core: CasADi expert / ours", expert, 8, True)
    for cache, most in (("filled", 0.7), ("empty", 1.3)):
        job = _ratio(("start", "-", "ours", f"main job, {cache} cache"), ("start", "-", "casadi", "main job"))
        yield Target(f"main job, process start to files, {cache} cache: ours / CasADi script", job, most, False)
    nodes = "nodes a second, value and gradient"
    yield Target("nodes/s against a scalar numba adjoint", _against("numba", nodes), 1.5, True)
    yield Target("share of the exp/log bound", _share_of_bound(nodes), 0.5, True)
    yield Target("map 40 x 40: odeint / ours", _times("map", "-", "map", "paper"), 1000, True)
    growth = [("scaling", "colorectal", "ours", f"evaluate {size} patients") for size in (10_000, 1_000)]
    yield Target("time at 10,000 patients / at 1,000 (evaluation)", _ratio(*growth), 10.5, False)
    memory = _of("scaling", "colorectal", "ours", "peak memory above import, 100000 patients")
    yield Target("memory at 100,000 patients (evaluation) [GB]", memory, 1.0, False)
    for b in BENCHMARKS.values():
        if b.starts:
            found = _of("seeds", b.name, "ours", "best known optimum found")
            yield Target(f"best known optimum found, share of seeds, {b.name}, {b.starts} starts", found, 0.99, True)


def _key(entry: Entry) -> Key:
    row = entry.row
    return Key(entry.part, row.problem, row.contender, row.figure, entry.cores)


def lines(row: Row) -> str:
    """A row while the run goes on."""
    return f"  {row.contender:12s} {row.figure:48s} {number(row.value):>10s} {row.unit:4s} {row.note}".rstrip()


def number(value: float) -> str:
    """Three figures; a dash where there is none."""
    if not math.isfinite(value):
        return "-"
    if value == 0.0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{value:.1e}"


def table(entries: Sequence[Entry]) -> str:
    """Markdown of the last value of each figure on this machine: contenders by problem, then the targets."""
    if not entries:
        return "nothing has been measured"
    machine = entries[-1].machine
    last = {_key(e): e for e in entries if e.machine == machine}
    figures = {key: e.row for key, e in last.items()}
    commits = ", ".join(dict.fromkeys(e.commit for e in last.values()))
    head = f"{machine}; commit {commits}; {entries[-1].date[:10]}. Medians; one patient on one core."
    return "\n\n".join([head, *_by_problem(figures), _targets(figures)])


_COLUMNS = {
    "one patient [s]": ("patient", "warm", 1),
    "cold [s]": ("cold", "cold", 2),
    "cohort, 1 core [s]": ("cohort", "cohort", 1),
    "cohort, 2 cores [s]": ("cohort", "cohort", 2),
    "iterations": ("patient", "iterations", 1),
    "evaluations": ("patient", "evaluations", 1),
    "gap": ("patient", "gap", 1),
}


def _by_problem(figures: Figures) -> Iterator[str]:
    for b in BENCHMARKS.values():
        if not any(key.problem == b.name and key.part in ("patient", "cohort", "cold") for key in figures):
            continue
        titles = [f"{b.name}: {b.title}", *_COLUMNS]
        out = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
        for name in NAMES:
            values = [_value(figures, part, b.name, name, figure, cores) for part, figure, cores in _COLUMNS.values()]
            cells = [*map(number, values[:-1]), _percent(values[-1])]
            warm = figures.get(Key("patient", b.name, name, "warm", 1))
            why = "" if warm is None else "; ".join(part for part in warm.note.split("; ") if "median" not in part)
            out.append(f"| {TITLES[name]}{f' ({why})' if why else ''} | " + " | ".join(cells) + " |")
        yield "\n".join(out)


def _percent(share: float) -> str:
    return f"{100 * share:.3f} %" if math.isfinite(share) else "-"


def _targets(figures: Figures) -> str:
    out = ["| target | measured | to reach | |", "|---|---|---|---|"]
    for target in targets():
        value = target.value(figures)
        verdict = "unmeasured"
        if math.isfinite(value):
            verdict = "reached" if (value >= target.limit) == target.at_least or value == target.limit else "missed"
        sign = ">=" if target.at_least else "<="
        out.append(f"| {target.words} | {number(value)} | {sign} {target.limit:g} | {verdict} |")
    return "\n".join(out)
