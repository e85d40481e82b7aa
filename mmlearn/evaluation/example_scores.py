"""How good the prediction for each single example is."""

import numpy as np

SMALLEST = 1e-6  # a probability below this counts as this: those of a model are float32


def example_scores(head, labels, predictions):
    """Scores each example: the higher, the better.

    Of a head of classes it is the log likelihood of the example's labels (natural logarithm): with
    sigmoids the mean over the labels that are known, with a softmax that of the true class. Of
    numbers it is minus the mean squared error, in standard deviations of the training targets.

    Args:
        head: `Head`.
        labels: array `(num_examples, num_columns)`; of classes -1 is unknown and does not count.
        predictions: float array of the same shape.

    Returns:
        float64 array `(num_examples,)`; NaN where no label is known.

    Example:

    >>> from mmlearn.models.head import Head
    >>> head = Head("classes", "multi_label", ("dog", "cat"))
    >>> scores = example_scores(head, np.array([[1, 0], [1, -1]]), np.array([[0.5, 0.5], [1, 0]]))
    >>> scores.round(4).tolist()
    [-0.6931, -0.0]
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions, np.float64)
    if head.is_regression:
        return -np.mean(((labels - predictions) / np.asarray(head.deviations)) ** 2, axis=1)
    probabilities = np.clip(predictions, SMALLEST, 1 - SMALLEST)
    is_known, is_true = labels >= 0, labels > 0
    if head.kind == "multi_class":
        each, counted = np.log(probabilities), is_true
    else:
        each = np.where(is_true, np.log(probabilities), np.log1p(-probabilities))
        counted = is_known
    count = counted.sum(axis=1)
    total = np.where(counted, each, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(labels), np.nan), where=count > 0)


def example_score_name(head):
    """What `example_scores` are called."""
    return "minus squared error" if head.is_regression else "log likelihood"
