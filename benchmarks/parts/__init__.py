"""What is measured, a part a file: `measure(options)` gives rows, in a process of its own, pinned to its cores."""

from dataclasses import dataclass

# Order of a full run; those after the bar only run when they are named.
PARTS = ("gradient", "kernel", "patient", "cohort", "cold", "start", "map", "scaling", "seeds", "accelerator")
ONLY_NAMED = ("calibration",)
# Parts in which nothing of ours is imported before the process is timed.
PURE = ("cold", "start")
# Parts that are measured for each problem; those measured on one core and on two, and on one alone; others on two.
EACH_PROBLEM = ("gradient", "patient", "cohort", "cold", "seeds")
ON_BOTH = ("patient", "cohort")
ON_ONE = ("gradient",)


@dataclass(frozen=True)
class Options:
    """What a part is asked.

    Attributes:
        problem: name of a benchmark; empty for a part that has its own.
        cores: that this process is pinned to.
        repeats: of what is timed.
        cap: seconds after which the slow contenders are stopped.
        patients: most patients of a cohort; its own number when 0.
        subset: patients that the contenders are looped over.
        seeds: of the part `seeds`.
        record: whether better optima are written into best_known.json.
        device: "cpu" or "gpu".
        precision: "float32" or "float64".
    """

    problem: str = ""
    cores: int = 1
    repeats: int = 5
    cap: float = 10.0
    patients: int = 0
    subset: int = 16
    seeds: int = 50
    record: bool = False
    device: str = "cpu"
    precision: str = "float64"
