"""The tables of a scenario file, put together: drugs, decision, objective, limits, regimens, search."""

from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from optimizer.fields import FieldInfo
from optimizer.scenario.fields import MAX_LIST, Days, Name, Raw, Text, fields_of, key, many, quantity, whole
from optimizer.scenario.model_schema import model_branches
from optimizer.scenario.schema import FAMILIES, Spec, branches, choice, classes, first_line, literal, table, union

_SHARE = FieldInfo("1", "weight of the term", minimum=0.0)
_TIME = FieldInfo("day", "", minimum=0.0)
_SPAN = FieldInfo("day", "", positive=True)


def _drug() -> Any:
    dose = table(
        "dose",
        "Smallest and largest dose of a decision.",
        {"min": key(Raw, "smallest dose; 0 when left out", None), "max": key(Raw, "largest dose")},
    )
    specs = {}
    for kind, cls in classes("role").items():
        default = kind if kind == FAMILIES["role"].default else ...
        fields = {
            "file": key(Text, "a TOML file with these keys; a key given here replaces the file's", None),
            "name": key(Name, "name of the drug"),
            "role": literal(kind, default),
            "route": key(
                Literal["bolus", "infusion", "oral"],
                "at once, at a constant rate in an interval, or as tablets whose daily dose is decided",
                None,
            ),
            "every": key(quantity(_SPAN), "time between tablets, with route oral [day]", None),
            "duration": key(
                quantity(_SPAN), "length of each infusion, whose dose is an amount then [day]; else an interval", None
            ),
            "steady_state": key(Text, "doses that the patient has had for long, such as 150 mg every 1 day", None),
            "pk": key(union("pk"), "pharmacokinetics"),
            "dose": key(dose, "smallest and largest dose"),
            "doi": key(many(Text, 100), "sources of the numbers", None),
        }
        specs[kind] = table(f"drug_{kind}", first_line(cls), fields | fields_of(cls))
    return choice("role", specs)


def _objective() -> type[Spec]:
    fields = {}
    for kind, cls in classes("term").items():
        own = {"weight": key(quantity(_SHARE), "weight of the term"), **fields_of(cls)}
        spec = table(f"term_{kind}", first_line(cls), own)
        as_table = lambda value: value if isinstance(value, dict) else {"weight": value}  # noqa: E731
        either = BeforeValidator(as_table, json_schema_input_type=quantity(_SHARE) | spec)
        fields[kind] = key(Annotated[spec, either], first_line(cls), None)
    return table("objective", "Weights of the terms whose sum is made small.", fields)


def _policies() -> Any:
    """Rules, and rules one after the other."""
    doc = "Rules one after the other, each until what ends it."
    own = {"kind": literal("sequence"), "phases": key(many(_phase(), 20), "the rules with their ends")}
    return choice("policy", branches("policy") | {"sequence": table("policy_sequence", doc, own)})


def _phase() -> type[Spec]:
    ratio, grade = FieldInfo("1", "", positive=True), FieldInfo("1", "", minimum=1.0, maximum=4.0)
    return table(
        "phase",
        "A rule and what ends it, at a visit; the last phase has no end.",
        {
            "policy": key(union("policy"), "the rule; its days and visits count from the start of the phase"),
            "ends_after": key(quantity(_SPAN), "length of the phase [day]", None),
            "ends_below": key(quantity(ratio), "multiple of the burden at its start below which it ends [1]", None),
            "ends_above": key(quantity(ratio), "multiple of its least burden above which it ends [1]", None),
            "ends_progression": key(bool, "whether it ends at progression by [endpoint], counted from its start", None),
            "ends_grade": key(quantity(grade), "grade of neutropenia (CTCAE) from which on it ends, 1 to 4 [1]", None),
        },
    )


