"""Reading scenario files: TOML or a `resolved.json` of at most 1 MiB, the drug files it includes, one's own models."""

import importlib.util
import inspect
import json
import math
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optimizer.files.faults import DataError
from optimizer.files.run_directory import read_regular
from optimizer.models.base import AbstractModel
from optimizer.scenario.faults import ScenarioError
from optimizer.scenario.fields import show

_PACKAGE = Path(__file__).parents[1]
MAX_BYTES = 2**20
# Of a scenario with every default and unit spelled out.
FORMAT = "adose-resolved-1"
# A key of more parts (a.b.c ...) than any scenario has; the parser's time grows with their square.
_MAX_PARTS = 64
_RUN = re.compile(r"[\w\"' \t.-]+")
_DOTS = re.compile(r"\.\.+")


def read_toml(path: Path, name: str = "") -> tuple[dict[str, Any], str]:
    """The tables of a file, and its text; an error calls it by its name, else its path.

    Raises:
        ScenarioError: no such file, too large, not UTF-8, not TOML, or a number that is not finite.
    """
    name = name or str(path)
    text = _read(path, name)
    try:
        data = _resolved(text, name) if text.lstrip().startswith("{") else tomllib.loads(text)
        faults = [f"{name}: {where}: wanted a finite number; got {value!r}" for where, value in _odd_numbers(data)]
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError([f"{name}: {_another_kind(text) or _toml_fault(str(error))}"]) from None
    except ScenarioError:
        raise
    except RecursionError:
        raise ScenarioError([f"{name}: wanted TOML tables; got brackets or keys nested too deep"]) from None
    except ValueError:  # a number of more digits than Python reads
        raise ScenarioError([f"{name}: wanted numbers of reasonable length; got one of thousands of digits"]) from None
    if faults:
        raise ScenarioError(faults)
    return data, text


def _read(path: Path, name: str) -> str:
    try:
        data = read_regular(path, MAX_BYTES, "a scenario file", name)
    except DataError as error:
        raise ScenarioError([str(error)]) from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = error.object.count(b"\n", 0, error.start) + 1, error.object[error.start]
        raise ScenarioError([f"{name}: line {line}: wanted UTF-8 text; got the byte {byte:#04x}"]) from None
    if any(_DOTS.sub("", run).count(".") > _MAX_PARTS for run in _RUN.findall(text)):
        raise ScenarioError([f"{name}: wanted keys of a few parts; got one of more than {_MAX_PARTS}"])
    return text


def _resolved(text: str, name: str) -> dict[str, Any]:
    """The scenario in a `resolved.json`; no TOML begins with a brace."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        wanted = "a scenario in TOML, or the resolved.json of a run"
        got = f"a brace, and then no JSON (line {error.lineno}: {error.msg})"
        raise ScenarioError([f"{name}: wanted {wanted}; got {got}"]) from None
    if found.get("format") == FORMAT and isinstance(found.get("scenario"), dict):
        return found["scenario"]
    got = f"JSON of the format {show(found['format'])}" if "format" in found else "JSON of another kind"
    raise ScenarioError([f"{name}: wanted a scenario in TOML, or the resolved.json of a run; got {got}"])


def _another_kind(text: str) -> str:
    """What a text is that is no TOML at all, said in words; empty where it may be meant as TOML."""
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    wanted = "wanted a scenario in TOML"
    if first.lstrip().startswith("<"):
        what = "a model in SBML, of which adose import writes a scenario" if "<sbml" in text[:10_000] else "XML"
        return f"{wanted}; got {what}"
    names = [part.strip() for part in re.split(r"[,;\t]", first)]
    if len(names) > 2 and "=" not in first and not first.lstrip().startswith("["):
        shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        hint = "a table of doses goes beside a scenario: adose simulate SCENARIO --schedule TABLE"
        return f"{wanted}; got a table with the columns {show(shown)} ({hint})"
    return ""


def _toml_fault(message: str) -> str:
    """tomllib's message as place and sentence."""
    what, _, where = message.partition(" (at ")
    where = where.rstrip(")")
    said = f"{what[:1].lower()}{what[1:]}".replace("\n", " ")
    shown = said if len(said) <= 120 and said.isprintable() else f"{said[:117].encode('unicode_escape').decode()}..."
    return f"{where or 'the text'}: wanted valid TOML; got a line that is not: {shown}"


