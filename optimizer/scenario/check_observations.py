"""What is measured of a patient."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from optimizer.observations.base import Assay
from optimizer.scenario.check_parts import Context
from optimizer.scenario.faults import one_of
from optimizer.scenario.plan import Model, ObservationPlan
from optimizer.scenario.schema import classes


def check_observations(context: Context, specs: Sequence[Any], model: Model) -> tuple[ObservationPlan, ...]:
    """Each quantity once, of clones that there are, its visits on a grid or listed in order."""
    found, labels = [], []
    for i, spec in enumerate(specs):
        path, clone = f"observation[{i}]", getattr(spec, "clone", None)
        names = [c.name for c in model.clones]
        if clone is not None and model.alone is None and clone not in names:
            context.faults.add(f"{path}.clone", one_of(names, clone))
        days = spec.days or []
        if days and spec.every:
            context.faults.add(path, "wanted either every or days, when it is measured; got both")
        if any(later <= earlier for earlier, later in pairwise(days)):
            context.faults.add(f"{path}.days", "wanted days that increase; got others")
        label = spec.kind if clone is None else f"{spec.kind}.{clone}"
        if label in labels:
            context.faults.add(path, f'wanted each quantity once; got "{label}" twice')
        labels.append(label)
        quantity = context.part(path, spec, spec.kind, classes("observation")[spec.kind])
        found.append(ObservationPlan(quantity, context.part(path, spec, "assay", Assay)))
    return tuple(found)
