"""A model of one's own, from a Python file that the scenario names: only where the user allows code to run."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optimizer.models.base import AbstractModel
from optimizer.scenario.faults import ScenarioError
from optimizer.scenario.fields import show


def own_models(data: Mapping[str, Any], folder: Path, file: str) -> dict[str, type]:
    """The class that `[model] kind = "path/to/file.py:ClassName"` names, by that kind; none for another kind.

    Args:
        data: tables of a scenario.
        folder: where a relative path starts.
        file: name of the scenario, for errors.

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