def _regimen() -> type[Spec]:
    dose = table(
        "regimen_dose",
        "Doses of one drug: once, every so many days, on days of a cycle, or on listed days.",
        {
            "drug": key(Name, "name of the drug"),
            "amount": key(Raw, "amount of a bolus, rate of an infusion"),
            "route": key(Literal["bolus", "infusion", "oral"], "the drug's own when left out", None),
            "every": key(quantity(_SPAN), "time between doses [day]", None),
            "days": key(Days, "times of the doses [day]", None),
            "cycle": key(quantity(_SPAN), "length of a treatment cycle [day], with on", None),
            "on": key(many(whole(1, MAX_LIST), MAX_LIST), "days of each cycle with a dose, the first being 1", None),
            "start": key(quantity(_TIME), "time of the first dose [day]; 0 when left out", None),
            "stop": key(quantity(_SPAN), "time from which nothing is given [day]; the horizon when left out", None),
            "duration": key(quantity(_SPAN), "length of an infusion [day]; until the next one when left out", None),
        },
    )
    return table(
        "regimen",
        "A way of dosing to compare with: listed doses (none at all for dose = []), a policy, or policies in phases.",
        {
            "name": key(Name, "name in tables and figures"),
            "dose": key(many(dose, 1000), "doses", None),
            "policy": key(_policies(), "a rule that doses by what it observes", None),
            "phases": key(many(_phase(), 20), "rules one after the other, as policy of kind sequence has them", None),
        },
    )


def _risk() -> type[Spec]:
    spread = FieldInfo("1", "", minimum=0.0)
    return table(
        "cohort_risk",
        "Who has the resistant clone from the start: a patient's probability of it, and its cells where it is there.",
        {
            "table": key(Text, "CSV file of one row a patient: probabilities, or features of the model"),
            "column": key(Text, "column of probabilities; probability when left out", None),
            "model": key(Text, "directory of adose risk train, which makes the probabilities from features", None),
            "clone": key(Text, "name of the clone; the one that is resistant when left out", None),
            "cv": key(quantity(spread), "of its cells, lognormal about the scenario's number as median [1]", 1.0),
        },
    )


def _cohort() -> type[Spec]:
    spread = FieldInfo("1", "", minimum=0.0)
    vary = table(
        "cohort_vary",
        "A number that differs between patients.",
        {
            "key": key(Text, "key path of the number, such as model.ec50_max or drug[0].pk.elimination"),
            "distribution": key(
                Literal["lognormal", "normal"], "lognormal about the scenario's value as median, or normal about it"
            ),
            "cv": key(quantity(spread), "coefficient of variation [1]", None),
            "sd": key(Raw, "standard deviation, in place of cv", None),
        },
    )
    correlation = table(
        "cohort_correlation",
        "Correlation of two numbers that differ (of their logarithms where they are lognormal).",
        {
            "keys": key(many(Text, 2), "the two key paths"),
            "value": key(quantity(FieldInfo("1", "", minimum=-1.0, maximum=1.0)), "correlation, from -1 to 1"),
        },
    )
    return table(
        "cohort",
        "Virtual patients: numbers that vary, a table of patients, or draws of a posterior.",
        {
            "vary": key(many(vary, 100), "numbers that differ between patients", None),
            "correlation": key(many(correlation, 1000), "correlations between them", None),
            "table": key(Text, "CSV file of one row a patient; columns are key paths with units in brackets", None),
            "posterior": key(Text, "NetCDF file of draws, as adose calibrate writes it", None),
            "risk": key(_risk(), "who has a resistant clone from the start, alone or beside vary", None),
        },
    )


def _optional(name: str, doc: str, fields: dict[str, Any]) -> tuple[Any, Any]:
    spec = table(name, doc, fields)
    return spec, Field(default_factory=spec, description=doc)


