"""Whether probabilities mean what they say, and how they are made to: pure functions over arrays."""

import numpy as np
from scipy import optimize, special

NUM_BINS = 15
FEWEST = 10  # positives, and negatives, that a temperature of a class's own is fitted on
LIMITS = (0.05, 20.0)  # of temperatures
SMALLEST = 1e-7  # distance of a probability from 0 and 1, as Keras' losses have it


def calibration_bins(truth, confidences, num_bins=NUM_BINS, by="width"):
    """Sorts predictions into bins of like confidence.

    Args:
        truth: bool array `(num_predictions,)`, what was true.
        confidences: float array of the same shape, the probabilities given to that, in [0, 1].
        num_bins: int.
        by: `"width"` (bins as wide as each other) or `"mass"` (with as many predictions).

    Returns:
        A dict of arrays `(num_filled_bins,)`: `confidence` (the mean), `share` (of what was true) and
        `count`. Empty bins are left out.

    Raises:
        ValueError: when `by` is neither, or there is no prediction.

    Example:

    >>> found = calibration_bins(np.array([False, True]), np.array([0.1, 0.9]), num_bins=2)
    >>> found["confidence"].tolist(), found["share"].tolist(), found["count"].tolist()
    ([0.1, 0.9], [0.0, 1.0], [1, 1])
    """
    truth, confidences = np.asarray(truth, np.float64), np.asarray(confidences, np.float64)
    if by not in ("width", "mass"):
        raise ValueError(f"`by` must be 'width' or 'mass'. Received: by={by!r}.")
    if not len(truth):
        raise ValueError("There is no prediction whose calibration could be measured.")
    if by == "width":
        # A bin holds its upper edge, the first one also 0.
        places = np.clip(np.ceil(confidences * num_bins) - 1, 0, num_bins - 1).astype(int)
    else:
        # Of equal confidences, whichever comes first: none of them means more than another.
        order = np.argsort(confidences, kind="stable")
        places = np.empty(len(truth), int)
        places[order] = np.arange(len(truth)) * num_bins // len(truth)
    counts = np.bincount(places, minlength=num_bins)
    filled = counts > 0

    def mean(values):
        return np.bincount(places, values, num_bins)[filled] / counts[filled]

    return {"confidence": mean(confidences), "share": mean(truth), "count": counts[filled]}


def expected_calibration_error(truth, confidences, num_bins=NUM_BINS, by="width"):
    """How far confidence is from what is true, in the mean over the predictions.

    ECE = sum_b n_b / n |share_b - confidence_b| over the bins b. It depends on the bins, and is not 0
    for perfect probabilities of a few examples.

    Args:
        truth: as in `calibration_bins`, likewise the others.
        confidences: likewise.
        num_bins: likewise.
        by: likewise.

    Returns:
        float in [0, 1].

    Reference:
        Guo et al. 2017, "On calibration of modern neural networks", equation 3; bins of equal mass:
        Nguyen and O'Connor 2015, "Posterior calibration and exploratory analysis for natural
        language processing models", section 3.

    Example:

    >>> round(expected_calibration_error(np.array([True, False]), np.array([0.9, 0.9])), 6)
    0.4
    """
    bins = calibration_bins(truth, confidences, num_bins, by)
    gaps = np.abs(bins["share"] - bins["confidence"])
    return float((bins["count"] * gaps).sum() / bins["count"].sum())


