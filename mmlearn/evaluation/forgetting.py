"""What a model that went on learning has forgotten: a pure function over arrays."""

import numpy as np

from mmlearn.evaluation.classification import per_class_average_precision
from mmlearn.evaluation.paired import paired_bootstrap


def measure_forgetting(labels, before, after, label_names, groups=None):
    """Compares a model before and after it went on learning, on the data it was made for.

    Backward transfer is how much better the later model does on the earlier task: with R_ij the
    score of the model after task i on the test data of task j, BWT = 1/(T - 1) sum_i<T (R_Ti - R_ii).
    Here T is 2, and the score the mean average precision: R_21 - R_11. Negative is forgotten.

    Args:
        labels: int array `(num_examples, num_classes)`; -1 is unknown.
        before: float array of the same shape, probabilities of the earlier model.
        after: likewise, of the later one.
        label_names: list of str, the classes.
        groups: int array `(num_examples,)`, or `None`. Examples of a group are resampled together.

    Returns:
        A dict of `num_examples`; `num_classes`, those with a positive; `before` and `after`, the
        mAP; `backward_transfer`, what `paired_bootstrap` returns; and `classes`, a dict of the name to `before` and `after`, the average
        precision of a class that has a positive.

    Raises:
        ValueError: when no class has a positive.

    Reference:
        Lopez-Paz and Ranzato 2017, "Gradient episodic memory for continual learning", equation 3.
    """
    precisions = {
        "before": per_class_average_precision(labels, before),
        "after": per_class_average_precision(labels, after),
    }
    counted = np.flatnonzero((labels > 0).any(axis=0))
    if not len(counted):
        raise ValueError("No class has a positive label, so nothing can be measured.")
    return {
        "num_examples": len(labels),
        "num_classes": len(counted),
        **{when: float(values[counted].mean()) for when, values in precisions.items()},
        "backward_transfer": paired_bootstrap("multi_label", labels, after, before, groups=groups),
        "classes": {
            label_names[c]: {when: float(values[c]) for when, values in precisions.items()}
            for c in counted
        },
    }