def _odd_numbers(value: Any, path: str = "") -> list[tuple[str, float]]:
    """NaN and infinities with their key paths."""
    if isinstance(value, float) and not math.isfinite(value):
        return [(path, value)]
    if isinstance(value, dict):
        pairs = [(f"{path}.{key}" if path else _plain(key), item) for key, item in value.items()]
    elif isinstance(value, list):
        pairs = [(f"{path}[{i}]", item) for i, item in enumerate(value)]
    else:
        return []
    return [found for where, item in pairs for found in _odd_numbers(item, where)]


def _plain(key: str) -> str:
    return key if key.isprintable() and len(key) <= 100 else show(key)


def include_drugs(data: dict[str, Any], folder: Path, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The tables with each `[[drug]] file = "..."` filled in: keys given in the scenario replace the file's.

    Also returns the file that each such key came from, by its path: {"drug[0].pk": "drugs/cetuximab.toml"}.

    Raises:
        ScenarioError: a drug file that cannot be read, or that includes another.
    """
    drugs = data.get("drug")
    if not isinstance(drugs, list):
        return data, {}
    merged, origin = [], {}
    for i, drug in enumerate(drugs):
        file = drug.get("file") if isinstance(drug, dict) else None
        if not isinstance(file, str):
            merged.append(drug)
            continue
        path = Path(file)
        if not file or not file.isprintable() or path.is_absolute() or path.suffix != ".toml":
            wanted = "a .toml file relative to the scenario"
            raise ScenarioError([f"{name}: drug[{i}].file: wanted {wanted}; got {show(file)}"])
        inner, _ = read_toml(folder / path, f"{name}: drug[{i}].file: {file}")
        if "file" in inner:
            wanted = "a drug file that includes no other"
            raise ScenarioError([f"{name}: drug[{i}].file: wanted {wanted}; got {show(file)}"])
        merged.append(inner | drug)
        origin |= {f"drug[{i}].{key}": file for key in inner.keys() - drug.keys()}
    return data | {"drug": merged}, origin


# --- a model of one's own, from a Python file that the scenario names -------------------------------------------------


def own_models(data: Mapping[str, Any], folder: Path, file: str) -> dict[str, type]:
    """The class that `[model] kind = "path/to/file.py:ClassName"` names, by that kind; none for another kind.

    Raises:
        ScenarioError: no such file or class, or its code fails.
    """
    model = data.get("model")
    kind = model.get("kind") if isinstance(model, dict) else None
    if not isinstance(kind, str) or ".py:" not in kind:
        return {}
    source, _, name = kind.rpartition(":")
    where = f"{file}: model.kind"
    path = folder / source
    if not path.is_file():
        wanted = "a Python file relative to the scenario"
        raise ScenarioError([f"{where}: wanted {wanted}; got {show(source)}, which is none"])
    cls = getattr(_run(path, where), name, None)
    if not (inspect.isclass(cls) and issubclass(cls, AbstractModel)):
        wanted = f"a subclass of AbstractModel in {source}"
        raise ScenarioError([f"{where}: wanted {wanted}; got {show(name)}, which is none"])
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(cls.__abstractmethods__))
        raise ScenarioError([f"{where}: wanted {name} to define {missing}; got a class without"])
    return {kind: cls}


def _run(path: Path, where: str) -> Any:
    """The module in a file."""
    name = f"adose_own_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ScenarioError([f"{where}: wanted a Python file; got {show(path.name)}"])
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's code raises
        said = str(error).splitlines()[0] if str(error) else "no message"
        raise ScenarioError([f"{where}: wanted Python that runs; got {type(error).__name__}: {said}"]) from None
    return module


def shipped(folder: str = "") -> list[Path]:
    """The scenarios of the package, or those in a folder of them, by name.

    They stand in the package's own folder where it was installed, in the repository's in a source checkout.
    """
    places = (_PACKAGE / "_scenarios", _PACKAGE.parent / "scenarios")
    return sorted((next((place for place in places if place.is_dir()), places[0]) / folder).glob("*.toml"))