def calibration_metrics(labels, probabilities, kind="multi_label", num_bins=NUM_BINS):
    """Measures calibration in several ways.

    Args:
        labels: int array `(num_examples, num_classes)`, 0 or 1; or -1, which is unknown.
        probabilities: float array of the same shape.
        kind: `"multi_label"` or `"multi_class"`.
        num_bins: int.

    Returns:
        A dict of floats: `ECE` and `ECE_equal_mass` (bins with as many predictions), of all labels in
        one, or where one class is true of the likeliest class; `class_ECE`, the mean over the
        classes of each class's own; `Brier`, the mean squared error of a label's probability, or
        where one class is true its sum over the classes; and `log_loss`, the mean negative log
        likelihood of a label, or of the true class.

    Reference:
        Brier 1950, "Verification of forecasts expressed in terms of probability", equation 2.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, np.float64)
    clipped = np.clip(probabilities, SMALLEST, 1 - SMALLEST)
    known, is_true = labels >= 0, labels > 0
    if kind == "multi_class":
        rows = is_true.any(1)
        is_true, known, clipped = is_true[rows], known[rows], clipped[rows]
        probabilities = probabilities[rows]
        truth, confidences = top_label(is_true, probabilities)
        brier = float(((probabilities - is_true) ** 2).sum(1).mean())
        log_loss = float(-np.log(clipped[is_true]).mean())
    else:
        truth, confidences = is_true[known], probabilities[known]
        brier = float(np.mean((confidences - truth) ** 2))
        likelihoods = np.where(is_true, clipped, 1 - clipped)[known]
        log_loss = float(-np.log(likelihoods).mean())
    own = [
        expected_calibration_error(is_true[known[:, c], c], probabilities[known[:, c], c], num_bins)
        for c in np.flatnonzero(known.any(0))
    ]
    return {
        "ECE": expected_calibration_error(truth, confidences, num_bins),
        "ECE_equal_mass": expected_calibration_error(truth, confidences, num_bins, "mass"),
        "class_ECE": float(np.mean(own)),
        "Brier": brier,
        "log_loss": log_loss,
    }


def top_label(labels, probabilities):
    """Whether the likeliest class is the true one, and its probability.

    Args:
        labels: array `(num_examples, num_classes)`.
        probabilities: float array of the same shape.

    Returns:
        bool array `(num_examples,)` and float array `(num_examples,)`.
    """
    likeliest = probabilities.argmax(1)[:, None]
    truth = np.take_along_axis(np.asarray(labels) > 0, likeliest, 1)[:, 0]
    return truth, np.take_along_axis(probabilities, likeliest, 1)[:, 0]


def apply_temperatures(probabilities, temperatures, kind="multi_label"):
    """Divides the logits behind probabilities by temperatures.

    p' = sigmoid(logit(p) / T), or where one class is true p' = p^(1/T) / sum p^(1/T). Above 1, they
    move away from certainty. Of a temperature per class, or of one, no ranking within a class
    changes; of one, neither that of the classes of an example.

    Args:
        probabilities: float array `(num_examples, num_classes)`.
        temperatures: float, or `(num_classes,)`.
        kind: `"multi_label"` or `"multi_class"`.

    Returns:
        float64 array of the same shape.

    Example:

    >>> apply_temperatures(np.array([[0.8]]), 2.0).round(4).tolist()  # odds of 4, then of 2
    [[0.6667]]
    """
    values = np.clip(np.asarray(probabilities, np.float64), SMALLEST, 1 - SMALLEST)
    if kind == "multi_class":
        return special.softmax(np.log(values) / temperatures, axis=1)
    return special.expit(special.logit(values) / temperatures)


def fit_temperatures(labels, probabilities, kind="multi_label", per_class=True):
    """Finds the temperatures at which the labels are likeliest.

    Args:
        labels: int array `(num_examples, num_classes)`, 0 or 1; or -1, which is unknown. Of examples
            that the model was not trained on.
        probabilities: float array of the same shape, of the model without temperatures.
        kind: `"multi_label"` or `"multi_class"`.
        per_class: bool. Whether each class gets its own. One with fewer than 10 positives or negatives
            takes the one that fits all classes; so do all where one class is true, where a
            temperature for each could change which class is the likeliest.

    Returns:
        float array `(num_classes,)`, in [0.05, 20].

    Raises:
        ValueError: when no label is known.

    Reference:
        Guo et al. 2017, "On calibration of modern neural networks", section 4.2.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, np.float64)
    values = np.clip(probabilities, SMALLEST, 1 - SMALLEST)
    known, is_true = labels >= 0, labels > 0
    if not is_true.any():
        raise ValueError("No label is true, so there is nothing to fit temperatures to.")
    if kind == "multi_class":
        logits, rows = np.log(values), is_true.any(1)

        def loss(inverse):
            scaled = logits[rows] * inverse
            return (special.logsumexp(scaled, axis=1) - scaled[is_true[rows]]).mean()

        return np.full(labels.shape[1], _best_temperature(loss))
    # Of a label and its logit z, the loss is softplus(-z / T) where it is true, else softplus(z / T).
    signed = np.where(is_true, -1, 1) * special.logit(values)

    def fit(chosen):
        return _best_temperature(lambda inverse: np.logaddexp(0, chosen * inverse).mean())

    found = np.full(labels.shape[1], fit(signed[known]))
    for c in range(labels.shape[1]) if per_class else ():
        positives = int(is_true[:, c].sum())
        if min(positives, int(known[:, c].sum()) - positives) >= FEWEST:
            found[c] = fit(signed[known[:, c], c])
    return found


def _best_temperature(loss):
    """The loss is convex in 1 / T, so that there is one minimum."""
    low, high = 1 / LIMITS[1], 1 / LIMITS[0]
    found = optimize.minimize_scalar(
        loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6}
    )
    return float(1 / found.x)
