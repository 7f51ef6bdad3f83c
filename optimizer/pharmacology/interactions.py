"""What several drugs do together: Bliss, highest single agent, Loewe, and MuSyC with shifts of potency and efficacy."""

from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from equinox import AbstractClassVar
from jaxtyping import Array, Float

from optimizer.axes import Conc, Index, Scalar
from optimizer.fields import parameter, setting
from optimizer.pharmacology.effects import AbstractEffect, Action, Hill, hill, power

Row = tuple[AbstractEffect | None, ...]
# Bisections of the bracket of Loewe's kill rate; two Newton steps follow.
_BISECTIONS = 24
# Kill rate [1/day] up to which drugs are taken to add, so that a schedule without drug has a finite gradient.
_TRACE = 1e-12


class AbstractInteraction(eqx.Module):
    """The law by which the effects of all drugs on one clone combine.

    Every law gives the effect of a single drug unchanged when it is given alone.
    """

    kind: AbstractClassVar[str]

    @abstractmethod
    def __call__(self, row: Row, conc: Conc, shift: Float[Array, "N"], growth: Scalar) -> Action:
        """Effect of all drugs.

        Args:
            row: effect of each drug on the clone [N], None where it has none.
            conc: concentrations [N, mg/L].
            shift: factor on the half-maximal concentration of each drug [N].
            growth: growth rate of the clone without drug [1/day].
        """


def acting(row: Row, conc: Conc, shift: Float[Array, "N"]) -> list[tuple[AbstractEffect, Scalar, Scalar]]:
    """Effect, concentration and shift of each drug that acts on the clone."""
    return [(effect, conc[j], shift[j]) for j, effect in enumerate(row) if effect is not None]


def independent(actions: list[Action]) -> Action:
    """Bliss: shares of growth left over multiply, kill rates add."""
    left: Any = 1.0
    kill: Any = 0.0
    for action in actions:
        left, kill = left * (1.0 - action.inhibition), kill + action.kill
    return Action(1.0 - left, kill)


def turned(
    law: AbstractInteraction, row: Row, conc: Conc, shift: Float[Array, "N"], growth: Scalar
) -> tuple[Scalar, Scalar]:
    """Kill of all drugs on a clone that takes births instead [1/day], and inhibition that adds deaths instead [1].

    Each drug alone has a part of its own (`cytostatic`); together they have the mean of these parts, weighted by what
    each does alone.
    """
    parts = acting(row, conc, shift)
    if not parts:
        return jnp.zeros_like(growth), jnp.zeros_like(growth)
    both, alone = law(row, conc, shift, growth), [effect(c, s) for effect, c, s in parts]

    def part(together: Scalar, singles: list[Scalar], shares: list[Scalar]) -> Scalar:
        total = sum(singles, 0.0 * growth)
        some = total > _TRACE
        # A trace of drugs adds, so that the slope at no drug is that of each alone.
        joint = jnp.where(some, together / jnp.where(some, total, 1.0), 1.0)
        return joint * sum(share * single for share, single in zip(shares, singles, strict=True))

    slows = [effect.cytostatic for effect, _, _ in parts]
    slowed = part(both.kill, [a.kill for a in alone], slows)
    return slowed, part(both.inhibition, [a.inhibition for a in alone], [1.0 - share for share in slows])


class Bliss(AbstractInteraction):
    """Drugs act independently: shares of growth left over multiply and kill rates add.

    Adding rates multiplies the surviving fractions, exp(-(k1 + k2) t) = exp(-k1 t) exp(-k2 t), which is independence in
    the sense of Bliss 1939, doi 10.1111/j.1744-7348.1939.tb06990.x.

    Example:
        >>> import jax.numpy as jnp
        >>> one = Hill(emax=1.0, ec50=1.0)
        >>> float(Bliss()((one, one), jnp.ones(2), jnp.ones(2), jnp.ones(())).kill)
        1.0
    """

    kind: ClassVar[str] = "bliss"

    def __call__(self, row: Row, conc: Conc, shift: Float[Array, "N"], growth: Scalar) -> Action:
        return independent([effect(c, s) for effect, c, s in acting(row, conc, shift)])


