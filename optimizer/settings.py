"""What each command is asked, written once: a field is an option of the command line, an argument in Python and a line
of the run's manifest. The docstring of a class is the help of its command. A seed or a number of restarts that is left
out is None until `Scenario.fill` takes it from the file.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

MOST_SEED = 2**32 - 1
MOST_CHUNK = 100_000


class Risk(StrEnum):
    """How the objectives of many patients are made one."""

    MEAN = "mean"
    CVAR = "cvar"
    WORST = "worst"


class OptionError(ValueError):
    """An option of the command line that was refused; the text is one sentence for the user."""


def option(default: Any, doc: str, *, flag: str = "", min: float | None = None, max: float | None = None) -> Any:
    """A field that the command line has too, as `flag` if that is not its name; with the default `...` it is wanted."""
    extra = {} if default is ... else {"default": default}
    return field(**extra, metadata={"doc": doc, "flag": flag, "limits": {"min": min, "max": max}})


_ALPHA = "cvar is the mean of the worst share 1 - alpha"
_POSTERIOR = "draws by adose calibrate (NetCDF), else [cohort]"
TIME_UNIT = "of times in tables whose header has none: h, day, week"
_CHUNK = "patients to a file; a run goes on after the last whole one"


@dataclass(frozen=True, kw_only=True)
class Command:
    """What commands are asked besides settings of their own; each has some of these."""

    file: Path = option(Path(), "scenario file (TOML)")
    out: Path | None = option(None, "run directory; runs/NAME when left out, with the command's name behind")
    device: Literal["cpu", "gpu"] | None = option(None, "where to compute; a GPU if there is one")
    precision: Literal["float64", "float32"] = option(
        "float64", "of the numbers; float32 is faster, to about 1e-4 in log10 of the cells"
    )
    json: bool = option(False, "print one JSON document on stdout, and nothing else there")
    no_plot: bool = option(False, "draw no figures")
    allow_code: bool = option(False, "run Python files that the scenario names")
    part: str | None = option(None, "I/N: make the I-th of N parts alone; the command without it puts all together")
    engine: Literal["threads", "dask"] = option("threads", "who makes chunks: threads here, or tasks of dask")
    cluster: str | None = option(None, "address of dask's scheduler; else workers on this machine")
    quiet: bool = option(False, "say nothing of what is being done; results, warnings and faults alone")
    verbose: bool = option(False, "a line with its time for each change, and what libraries say")

    def place(self, name: str) -> Path:
        """The directory to write: `runs/NAME` where none was asked for."""
        return Path("runs") / name if self.out is None else self.out


@dataclass(frozen=True)
class OptimizeSettings:
    """Search the best schedule, audit it, compare it, and write the run directory."""

    restarts: int = option(None, "starting points; else the file's", min=1, max=4096)
    seed: int = option(None, "of the starting points; else the file's", min=0)
    certify: bool = option(False, "ask a dynamic program, too, how good the best could be; for small problems")


@dataclass(frozen=True)
class CompareSettings:
    """Compare the scenario's regimens, the best constant dose, no treatment and the largest doses."""

    tornado: str | None = option(None, "name of a regimen: what it comes to with each number 10 % less and more")


