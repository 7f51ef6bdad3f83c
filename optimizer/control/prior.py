"""What is believed of a patient before anything is measured: the cohort's spread, as standard normal numbers."""

from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy.special import logit

from optimizer.axes import Scalar
from optimizer.control.state_noise import StateNoise
from optimizer.ensemble.patients import load_patients, root_of
from optimizer.ensemble.preexisting import Risks, read_risks
from optimizer.scenario import Scenario, ScenarioError
from optimizer.scenario.keys import Place, find
from optimizer.scenario.plan import Vary

# Patients of a table or draws of a posterior from which a spread is taken.
_DRAWS = 1000
# Shares this near to 0 or 1 have no logit worth the name.
_EDGE = 1e-6
_PLAIN, _LOG, _LOGIT = 0, 1, 2


@dataclass(frozen=True)
class Prior:
    """Numbers that are not known, theta = g(mean + root z) with z standard normal [V].

    g is the exponential for a number that is never below 0, the logistic function for a share, and the identity for
    what may have any sign.

    Attributes:
        places: where in the scenario the V numbers stand.
        scales: 0, 1 or 2 for plain, log and logit [V].
        mean: on those scales [V].
        root: of their covariance [V, V].
        noise: what is believed of the noise of cells and assays; a particle then has two numbers more, S = 2.
        risks: probability that the clone of the last place is there from the start, of P patients; a particle then has
            one number more, H = 1, above 0 where it is.
    """

    places: tuple[Place, ...]
    scales: np.ndarray
    mean: Float[np.ndarray, "V"]
    root: Float[np.ndarray, "V V"]
    noise: StateNoise | None = None
    risks: Risks | None = None

    @property
    def count(self) -> int:
        """Numbers of a particle, V + H + S."""
        return len(self.places) + (self.risks is not None) + (0 if self.noise is None else self.noise.count)

    def noisy(self) -> "Prior":
        """The same with cells that stray from the model, and assays whose noise is not known."""
        return replace(self, noise=StateNoise())

    def numbers(self, z: Float[Array, "W"]) -> Float[Array, "V"]:
        """The numbers of a patient, in internal units, from a particle's V + H + S."""
        free = self.mean + jnp.asarray(self.root) @ z[: len(self.places)]
        # Branches that are not taken must be finite, or their slopes are not.
        logs = jnp.exp(jnp.where(self.scales == _LOG, free, 0.0))
        found = jnp.where(self.scales == _LOG, logs, jnp.where(self.scales == _LOGIT, jax.nn.sigmoid(free), free))
        return found if self.risks is None else found.at[-1].multiply(self.is_present(z))

    def is_present(self, z: Float[Array, "... W"]) -> Bool[Array, "..."]:
        """Whether the clone is there from the start: in half of the particles, which `log_risk` weighs."""
        return z[..., len(self.places)] > 0.0

    def log_risk(self, z: Float[Array, "... W"], risk: Scalar) -> Float[Array, "..."]:
        """Logarithm of what a particle counts, 2 risk with the clone and 2 (1 - risk) without."""
        return jnp.log(2.0 * jnp.where(self.is_present(z), risk, 1.0 - risk))

    def allowed(self, numbers: Float[Array, "V"]) -> Array:
        """Whether all numbers are finite and within their ranges."""
        infos = [place.info for place in self.places]
        least = jnp.asarray([-jnp.inf if i.minimum is None else i.minimum for i in infos])
        most = jnp.asarray([jnp.inf if i.maximum is None else i.maximum for i in infos])
        positive = jnp.asarray([i.positive for i in infos])
        inside = (numbers >= least) & (numbers <= most) & jnp.where(positive, numbers > 0.0, True)
        return jnp.all(inside & jnp.isfinite(numbers))


def draw(prior: Prior, key: Array, count: int) -> Float[Array, "E V"]:
    """Standard normal numbers of an ensemble; those of a member depend on the key and its index alone."""
    each = jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(key, i), (prior.count,)))
    return each(jnp.arange(count))


def load_prior(scenario: Scenario, posterior: Path | None = None, seed: int = 0, count: int | None = None) -> Prior:
    """The spread that [cohort] describes; of a table or of draws, their means and covariances on those scales.

    Args:
        scenario: with [cohort], unless a posterior is given.
        posterior: file of draws in place of what [cohort] says.
        seed: of the draws that are taken.
        count: how many patients have a risk, the first so many of its table; all of them when left out.

    Raises:
        ScenarioError: nothing says what is not known, or a file of it cannot be read.
    """
    plan = scenario.plan.cohort
    if posterior is None and plan is None:
        wanted = "a [cohort] table, which says what is not known of a patient, or --posterior"
        raise ScenarioError([f"{scenario.file}: cohort: wanted {wanted}; got none"])
    if posterior is None and plan is not None and (plan.vary or plan.risk):
        risk = () if plan.risk is None else (Vary(plan.risk.key, "lognormal", plan.risk.sd),)
        varied = (*plan.vary, *risk)
        places = tuple(find(scenario.plan.model, scenario.plan.drugs, vary.key) for vary in varied)
        scales = np.array([_LOG if vary.distribution == "lognormal" else _PLAIN for vary in varied])
        middle = [np.log(p.value) if s == _LOG else p.value for p, s in zip(places, scales, strict=True)]
        sd, own = np.array([vary.sd for vary in varied]), np.eye(len(varied))
        own[: len(plan.vary), : len(plan.vary)] = root_of(plan.correlation)
        risks = None if plan.risk is None else read_risks(scenario, plan.risk, count)
        return Prior(places, scales, np.array(middle), sd[:, None] * own, risks=risks)
    of_table = posterior is None and plan is not None and plan.table is not None
    patients = load_patients(scenario, None if of_table else _DRAWS, seed, posterior)
    values = patients.values[patients.healthy]
    if len(values) < 2:
        raise ScenarioError([f"{scenario.file}: cohort: wanted at least 2 patients to take a spread from; got fewer"])
    scales = np.array([_scale(place, column) for place, column in zip(patients.places, values.T, strict=True)])
    free = np.stack([_freed(scale, column) for scale, column in zip(scales, values.T, strict=True)], axis=1)
    return Prior(patients.places, scales, free.mean(axis=0), root_of(np.atleast_2d(np.cov(free, rowvar=False))))


def _scale(place: Place, column: np.ndarray) -> int:
    info = place.info
    if info.minimum == 0.0 and info.maximum == 1.0:
        return _LOGIT
    never_below = info.positive or (info.minimum is not None and info.minimum >= 0.0)
    return _LOG if never_below and np.all(column > 0.0) else _PLAIN


def _freed(scale: int, column: np.ndarray) -> np.ndarray:
    if scale == _LOG:
        return np.log(column)
    return logit(np.clip(column, _EDGE, 1.0 - _EDGE)) if scale == _LOGIT else column
