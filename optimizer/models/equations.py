"""A model that is written down: states, parameters, rates and outputs as text."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.axes import Conc, Scalar
from optimizer.equations.expression import TIME, Tree, names, parse
from optimizer.equations.factors import divided
from optimizer.equations.values import Values
from optimizer.models.base import AbstractModel

Texts = tuple[tuple[str, str | float], ...]

# States that are kept of those that were met, and squarings of a Jacobian: its norm to the power 1/64 is nearly the
# spectral radius.
_PROBES, _SQUARINGS = 32, 6
# Intervals that are looked at for time scales.
_LOOKED_AT = 200


class Structure(NamedTuple):
    """Trees of a model: rates are those of the logarithm where a state is one."""

    starts: tuple[Tree, ...]
    rates: tuple[Tree, ...]
    is_log: tuple[bool, ...]
    outputs: dict[str, Tree]
    doses: dict[str, Tree]


def _tree(text: str | float) -> Tree:
    return parse(text) if isinstance(text, str) else float(text)


@lru_cache(maxsize=64)
def structure(states: Texts, rates: Texts, outputs: Texts, doses: Texts, linear: tuple[str, ...]) -> Structure:
    """Which states are logarithms, found from the equations: those whose rate is a multiple of themselves.

    Example:
        >>> structure((("N", 1.0),), (("N", "r*N"),), (), (), ()).is_log
        (True,)
    """
    trees, known = {name: _tree(text) for name, text in rates}, {name: _tree(text) for name, text in outputs}
    given = {name: _tree(text) for name, text in doses}
    per_capita = {
        name: None if name in linear or name in given else divided(trees[name], name, known) for name, _ in states
    }
    chosen = {name: trees[name] if tree is None else tree for name, tree in per_capita.items()}
    return Structure(
        tuple(_tree(text) for _, text in states),
        tuple(chosen.values()),
        tuple(tree is not None for tree in per_capita.values()),
        known,
        given,
    )


def _items(table: Any) -> Texts:
    return tuple(table.items()) if isinstance(table, Mapping) else table


def _arrays(table: Mapping[str, Any]) -> dict[str, Any]:
    kept = jax.Array | np.float64
    return {name: value if isinstance(value, kept) else jnp.asarray(value, float) for name, value in table.items()}


class Equations(AbstractModel):
    """States, parameters, rates and outputs as text, in any units: y' = f(y, parameters, levels of the drugs, time).

    A drug's level enters by the drug's name. Where the equations have pharmacokinetics of their own, a state that doses
    enter is y + d, d what `doses` says of the amounts given so far, and y' = f(y + d): exact at a bolus, as d jumps.
    A state whose rate is a multiple of itself, and which does not start at zero, is integrated as a logarithm.

    Example:
        >>> model = Equations({"r": 0.25}, {"N": 2.0}, {"N": "r*N - u*N"}, {"burden": "N"}, drugs=("u",))
        >>> float(model.vector_field(0.0, model.initial_state(), jnp.array([0.5]))[0])
        -0.25
    """

    kind: ClassVar[str] = "equations"

    parameters: dict[str, Scalar] = eqx.field(converter=_arrays)  #: numbers by name
    states: Texts = eqx.field(static=True, converter=_items)  #: names with the text of the start, over parameters
    rates: Texts = eqx.field(static=True, converter=_items)  #: names with the text of the time derivative [per day]
    #: names with the text of what follows from the states; `burden` is the tumor, `resistant` what counts as resistant.
    #: They may be used in rates.
    outputs: Texts = eqx.field(static=True, converter=_items)
    #: states that doses enter, with the text of what a drug given so far adds to it
    doses: Texts = eqx.field(static=True, converter=_items, default=())
    #: states that are not integrated as logarithms though they could be
    linear: tuple[str, ...] = eqx.field(static=True, converter=tuple, default=())
    cell_floor: float = eqx.field(static=True, default=1.0)  #: what is added to the burden before a logarithm is taken
    drugs: tuple[str, ...] = eqx.field(static=True, default=())  #: names of the drugs [N]
    #: times, states as integrated and levels at which time scales are looked for [points, 1 + n + N]
    probes: Float[Array, "points size"] | None = None

    def structure(self) -> Structure:
        """The trees."""
        return structure(self.states, self.rates, self.outputs, self.doses, self.linear)

    def values(self, t: Any, y: Any, conc: Any = None, xp: Any = jnp) -> Values:
        """Every quantity by name, outputs when asked for; without concentrations none that hangs on a drug."""
        found = self.structure()
        known = dict(self.parameters) | {TIME: t}
        if conc is not None:
            known |= {drug: conc[j] for j, drug in enumerate(self.drugs)}
        for i, (name, _) in enumerate(self.states):
            known[name] = xp.exp(y[i]) if found.is_log[i] else y[i]
        if conc is not None and found.doses:
            given = Values(known, {}, xp)
            known |= {name: known[name] + given.of(tree) for name, tree in found.doses.items()}
        return Values(known, found.outputs, xp)

    def initial_state(self) -> Float[Array, "n"]:
        return self.start(jnp)

    def vector_field(self, t: Scalar, y: Float[Array, "n"], conc: Conc) -> Float[Array, "n"]:
        return self.slope(t, y, conc, jnp)

    def start(self, xp: Any) -> Any:
        """The state at time 0 [n], with `jax.numpy` or `numpy`."""
        found, values = self.structure(), Values(self.parameters, {}, xp)
        starts = [values.of(tree) for tree in found.starts]
        return xp.stack([xp.log(s) if log else s + 0.0 for s, log in zip(starts, found.is_log, strict=True)])

    def slope(self, t: Any, y: Any, conc: Any, xp: Any) -> Any:
        """The time derivative [n, 1/day], with `jax.numpy` or `numpy`."""
        values = self.values(t, y, conc, xp)
        return xp.stack([values.of(tree) + 0.0 * y[i] for i, tree in enumerate(self.structure().rates)])

    def burden(self, y: Float[Array, "n"]) -> Scalar:
        return self.values(0.0, y)["burden"]

    def resistant(self, y: Float[Array, "n"]) -> Scalar:
        named = dict(self.outputs)
        return self.values(0.0, y)["resistant"] if "resistant" in named else jnp.zeros(())

    def floor(self) -> float:
        return self.cell_floor

    @property
    def observable_names(self) -> tuple[str, ...]:  # type: ignore[override]
        # What hangs on the time is not told from a state.
        found = self.structure()
        timed = hanging_on({TIME}, found.outputs)
        return (*(name for name, _ in self.states), *(name for name in found.outputs if name not in timed))

    def observables(self, y: Float[Array, "n"], conc: Conc) -> dict[str, Array]:
        values = self.values(0.0, y, conc)
        return {name: jnp.asarray(values[name]) for name in self.observable_names}

    # --- time scales ------------------------------------------------------------------------------------------------

    def surveyed(self, edges: np.ndarray, courses: Callable[[], Sequence[Any]]) -> "Equations":
        """The model with probes: states on the way without drugs and under the largest doses, by SciPy."""
        from scipy.integrate import solve_ivp  # a third of a second

        mine = eqx.tree_at(lambda m: m.parameters, self, {k: np.float64(v) for k, v in self.parameters.items()})
        met = []
        for times, levels in courses():
            y = np.asarray(mine.start(np))
            for first, last in pairwise(edges[: _LOOKED_AT + 1]):
                inside = (times >= first) & (times <= last)
                at, conc = times[inside], levels[inside]

                def slope_at(t: float, y: np.ndarray, at: Any = at, conc: Any = conc) -> np.ndarray:
                    level = np.array([np.interp(t, at, column) for column in conc.T])
                    return mine.slope(np.float64(t), y, level, np)

                with np.errstate(all="ignore"):
                    found = solve_ivp(slope_at, (first, last), y, method="LSODA", rtol=1e-4, atol=1e-8)
                if found.status < 0 or not np.all(np.isfinite(found.y[:, -1])):
                    break
                met += [np.r_[first, y, conc[0]], np.r_[last, found.y[:, -1], conc[-1]]]
                y = found.y[:, -1]
        if not met:
            return self
        kept = np.unique(np.linspace(0, len(met) - 1, _PROBES).astype(int))
        return eqx.tree_at(
            lambda m: m.probes, self, jnp.asarray(np.array(met)[kept]), is_leaf=lambda leaf: leaf is None
        )

    def fastest_rate(self) -> Scalar:
        size = len(self.states)
        start = jnp.concatenate([jnp.zeros(1), self.initial_state(), jnp.zeros(len(self.drugs))])[None]
        points = start if self.probes is None else jnp.concatenate([start, self.probes])

        def radius(point: Float[Array, "size"]) -> Scalar:
            t, y, conc = point[0], point[1 : size + 1], point[size + 1 :]
            matrix = jax.jacfwd(lambda y: self.vector_field(t, y, conc))(y)
            log, power = 0.0, 1.0
            for _ in range(_SQUARINGS):
                norm = jnp.linalg.norm(matrix) + 1e-30
                log, power = log + jnp.log(norm) / power, 2.0 * power
                matrix = (matrix / norm) @ (matrix / norm)
            return jnp.exp(log + jnp.log(jnp.linalg.norm(matrix) + 1e-30) / power)

        rates = jax.vmap(radius)(points)
        return jnp.max(jnp.where(jnp.isfinite(rates), rates, 0.0))

    def sharpness(self, decline: Scalar) -> Scalar:
        found = self.structure()
        forced = hanging_on(set(self.drugs), found.outputs)
        values = Values(self.parameters, found.outputs, jnp)
        powers = [values.of(k) for tree in (*found.rates, *found.outputs.values()) for k in _powers(tree, forced)]
        return decline * (1.5 + jnp.max(jnp.stack([jnp.ones(()), *map(jnp.asarray, powers)])))


def hanging_on(words: set[str], outputs: Mapping[str, Tree]) -> set[str]:
    """The words, and all outputs that hang on one of them.

    >>> sorted(hanging_on({"u"}, {"a": ("neg", "u"), "b": "a", "c": 1.0}))
    ['a', 'b', 'u']
    """
    while more := {name for name, tree in outputs.items() if name not in words and names(tree) & words}:
        words = words | more
    return words


def _powers(tree: Tree, forced: set[str]) -> list[Tree]:
    """Exponents of what hangs on a drug."""
    if not isinstance(tree, tuple):
        return []
    found = [k for part in tree[1:] for k in _powers(part, forced)]
    own = {"^": 2, "hill": 3}.get(tree[0])
    return [*found, tree[own]] if own is not None and names(tree[1]) & forced else found