class HighestSingleAgent(AbstractInteraction):
    """The drug that lowers the clone's net growth most acts, the others do not.

    The reference of Gaddum 1940; reviewed in Foucquier and Guedj 2015, doi 10.1002/prp2.149. The effect has a kink
    where two drugs are equal.
    """

    kind: ClassVar[str] = "hsa"

    def __call__(self, row: Row, conc: Conc, shift: Float[Array, "N"], growth: Scalar) -> Action:
        actions = [effect(c, s) for effect, c, s in acting(row, conc, shift)]
        if len(actions) < 2:
            return independent(actions)
        inhibition = jnp.stack([a.inhibition for a in actions])
        kill = jnp.stack([a.kill for a in actions])
        best = jnp.argmax(growth * inhibition + kill)
        return Action(inhibition[best], kill[best])


class Loewe(AbstractInteraction):
    """Drugs as dilutions of each other: the kill rate E solves c1 / C1(E) + c2 / C2(E) + ... = 1.

    C_i(E) is the concentration at which drug i alone kills at the rate E; a drug that cannot kill that fast adds
    nothing to the sum, so that E tends to that of the stronger drug. Linear effects add. Shares of growth taken away
    (Norton-Simon) are linear in the concentration and add too.

    Source: Loewe 1953, Arzneimittelforschung 3:285-290; Foucquier and Guedj 2015, doi 10.1002/prp2.149.

    Example:
        >>> import jax.numpy as jnp
        >>> one = Hill(emax=1.0, ec50=1.0)  # a drug combined with itself is one drug at the summed dose
        >>> float(Loewe()((one, one), jnp.array([0.5, 0.5]), jnp.ones(2), jnp.ones(()))[1]).__round__(12)
        0.5
    """

    kind: ClassVar[str] = "loewe"

    def __call__(self, row: Row, conc: Conc, shift: Float[Array, "N"], growth: Scalar) -> Action:
        parts = acting(row, conc, shift)
        actions = [effect(c, s) for effect, c, s in parts]
        inhibition: Any = sum((a.inhibition for a in actions), 0.0)
        # An effect whose class gives no concentration for a kill rate never kills.
        spares = AbstractEffect.potency_at
        killers = [part for part, a in zip(parts, actions, strict=True) if type(part[0]).potency_at is not spares]
        if len(killers) < 2:
            kill: Any = sum((a.kill for a in actions), 0.0)
            return Action(inhibition, kill)
        return Action(inhibition, _loewe_kill(killers))


def _loewe_kill(parts: list[tuple[AbstractEffect, Scalar, Scalar]]) -> Scalar:
    single = jnp.stack([effect(c, s).kill for effect, c, s in parts])
    total = jnp.sum(single)
    some = jnp.max(single) > _TRACE
    concs = [jnp.where(some, c, s) for _, c, s in parts]

    def excess(kill: Scalar, held: bool) -> Scalar:
        terms = [c * effect.potency_at(kill, s) for (effect, _, s), c in zip(parts, concs, strict=True)]
        value = sum(terms, 0.0) - 1.0
        return jax.lax.stop_gradient(value) if held else value

    low = jnp.max(jnp.stack([effect(c, s).kill for (effect, _, s), c in zip(parts, concs, strict=True)]))
    most = [effect(len(parts) * c, s).kill for (effect, _, s), c in zip(parts, concs, strict=True)]
    low, high = jax.lax.stop_gradient((low, jnp.max(jnp.stack(most))))

    def halve(_: Index, bracket: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        low, high = bracket
        middle = 0.5 * (low + high)
        above = excess(middle, True) > 0.0
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, (low, high))
    kill = jax.lax.stop_gradient(0.5 * (low + high))
    for last in (False, True):
        # The last Newton step carries the gradient: that of the root by the implicit function theorem.
        slope = jax.lax.stop_gradient(jax.grad(lambda k: excess(k, False))(kill))
        step = excess(kill, not last) / slope
        kill = kill - jnp.where(last, step, jnp.clip(step, kill - high, kill - low))
    return jnp.where(some, kill, total)


