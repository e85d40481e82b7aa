"""Linear heads from a few examples per class: drawing the shots, fitting, all in numpy."""

from dataclasses import dataclass

import numpy as np
from scipy import special
from sklearn.linear_model import LogisticRegression

# Of the root mean square of all features' deviations: one that hardly varies among the shots may
# vary elsewhere, and would be blown up.
SMALLEST_SCALE = 0.01
NEVER = -30.0  # softmax logit of a class without a shot
MAX_ITERATIONS = 1000


def draw_shots(labels, shots, seed=0):
    """Draws examples until each class has so many positives, or all that there are.

    Classes are served in turn, the rarest first; an example counts for every class that it has. So
    frequent classes end with more than `shots` where examples have several labels.

    Args:
        labels: bool array `(num_examples, num_classes)`.
        shots: int. Positives per class.
        seed: int.

    Returns:
        int array, the rows, ascending.

    Example:

    >>> labels = np.array([[1, 0], [1, 1], [1, 0], [1, 0]], bool)
    >>> draw_shots(labels, 1).tolist()
    [1]
    """
    labels = np.asarray(labels, bool)
    order = np.random.default_rng(seed).permutation(len(labels))
    there = labels.sum(axis=0)
    chosen = np.zeros(len(labels), bool)
    for c in np.argsort(there, kind="stable"):
        missing = min(shots, there[c]) - np.count_nonzero(labels[chosen, c])
        if missing > 0:
            candidates = order[labels[order, c] & ~chosen[order]]
            chosen[candidates[:missing]] = True
    return np.flatnonzero(chosen)


@dataclass(frozen=True)
class LinearHead:
    """Logistic regression on raw features.

    Attributes:
        kernel: float64 array `(dim, num_classes)`.
        bias: float64 array `(num_classes,)`.
        activation: `"sigmoid"` or `"softmax"`.
    """

    kernel: np.ndarray
    bias: np.ndarray
    activation: str

    def predict(self, features):
        """Returns the probabilities `(num_examples, num_classes)` of `features (num_examples, dim)`."""
        logits = features @ self.kernel + self.bias
        if self.activation == "softmax":
            return special.softmax(logits, axis=1)
        return special.expit(logits)

    def weights(self):
        """The weights of the `Dense` layer that computes the same, in float32."""
        return [self.kernel.astype(np.float32), self.bias.astype(np.float32)]


def fit_linear_head(features, labels, activation="sigmoid"):
    """Fits logistic regression, one per class or multinomial, to standardised features.

    With a handful of shots there is nothing to choose the regularisation on, so it is fixed:
    C = 1 / dim in the terms of scikit-learn, which is C = 1 for features scaled to a mean squared
    length of 1, whatever their number. The standardisation is folded into the weights.

    Args:
        features: float array `(num_examples, dim)`.
        labels: bool array `(num_examples, num_classes)`.
        activation: `"sigmoid"` for a regression per class, `"softmax"` for one of all.

    Returns:
        A `LinearHead`. A class of which all examples, or none, are positive gets constant odds with
        half an example added to both sides; with softmax, one without an example gets probability 0.
    """
    features, labels = np.asarray(features, np.float64), np.asarray(labels, bool)
    mean, scale = features.mean(axis=0), features.std(axis=0)
    floor = SMALLEST_SCALE * np.sqrt(np.mean(scale**2))
    scale = np.maximum(scale, floor) if floor else np.ones_like(scale)
    standardised = (features - mean) / scale
    fit = _fit_multinomial if activation == "softmax" else _fit_each
    kernel, bias = fit(standardised, labels)
    kernel = kernel / scale[:, None]
    return LinearHead(kernel, bias - mean @ kernel, activation)


def _fit_each(features, labels):
    kernel = np.zeros((features.shape[1], labels.shape[1]))
    positives = labels.sum(axis=0)
    bias = np.log((positives + 0.5) / (len(labels) - positives + 0.5))
    for c in np.flatnonzero((positives > 0) & (positives < len(labels))):
        model = _regression(features).fit(features, labels[:, c])
        kernel[:, c], bias[c] = model.coef_[0], model.intercept_[0]
    return kernel, bias


def _fit_multinomial(features, labels):
    kernel = np.zeros((features.shape[1], labels.shape[1]))
    bias = np.full(labels.shape[1], NEVER)
    there = np.flatnonzero(labels.any(axis=0))
    bias[there] = 0.0
    if len(there) > 1:
        model = _regression(features).fit(features, labels.argmax(axis=1))
        # Of two classes scikit-learn keeps the logit of the second alone.
        fitted = there[1:] if len(there) == 2 else there
        kernel[:, fitted], bias[fitted] = model.coef_.T, model.intercept_
    return kernel, bias


def _regression(features):
    return LogisticRegression(C=1 / features.shape[1], max_iter=MAX_ITERATIONS, tol=1e-6)
