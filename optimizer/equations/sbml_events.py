"""Events of SBML that are doses: `time >= number: X = X + number`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from optimizer.equations.expression import Tree, names
from optimizer.equations.sbml_file import each
from optimizer.equations.sbml_math import Reader
from optimizer.equations.values import Values


def dose_of(event: Any, reader: Reader, fixed: Mapping[str, float]) -> tuple[str, float, float] | None:
    """What an event adds to, when in the file's own time, and how much; None where it is another kind of event.

    Args:
        event: as libsbml has it.
        reader: of the model's equations.
        fixed: numbers that never change, by name.

    Raises:
        EquationError: an equation that the grammar does not have.
    """
    trigger, assignments = event.getTrigger(), each(event, "EventAssignment")
    if event.isSetDelay() or event.isSetPriority() or len(assignments) != 1 or trigger is None:
        return None
    name = assignments[0].getVariable()
    match reader.tree(trigger.getMath()), reader.tree(assignments[0].getMath()):
        case ("piecewise", 1.0, (">=" | ">" | "==", when, limit), 0.0), ("+", left, right):
            time, amount = _constant(limit, fixed), _constant(right if left == name else left, fixed)
        case _:
            return None
    if when != reader.time or name not in (left, right) or time is None or amount is None:
        return None
    # At the very start only level 3 may say that the trigger was false before.
    fires_at_once = event.getLevel() > 2 and not trigger.getInitialValue()
    return (name, max(time, 0.0), amount) if time > 0.0 or fires_at_once else None


def adds(event: Any, reader: Reader) -> bool:
    """Whether all that an event does, whenever it does, is to add to what it writes.

    Raises:
        EquationError: an equation that the grammar does not have.
    """
    trees = [(part.getVariable(), reader.tree(part.getMath())) for part in each(event, "EventAssignment")]
    return all(isinstance(tree, tuple) and tree[0] == "+" and name in tree[1:] for name, tree in trees)


def _constant(tree: Tree, fixed: Mapping[str, float]) -> float | None:
    """The number of a tree of constants."""
    return float(Values(fixed, {}, np).of(tree)) if names(tree) <= fixed.keys() else None