class Pooled(AbstractInteraction):
    """Loewe additivity of drugs that differ in potency only: one Hill curve in x = c1 / EC50_1 + c2 / EC50_2 + ...

    The largest fall of the net growth rate and the steepness are those of the first drug that acts on the clone; where
    all drugs have the same, this is Loewe's law in closed form (doi 10.1002/prp2.149). Effects that are not Hill curves
    act independently beside it.
    """

    kind: ClassVar[str] = "pooled"

    def __call__(self, row: Row, conc: Conc, shift: Float[Array, "N"], growth: Scalar) -> Action:
        parts = acting(row, conc, shift)
        actions = [effect(c, s) for effect, c, s in parts if not isinstance(effect, Hill)]
        curves = [(effect, c, s) for effect, c, s in parts if isinstance(effect, Hill)]
        if curves:
            first = curves[0][0]
            x = sum((c / (effect.ec50 * s) for effect, c, s in curves), 0.0)
            kill = first.emax * hill(x, first.hill)
            actions.append(Action(jnp.zeros_like(kill), kill))
        return independent(actions)


class MuSyC(AbstractInteraction):
    """Two drugs with interactions of potency and of efficacy; further drugs act independently of them.

    Cells are unaffected (U), affected by the first drug (A1), by the second (A2) or by both (A12). With
    x_i = (c_i / EC50_i)^h_i the states exchange as

        U <-> A1: x1, 1     U <-> A2: x2, 1     A2 <-> A12: a x1, 1     A1 <-> A12: b x2, 1
        a = potency_first^h1     b = potency_second^h2

    and their steady shares weigh the kill rates 0, E1, E2 and E12 = (1 + efficacy) max(E1, E2). Where a = b the shares
    are 1 : x1 : x2 : a x1 x2 (detailed balance). With both potencies 1 and E12 = E1 + E2 the law is Bliss.

    | symbol | field | unit | meaning | source |
    |---|---|---|---|---|
    | alpha21 | potency_first | 1 | factor on the potency of the first drug | doi 10.1016/j.cels.2019.01.003 |
    | alpha12 | potency_second | 1 | factor on the potency of the second drug | same |
    | beta | efficacy | 1 | effect of both beyond that of the stronger one, relative to it | same |

    Both drugs are taken to unbind at the same rate, which matters only where a is not b
    (doi 10.1038/s41467-021-24789-z).

    Example:
        >>> import jax.numpy as jnp
        >>> one = Hill(emax=1.0, ec50=1.0)
        >>> law = MuSyC(efficacy=1.0)  # both together kill twice as fast as either
        >>> float(law((one, one), jnp.ones(2), jnp.ones(2), jnp.ones(())).kill)
        1.0
    """

    kind: ClassVar[str] = "musyc"
    first: int = setting(doc="name of the first drug; the first of the scenario when left out", default=0)
    second: int = setting(doc="name of the second drug; the second of the scenario when left out", default=1)
    potency_first: Scalar = parameter(
        unit="1", doc="factor on the potency of the first drug by the second", default=1.0, minimum=0.0
    )
    potency_second: Scalar = parameter(
        unit="1", doc="factor on the potency of the second drug by the first", default=1.0, minimum=0.0
    )
    efficacy: Scalar = parameter(
        unit="1", doc="kill of both drugs beyond that of the stronger one, relative to it", default=0.0, minimum=-1.0
    )

    def __call__(self, row: Row, conc: Conc, shift: Float[Array, "N"], growth: Scalar) -> Action:
        one, two = row[self.first], row[self.second]
        if not (isinstance(one, Hill) and isinstance(two, Hill)):
            return Bliss()(row, conc, shift, growth)
        others = tuple(None if j in (self.first, self.second) else effect for j, effect in enumerate(row))
        rest = Bliss()(others, conc, shift, growth)
        x1 = power(conc[self.first] / (one.ec50 * shift[self.first]), one.hill)
        x2 = power(conc[self.second] / (two.ec50 * shift[self.second]), two.hill)
        a, b = self.potency_first**one.hill, self.potency_second**two.hill
        # Each state's weight is the sum over the spanning trees that lead to it, of products of three rates.
        none = 1.0 + 1.0 + a * x1 + b * x2
        only_first = x1 * (2.0 + a * x1) + a * x1 * x2
        only_second = x2 * (2.0 + b * x2) + b * x2 * x1
        both = x1 * x2 * (a + b + a * b * (x1 + x2))
        most = (1.0 + self.efficacy) * jnp.maximum(one.emax, two.emax)
        killed = only_first * one.emax + only_second * two.emax + both * most
        return Action(rest.inhibition, rest.kill + killed / (none + only_first + only_second + both))
