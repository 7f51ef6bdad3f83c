"""The scenario's tables as strict pydantic models, generated from the metadata of the numeric core.

Every kind that a registry finds becomes a branch, so a new file in the numeric core is a new word of the scenario.
"""

from collections.abc import Callable
from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Discriminator, Field, PlainValidator, Tag, WithJsonSchema, create_model

from optimizer.constraints.base import AbstractDoseLimit, AbstractStateLimit
from optimizer.endpoints.base import AbstractEndpoint
from optimizer.fields import FieldInfo, describe
from optimizer.mechanisms.base import AbstractMechanism
from optimizer.models.base import AbstractModel
from optimizer.models.growth import AbstractGrowth
from optimizer.models.transitions import AbstractTransition
from optimizer.objectives.base import AbstractTerm
from optimizer.observations.base import AbstractQuantity, Assay
from optimizer.pharmacology.base import AbstractPK
from optimizer.pharmacology.effects import AbstractEffect
from optimizer.pharmacology.interactions import AbstractInteraction
from optimizer.pharmacology.roles import AbstractRole
from optimizer.policies.base import AbstractPolicy
from optimizer.registry import discover
from optimizer.scenario.fields import MAX_LIST, Name, Sizes, Text, fields_of, key, many, quantity, read_quantity
from optimizer.units import QuantityError

_HALF_LIFE = FieldInfo("day", "half-life, in place of {}", positive=True)
_SPAN = FieldInfo("day", "", positive=True)


