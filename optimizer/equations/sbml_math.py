"""MathML of SBML as trees of our own grammar: functions inlined, what cannot be said in it refused by name."""

from collections.abc import Callable, Mapping
from functools import reduce
from itertools import pairwise
from typing import Any

from optimizer.equations.expression import MAX_NODES, TIME, EquationError, Tree, call, is_condition
from optimizer.equations.imported import limited

_MOST_CALLS, _MOST_DEPTH = 20, 120
_CONSTANTS = {"AST_CONSTANT_E": 2.718281828459045, "AST_CONSTANT_PI": 3.141592653589793}
_SAME = {"EXP": "exp", "TANH": "tanh", "SIN": "sin", "COS": "cos", "ABS": "abs"}
_COMPARED = {"LT": "<", "LEQ": "<=", "GT": ">", "GEQ": ">=", "EQ": "==", "NEQ": "!="}
_LOGICAL = {"AND": "and", "OR": "or", "NOT": "not", "MIN": "min", "MAX": "max"}


class Reader:
    """Trees of a model's MathML.

    Args:
        functions: function definitions by name, as libsbml has them.
        time: the tree that stands for the model's own time.
    """

    def __init__(self, functions: Mapping[str, Any], time: Tree = TIME):
        import libsbml

        self.functions, self.time, self.count = functions, time, 0
        self.kinds = {getattr(libsbml, name): name for name in dir(libsbml) if name.startswith("AST_")}

    def tree(self, node: Any) -> Tree:
        """The tree of a number.

        Raises:
            EquationError: something that the grammar does not have; one sentence.
        """
        self.count = 0
        found = _number(self._tree(node, lambda name: name, 0, 0))
        return limited(found)

    def _tree(self, node: Any, named: Callable[[str], Tree], calls: int, depth: int) -> Tree:
        self.count += 1
        if self.count > MAX_NODES or depth > _MOST_DEPTH:
            raise EquationError(f"wanted an equation of at most {MAX_NODES} parts, {_MOST_DEPTH} deep; got more")
        if node is None:
            raise EquationError("wanted an equation; got none")
        kind = self.kinds.get(node.getType(), "AST_UNKNOWN")
        if kind in ("AST_INTEGER", "AST_REAL", "AST_REAL_E", "AST_RATIONAL"):
            return float(node.getValue())
        if kind in _CONSTANTS:
            return _CONSTANTS[kind]
        if kind in ("AST_CONSTANT_TRUE", "AST_CONSTANT_FALSE"):
            return ("==", 0.0, 0.0 if kind == "AST_CONSTANT_TRUE" else 1.0)
        if kind == "AST_NAME_TIME":
            return self.time
        if kind == "AST_NAME_AVOGADRO":
            return 6.02214179e23
        if kind == "AST_NAME":
            return named(node.getName())
        if kind == "AST_FUNCTION":
            return self._inlined(node, named, calls, depth)
        parts = [self._tree(node.getChild(i), named, calls, depth + 1) for i in range(node.getNumChildren())]
        logical = kind.startswith("AST_LOGICAL")
        wanted = [logical or (kind == "AST_FUNCTION_PIECEWISE" and i % 2 == 1) for i in range(len(parts))]
        fitting = [_condition(p) if w else _number(p) for p, w in zip(parts, wanted, strict=True)]
        return self._operation(kind, node, fitting)

    def _inlined(self, node: Any, named: Callable[[str], Tree], calls: int, depth: int) -> Tree:
        name = node.getName()
        definition = self.functions.get(name)
        if definition is None or calls >= _MOST_CALLS:
            wanted = "a function that the file defines, not by itself"
            raise EquationError(f'wanted {wanted}; got "{name[:40]}"')
        count = definition.getNumArguments()
        if count != node.getNumChildren():
            raise EquationError(f'wanted {count} arguments of "{name[:40]}"; got {node.getNumChildren()}')
        given = {
            definition.getArgument(i).getName(): self._tree(node.getChild(i), named, calls, depth + 1)
            for i in range(count)
        }
        return self._tree(definition.getBody(), lambda word: given.get(word, word), calls + 1, depth + 1)

    def _operation(self, kind: str, node: Any, parts: list[Tree]) -> Tree:
        if kind == "AST_PLUS":
            return parts[0] if len(parts) == 1 else ("+", *parts) if parts else 0.0
        if kind == "AST_TIMES":
            return parts[0] if len(parts) == 1 else ("*", *parts) if parts else 1.0
        if kind == "AST_MINUS":
            return _negative(parts[0]) if len(parts) == 1 else ("+", parts[0], _negative(parts[1]))
        if kind == "AST_DIVIDE":
            return ("/", *parts)
        if kind in ("AST_POWER", "AST_FUNCTION_POWER"):
            return ("^", *parts)
        word = kind.removeprefix("AST_FUNCTION_").removeprefix("AST_LOGICAL_")
        if word == "PIECEWISE":
            # Without a last value the pieces cover all there is.
            return call("piecewise", tuple(parts if len(parts) % 2 else [*parts, 0.0 if not parts else parts[-2]]))
        if word == "LN":
            return ("log", parts[0])
        if word == "LOG":
            base = parts[0] if len(parts) == 2 else 10.0
            return ("/", ("log", parts[-1]), ("log", base))
        if word == "ROOT":
            degree = parts[0] if len(parts) == 2 else 2.0
            return ("sqrt", parts[-1]) if degree == 2.0 else ("^", parts[-1], ("/", 1.0, degree))
        if word in _SAME or word in _LOGICAL:
            return parts[0] if word in ("AND", "OR") and len(parts) == 1 else call((_SAME | _LOGICAL)[word], (*parts,))
        compared = _COMPARED.get(kind.removeprefix("AST_RELATIONAL_"))
        if compared:
            pairs = [(compared, one, other) for one, other in pairwise(parts)]
            return reduce(lambda a, b: ("and", a, b), pairs)
        said = node.getName() or kind.removeprefix("AST_").lower().replace("_", " ")
        raise EquationError(f'wanted arithmetic and {", ".join([*_SAME.values(), "log", "sqrt"])}; got "{said[:60]}"')


def _number(tree: Tree) -> Tree:
    """A condition counts as one where it holds and as zero where not."""
    return ("piecewise", 1.0, tree, 0.0) if is_condition(tree) else tree


def _condition(tree: Tree) -> Tree:
    return tree if is_condition(tree) else ("!=", tree, 0.0)


def _negative(tree: Tree) -> Tree:
    return -tree if isinstance(tree, float) else ("neg", tree)
