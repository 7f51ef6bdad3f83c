"""Model files of others: `kind = "sbml"`, "nonmem" or "petab" becomes `kind = "equations"` before it is checked."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from optimizer.equations.model_file import SUFFIXES, equations, observations, own_doses, read_model
from optimizer.files.faults import DataError
from optimizer.scenario.faults import ScenarioError
from optimizer.scenario.fields import show
from optimizer.scenario.model_schema import model_branches


def include_model(data: dict[str, Any], folder: Path, name: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The tables with a model file as equations, and what was left out of it.

    Args:
        data: tables of a scenario, drug files included.
        folder: where a relative path starts.
        name: what an error calls the scenario.

    Raises:
        ScenarioError: a file that cannot be read, or holds what is not supported.
    """
    model = data.get("model")
    kind = model.get("kind") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(kind, str) or kind not in SUFFIXES:
        return data, ()
    try:
        asked: Any = model_branches()[kind].model_validate(model)
    except ValidationError:
        return data, ()  # said by the check
    where = f"{name}: model.file"
    path, suffixes = Path(asked.file), SUFFIXES[kind]
    if not asked.file or not asked.file.isprintable() or path.is_absolute() or path.suffix not in suffixes:
        wanted = f"an {' or '.join(suffixes)} file relative to the scenario"
        raise ScenarioError([f"{where}: wanted {wanted}; got {show(asked.file)}"])
    try:
        found = read_model(kind, folder / path, asked.model_dump())
    except DataError as error:
        raise ScenarioError([f"{where}: {error}"]) from None
    try:
        own, tables = own_doses(found, model.get("doses") or {}), {**data, "model": equations(found, model)}
    except DataError as error:
        raise ScenarioError([f"{name}: {error}"]) from None
    tables.setdefault("title", found.title)
    if found.doi:
        tables.setdefault("doi", list(found.doi))
    if found.cohort:
        tables.setdefault("cohort", found.cohort)
    if measured := observations(found, model):
        tables.setdefault("observation", measured)
    regimens = data.get("regimen")
    if own and (regimens is None or isinstance(regimens, list)):
        tables["regimen"] = [*(regimens or []), own]
    return tables, tuple(f"{asked.file}: {note}" for note in found.notes)
