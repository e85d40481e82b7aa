"""What is taken for what: confusion matrices of one true class, of each class, and of several."""

import numpy as np


def multiclass_predictions(probabilities):
    """The likeliest class of each example, the first of equal ones.

    Args:
        probabilities: float array `(num_examples, num_classes)`.

    Returns:
        bool array of the same shape, one `True` per row.
    """
    return np.eye(probabilities.shape[1], dtype=bool)[np.argmax(probabilities, axis=1)]


def predicted_labels(kind, probabilities, threshold=None):
    """The classes that are predicted.

    Args:
        kind: `"multi_label"` or `"multi_class"`.
        probabilities: float array `(num_examples, num_classes)`.
        threshold: float, or `(num_classes,)`; by default 0.5. Only of several labels.

    Returns:
        bool array of the same shape.
    """
    if kind == "multi_class":
        return multiclass_predictions(probabilities)
    return np.asarray(probabilities) >= (0.5 if threshold is None else threshold)


def find_errors(labels, predicted):
    """Which labels are missed, and which are wrongly found: bool `(num_examples, num_classes)` each.

    Args:
        labels: int array `(num_examples, num_classes)`; -1 is unknown and is neither.
        predicted: bool array of the same shape.

    Example:

    >>> missed, false = find_errors([[1, 0, -1]], np.array([[False, True, True]]))
    >>> missed.tolist(), false.tolist()
    ([[True, False, False]], [[False, True, False]])
    """
    labels = np.asarray(labels)
    return (labels > 0) & ~predicted, (labels == 0) & predicted


def per_class_confusion(labels, predicted):
    """Counts of each class, as scikit-learn's `multilabel_confusion_matrix` orders them.

    Args:
        labels: int array `(num_examples, num_classes)`, 0 or 1; or -1, which is unknown and does not
            count.
        predicted: bool array of the same shape.

    Returns:
        int array `(num_classes, 2, 2)`: `[[true negatives, false positives], [false negatives, true
        positives]]`.

    Example:

    >>> per_class_confusion(np.array([[1], [1], [0]]), np.array([[True], [False], [False]])).tolist()
    [[[1, 0], [1, 1]]]
    """
    known, is_true = np.asarray(labels) >= 0, np.asarray(labels) > 0
    predicted = np.asarray(predicted, bool)
    counts = [
        [(truth & answer & known).sum(0) for answer in (~predicted, predicted)]
        for truth in (~is_true, is_true)
    ]
    return np.moveaxis(np.array(counts), 2, 0)


def multiclass_confusion(labels, predicted):
    """Counts the examples of each true class by the class that is predicted.

    Args:
        labels: int array `(num_examples, num_classes)`, one true per row; rows without do not count.
        predicted: bool array of the same shape, one `True` per row.

    Returns:
        int array `(num_classes, num_classes)`: `[true, predicted]`.
    """
    return (np.asarray(labels) > 0).astype(int).T @ np.asarray(predicted).astype(int)


def multilabel_confusion(labels, predicted):
    """What is predicted in the place of a label that is missed, where examples have several labels.

    A label that is true and predicted counts on the diagonal. Which wrong label stands for a missed one
    cannot be known where there are several, so that a missed label's one count is shared evenly by all
    that are wrongly predicted of the same example, or goes to "nothing". A wrong label of an example of
    which nothing is missed counts in the row "nothing". So each class' row sums to how often it is
    true, and high values are of labels that are taken for each other, or merely seen together.

    Args:
        labels: int array `(num_examples, num_classes)`, 0 or 1; or -1, which is unknown and does not
            count.
        predicted: bool array of the same shape.

    Returns:
        float array `(num_classes + 1, num_classes + 1)`: `[true, predicted]`, the last row and column
        for "nothing".

    Reference:
        Heydarian et al. 2022, "MLCM: Multi-label confusion matrix" (a matrix with rows and columns for
        nothing; the counts differ).

    Example:

    >>> labels = np.array([[1, 1, 0], [1, 0, 0]])
    >>> predicted = np.array([[True, False, True], [False, False, False]])
    >>> multilabel_confusion(labels, predicted).tolist()  # 1 is taken for 2; 0 is found, and missed
    [[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted, bool)
    is_true = labels > 0
    missed, wrong = (each.astype(float) for each in find_errors(labels, predicted))
    count = wrong.sum(1, keepdims=True)
    # Each row sums to 1: the shares of what a missed label may have been taken for.
    shares = np.hstack([wrong / np.maximum(count, 1), count == 0])
    found = np.zeros((labels.shape[1] + 1,) * 2)
    found[:-1] = missed.T @ shares
    found[-1, :-1] = wrong[missed.sum(1) == 0].sum(0)
    classes = np.arange(labels.shape[1])
    found[classes, classes] += (is_true & predicted).sum(0)
    return found
