"""What trees mean in numbers, with JAX for the model and with NumPy for whoever looks at it beforehand."""

import operator
from collections.abc import Mapping
from functools import reduce
from types import ModuleType
from typing import Any

import numpy as np

from optimizer.equations.expression import Tree

_BINARY = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_RENAMED = {"not": "logical_not", "/": "divide"}
_FOLDED = {"min": "minimum", "max": "maximum", "and": "logical_and", "or": "logical_or"}
# A base that is no further below zero than this is zero with a rounding error; further below, the power is no number.
_BELOW = -1e-9


class Values(dict[str, Any]):
    """Numbers by name; an output is worked out when it is first asked for.

    Args:
        known: numbers of parameters, states, drugs and the time.
        outputs: trees of what follows from them.
        xp: `jax.numpy` or `numpy`.
    """

    def __init__(self, known: Mapping[str, Any], outputs: Mapping[str, Tree], xp: ModuleType):
        super().__init__(known)
        self.outputs, self.xp = outputs, xp

    def __missing__(self, name: str) -> Any:
        self[name] = found = self.of(self.outputs[name])
        return found

    def of(self, tree: Tree) -> Any:
        """The number that a tree stands for.

        Example:
            >>> Values({"N": 2.0}, {"M": ("*", 3.0, "N")}, np).of(("+", "M", 1.0))
            7.0
        """
        if isinstance(tree, str):
            return self[tree]
        if not isinstance(tree, tuple):
            return tree
        sign, *parts = tree
        if sign == "^":
            return self._power(parts[0], parts[1])
        if sign == "piecewise":
            return self._piecewise(parts)
        values = [self.of(part) for part in parts]
        if sign == "hill":
            raised = self._raised(self.xp.divide(values[0], values[1]), values[2])
            return raised / (1.0 + raised)
        if sign in ("+", "*"):
            return reduce(operator.add if sign == "+" else operator.mul, values)
        if sign == "neg":
            return -values[0]
        if sign in _BINARY:
            return _BINARY[sign](*values)
        if sign in _FOLDED:
            return reduce(getattr(self.xp, _FOLDED[sign]), values)
        return getattr(self.xp, str(_RENAMED.get(sign, sign)))(*values)

    def _power(self, base: Tree, exponent: Tree) -> Any:
        x = self.of(base)
        if isinstance(exponent, float) and exponent.is_integer() and abs(exponent) <= 64.0:
            return x ** int(exponent) if exponent >= 0.0 else self.xp.divide(1.0, x ** int(-exponent))
        return self._raised(x, self.of(exponent))

    def _raised(self, x: Any, k: Any) -> Any:
        if self.xp is np:
            raised = np.power(np.maximum(x, 0.0), k)
        else:
            from optimizer.pharmacology.effects import power  # with JAX, which readers of files do without

            raised = power(x, k)
        return self.xp.where(x < _BELOW, float("nan"), raised)

    def _piecewise(self, parts: list[Tree]) -> Any:
        value = self.of(parts[-1])
        for i in range(len(parts) - 3, -1, -2):
            value = self.xp.where(self.of(parts[i + 1]), self.of(parts[i]), value)
        return value
