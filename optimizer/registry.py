"""Finds the final classes of a package, so that adding one is adding a file."""

import importlib
import pkgutil
from functools import cache
from inspect import getmembers, isabstract, isclass
from types import ModuleType


@cache
def discover(package: ModuleType | str, base: type) -> dict[str, type]:
    """Final subclasses of `base` defined in the modules of `package`, by their `kind`, sorted.

    Args:
        package: the package (or its dotted name) whose modules are read.
        base: the abstract class.

    Raises:
        ValueError: two classes claim the same kind.
    """
    root = importlib.import_module(package) if isinstance(package, str) else package
    modules = [root] + [
        importlib.import_module(f"{root.__name__}.{info.name}") for info in pkgutil.iter_modules(root.__path__)
    ]
    found: dict[str, type] = {}
    for module in modules:
        for _, cls in getmembers(module, isclass):
            kind = getattr(cls, "kind", None)
            is_final = issubclass(cls, base) and not isabstract(cls) and cls.__module__ == module.__name__
            if not is_final or not isinstance(kind, str):
                continue
            if kind in found and found[kind] is not cls:
                raise ValueError(f"{cls.__qualname__} and {found[kind].__qualname__} both claim kind {kind!r}")
            found[kind] = cls
    return dict(sorted(found.items()))
