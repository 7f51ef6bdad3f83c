"""The grammar of equations: text becomes a tree of tuples, by a parser of our own; nothing is ever run as code.

    condition:  both {|| both}
    both:       compared {&& compared}
    compared:   sum [(< | <= | > | >= | == | !=) sum]
    sum:        term {(+ | -) term}
    term:       sign {(* | /) sign}
    sign:       [+ | - | !] sign | power
    power:      atom [^ sign]
    atom:       NUMBER | NAME | NAME ( condition {, condition} ) | ( condition )

A tree is a number, a name, or a tuple of an operation and its trees.
"""

import math
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from optimizer.units import quoted

Tree = float | str | tuple[Any, ...]

MAX_LENGTH, MAX_DEPTH, MAX_NODES = 20_000, 60, 20_000
MAX_NAME = 100
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
# Functions with their least and largest number of arguments.
FUNCTIONS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("exp", "log", "sqrt", "tanh", "sin", "cos", "abs", "not"), (1, 1)),
    **dict.fromkeys(("min", "max", "and", "or"), (2, 100)),
    "hill": (3, 3),
    "piecewise": (3, 199),
}
_LOGICAL = ("and", "or", "not")
# Other names of logarithms, with what divides that of base e.
_LOGARITHMS = {"ln": 1.0, "log10": math.log(10.0), "log2": math.log(2.0)}
TIME = "time"
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign><=|>=|==|!=|\*\*|&&|\|\||[-+*/^()<>,!]))"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class EquationError(ValueError):
    """An equation that was refused; the text is one sentence for the user."""


def is_name(text: str) -> bool:
    """Whether a quantity may be called so: letters, digits and _, and no word of the grammar."""
    return bool(_NAME.fullmatch(text)) and len(text) <= MAX_NAME and text not in FUNCTIONS and text != TIME


def is_condition(tree: Tree) -> bool:
    """Whether a tree is true or false rather than a number."""
    return isinstance(tree, tuple) and (tree[0] in COMPARISONS or tree[0] in _LOGICAL)


@lru_cache(maxsize=4096)
def parse(text: str) -> Tree:
    """The tree of a text that stands for a number.

    Raises:
        EquationError: it is none; one sentence with the place.

    Example:
        >>> parse("r * N * (1 - N/K)")
        ('*', 'r', 'N', ('+', 1.0, ('neg', ('/', 'N', 'K'))))
    """
    if len(text) > MAX_LENGTH:
        raise EquationError(f"wanted at most {MAX_LENGTH} characters; got {len(text)}")
    return number(_Parser(text).whole(), text)


def number(tree: Tree, text: str = "") -> Tree:
    """The tree, which must be a number.

    Raises:
        EquationError: it is a condition.
    """
    if is_condition(tree):
        raise EquationError(f"wanted a number; got a condition{f' in {quoted(text)}' if text else ''}")
    return tree


def call(name: str, trees: tuple[Tree, ...]) -> Tree:
    """A function of trees.

    Raises:
        EquationError: no such function, or other arguments than it takes.
    """
    if name in _LOGARITHMS:
        return ("/", call("log", trees), _LOGARITHMS[name])
    if name not in FUNCTIONS:
        raise EquationError(f'wanted one of the functions {", ".join(sorted(FUNCTIONS))}; got "{name[:40]}"')
    least, most = FUNCTIONS[name]
    if not least <= len(trees) <= most or (name == "piecewise" and len(trees) % 2 == 0):
        wanted = f"{least}{'' if least == most else ' or more'}"
        wanted = "a value and a condition for each piece, and a value at the end" if name == "piecewise" else wanted
        raise EquationError(f"wanted {wanted} arguments of {name}; got {len(trees)}")
    for i, tree in enumerate(trees):
        wants_condition = name in _LOGICAL or (name == "piecewise" and i % 2 == 1)
        if wants_condition != is_condition(tree):
            wanted, got = ("a condition", "a number") if wants_condition else ("a number", "a condition")
            raise EquationError(f"wanted {wanted} as argument {i + 1} of {name}; got {got}")
    return (name, *trees)