def _decision() -> type[Spec]:
    edges = many(quantity(_TIME), MAX_LIST + 1)
    return table(
        "decision",
        "When doses are decided: every so many days up to the horizon, or at listed times.",
        {
            "every": key(quantity(_SPAN), "length of an interval [day]", None),
            "horizon": key(quantity(_SPAN), "end of the last interval [day]", None),
            "edges": key(edges, "start of each interval and the end of the last, from 0 [day]", None),
        },
    )


def _conduct() -> type[Spec]:
    share, span = FieldInfo("1", "", minimum=0.0, maximum=1.0), FieldInfo("day", "", minimum=0.0)
    rate = quantity(FieldInfo("1/day", "", minimum=0.0))
    fields = {
        "missed_dose": key(quantity(share), "probability that the dose of a decision is not taken", 0.0),
        "late_dose": key(quantity(share), "probability that it begins only at the next decision", 0.0),
        "visit_jitter": key(quantity(span), "a visit comes up to so long before or after its day [day]", 0.0),
        "dropout": key(rate, "rate at which patients leave, who are censored then [1/day]", 0.0),
        "toxicity": key(rate, "rate of toxicity at the largest doses, which holds back the next dose [1/day]", 0.0),
        "reduction": key(quantity(share), "share by which the largest doses fall after each toxicity", 0.25),
    }
    return table("conduct", "How patients of a trial keep to it.", fields)


def _tables() -> dict[str, Any]:
    positive = FieldInfo("1", "", positive=True)
    bounded = FieldInfo("1", "", positive=True, maximum=0.1)
    search = {
        "restarts": key(whole(1, 4096), "starting points", 16),
        "seed": key(whole(0, 2**32 - 1), "seed of the starting points", 0),
        "tolerance": key(quantity(bounded), "projected-gradient residual at which the search stops", 1e-6),
        "policy": key(
            Annotated[dict[str, many(Raw, 2)], Field(min_length=1)],
            "numbers of [policy] that are searched, such as share or phases[0].share, with smallest and largest value",
            None,
        ),
    }
    patient = {
        "body_weight": key(quantity(FieldInfo("kg_bw", "", positive=True)), "body weight [kg_bw]", None),
        "body_surface": key(quantity(FieldInfo("m2_bsa", "", positive=True)), "body surface [m2_bsa]", None),
    }
    factor = key(quantity(positive), "progression is more than this multiple of the cells at the start", None)
    said = "whether adose replan may stop treatment for good below progression while the measured burden rises"
    stop = key(bool, said, False)
    ends = {"factor": factor, "may_stop": stop}
    return {
        "decision": key(_decision(), "decision intervals"),
        "objective": key(_objective(), "what is made small", None),
        "constraint": key(many(union("limit"), 200), "limits", None),
        "observation": key(many(union("observation"), 20), "what is measured of a patient, and how well", None),
        "endpoint": key(union("endpoint"), "what counts as progression, and at which visits", None),
        "regimen": key(many(_regimen(), 100), "regimens to compare with", None),
        "policy": key(_policies(), "a rule whose numbers are searched, in place of a free schedule", None),
        "search": _optional("search", "How to search.", search),
        "patient": _optional("patient", "Size of the patient, for doses per body weight or surface.", patient),
        "cohort": key(_cohort(), "virtual patients, for adose cohort", None),
        "conduct": key(_conduct(), "how patients of adose trial keep to it", None),
        "progression": _optional("progression", "When the tumor counts as progressed.", ends),
    }


@cache
def scenario_spec(code: tuple[tuple[str, type], ...] = ()) -> type[Spec]:
    """The whole scenario; `code` are models from a user's own files, as pairs of their `kind` and class."""
    return table(
        "scenario",
        "A study: a tumor, its drugs, what is decided when, and what is wanted.",
        {
            "title": key(Text, "title in reports", ""),
            "doi": key(many(Text, 100), "sources", None),
            "model": key(choice("model", model_branches(code)), "the tumor"),
            "drug": key(many(_drug(), 20), "drugs"),
            **_tables(),
        },
    )
