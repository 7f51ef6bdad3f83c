"""Pipelines of scikit-learn that foretell a class, and how well they do on patients they have not seen."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logit
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, RepeatedStratifiedKFold, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

FOREST, LOGISTIC, CLINICAL = "forest", "logistic", "clinical"
# Folds of the inner loops, at most.
_INNER = 3
_STRENGTHS = [0.001, 0.01, 0.1, 1.0]
# Patients from which on steps are fine enough to calibrate by (scikit-learn's own advice).
_ISOTONIC = 1000
# A probability of 0 or 1 has no log-odds.
_EDGE = 1e-3


class DropCorrelated(TransformerMixin, BaseEstimator):
    """Leaves out a feature whose absolute correlation with an earlier one is more than `most`."""

    def __init__(self, most: float = 0.9):
        self.most = most

    def fit(self, X: Any, y: Any = None) -> "DropCorrelated":
        """Choose the columns."""
        size = np.abs(np.atleast_2d(np.corrcoef(X, rowvar=False)))
        kept: list[int] = []
        for j in range(X.shape[1]):
            if not np.any(size[j, kept] > self.most):
                kept.append(j)
        self.kept_ = np.array(kept)
        return self

    def transform(self, X: Any) -> Any:
        """The columns that were chosen."""
        return X[:, self.kept_]


@dataclass(frozen=True)
class Judged:
    """What a model says of patients it was not trained on."""

    probability: Float[np.ndarray, "R P"]  #: of class 1, in each repeat [R, P]
    models: list[tuple[Any, np.ndarray]]  #: of each fold, with who was tested


def estimators(clinical: list[int], size: int, least: int, calibration: str, seed: int) -> dict[str, Any]:
    """Classifiers by name, each calibrated inside of what it is trained on: "isotonic", "sigmoid", "auto" by the size.

    Without clinical columns there is no clinical model. `least` are the patients of the rarer class.
    """
    folds = StratifiedKFold(max(2, min(_INNER, least // 2)), shuffle=True, random_state=seed)
    method = ("isotonic" if size >= _ISOTONIC else "sigmoid") if calibration == "auto" else calibration
    before = [
        ("impute", SimpleImputer(strategy="median", keep_empty_features=True)),
        ("vary", VarianceThreshold(1e-12)),
    ]
    before += [("uncorrelated", DropCorrelated()), ("scale", StandardScaler())]
    forest = RandomForestClassifier(100, min_samples_leaf=3, random_state=seed)
    linear = Pipeline([*before, ("model", LogisticRegression(max_iter=2000))])
    chosen = GridSearchCV(linear, {"model__C": _STRENGTHS}, scoring="neg_log_loss", cv=folds)
    found: dict[str, Any] = {FOREST: Pipeline([*before, ("model", forest)]), LOGISTIC: chosen}
    if clinical:
        only = ColumnTransformer([("clinical", "passthrough", clinical)])
        found[CLINICAL] = Pipeline([("only", only), ("model", clone(chosen))])
    return {name: CalibratedClassifierCV(model, method=method, cv=folds) for name, model in found.items()}


def judged(
    model: Any,
    x: Float[np.ndarray, "P F"],
    y: Int[np.ndarray, "P"],
    folds: int,
    repeats: int,
    seed: int,
    tell: Callable[[], None] = lambda: None,
) -> Judged:
    """Nested cross-validation: choices and calibration are made inside of each training set; a fold done is told."""
    found, models = np.full((repeats, len(y)), np.nan), []
    outer = RepeatedStratifiedKFold(n_splits=folds, n_repeats=repeats, random_state=seed)
    for i, (taught, tested) in enumerate(outer.split(x, y)):
        fitted = fit(clone(model), x[taught], y[taught])
        found[i // folds, tested] = fitted.predict_proba(x[tested])[:, 1]
        models.append((fitted, tested))
        tell()
    return Judged(found, models)


def fit(model: Any, x: np.ndarray, y: np.ndarray) -> Any:
    """A model that is trained; a strength at which it does not converge is not chosen for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, y)


def auc(y: np.ndarray, p: np.ndarray) -> float:
    """Mean over the repeats of the area under the receiver operating characteristic."""
    return float(np.mean([roc_auc_score(y, row) for row in p]))


def brier(y: np.ndarray, p: np.ndarray) -> float:
    """Mean over the repeats of the squared error of a probability (Brier 1950)."""
    return float(np.mean([brier_score_loss(y, row) for row in p]))


def calibration(y: np.ndarray, p: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the outcome over the log-odds (Cox 1958); 1 and 0 are perfect."""
    odds = logit(np.clip(p, _EDGE, 1.0 - _EDGE)).ravel()[:, None]
    line = LogisticRegression(C=np.inf, max_iter=1000).fit(odds, np.tile(y, len(p)))
    return float(line.coef_[0, 0]), float(line.intercept_[0])


def importance(found: Judged, x: np.ndarray, y: np.ndarray, groups: tuple[str, ...], seed: int) -> dict[str, float]:
    """How much AUC is lost on those tested when a group's columns are shuffled together, the largest first."""
    rng, lost = np.random.default_rng(seed), dict[str, list[float]]()
    for model, tested in found.models:
        if len(set(y[tested])) < 2:
            continue
        own = roc_auc_score(y[tested], model.predict_proba(x[tested])[:, 1])
        for group in dict.fromkeys(groups):
            columns = np.array(groups) == group
            mixed = x[tested].copy()
            mixed[:, columns] = rng.permutation(mixed[:, columns])
            lost.setdefault(group, []).append(own - roc_auc_score(y[tested], model.predict_proba(mixed)[:, 1]))
    return dict(sorted(((g, float(np.mean(v))) for g, v in lost.items()), key=lambda pair: -pair[1]))
