"""A model of risk from its table to its files, and from its files to the probabilities of patients.

It is saved by skops, not pickled: a pickle runs whatever code is in it when it is read, a file of skops builds the
types that are named here alone.
"""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from optimizer.files.faults import DataError
from optimizer.files.run_directory import finite, read_regular, to_text, whole
from optimizer.risk.table import CLINICAL as CLINICAL_GROUP, Features, classes, read_features
from optimizer.settings import OptionError, RiskTrainSettings as Settings

FORMAT, MARKER, MODEL = "adose-risk-1", "risk.json", "model.skops"
# What a file may build besides what skops trusts by itself.
TRUSTED = [
    "numpy.dtype",
    "optimizer.risk.model.DropCorrelated",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.metrics._classification.log_loss",
    "sklearn.metrics._scorer._Scorer",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.tree._tree.Tree",
]
_BINS, _DRAWS, _MOST_BYTES = 5, 400, 2**30


@dataclass(frozen=True)
class Trained:
    """What a training found."""

    model: Any  #: of scikit-learn, trained on all patients
    body: dict[str, Any]  #: risk.json, all but the digest of the model


def load_sklearn() -> None:
    """Refuse to go on without the extra.

    Raises:
        OptionError: scikit-learn or skops is not there.
    """
    try:
        import sklearn  # noqa: F401
        import skops.io  # noqa: F401
    except ImportError as error:
        raise OptionError(f'adose risk: wanted {error.name}; got no such package: pip install "adose[risk]"') from None


def train(path: Path, settings: Settings, progress: Callable[[int, int], None] = lambda done, total: None) -> Trained:
    """Train the models on a table, judge them on patients that they did not see, and keep the best.

    The best has the least Brier score in nested, repeated cross-validation. Its conformal half width is the quantile of
    |outcome - probability| over the same patients (cross-conformal; Vovk 2015, doi 10.1007/s10472-013-9368-4). Folds
    that are done are told.

    Raises:
        DataError: a table or a label from which nothing can be learned.
        OptionError: scikit-learn is not there.
    """
    load_sklearn()
    from optimizer.risk import model as models

    features = read_features(path, settings.label, settings.clinical)
    y, kinds = classes(features, path, settings.label)
    least = int(min(y.sum(), len(y) - y.sum()))
    if least < 2 * settings.folds:
        wanted = f"at least {2 * settings.folds} patients of each class, two for each of {settings.folds} folds"
        raise DataError(f"{path}: column {settings.label}: wanted {wanted}; got {least}")
    features = _kept(features, path)
    x, clinical = features.values, [i for i, g in enumerate(features.groups) if g == CLINICAL_GROUP]
    # With clinical columns alone all models are clinical.
    apart = clinical if len(clinical) < len(features.groups) else []
    choices = models.estimators(apart, len(y), least, settings.calibration, settings.seed)
    how = settings.folds, settings.repeats, settings.seed
    done, total = count(1), len(choices) * settings.folds * settings.repeats
    found = {n: models.judged(m, x, y, *how, lambda: progress(next(done), total)) for n, m in choices.items()}
    best = min(found, key=lambda name: models.brier(y, found[name].probability))
    scores = {name: _scores(y, one.probability, settings) for name, one in found.items()}
    probability = found[best].probability
    body = {
        "format": FORMAT,
        "label": settings.label,
        "classes": {"0": kinds[0], "1": kinds[1]},
        "patients": len(y),
        "of_class_1": int(y.sum()),
        "features": list(features.names),
        "left_out": list(features.left_out),
        "training_sha256": {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in (path, settings.clinical) if p},
        "settings": {k: getattr(settings, k) for k in ("folds", "repeats", "calibration", "seed", "level")},
        "models": scores,
        "chosen": best,
        "sentence": _sentence(y, {name: one.probability for name, one in found.items()}, settings),
        "importance": models.importance(found[best], x, y, features.groups, settings.seed),
        "level": settings.level,
        "half_width": half_width(np.abs(y - probability).mean(axis=0), settings.level),
    }
    return Trained(models.fit(choices[best], x, y), body)


def _kept(features: Features, path: Path) -> Features:
    """The columns of which something is known."""
    known = np.isfinite(features.values).any(axis=0)
    if not known.any():
        raise DataError(f"{path}: wanted at least one column with numbers; got none")
    names, groups = (tuple(np.array(part)[known].tolist()) for part in (features.names, features.groups))
    empty = tuple(np.array(features.names)[~known].tolist())
    return replace(
        features, names=names, groups=groups, values=features.values[:, known], left_out=features.left_out + empty
    )


def half_width(residuals: Float[np.ndarray, "P"], level: float) -> float:
    """The conformal quantile of residuals: the ceil((P + 1) level)-th smallest; 1 where there are too few.

    >>> half_width(np.array([0.1, 0.2, 0.3, 0.9]), 0.5)
    0.3
    """
    rank = math.ceil((len(residuals) + 1) * level)
    return float(np.sort(residuals)[rank - 1]) if rank <= len(residuals) else 1.0


