"""The scenario's [model] table: `stromal`, `tumor`, and every model that the registry finds."""

from dataclasses import replace
from functools import cache
from typing import Any, Literal

from optimizer.fields import FieldInfo, describe
from optimizer.mechanisms.stroma import Stroma
from optimizer.models.stromal import PRESETS, StromalClone
from optimizer.models.tumor import Tumor
from optimizer.scenario.fields import (
    Flag,
    Name,
    Text,
    describe_text,
    fields_of,
    info_fields,
    key,
    many,
    named,
    quantity,
    read_equation,
    read_raw,
)
from optimizer.scenario.schema import Spec, classes, first_line, literal, table, union

_SHARE = FieldInfo("1", "share of the divisions of that clone that give this one", minimum=0.0, maximum=1.0)

# Keys of the clones, which the model may give for all of them.
STROMAL_CLONE = describe(StromalClone)
# Keys of the stroma under their name in the scenario.
STROMAL = {
    "stromal_cells" if name == "cells" else name: info for name, info in describe(Stroma).items() if info.ndim == 0
}
# Keys of the tumor as a whole.
WHOLE = {
    "carrying_capacity": FieldInfo("cell", "carrying capacity shared by all clones; none when left out", positive=True),
    "cell_floor": FieldInfo("cell", "cells added before a logarithm is taken", positive=True),
}
_FLOOR = FieldInfo("1", "", positive=True)
_TUMOR = describe(Tumor)
TUMOR_CLONE = {
    "cells": replace(_TUMOR["initial_cells"], ndim=0),
    "growth_rate": replace(_TUMOR["growth_rate"], ndim=0),
    "death_rate": replace(_TUMOR["death_rate"], ndim=0),
    "cost": replace(_TUMOR["cost"], ndim=0),
}
_FACTOR = FieldInfo(
    "1", "factor on the EC50 of the model's effect of that drug, one over it on a strength", positive=True
)


def _clone(name: str, doc: str, fields: dict[str, Any]) -> type[Spec]:
    mutation = table(
        "mutation",
        "Where a clone comes from.",
        {"from": key(Name, "name of the clone that divides"), "rate": key(quantity(_SHARE), describe_text(_SHARE))},
    )
    common = {
        "name": key(Name, "name of the clone"),
        "resistant": key(Flag, "whether it counts as resistant", False),
        "mutation": key(mutation, "by mutation of another clone at its divisions", None),
    }
    return table(name, doc, common | fields)


def _stromal() -> type[Spec]:
    clone = _clone("stromal_clone", "A clone; a key that is left out is the model's.", info_fields(STROMAL_CLONE))
    fields = {
        "kind": literal("stromal"),
        "preset": key(Literal[tuple(PRESETS)], "published parameter set that the other keys override", None),
        "clone": key(many(clone, 100), "clones; one when left out", None),
        "mechanism": key(many(union("mechanism"), 20), "further mechanisms", None),
        "transition": key(many(union("transition"), 100), "cells that leave one clone for another", None),
    }
    return table(
        "model_stromal",
        "Cancer cells that a growth factor of stressed stromal cells shields (doi 10.1038/s41540-025-00495-0).",
        fields | info_fields(STROMAL | STROMAL_CLONE | WHOLE),
    )