class _Parser:
    """Recursive descent over the tokens of a text."""

    def __init__(self, text: str):
        self.text, self.at, self.depth = text, 0, 0
        self.tokens = list(self._tokens())

    def _tokens(self) -> Iterator[tuple[str, str, int]]:
        place, end = 0, len(self.text.rstrip())
        while place < end:
            found = _TOKEN.match(self.text, place)
            if found is None or found[0].strip() == "**":
                hint = ", write ^ for a power" if found else ""
                place += len(self.text[place:]) - len(self.text[place:].lstrip())
                raise EquationError(
                    f"wanted names, numbers, + - * / ^ and functions; got {quoted(self.text[place:])} "
                    f"at character {place + 1}{hint}"
                )
            kind = str(found.lastgroup)
            yield kind, found[kind], found.start(kind)
            place = found.end()
        yield "end", "", len(self.text)

    def whole(self) -> Tree:
        tree = self.condition()
        if self.tokens[self.at][0] != "end":
            raise self._refused("an operator or the end")
        return tree

    def _refused(self, wanted: str) -> EquationError:
        kind, text, place = self.tokens[self.at]
        got = "the end" if kind == "end" else f'"{text[:40]}" at character {place + 1}'
        return EquationError(f"wanted {wanted}; got {got} in {quoted(self.text)}")

    def _take(self, *signs: str) -> str:
        kind, text, _ = self.tokens[self.at]
        if kind != "sign" or text not in signs:
            return ""
        self.at += 1
        return text

    def condition(self) -> Tree:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise EquationError(f"wanted at most {MAX_DEPTH} brackets in each other; got more")
        tree = self._joined("or", "||", lambda: self._joined("and", "&&", self.compared))
        self.depth -= 1
        return tree

    def _joined(self, word: str, sign: str, part: Callable[[], Tree]) -> Tree:
        parts = [part()]
        while self._take(sign):
            parts.append(part())
        return parts[0] if len(parts) == 1 else call(word, tuple(parts))

    def compared(self) -> Tree:
        tree = self.sum()
        if sign := self._take(*COMPARISONS):
            tree = (sign, number(tree), number(self.sum()))
        return tree

    def sum(self) -> Tree:
        terms = [self.term()]
        while sign := self._take("+", "-"):
            term = number(self.term())
            terms.append(term if sign == "+" else ("neg", term))
        return terms[0] if len(terms) == 1 else ("+", *map(number, terms))

    def term(self) -> Tree:
        tree = self.sign()
        while sign := self._take("*", "/"):
            tree, other = number(tree), number(self.sign())
            flat = isinstance(tree, tuple) and sign == tree[0] == "*"
            tree = (*tree, other) if flat else (sign, tree, other)  # type: ignore[misc]
            if _depth_of_left(tree) > MAX_DEPTH:
                raise EquationError(f"wanted at most {MAX_DEPTH} divisions in a row; got more")
        return tree

    def sign(self) -> Tree:
        if self._take("!"):
            return call("not", (self.atom(),))
        negative = False
        while sign := self._take("+", "-"):
            negative ^= sign == "-"
        tree = self.power()
        if not negative:
            return tree
        return -tree if isinstance(tree, float) else ("neg", number(tree))

    def power(self) -> Tree:
        tree = self.atom()
        if self._take("^"):
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise EquationError(f"wanted at most {MAX_DEPTH} powers in a row; got more")
            tree = ("^", number(tree), number(self.sign()))
            self.depth -= 1
        return tree

    def atom(self) -> Tree:
        kind, text, _ = self.tokens[self.at]
        if kind == "number":
            self.at += 1
            value = float(text)
            if value == float("inf"):
                raise EquationError(f'wanted a number that a float holds; got "{text[:40]}"')
            return value
        if kind == "name":
            self.at += 1
            return self._named(text)
        if self._take("("):
            tree = self.condition()
            if not self._take(")"):
                raise self._refused('")"')
            return tree
        raise self._refused('a number, a name or "("')

    def _named(self, name: str) -> Tree:
        if not self._take("("):
            if name in FUNCTIONS:
                raise self._refused(f'"(" behind {name}')
            return name
        trees = [self.condition()]
        while self._take(","):
            trees.append(self.condition())
        if not self._take(")"):
            raise self._refused('"," or ")"')
        return call(name, tuple(trees))


def _depth_of_left(tree: Tree) -> int:
    depth = 0
    while isinstance(tree, tuple) and tree[0] in ("/", "*"):
        tree, depth = tree[1], depth + 1
    return depth


def names(tree: Tree) -> set[str]:
    """Names of quantities in a tree."""
    if isinstance(tree, str):
        return {tree}
    return set().union(*map(names, tree[1:])) if isinstance(tree, tuple) else set()


def replaced(tree: Tree, by: Callable[[str], Tree]) -> Tree:
    """The tree with other trees for names."""
    if isinstance(tree, str):
        return by(tree)
    return (tree[0], *(replaced(part, by) for part in tree[1:])) if isinstance(tree, tuple) else tree


def written(tree: Tree) -> str:
    """The text of a tree, which `parse` reads back.

    >>> written(parse("-(a + b)*c^2"))
    '(-(a + b)) * (c^2.0)'
    """
    if isinstance(tree, str):
        return tree
    if not isinstance(tree, tuple):
        return repr(tree) if tree >= 0.0 else f"(-{-tree!r})"
    sign, *parts = tree
    if sign in FUNCTIONS:
        return f"{sign}({', '.join(map(written, parts))})"
    inside = [f"({written(p)})" if isinstance(p, tuple) and p[0] not in FUNCTIONS else written(p) for p in parts]
    if sign == "neg":
        return f"-{inside[0]}"
    if sign == "+":
        return _sum(parts)
    return (sign if sign == "^" else f" {sign} ").join(inside)


def _sum(parts: list[Tree]) -> str:
    out = ""
    for part in parts:
        negative = isinstance(part, tuple) and part[0] == "neg"
        body = part[1] if negative and isinstance(part, tuple) else part
        is_bare = not isinstance(body, tuple) or body[0] in FUNCTIONS or body[0] in ("*", "/", "^")
        text = written(body) if is_bare else f"({written(body)})"
        out += (" - " if negative else " + ") + text if out else f"{'-' if negative else ''}{text}"
    return out
