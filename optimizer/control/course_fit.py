"""A scenario's numbers from courses of PSA, for a patient alone under the population that others tell of.

    x_i ~ Normal(mu, C),    ln(PSA + 0.1) = ln(model(x_i) + 0.1) + s e,    e standard normal

Partial pooling: an empirical-Bayes Gaussian prior over the numbers that differ between patients, by EM with Laplace's
method. One program serves patients of all lengths, a batch at a time, padded to one shape.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optimizer.control.courses import OFFSET, Course
from optimizer.control.prior import load_prior
from optimizer.ensemble.ensemble import system_at
from optimizer.policies.schedule import Schedule
from optimizer.scenario import Scenario, ScenarioError
from optimizer.simulate import Grid, rollout

# Patients that the scenario's own spread counts as, the noise before anything is known, and the least it can be.
_WORTH, _NOISE, _LEAST_NOISE = 0.5, 0.5, 0.02
# Relative change of the noise at which a population stands.
_SETTLED = 5e-3
# Steps of a fit, and the gain of its cost at which it ends.
_STEPS, _GAIN = 15, 1e-3
# PSA [ug/L] within which a simulated course is compared.
_LEAST, _MOST = 1e-3, 1e6


class Rows(NamedTuple):
    """A patient's measurements and treatment, padded; a leading axis [P] where they are of many."""

    days: Any  #: of the measurements [L]
    logs: Any  #: ln(PSA + 0.1) [L]
    signs: Any  #: -1 below it, 1 above it, else 0 [L]
    used: Any  #: 1 where a row counts, else 0 [L]
    changes: Any  #: days on which treatment begins or ends [E]
    levels: Any  #: 1 or 0 from then on [E]


class Population(NamedTuple):
    """mu [V], C [V, V] and s."""

    mean: Float[np.ndarray, "V"]
    spread: Float[np.ndarray, "V V"]
    noise: float


class Individuals(NamedTuple):
    """P patients: most probable numbers, their covariance by Laplace's method, and what the fit came to."""

    middle: Float[np.ndarray, "P V"]  #: x_i [P, V]
    covariance: Float[np.ndarray, "P V V"]  #: (J^T J / s^2 + C^-1)^-1 [P, V, V]
    #: sum of squared errors, and what is expected of it for what is not known of x_i [P]
    squares: Float[np.ndarray, "P"]
    #: ln of the probability of what was measured under the population, by Laplace's method [P]
    evidence: Float[np.ndarray, "P"]


class CourseModel:
    """A scenario whose numbers under [cohort] are to be found from courses of PSA.

    Args:
        scenario: with one [[observation]] of kind psa.
        courses: P patients, whose longest sets the shapes.
        batch: patients that are fitted at a time.

    Raises:
        ScenarioError: the scenario measures something else, nothing differs between its patients, or a clone is in
            some of them alone.
    """

    def __init__(self, scenario: Scenario, courses: Sequence[Course], batch: int):
        channels = scenario.channels()
        if len(channels) != 1 or channels[0].quantity.unit != "ug/L":
            raise ScenarioError([f"{scenario.file}: observation: wanted one of kind psa; got another or none"])
        prior, task, plan = load_prior(scenario), scenario.problem().task, scenario.plan
        if prior.risks is not None:
            raise ScenarioError([f"{scenario.file}: cohort.risk: wanted none, as a clone is there or not; got a table"])
        self.scenario, self.batch, size = scenario, batch, len(prior.places)
        self.start = Population(prior.mean, prior.root @ prior.root.T, _NOISE)
        numbers = replace(prior, mean=np.zeros(size), root=np.eye(size)).numbers
        self.visits, self.events = (max(len(getattr(c, name)) for c in courses) for name in ("days", "changes"))
        every, last = float(np.diff(plan.edges).max()), max(max(c.days[-1], c.changes[-1]) for c in courses)
        edges, scale = jnp.asarray(every * np.arange(int(np.ceil(last / every)) + 2)), jnp.asarray(task.scale)
        self.end, quantity, mesh = float(edges[-1]), channels[0].quantity, task.system.mesh

        def curve(x: Array, rows: Rows) -> Array:
            """ln(PSA + 0.1) on the days of the rows; days on which treatment begins or ends are edges too."""
            at = jnp.sort(jnp.concatenate([edges, rows.changes]))
            last = jnp.searchsorted(rows.changes, at[:-1], side="right") - 1
            doses = jnp.where(last < 0, 0.0, rows.levels[jnp.maximum(last, 0)])[:, None] * scale
            system = system_at(plan, prior.places, numbers(x), mesh)
            path = rollout(system, Schedule(doses), Grid(at))
            level = jnp.clip(quantity.expected(system, path), _LEAST, _MOST)
            return jnp.interp(rows.days, path.times, jnp.log(level + OFFSET))

        self._fit = eqx.filter_jit(jax.vmap(_fitter(curve), (0, 0, None, None, None)))
        self._ahead = eqx.filter_jit(jax.vmap(jax.vmap(curve, (0, None))))

    def rows(self, courses: Sequence[Course], used: Sequence[np.ndarray]) -> Rows:
        """The courses, and which of their measurements count [P, ...]."""
        each = [self._rows(course, rows) for course, rows in zip(courses, used, strict=True)]
        return Rows(*(np.stack(column) for column in zip(*each, strict=True)))

    def _rows(self, course: Course, used: np.ndarray) -> Rows:
        behind, none = self.visits - len(course.days), self.events - len(course.changes)
        days, logs, signs = (np.pad(v, (0, behind), mode="edge") for v in (course.days, course.logs, course.signs))
        # What begins at the end of all days changes nothing.
        changes = np.append(course.changes, np.full(none, self.end))
        levels = np.pad(course.levels, (0, none), mode="edge")
        return Rows(days, logs, signs, np.pad(1.0 * used, (0, behind)), changes, levels)

    def fit(self, rows: Rows, at: Population, start: np.ndarray, which: np.ndarray) -> Individuals:
        """The most probable numbers of the patients `which`, searched from `start` [P, V]; in their order."""
        precision, found = jnp.linalg.inv(jnp.asarray(at.spread)), []
        for first in range(0, len(which), self.batch):
            now = np.resize(part := which[first : first + self.batch], self.batch)
            own = jax.tree.map(lambda a, now=now: jnp.asarray(a[now]), rows)
            out = self._fit(own, jnp.asarray(start[now]), jnp.asarray(at.mean), precision, jnp.asarray(at.noise))
            found.append([np.asarray(a)[: len(part)] for a in out])
        return Individuals(*(np.concatenate(column) for column in zip(*found, strict=True)))

    def pool(self, rows: Rows, rounds: int, which: np.ndarray) -> Population:
        """The population that the patients `which` come from, by EM until its noise changes no more.

        The scenario's own spread counts as half a patient, so that what nobody's course tells stays a number.
        """
        at, visits, before = self.start, float(rows.used[which].sum()), np.inf
        start = np.tile(at.mean, (len(rows.used), 1))
        for _ in range(rounds):
            if abs(at.noise / before - 1.0) < _SETTLED:
                break
            found, before = self.fit(rows, at, start, which), at.noise
            start[which] = found.middle
            mean = found.middle.mean(axis=0)
            off = found.middle - mean
            spread = (off.T @ off + found.covariance.sum(axis=0) + _WORTH * self.start.spread) / (len(off) + _WORTH)
            at = Population(mean, spread, max(float(np.sqrt(found.squares.sum() / visits)), _LEAST_NOISE))
        return at

    def forecast(
        self, rows: Rows, found: Individuals, which: np.ndarray, normal: np.ndarray
    ) -> Float[np.ndarray, "P D L"]:
        """ln(PSA + 0.1) without noise of draws of each patient, from standard normal numbers [D, V]."""
        roots = np.linalg.cholesky(found.covariance + 1e-9 * np.eye(normal.shape[1]))
        draws = found.middle[:, None] + np.einsum("pvw,dw->pdv", roots, normal)
        now = np.resize(np.arange(len(which)), self.batch)
        own = jax.tree.map(lambda a: jnp.asarray(a[which[now]]), rows)
        return np.asarray(self._ahead(jnp.asarray(draws[now]), own))[: len(which)]