def _tumor() -> type[Spec]:
    factor = table(
        "ec50_factor",
        "How much less a drug acts on a clone than the model's effect says.",
        {"drug": key(Name, "name of the drug"), "factor": key(quantity(_FACTOR), describe_text(_FACTOR))},
    )
    effects = {
        "effect": key(many(union("effect"), 20), "what the drugs do to it, in place of the model's effects", None),
        "ec50_factor": key(many(factor, 20), "shifts of potency of the model's effects (on-target resistance)", None),
        "ignores": key(many(Name, 20), "drugs whose effect in the model it does not feel (bypass)", None),
    }
    clone = _clone("tumor_clone", "A clone.", info_fields(TUMOR_CLONE, ("cells", "growth_rate")) | effects)
    fields = {
        "kind": literal("tumor"),
        "growth": key(union("growth"), "growth law; exponential when left out", None),
        "clone": key(many(clone, 100), "clones"),
        "effect": key(many(union("effect"), 20), "what the drugs do to every clone that does not say otherwise", None),
        "interaction": key(union("interaction"), "how several drugs combine; bliss when left out", None),
        "transition": key(many(union("transition"), 100), "cells that leave one clone for another", None),
        "mechanism": key(many(union("mechanism"), 20), "mechanisms of resistance and toxicity", None),
    }
    floor = info_fields({"cell_floor": WHOLE["cell_floor"]})
    return table("model_tumor", "Clones under drugs with a growth law, drug effects and mechanisms.", fields | floor)


def _equations() -> type[Spec]:
    quantities = named(read_raw, {"x-adose": "raw"}, 1000)
    texts = named(read_equation, {"type": ["string", "number"]}, 1000)
    fields = {
        "kind": literal("equations"),
        "parameters": key(quantities, "numbers by name, with units as far as they are to be checked", None),
        "states": key(texts, "states with their value at the start: a quantity, or an equation of parameters"),
        "rates": key(texts, "time derivative [per day] of each state, of states, parameters, outputs, drugs and time"),
        "outputs": key(texts, "what follows from the states: burden, where there is one resistant, and others"),
        "doses": key(texts, 'what drugs with kinetics of the kind "given" add to states', None),
        "linear": key(many(Name, 1000), "states not to be integrated as logarithms", None),
        "cell_floor": key(quantity(_FLOOR), "what is added to the burden before a logarithm is taken", None),
    }
    return table("model_equations", "States, parameters, rates and outputs that are written down as text.", fields)


def _file(kind: str, what: str) -> type[Spec]:
    own = _equations().model_fields
    fields = {
        "kind": literal(kind),
        "file": key(Text, f"{what}, relative to the scenario"),
        "control": key(many(Name, 100), "quantities of the file that are drugs, each called as a drug is", None),
        "burden": key(Text, "equation of the size of the tumor, over names of the file"),
        "resistant": key(Text, "equation of what counts as resistant", None),
        "time_unit": key(Text, "unit of the file's time, such as hour; needed where the file does not say", None),
        **{name: (own[name].annotation, own[name]) for name in ("doses", "linear", "cell_floor")},
    }
    numbers = named(read_equation, {"type": "number"}, 1000)
    fields["parameters"] = key(numbers, "numbers in place of the file's, in its units; for nonmem covariates too", None)
    if kind == "petab":
        fields["experiment"] = key(Text, "id of the experiment, where the problem has several", None)
    return table(f"model_{kind}", f"A model from elsewhere, read as equations: {what}.", fields)


def model_branches(code: tuple[tuple[str, type], ...] = ()) -> dict[str, type[Spec]]:
    """Tables of the models by kind, those of the registry and those of a user's own files."""
    found = _known()
    for kind, cls in code:
        fields = {"kind": literal(kind), **fields_of(cls)}
        found = found | {kind: table("model_code", f"{cls.__name__}, a model of one's own.", fields)}
    return found


@cache
def _known() -> dict[str, type[Spec]]:
    out = {"stromal": _stromal(), "tumor": _tumor(), "equations": _equations()}
    files = {"sbml": "SBML file (needs adose[models])", "nonmem": "NONMEM control stream (typical patient)"}
    files["petab"] = "YAML file of a PEtab problem (version 2; needs adose[models])"
    out |= {kind: _file(kind, what) for kind, what in files.items()}
    for kind, cls in classes("model").items():
        if kind not in out:
            out[kind] = table(f"model_{kind}", first_line(cls), {"kind": literal(kind), **fields_of(cls)})
    return out
