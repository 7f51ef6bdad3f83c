"""The grammar: what is read, what is refused and how; trees as numbers, quotients and dimensions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from optimizer.equations.dimensions import dimension
from optimizer.equations.expression import EquationError, is_name, names, parse, written
from optimizer.equations.factors import divided
from optimizer.equations.values import Values
from optimizer.units import Dimension

KNOWN = {"a": 1.5, "b": -0.7, "c": 2.25, "lambda": 3.0}


def value(text, xp=np):
    """The number that a text stands for."""
    return float(Values({name: xp.asarray(x) for name, x in KNOWN.items()}, {}, xp).of(parse(text)))


@pytest.mark.parametrize("xp", [np, jnp])
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1 + 2*3", 7.0),
        ("2 - 3 - 4", -5.0),
        ("8/4/2", 1.0),
        ("2^3^2", 512.0),
        ("-2^2", -4.0),
        ("2^-1", 0.5),
        ("- - +a", 1.5),
        ("b^3", -0.343),
        ("c^0.5", 1.5),
        ("a*-b", 1.05),
        ("1.5e-2 + .5", 0.515),
        ("exp(log(c))", 2.25),
        ("sqrt(c) + tanh(0) + abs(b)", 2.2),
        ("sin(0) + cos(0)", 1.0),
        ("min(a, b, c) + max(a, c)", 1.55),
        ("hill(a, 1.5, 3)", 0.5),
        ("piecewise(1, a > c, 2, a <= c, 3)", 2.0),
        ("piecewise(1, and(a > 0, not(b > 0)), 3)", 1.0),
        ("piecewise(1, or(a == 0, b != b), 3)", 3.0),
        ("lambda * 2", 6.0),
        ("piecewise(1, a > 0 && !(b > 0) || a > 9, 3)", 1.0),
        ("piecewise(1, a > 9 || a > 0 && b > 0, 3)", 3.0),
        ("2 / log10(100) + ln(exp(3)) - log2(8)", 1.0),
    ],
)
def test_values(text, wanted, xp):
    assert value(text, xp) == pytest.approx(wanted, rel=1e-14)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", 'wanted a number, a name or "("; got the end in ""'),
        ("a +", 'wanted a number, a name or "("; got the end in "a +"'),
        ("!a", "wanted a condition as argument 1 of not; got a number"),
        ("a && b > 0", "wanted a condition as argument 1 of and; got a number"),
        ("!(a > 0)", "wanted a number; got a condition"),
        ("a & b", 'got "& b" at character 3'),
        ("a b", 'wanted an operator or the end; got "b" at character 3 in "a b"'),
        ("(a", 'wanted ")"; got the end in "(a"'),
        ("a ** 2", 'got "** 2" at character 3, write ^ for a power'),
        ("__import__('os')", "got \"'os')\" at character 12"),
        ("a.real", 'got ".real" at character 2'),
        ("a[0]", 'got "[0]" at character 2'),
        ("open(a)", "wanted one of the functions abs, and, cos, exp, hill"),
        ("exp", 'wanted "(" behind exp; got the end'),
        ("exp()", 'wanted a number, a name or "("; got ")" at character 5'),
        ("exp(a, b)", "wanted 1 arguments of exp; got 2"),
        ("min(a)", "wanted 2 or more arguments of min; got 1"),
        ("piecewise(1, a > b, 2, a > c)", "wanted a value and a condition for each piece, and a value at the end"),
        ("piecewise(1, a, 2)", "wanted a condition as argument 2 of piecewise; got a number"),
        ("exp(a > b)", "wanted a number as argument 1 of exp; got a condition"),
        ("a > b", 'wanted a number; got a condition in "a > b"'),
        ("(a > b) * 2", "wanted a number; got a condition"),
        ("1 < (a < 2)", "wanted a number; got a condition"),
        ("1e999", 'wanted a number that a float holds; got "1e999"'),
        ("a + \u03bb", 'got "\u03bb" at character 5'),
        ("a\x00", r'got "\x00" at character 2'),
        ("(" * 1000 + "a" + ")" * 1000, "wanted at most 60 brackets in each other; got more"),
        ("2^" * 1000 + "2", "wanted at most 60 powers in a row; got more"),
        ("exp(" * 900 + "a" + ")" * 900, "wanted at most 60 brackets in each other; got more"),
        ("a/" * 1000 + "a", "wanted at most 60 divisions in a row; got more"),
        ("a + " * 6000 + "a", "wanted at most 20000 characters; got 24001"),
    ],
)
def test_refused(text, said):
    with pytest.raises(EquationError) as refused:
        parse(text)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 250


def test_long_sums_and_signs_are_not_deep():
    assert value(" + ".join(["a"] * 4000)) == pytest.approx(6000.0)
    assert value("*".join(["1"] * 4000)) == 1.0
    assert value("-" * 4001 + "a") == -1.5


def trees(leaf):
    """Trees over a few operations."""
    pairs = st.tuples(st.sampled_from(["*", "+", "/", "^", "min"]), leaf, leaf)
    return st.one_of(pairs, st.tuples(st.just("neg"), leaf), st.tuples(st.just("hill"), leaf, leaf, leaf))


LEAVES = st.one_of(st.sampled_from(sorted(KNOWN)), st.floats(-1e9, 1e9).map(lambda x: x + 0.0))


@given(st.recursive(LEAVES, trees, max_leaves=20))
def test_what_is_written_is_read_back(tree):
    again = parse(written(tree))
    assert names(again) == names(tree)
    known = Values({name: np.float64(x) for name, x in KNOWN.items()}, {}, np)
    with np.errstate(all="ignore"):
        try:
            one, other = known.of(tree), known.of(again)
        except OverflowError:
            return
        assert np.isclose(one, other, rtol=1e-12, equal_nan=True)


@pytest.mark.parametrize("word", ["lambda", "class", "None", "_x", "A1"])
def test_words_of_other_languages_are_names(word):
    assert is_name(word)


@pytest.mark.parametrize("word", ["time", "exp", "and", "1a", "a-b", "", "a b", "x" * 101])
def test_no_names(word):
    assert not is_name(word)


@pytest.mark.parametrize(
    ("text", "quotient"),
    [
        ("r*N", "r*1"),
        ("r*N*(1 - N/K) - d*N", "r*(1-N/K) - d"),
        ("-(a + b)*N", "-(a+b)"),
        ("N^3/K", "N^2/K"),
        ("piecewise(a*N, time > 3, 0)", "piecewise(a, time > 3, 0)"),
        ("growth - N*k", "r*(1 - N) - k"),
        ("r*N + s", None),
        ("exp(N)", None),
        ("N^0.5", None),
        ("a/N", None),
    ],
)
def test_quotients(text, quotient):
    found = divided(parse(text), "N", {"growth": parse("r*N*(1 - N)")})
    assert (found is None) == (quotient is None)
    known = {"N": 0.3, "K": 2.0, "r": 0.7, "d": 0.1, "a": 1.1, "b": 0.4, "k": 0.2, "s": 0.9, "time": 1.0}
    if found is not None:
        values = Values(known, {}, np)
        assert values.of(found) == pytest.approx(float(values.of(parse(quotient))), rel=1e-14)


def test_powers_have_slopes_at_zero_and_no_value_below():
    slope = jax.grad(lambda x: Values({"x": x, "k": jnp.asarray(0.5)}, {}, jnp).of(parse("x^k + hill(x, 2, k)")))
    assert np.isfinite(slope(jnp.asarray(0.0)))
    assert np.isnan(Values({"x": jnp.asarray(-0.5)}, {}, jnp).of(parse("x^0.5")))
    assert np.isnan(Values({"x": np.float64(-0.5)}, {}, np).of(parse("hill(x, 1, 2.5)")))


UNITS = {"N": Dimension(cells=1), "k": Dimension(time=-1), "c": Dimension(mass=1, volume=-1), "bare": None}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("k*N", "cell count / time"),
        ("k*N - 3", "cell count / time"),
        ("bare*N + k*N", "cell count / time"),
        ("bare*N", "None"),
        ("exp(N/N)", "pure number"),
        ("N^2/N", "cell count"),
        ("hill(c, 2*bare, 3)", "pure number"),
        ("hill(c, c, 3)", "pure number"),
        ("piecewise(N, c > 1, 0)", "cell count"),
        ("sqrt(N)", "None"),
    ],
)
def test_dimensions(text, wanted):
    assert str(dimension(parse(text), UNITS)) == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("N + k", 'wanted one unit in "N + k"; got cell count beside 1 / time'),
        ("exp(c)", 'wanted one unit in "exp(c)"; got mass / volume beside pure number'),
        ("hill(c, N, 2)", 'wanted one unit in "hill(c, N, 2.0)"; got mass / volume beside cell count'),
        ("2^N", 'wanted one unit in "2.0^N"; got cell count beside pure number'),
        ("piecewise(N, c > N, 0)", 'wanted one unit in "c > N"; got mass / volume beside cell count'),
        ("min(N, k)", 'wanted one unit in "min(N, k)"; got cell count beside 1 / time'),
    ],
)
def test_units_that_do_not_fit(text, said):
    with pytest.raises(EquationError) as refused:
        dimension(parse(text), UNITS)
    assert str(refused.value) == said
