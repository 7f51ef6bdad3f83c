"""How a run ended: each outcome is a sentence a user may read, with the exit code of the command line."""

from enum import StrEnum

DISCLAIMER = "Research use only. Not for clinical decisions."


class Status(StrEnum):
    """The outcome of a run; compares, prints and serializes as its short name.

    =================== ==== =====================================================
    value               exit meaning
    =================== ==== =====================================================
    solved              0    optimum found, every constraint met, audit agrees
    infeasible          4    some constraint cannot be, or is not, met
    not_converged       5    the stopping residual was not reached
    audit_failed        5    the independent simulation disagrees
    misfit              5    what was measured does not fit the model of a replan, or forbids its plan
    simulation_failed   5    non-finite states, or the solver ran out of steps
    interrupted         130  stopped by the user, best schedule so far is kept
    =================== ==== =====================================================

    >>> Status.INFEASIBLE.exit_code
    4
    >>> Status("solved").sentence
    'Solved: the search converged, every constraint holds and the independent audit agrees.'
    """

    sentence: str
    exit_code: int

    SOLVED = ("solved", 0, "Solved: the search converged, every constraint holds and the independent audit agrees.")
    INFEASIBLE = "infeasible", 4, "Infeasible: no schedule was found that meets every constraint."
    NOT_CONVERGED = (
        "not_converged",
        5,
        "Not converged: the search stopped before its optimality residual was small enough.",
    )
    AUDIT_FAILED = (
        "audit_failed",
        5,
        "Audit failed: an independent simulation of the schedule disagrees with the search.",
    )
    SIMULATION_FAILED = (
        "simulation_failed",
        5,
        "Simulation failed: the states became non-finite or the solver ran out of steps.",
    )
    MISFIT = ("misfit", 5, "Misfit: what was measured contradicts the model or its plan, and a rule's dose is planned.")
    INTERRUPTED = "interrupted", 130, "Interrupted: the best schedule found so far was kept."

    def __new__(cls, value: str, exit_code: int = 0, sentence: str = "") -> "Status":
        member = str.__new__(cls, value)
        member._value_ = value
        member.exit_code = exit_code
        member.sentence = sentence
        return member

    @property
    def has_schedule(self) -> bool:
        """Whether there is a schedule, or a network, that could be handed on."""
        return self not in (Status.INFEASIBLE, Status.SIMULATION_FAILED)

    @property
    def ok(self) -> bool:
        """Whether the run did all it was asked to do."""
        return self.exit_code == 0