class Spec(BaseModel):
    """A table of the scenario: unknown keys, wrong types, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=())


class Family(NamedTuple):
    """Classes that a key may choose between."""

    word: str  #: what a user calls them
    key: str  #: the key that chooses
    package: str  #: where they are found
    bases: tuple[type, ...]  #: their abstract classes
    hidden: tuple[str, ...] = ()  #: kinds that are not written in a scenario
    default: str = ""  #: the kind where the key is left out; empty when it must be given


FAMILIES = {
    "pk": Family("pharmacokinetics", "kind", "optimizer.pharmacology", (AbstractPK,)),
    "role": Family("role", "role", "optimizer.pharmacology", (AbstractRole,), default="inhibitor"),
    "effect": Family("effect", "law", "optimizer.pharmacology", (AbstractEffect,)),
    "interaction": Family("interaction", "law", "optimizer.pharmacology", (AbstractInteraction,)),
    "growth": Family("growth law", "law", "optimizer.models", (AbstractGrowth,)),
    "transition": Family("transition", "law", "optimizer.models", (AbstractTransition,), default="constant"),
    "mechanism": Family("mechanism", "kind", "optimizer.mechanisms", (AbstractMechanism,)),
    "term": Family("term", "", "optimizer.objectives", (AbstractTerm,)),
    "limit": Family("constraint", "kind", "optimizer.constraints", (AbstractDoseLimit, AbstractStateLimit)),
    "observation": Family("observation", "kind", "optimizer.observations", (AbstractQuantity,)),
    "endpoint": Family("endpoint", "kind", "optimizer.endpoints", (AbstractEndpoint,)),
    "policy": Family(
        "policy", "kind", "optimizer.policies", (AbstractPolicy,), hidden=("schedule", "limited", "sequence")
    ),
    "model": Family("model", "kind", "optimizer.models", (AbstractModel,)),
}
# Spec of every branch by its tag, for whoever explains an error.
TAGS: dict[str, type[Spec]] = {}


def classes(family: str) -> dict[str, type]:
    """Classes of a family by kind, those a scenario can name."""
    entry = FAMILIES[family]
    found: dict[str, type] = {}
    for base in entry.bases:
        found |= discover(entry.package, base)
    return {kind: cls for kind, cls in sorted(found.items()) if kind not in entry.hidden}


def table(name: str, doc: str, fields: dict[str, Any]) -> type[Spec]:
    """A model with these keys; a keyword such as `from` is the attribute `from_`."""
    renamed = dict(fields)
    if "from" in renamed:
        type_, field = renamed.pop("from")
        renamed = {"from_": (type_, Field(field.default, description=field.description, alias="from")), **renamed}
    return create_model(name, __base__=Spec, __doc__=doc, **renamed)


def choice(family: str, branches: dict[str, type[Spec]]) -> Any:
    """Type of a table whose key chooses between the branches."""
    entry = FAMILIES[family]
    TAGS.update({f"@{family}:{kind}": spec for kind, spec in branches.items()})

    def pick(value: Any) -> str | None:
        kind = value.get(entry.key, entry.default or None) if isinstance(value, dict) else None
        return f"@{family}:{kind}" if isinstance(kind, str) and kind in branches else None

    def refuse(value: Any) -> Any:
        raise QuantityError(f"wanted no {entry.word}, as none is known; got one")

    if not branches:
        return Annotated[Any, PlainValidator(refuse), WithJsonSchema({"not": {}})]
    # A union needs two members: a lone branch stands for both.
    tagged = [Annotated[spec, Tag(f"@{family}:{kind}")] for kind, spec in branches.items()]
    if len(tagged) == 1:
        tagged.append(Annotated[_Nothing, Tag("@nothing")])
    context: dict[str, str | int | float] = {"family": family, "kinds": ", ".join(branches)}
    chooser = Discriminator(pick, custom_error_type="choice", custom_error_message=family, custom_error_context=context)
    return Annotated[reduce(or_, tagged), chooser]


class _Nothing(Spec):
    """Never chosen."""


def first_line(cls: type) -> str:
    """What a class is, from its docstring."""
    return (cls.__doc__ or cls.__name__).strip().splitlines()[0]


def literal(kind: str, default: Any = ...) -> tuple[Any, Any]:
    """The key that chooses this branch."""
    return Literal[kind], Field(default)  # type: ignore[valid-type]


def _pk(kind: str, cls: Any) -> dict[str, Any]:
    fields = fields_of(cls, contextual=False)
    if replaced := cls.half_life_of:
        type_, field = fields[replaced]
        fields[replaced] = key(type_, field.description, None)
        fields["half_life"] = key(quantity(_HALF_LIFE), f"half-life [day], in place of {replaced}", None)
    return fields


# What a number of a limit may be in place of a number: what a regimen of this name comes to.
AS_REGIMEN = "as regimen "


def _limit(kind: str, cls: Any) -> dict[str, Any]:
    fields = fields_of(cls)
    for name in getattr(cls, "as_regimen", ()):
        info = describe(cls)[name]

        def read(value: Any, validation: Any, info: FieldInfo = info) -> Any:
            is_named = isinstance(value, str) and value.startswith(AS_REGIMEN)
            return value if is_named else read_quantity(value, info, info.unit, validation.context or Sizes())

        either = [{"x-adose": "number"}, {"type": "string", "pattern": f"^{AS_REGIMEN}"}]
        fields[name] = key(Annotated[Any, PlainValidator(read), WithJsonSchema({"anyOf": either})], info.doc)
    return fields


def _policy(kind: str, cls: Any) -> dict[str, Any]:
    fields = fields_of(cls)
    if kind == "network":
        number = FieldInfo("1", "")
        doc = "weights and biases of the layers, in their order, in place of a file"
        fields["weights"] = key(many(quantity(number), MAX_LIST), doc, None)
        fields["file"] = key(Text, "JSON file that adose train wrote, relative to the scenario", None)
    return fields


@cache
def branches(family: str) -> dict[str, type[Spec]]:
    """Tables of a family by kind."""
    entry = FAMILIES[family]
    extra: dict[str, Callable[[], dict[str, Any]]] = {
        "effect": lambda: {"drug": key(Name, "name of the drug")},
        "transition": lambda: {
            "from": key(Name, "name of the clone that cells leave"),
            "to": key(Name, "name of the clone that they become"),
        },
        "observation": lambda: fields_of(Assay),
        "policy": lambda: {"every": key(quantity(_SPAN), "time between decisions [day]; else the scenario's", None)},
    }
    out = {}
    for kind, cls in classes(family).items():
        own = {"pk": _pk, "policy": _policy, "limit": _limit}.get(family, lambda _, cls: fields_of(cls))(kind, cls)
        chosen = literal(kind, kind) if family == "transition" and kind == entry.default else literal(kind)
        fields = {entry.key: chosen, **extra.get(family, dict)(), **own}
        out[kind] = table(f"{family}_{kind}", first_line(cls), fields)
    return out


def union(family: str) -> Any:
    """Type of a table of a family."""
    return choice(family, branches(family))
