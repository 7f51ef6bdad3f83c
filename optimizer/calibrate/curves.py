"""Closed forms of what the simulator's models show in an experiment, as functions of a vector theta [P] and a design.

A law test compares each with the model itself. They stay finite at zero dose and far from the optimum, where a search
from hundreds of starts comes by: powers are written as logistic functions of logarithms.

| symbol | here | unit | meaning | source |
|---|---|---|---|---|
| D, G | `drug`, `growth_factor` | as in the table | concentrations | the table |
| Rmax, Rmin | `net_growth_max`, `net_growth_min` | as in the table | rates without and at endless drug | Kraut et al. |
| D50max, k | `ec50_max`, `hill` | drug, 1 | largest half-effect concentration, slope | same |
| Ghat, kG | `shift_midpoint`, `shift_slope` | growth factor and its inverse | the shift of D50 with G | same |
| s, Dhat | `secretion_slope`, `secretion_midpoint` | 1/drug, drug | rise of the secretion with drug | same |
| Gmax | `growth_factor_max` | pg/mL | growth factor at endless drug | same |

Source: Kraut et al. 2025, doi 10.1038/s41540-025-00495-0.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

STROMAL = ("ec50_max", "shift_midpoint", "shift_slope", "net_growth_max", "net_growth_min", "hill")
"""Order of theta in `stromal_rate`."""


def remaining(
    drug: Float[Array, "..."], log_ec50: Float[Array, "..."], hill: Float[Array, "..."]
) -> Float[Array, "..."]:
    """The part of the effect that is left, 1 / (1 + (D / EC50)^k), with a finite gradient at D = 0 for every k > 0.

    >>> float(remaining(jnp.asarray(2.0), jnp.log(2.0), jnp.asarray(0.5)))
    0.5
    """
    given = drug > 0
    log_drug = jnp.log(jnp.where(given, drug, 1.0))
    return jnp.where(given, jax.nn.sigmoid(hill * (log_ec50 - log_drug)), 1.0)


def stromal_rate(
    theta: Float[Array, " 6"], design: tuple[Float[Array, " n"], Float[Array, " n"]]
) -> Float[Array, " n"]:
    """Net growth under drug and growth factor: r = Rmin + (Rmax - Rmin) / (1 + (D / D50(G))^k),
    D50(G) = D50max / (1 + exp(-kG (G - Ghat))). theta in the order of `STROMAL`, design (D [n], G [n]).

    >>> theta = jnp.asarray([7.34, 379.4, 0.0078, 0.0147, -0.0079, 0.93])
    >>> round(float(stromal_rate(theta, (jnp.asarray([0.8615974]), jnp.asarray([27.1])))[0]), 9)
    0.0
    """
    drug, growth_factor = design
    ec50_max, midpoint, slope, high, low, hill = theta
    log_d50 = jnp.log(ec50_max) + jax.nn.log_sigmoid(slope * (growth_factor - midpoint))
    return low + (high - low) * remaining(drug, log_d50, hill)


def curves(
    theta: Float[Array, " p"],
    design: tuple[Float[Array, " n"], Int[Array, " n"], Int[Array, "groups 4"]],
) -> Float[Array, " n"]:
    """Four-parameter log-logistic curves that may share parameters:
    y = lower + (upper - lower) / (1 + (D / EC50)^hill).

    design is (D [n], group of each row [n], where in theta each group's (lower, upper, EC50, hill) stand [groups, 4]):
    two groups that point at one place share that parameter, which is how nested models are written.
    """
    drug, group, places = design
    lower, upper, ec50, hill = theta[places[group]].T
    return lower + (upper - lower) * remaining(drug, jnp.log(ec50), hill)


def logistic_d50(theta: Float[Array, " 3"], design: Float[Array, " n"]) -> Float[Array, " n"]:
    """The second stage of the two-stage fit: D50(G) = D50max / (1 + exp(-kG (G - Ghat)))."""
    ec50_max, midpoint, slope = theta
    return ec50_max * jax.nn.sigmoid(slope * (design - midpoint))


def secretion(theta: Float[Array, " p"], design: tuple[Float[Array, " n"], Int[Array, " n"]]) -> Float[Array, " n"]:
    """Growth factor at its plateau under drug: Gbar = Gmax[group] / (1 + exp(-s (D - Dhat))).

    theta is (s, Dhat, Gmax of each cell line and day); design (D [n], group [n]).
    """
    drug, group = design
    return theta[2 + group] * jax.nn.sigmoid(theta[0] * (drug - theta[1]))


def plateau(theta: Float[Array, " p"], design: tuple[Float[Array, " n"], Int[Array, " n"]]) -> Float[Array, " n"]:
    """Growth factor after a change of medium: G(t) = Gss[group] (1 - exp(-lambda t)); theta is (lambda, Gss ...)."""
    time, group = design
    return -theta[1 + group] * jnp.expm1(-theta[0] * time)


def gr_curve(theta: Float[Array, " 3"], design: Float[Array, " n"]) -> Float[Array, " n"]:
    """Growth-rate inhibition against dose: GR = GRinf + (1 - GRinf) / (1 + (D / GEC50)^h); theta (GRinf, GEC50, h).

    Source: Hafner et al. 2016, doi 10.1038/nmeth.3853.
    """
    return theta[0] + (1.0 - theta[0]) * remaining(design, jnp.log(theta[1]), theta[2])


def kill_curve(theta: Float[Array, " 4"], design: Float[Array, " n"]) -> Float[Array, " n"]:
    """What a Hill kill rate leaves after an assay of length T: upper exp(-Emax T (1 - 1 / (1 + (D / EC50)^hill))).

    theta is (upper, Emax T, EC50, hill).
    """
    return theta[0] * jnp.exp(-theta[1] * (1.0 - remaining(design, jnp.log(theta[2]), theta[3])))


def critical_concentration(
    ec50_max: Float[Array, "..."],
    shift_midpoint: Float[Array, "..."],
    shift_slope: Float[Array, "..."],
    net_growth_max: Float[Array, "..."],
    net_growth_min: Float[Array, "..."],
    hill: Float[Array, "..."],
    growth_factor: float,
) -> Float[Array, "..."]:
    """Where the net growth is zero: D_crit(G) = D50(G) (-Rmax / Rmin)^(1/k).

    Infinite where Rmin >= 0, 0 where Rmax <= 0.

    >>> published = (7.34, 379.4, 0.0078, 0.0147, -0.0079, 0.93)
    >>> round(float(critical_concentration(*map(jnp.asarray, published), 27.1)), 7)
    0.8615974
    """
    d50 = ec50_max * jax.nn.sigmoid(shift_slope * (growth_factor - shift_midpoint))
    possible: Bool[Array, ...] = (net_growth_min < 0) & (net_growth_max > 0)
    ratio = jnp.where(possible, -net_growth_max / jnp.where(possible, net_growth_min, -1.0), 1.0)
    value = d50 * ratio ** (1.0 / hill)
    return jnp.where(possible, value, jnp.where(net_growth_max <= 0, 0.0, jnp.inf))


_critical = jax.jit(critical_concentration)


def zero_growth(parameters: tuple[ArrayLike, ...], growth_factor: float) -> np.ndarray:
    """`critical_concentration` of NumPy values or draws, in the order of `STROMAL`."""
    return np.asarray(_critical(*(jnp.asarray(p, dtype=float) for p in parameters), growth_factor))