def _scores(y: Int[np.ndarray, "P"], p: Float[np.ndarray, "R P"], settings: Settings) -> dict[str, Any]:
    from optimizer.risk import model as models

    slope, intercept = models.calibration(y, p)
    drawn = [(models.auc(y[rows], p[:, rows]), models.brier(y[rows], p[:, rows])) for rows in _resampled(y, settings)]
    ends = np.quantile(drawn, [(1 - settings.level) / 2, (1 + settings.level) / 2], axis=0)
    return {
        "auc": models.auc(y, p),
        "auc_interval": ends[:, 0].tolist(),
        "brier": models.brier(y, p),
        "brier_interval": ends[:, 1].tolist(),
        "calibration_slope": slope,
        "calibration_intercept": intercept,
        "calibration_curve": _curve(y, p.mean(axis=0), settings.level),
    }


def _resampled(y: Int[np.ndarray, "P"], settings: Settings) -> list[np.ndarray]:
    """Bootstrap samples of the patients, both classes in each."""
    rng, groups = np.random.default_rng(settings.seed), [np.flatnonzero(y == kind) for kind in (0, 1)]
    return [np.concatenate([rng.choice(group, len(group)) for group in groups]) for _ in range(_DRAWS)]


def _curve(y: np.ndarray, p: np.ndarray, level: float) -> list[dict[str, float]]:
    """Foretold and observed shares of fifths of the patients, with Wilson's intervals (1927)."""
    from scipy.stats import binomtest

    found = []
    for rows in np.array_split(np.argsort(p, kind="stable"), min(_BINS, len(p))):
        ends = binomtest(int(y[rows].sum()), len(rows)).proportion_ci(level, method="wilson")
        share = {"foretold": float(p[rows].mean()), "observed": float(y[rows].mean())}
        found.append({**share, "low": float(ends.low), "high": float(ends.high), "patients": len(rows)})
    return found


def _sentence(y: np.ndarray, found: dict[str, np.ndarray], settings: Settings) -> str:
    """Whether the features add to what the clinical model knows."""
    from optimizer.risk import model as models

    if models.CLINICAL not in found:
        return "There is no clinical model to compare with: give --clinical, whose model is hard to beat."
    known = found.pop(models.CLINICAL)
    name = min(found, key=lambda name: models.brier(y, found[name]))
    own, gain = found[name], models.auc(y, found[name]) - models.auc(y, known)
    drawn = [models.auc(y[r], own[:, r]) - models.auc(y[r], known[:, r]) for r in _resampled(y, settings)]
    low, high = np.quantile(drawn, [(1 - settings.level) / 2, (1 + settings.level) / 2])
    said = (
        "add to" if low > 0.0 else "add nothing over" if gain <= 0.0 else "add nothing that can be told from chance to"
    )
    figures = f"AUC {models.auc(y, own):.2f} ({name}) against {models.auc(y, known):.2f}"
    return f"The features {said} the clinical model: {figures}, difference {gain:+.2f} ({low:+.2f} to {high:+.2f})."


def save(trained: Trained, out: Path) -> dict[str, Any]:
    """Write the model's directory, whole or not at all; returns risk.json."""
    from skops import io

    data = io.dumps(trained.model)
    body = {**trained.body, "model_sha256": hashlib.sha256(data).hexdigest()}
    with whole(out, MARKER) as work:
        (work / MODEL).write_bytes(data)
        (work / MARKER).write_text(to_text(body), encoding="utf-8")
    return finite(body)


@dataclass(frozen=True)
class Risks:
    """Probabilities of class 1; from `low` to `high` is an interval that holds the outcome, 0 or 1, at the `level`."""

    patients: tuple[str, ...]  #: names [P]
    probability: Float[np.ndarray, "P"]
    low: Float[np.ndarray, "P"]
    high: Float[np.ndarray, "P"]
    level: float


def apply(model: Path, path: Path, clinical: Path | None = None) -> Risks:
    """What a trained model, in a directory that `save` wrote, says of patients in a table like that of its training.

    Raises:
        DataError: no such model, one that was changed, or a table without its columns.
        OptionError: scikit-learn is not there.
    """
    load_sklearn()
    from skops import io

    try:
        body = json.loads(read_regular(model / MARKER, _MOST_BYTES, name=str(model / MARKER)))
        names, digest, width = body["features"], body["model_sha256"], float(body["half_width"])
        level = float(body["level"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        got = str(error) if isinstance(error, DataError) else "something else"
        raise DataError(f"{model}: wanted a model that adose risk train wrote; got {got}") from None
    data = read_regular(model / MODEL, _MOST_BYTES, name=str(model / MODEL))
    if hashlib.sha256(data).hexdigest() != digest:
        raise DataError(f"{model / MODEL}: wanted the digest in {MARKER}; got another: the file was changed")
    odd = sorted(set(io.get_untrusted_types(data=data)) - set(TRUSTED))
    if odd:
        raise DataError(f"{model / MODEL}: wanted a model of scikit-learn; got the type {odd[0]}")
    features = read_features(path, clinical=clinical)
    p = io.loads(data, trusted=TRUSTED).predict_proba(features.of(names, path))[:, 1]
    return Risks(features.patients, p, np.maximum(p - width, 0.0), np.minimum(p + width, 1.0), level)