def _fitter(curve: Any) -> Any:
    """Levenberg-Marquardt of one patient, and Laplace's method at its end."""

    def fit(rows: Rows, start: Array, mean: Array, precision: Array, noise: Array) -> tuple[Array, ...]:
        root = jnp.linalg.cholesky(precision).T

        def residual(x: Array) -> tuple[Array, Array]:
            error = curve(x, rows) - rows.logs
            # A row below or above a limit counts as far as the curve is on the wrong side of it.
            wrong = jnp.where(rows.signs * error > 0, 0.0, error) * rows.used
            r = jnp.concatenate([wrong / noise, root @ (x - mean)])
            return r, r

        def step(carry: tuple[Array, ...]) -> tuple[Array, ...]:
            x, damping, cost, _, i = carry
            jacobian, r = jax.jacfwd(residual, has_aux=True)(x)
            hessian = jacobian.T @ jacobian
            move = -jnp.linalg.solve(hessian + damping * jnp.diag(jnp.diag(hessian)), jacobian.T @ r)
            new = x + jnp.clip(move, -1.0, 1.0)
            value = jnp.sum(residual(new)[0] ** 2)
            better = value < cost
            gain = jnp.where(better, cost - value, jnp.inf)
            # A step that did not help is tried again with more damping.
            damping = jnp.where(better, damping / 5, damping * 5)
            return jnp.where(better, new, x), damping, jnp.where(better, value, cost), gain, i + 1

        def goes_on(carry: tuple[Array, ...]) -> Array:
            return (carry[3] > _GAIN) & (carry[1] < 1e6) & (carry[4] < _STEPS)

        first = start, jnp.asarray(1e-2), jnp.sum(residual(start)[0] ** 2), jnp.asarray(jnp.inf), jnp.asarray(0)
        x = jax.lax.while_loop(goes_on, step, first)[0]
        jacobian, r = jax.jacfwd(residual, has_aux=True)(x)
        visits = rows.logs.size
        own, errors = jacobian[:visits], r[:visits]
        covariance = jnp.linalg.inv(jacobian.T @ jacobian)
        unsure = jnp.sum((own @ covariance) * own)
        volume = jnp.linalg.slogdet(precision)[1] + jnp.linalg.slogdet(covariance)[1]
        evidence = 0.5 * (volume - jnp.sum(r**2)) - jnp.sum(rows.used) * jnp.log(noise)
        return x, covariance, noise**2 * (jnp.sum(errors**2) + unsure), evidence

    return fit
