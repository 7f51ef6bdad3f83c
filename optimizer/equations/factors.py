"""Rates that are multiples of their state: which states stay positive."""

from collections.abc import Mapping

from optimizer.equations.expression import Tree


def divided(tree: Tree, name: str, outputs: Mapping[str, Tree]) -> Tree | None:
    """The tree divided by a name, where that is a factor of it; None where it is not.

    Example:
        >>> from optimizer.equations.expression import parse
        >>> divided(parse("r*N - d*u*N"), "N", {})
        ('+', ('*', 'r', 1.0), ('neg', ('*', 'd', 'u', 1.0)))
    """
    if isinstance(tree, str):
        if tree in outputs:
            return divided(outputs[tree], name, outputs)
        return 1.0 if tree == name else None
    if not isinstance(tree, tuple):
        return 0.0 if tree == 0.0 else None
    sign, *parts = tree
    if sign in ("+", "neg", "piecewise"):
        keep = [sign == "piecewise" and i % 2 == 1 for i in range(len(parts))]
        found = [p if kept else divided(p, name, outputs) for p, kept in zip(parts, keep, strict=True)]
        return None if None in found else (sign, *found)
    if sign == "^" and parts[0] == name and isinstance(parts[1], float) and parts[1] >= 1.0:
        return 1.0 if parts[1] == 1.0 else ("^", name, parts[1] - 1.0)
    for i, part in enumerate(parts if sign == "*" else parts[:1] if sign == "/" else []):
        quotient = divided(part, name, outputs)
        if quotient is not None:
            return (sign, *parts[:i], quotient, *parts[i + 1 :])
    return None