@dataclass(frozen=True)
class FitSettings:
    """How parameters are fitted to a table; `model` (a function of one's own) and `progress` are for Python alone."""

    method: Literal["direct", "two-stage"] = option("direct", "how to fit rates")
    starts: int = option(200, "starting points of the fit", min=1, max=100_000)
    seed: int = option(0, "of the starting points and draws", min=0, max=MOST_SEED)
    level: float = option(0.9, "of every interval", min=0.0, max=1.0)
    loss: Literal["linear", "soft_l1", "huber", "cauchy"] = option("linear", "of a residual; the others are robust")
    deviation: Literal["absolute", "relative", "relative_to_fit", "log"] | None = option(
        None, "how a residual is counted; else as the kind of table wants it"
    )
    bayes: bool = option(False, "sample the posterior by NUTS")
    draws: int = option(1000, "of the parameters, to a chain", min=1, max=100_000)
    chains: int = option(4, "of draws", min=1, max=64)
    hierarchical: bool = option(False, "lines or patients are drawn from one population")
    against: str | None = option(None, "preset to score on the data")
    outliers: Literal["auto", "drop", "keep", "off"] = option(
        "auto", "odd wells of a plate; auto drops them from four replicates on"
    )
    weights: Literal["equal", "variance"] = option("equal", "of a plate's wells: variance weighs by their spread")
    reference: str | None = option(None, "condition of a plate for shifts and the scenario; else the first")
    assay_time: float | None = option(None, "length in hours of a plate's assay, for the scenario alone")
    doubling_time: float | None = option(None, "of vehicle wells in hours, for the scenario alone")
    growth: str = option("exponential", "growth law of time series: exponential, logistic, gompertz, von_bertalanffy")
    effect: Literal["log_kill", "norton_simon"] = option("log_kill", "of the drug of time series")
    elimination_rate: float | None = option(None, "of that drug in 1/day; else ln 2, said")
    hill: float | None = option(None, "slope of its effect; else 1")
    free: tuple[str, ...] = option((), "which of elimination_rate and hill are fitted")
    time_unit: str | None = option(None, TIME_UNIT)
    model: Any = None
    progress: Callable[[str], None] = field(default=lambda _: None, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class CalibrateSettings(FitSettings):
    """Fit parameters with their uncertainty to a table of measurements."""

    kind: Literal["rates", "secretion", "plate", "ic50", "timeseries", "petab"] = option(
        ..., "what the table holds; petab is the YAML file of a problem, version 2"
    )
    out: Path = option(..., "directory for the fit")


@dataclass(frozen=True, kw_only=True)
class ReplaySettings:
    """Forecast the second rest from treatment of real patients, and score it against their own previous cycle."""

    model: tuple[str, ...] = option((), "scenario whose [cohort] is fitted to PSA; repeat it for several models")
    rounds: int = option(12, "at most, of the fit of the population (EM)", min=1, max=1000)
    groups: int = option(5, "of patients, each forecast from the others", min=2, max=1000)
    seed: int = option(0, "of the draws of a patient's numbers", min=0, max=MOST_SEED)
    time_unit: str | None = option(None, TIME_UNIT)


@dataclass(frozen=True)
class CohortSettings:
    """Search the best schedule of each virtual patient, and the best single schedule for all.

    The restarts of a patient begin at optima of the population and of the typical patient, or at starts that score
    better in the patient. `together` says whether patients are stepped together: on everything but a CPU when None.
    """

    patients: int | None = option(None, "how many; else all of a table, or 100", min=1)
    posterior: Path | None = option(None, _POSTERIOR)
    risk: Risk = option(Risk.MEAN, "what one schedule for all makes small")
    alpha: float = option(0.9, _ALPHA)
    restarts: int = option(3, "starting points of each patient", min=1, max=64)
    chunk: int = option(128, _CHUNK, min=1, max=MOST_CHUNK)
    seed: int = option(None, "of the patients; else the file's", min=0, max=MOST_SEED)
    together: bool | None = None


@dataclass(frozen=True)
class TrainSettings:
    """Train a small network that doses by what is measured; judge it on patients it has not seen, beside rules."""

    patients: int | None = option(None, "to train on; else 64, or half of a table", min=1)
    held_out: int | None = option(None, "to judge on; else as many, or the rest", min=1)
    steps: int = option(1000, "of the training, each on all patients", min=1, max=100_000)
    hidden: int = option(16, "neurons of each of the two hidden layers", flag="--width", min=1, max=64)
    risk: Risk = option(Risk.MEAN, "what is made small over the patients")
    alpha: float = option(0.9, _ALPHA)
    noise: float = option(0.0, "sd of the logarithm of a measured burden")
    delay: int = option(0, "visits by which measurements are late", min=0, max=1000)
    seed: int = option(None, "of patients and weights; else the file's", min=0, max=MOST_SEED)


@dataclass(frozen=True)
class RiskTrainSettings:
    """Train a model of a patient's risk of resistance from features; judge it beside a clinical model."""

    label: str = option(..., "column of the features or of the clinical table that is foretold")
    clinical: Path | None = option(None, "table of clinical columns, of the same patients")
    calibration: Literal["auto", "isotonic", "sigmoid"] = option(
        "auto", "of probabilities, inside the folds; auto is isotonic from 1000 patients on"
    )
    folds: int = option(5, "of the outer cross-validation", min=2, max=20)
    repeats: int = option(3, "of it", min=1, max=100)
    level: float = option(0.9, "of every interval", min=0.5, max=0.999)
    seed: int = option(0, "of folds and forests", min=0, max=MOST_SEED)


@dataclass(frozen=True)
class ReplanSettings:
    """Update what is believed of a patient by what was measured, and plan what is left."""

    given: Path | None = option(None, "event table: doses given, and the schedule being followed")
    observations: Path | None = option(None, "what was measured (CSV: day and quantities)")
    patient: str | None = option(None, "whose risk of [cohort] it is; may be left out where its table has one row")
    today: float | None = option(None, "day from which to plan; else the last measurement's")
    time_unit: str | None = option(None, TIME_UNIT)
    posterior: Path | None = option(None, _POSTERIOR)
    risk: Risk = option(Risk.MEAN, "what is made small over all that is believed")
    alpha: float = option(0.9, _ALPHA, min=0.0, max=0.999)
    particles: int = option(512, "of the belief", min=16, max=100_000)
    plan_particles: int = option(32, "of them that are planned for", min=1, max=4096)
    plan_temperature: float = option(
        0.15, "of terms that are not smooth; 0 is as sharp as they are reported", min=0.0, max=1.0
    )
    restarts: int = option(None, "starting points; else the file's", min=1, max=4096)
    seed: int = option(None, "of the particles; else the file's", min=0, max=MOST_SEED)


@dataclass(frozen=True)
class Changes:
    """Assays of a sweep: what is not None takes the place of the scenario's number."""

    #: days between visits; other channels than the watched one are measured no more often than they are
    visit_every: float | None = None
    noise: float | None = None  #: of the channel that rules watch
    delay: float | None = None  #: of all channels [day]
    missing: float | None = None  #: share of all channels' results


@dataclass(frozen=True)
class TrialSettings:
    """Try policies in closed loop on virtual patients whose numbers nobody knows; all of them see the same noise.

    `changes` are the assays of one run of a sweep.
    """

    policies: tuple[str, ...] = option(
        ("replan", "tuned", "constant", "AT50", "continuous"),
        "names of regimens, replan, tuned, constant, AT50, continuous, none; with commas between; "
        "the file's networks come on top of the default",
    )
    patients: int | None = option(None, "how many; else all of a table, or 100", min=1)
    truth: Path | None = option(None, "scenario of the hidden patients; else FILE's own")
    sweep: tuple[str, ...] = option(
        (), 'assays to try: "visit_every=7,14" (days), "noise=0,0.1", "delay=0,7", "missing=0,0.2"; repeatable'
    )
    risk: Risk = option(Risk.MEAN, "what replan makes small over all that is believed")
    alpha: float = option(0.9, _ALPHA)
    particles: int = option(128, "of a belief", min=8, max=100_000)
    plan_particles: int = option(16, "of them that are planned for", min=1, max=4096)
    plan_iterations: int = option(15, "of the search at a visit, at most", min=1, max=400)
    plan_temperature: float = option(
        0.15, "sharpness of progression for a plan, 0.001 to 1; less is nearer to the edge"
    )
    plan_change: float = option(0.01, "what changes of dose cost a plan, in units of the objective", min=0.0)
    restarts: int = option(2, "starting points of who knows the patient; 0: nobody does", min=0, max=64)
    chunk: int = option(16, _CHUNK, min=1, max=MOST_CHUNK)
    seed: int = option(None, "of patients and noise; else the file's", min=0, max=MOST_SEED)
    changes: Changes = field(default_factory=Changes)
