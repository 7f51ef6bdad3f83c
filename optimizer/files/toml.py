"""Tables of a scenario as TOML text."""

import json
from collections.abc import Mapping
from typing import Any

# A table inside another stands on one line up to this many characters, else under a heading of its own.
_LINE = 110


def toml_text(tables: Mapping[str, Any]) -> str:
    """Top-level tables and lists of tables by headings, what is in them inline where it fits.

    Example:
        >>> print(toml_text({"title": "T", "drug": [{"name": "u", "dose": {"max": 1.0}}]}))
        title = "T"
        <BLANKLINE>
        [[drug]]
        name = "u"
        dose = { max = 1.0 }
        <BLANKLINE>
    """
    plain = {key: value for key, value in tables.items() if not _is_tables(value)}
    out = [f"{key} = {_inline(value)}\n" for key, value in plain.items()]
    for name, value in tables.items():
        for body in [value] if isinstance(value, Mapping) else value if _is_tables(value) else []:
            heading = f"[{name}]" if isinstance(value, Mapping) else f"[[{name}]]"
            own = {key: item for key, item in body.items() if isinstance(item, Mapping) and len(_inline(item)) > _LINE}
            out.append(f"\n{heading}\n" + _lines({key: item for key, item in body.items() if key not in own}))
            out += [f"\n[{name}.{key}]\n" + _lines(item) for key, item in own.items()]
    return "".join(out)


def _is_tables(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and bool(value) and isinstance(value[0], Mapping))


def _lines(table: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {_inline(item)}\n" for key, item in table.items())


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_inline(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(item) for item in value) + "]"
    return repr(float(value)) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
