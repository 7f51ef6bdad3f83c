"""Policy optimization by the gradient through the closed loop: one controller for an ensemble, by Adam."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from optimizer.axes import Index, Scalar
from optimizer.control.assays import BurdenAssays
from optimizer.control.closed_loop import Conduct, Feedback, closed_loop
from optimizer.ensemble.ensemble import Members
from optimizer.ensemble.risk import Risk, feasible_rank, risk_of, smoothed
from optimizer.problem import Task
from optimizer.search.multistart import Progress

# Steps between two looks at what the network itself comes to.
SLICE = 10
# Temperature of smoothed terms at the end, reached after this share of the steps.
_COOLEST = 0.1
_COOLED = 0.7
# Length of a step of Adam at its longest, and at the end as a share of that.
_RATE = 1e-2
_LAST = 0.05
# What a relative excess of a limit costs in units of the objective, over the temperature; begins this far inside.
_PRICE = 10.0
_ROOM = 0.02
# A training has converged when the loss falls by less than this share of itself in the last tenth of the steps.
STILL = 5e-3
_TENTH = 10
# Numbers of patients lie below this: errors of another draw are those of numbers above it.
_MOST = 2**24
# No outcome of a training looks at progression.
_CONDUCT = Conduct(1.0)
# Patients whose gradients are taken at a time.
_BATCH = 64


class Checkpoint(NamedTuple):
    """What a training had come to."""

    step: int  #: steps taken
    temperature: float  #: of smoothed terms
    loss: float  #: what the gradient makes small: the smoothed risk and the price of broken limits
    slope: float  #: length of its gradient
    objective: float  #: risk of the objectives as reported
    excess: float  #: worst excess of a limit in any patient


@dataclass(frozen=True)
class Training:
    """What came of a training."""

    weights: Float[np.ndarray, "W"]  #: those that did best on the patients it was trained on [W]
    best: Checkpoint  #: the checkpoint at which they did
    history: tuple[Checkpoint, ...]  #: every checkpoint, the first before the first step
    steps: int  #: how many were asked for
    fall: float  #: relative fall of the loss in the last tenth of the steps; infinite where they were not all taken
    interrupted: bool  #: whether the user stopped it

    @property
    def converged(self) -> bool:
        """Whether the loss had stopped to fall."""
        return self.fall < STILL


class TrainingSet(eqx.Module):
    """What is made small: the risk of a controller over patients."""

    members: Members  #: P patients
    controller: Feedback  #: the network within the limits on single doses
    assays: BurdenAssays  #: how they are measured
    risk: Risk = eqx.field(static=True)  #: how the patients' objectives are made one
    alpha: float = eqx.field(static=True)  #: of cvar
    width: Scalar  #: over which the corners of the risk are rounded off at temperature 1

    def with_weights(self, weights: Float[Array, "W"]) -> Feedback:
        """The controller with other weights [W]."""
        return eqx.tree_at(_weights, self.controller, weights)

    def loss(self, weights: Float[Array, "W"], temperature: Scalar, draw: Scalar = 0) -> Scalar:
        """Smoothed risk over the patients, errors of measurement as in a draw, and the mean price of broken limits."""
        controller, shift = self.with_weights(weights).smooth(temperature), _MOST * jnp.asarray(draw, int)

        def one(task: Task, index: Index) -> tuple[Scalar, Scalar]:
            scene = task.scene(controller.control(task, self.assays(index + shift), _CONDUCT)[0])
            worst = [jnp.max(reading.excess) for reading in task.readings(scene)]
            # Excess of each limit on sums of doses, in largest doses.
            sums = task.matrix @ scene.shares.ravel() - task.bound
            excess = jnp.concatenate([jnp.asarray(worst), sums])
            return task.objective.smooth(scene, temperature), jnp.sum(jax.nn.relu(excess + _ROOM))

        values, broken = self.members.map(one, _BATCH)
        share = jnp.full(values.shape, 1.0 / values.size)
        whole = smoothed(self.risk, jax.lax.stop_gradient(values), share, self.alpha, self.width * temperature)
        # The derivative of the risk is its weights, whatever its level was found by.
        risk = whole.value + whole.weights @ (values - jax.lax.stop_gradient(values))
        return risk + _PRICE / temperature * jnp.mean(broken)


def _weights(controller: Any) -> Array:
    return controller.policy.rule.weights


def temperature_at(step: Scalar, steps: int) -> Scalar:
    """From 1 down to the coolest, evenly on a log scale, then constant."""
    return jnp.maximum(_COOLEST ** (step / (_COOLED * steps)), _COOLEST)


def _adam(steps: int) -> optax.GradientTransformation:
    rate = optax.warmup_cosine_decay_schedule(0.0, _RATE, max(steps // 20, 1), max(steps, 2), _LAST * _RATE)
    # Through a closed loop some gradients are a thousand times as long as the others; all count the same here.
    return optax.chain(optax.normalize_by_update_norm(1.0), optax.adam(rate))


@eqx.filter_jit
def _advance(training_set: TrainingSet, weights: Array, memory: Any, first: Array, count: int, steps: int) -> Any:
    """`count` steps from step `first`; losses and lengths of gradients before each."""

    def step(carry: Any, number: Array) -> tuple[Any, tuple[Scalar, Scalar]]:
        weights, memory = carry
        # New errors of measurement at each step, or the network would learn them by heart.
        loss, slope = jax.value_and_grad(training_set.loss)(weights, temperature_at(number, steps), number + 1)
        move, memory = _adam(steps).update(slope, memory, weights)
        return (weights + move, memory), (loss, jnp.linalg.norm(slope))

    (weights, memory), told = jax.lax.scan(step, (weights, memory), first + jnp.arange(count))
    return weights, memory, *told


def train(
    training_set: TrainingSet,
    first: Float[np.ndarray, "W"],
    steps: int,
    tell: Callable[[Progress], None] = lambda _: None,
) -> Training:
    """Follow the gradient from the first weights, and keep the weights that do best as they are.

    Args:
        training_set: what is made small.
        first: weights to begin with [W].
        steps: of Adam (Kingma and Ba 2015, arXiv 1412.6980), on all patients each.
        tell: hears how it goes; Ctrl-C there ends the training, what was best is kept.

    Raises:
        KeyboardInterrupt: before the first steps were taken.
    """
    weights, memory = jnp.asarray(first), _adam(steps).init(jnp.asarray(first))
    best, losses, interrupted = first, [], False
    tell(Progress("compile", 0, steps, None))
    history = [_checkpoint(training_set, weights, 0, steps, np.nan, np.nan)]
    try:
        while (done := history[-1].step) < steps:
            count = min(SLICE, steps - done)
            weights, memory, told, slopes = _advance(training_set, weights, memory, jnp.asarray(done), count, steps)
            losses += np.asarray(told).tolist()
            if not done:
                history[0] = history[0]._replace(loss=losses[0], slope=float(slopes[0]))
            history.append(_checkpoint(training_set, weights, done + count, steps, losses[-1], float(slopes[-1])))
            best = np.asarray(weights) if history[-1] == _best(history) else best
            tell(Progress("train", done + count, steps, _best(history).objective))
            if not np.isfinite(losses[-1]):
                break
    except KeyboardInterrupt:
        if history[-1].step == 0:
            raise  # there is nothing to keep
        interrupted = True
    return Training(best, _best(history), tuple(history), steps, _fall(losses, steps), interrupted)


def _checkpoint(
    training_set: TrainingSet, weights: Array, step: int, steps: int, loss: float, slope: float
) -> Checkpoint:
    """What the weights come to without any smoothing, and the loss and slope of the step before."""
    controller = training_set.with_weights(weights)
    found = closed_loop(training_set.members, controller, training_set.assays, _CONDUCT)
    temperature = float(temperature_at(jnp.asarray(float(step)), steps))
    objective = risk_of(training_set.risk, np.asarray(found.evaluation.objective), training_set.alpha)
    return Checkpoint(step, temperature, loss, slope, objective, float(np.max(found.excess)))


def _best(history: list[Checkpoint]) -> Checkpoint:
    """The checkpoint with the lowest objective; one that breaks a limit is worse than any that does not."""
    return min(history, key=lambda c: float(feasible_rank(np.asarray(c.objective), np.asarray(c.excess))))


def _fall(losses: list[float], steps: int) -> float:
    """How much lower the mean loss of the last tenth is than that of the tenth before, relative to its size."""
    part = steps // _TENTH
    if len(losses) < steps or part < 1:
        return np.inf
    before, last = np.mean(losses[-2 * part : -part]), np.mean(losses[-part:])
    return float((before - last) / max(abs(last), 1e-12)) if np.isfinite(last) else np.inf
