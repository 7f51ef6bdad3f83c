"""Units of equations, as far as they are stated: a bare number says nothing, and fits everywhere."""

from collections.abc import Mapping

from optimizer.equations.expression import COMPARISONS, EquationError, Tree, written
from optimizer.units import Dimension

Stated = Dimension | None
_PURE = Dimension()
_PER_DAY = Dimension(time=-1)


def dimension(tree: Tree, known: Mapping[str, Stated]) -> Stated:
    """The dimension of a tree; None where it is not stated.

    Args:
        tree: a number or a condition.
        known: dimensions by name.

    Raises:
        EquationError: quantities that do not fit together; one sentence.

    Example:
        >>> str(dimension(("*", "k", "N"), {"k": Dimension(time=-1), "N": Dimension(cells=1)}))
        'cell count / time'
    """
    if isinstance(tree, str):
        return known.get(tree)
    if not isinstance(tree, tuple):
        return None
    sign, *parts = tree
    found = [dimension(part, known) for part in parts]
    if sign == "*":
        whole: Stated = _PURE
        for other in found:
            whole = None if whole is None or other is None else whole * other
        return whole
    if sign == "/":
        return None if None in found else found[0] / found[1]  # type: ignore[operator]
    if sign == "^":
        return _power(tree, found[0], found[1])
    if sign in ("exp", "tanh", "log", "sin", "cos"):
        # A logarithm of cells is written so often that it is let pass.
        return _PURE if sign == "log" else _same(tree, [found[0], _PURE])
    if sign == "sqrt":
        return found[0] if found[0] == _PURE else None
    if sign == "hill":
        _same(tree, [found[2], _PURE])
        _same(tree, found[:2])
        return _PURE
    if sign == "piecewise":
        return _same(tree, [*found[::2]])
    if sign in ("and", "or", "not"):
        return None
    both = _same(tree, found)
    return None if sign in COMPARISONS else both


def of_rate(tree: Tree, state: Stated, known: Mapping[str, Stated]) -> None:
    """Check that a tree is the time derivative of a state.

    Raises:
        EquationError: it is not, or what is in it does not fit together.
    """
    found = dimension(tree, known)
    if state is not None and found is not None and found != state * _PER_DAY:
        raise EquationError(f"wanted a rate in {state * _PER_DAY}, as the state is in {state}; got one in {found}")


def _power(tree: Tree, base: Stated, exponent: Stated) -> Stated:
    _same(tree, [exponent, _PURE])
    number = tree[2] if isinstance(tree, tuple) else None
    if base is None or base == _PURE:
        return base
    if not isinstance(number, float) or not number.is_integer() or abs(number) > 8.0:
        return None
    whole = _PURE
    for _ in range(int(abs(number))):
        whole = whole * base if number > 0.0 else whole / base
    return whole


def _same(tree: Tree, found: list[Stated]) -> Stated:
    """The one dimension of several, those that are not stated left out."""
    stated = [one for one in found if one is not None]
    for other in stated[1:]:
        if other != stated[0]:
            text = written(tree)
            text = text if len(text) <= 60 else f"{text[:57]}..."
            raise EquationError(f'wanted one unit in "{text}"; got {stated[0]} beside {other}')
    return stated[0] if stated else None
