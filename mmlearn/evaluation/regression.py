"""Metrics of regression, over arrays, on top of scikit-learn."""

import numpy as np
from sklearn import metrics


def regression_metrics(targets, values):
    """Scores predicted numbers, in the targets' units.

    Args:
        targets: float array `(num_examples, num_targets)`.
        values: float array of the same shape.

    Returns:
        A dict of floats: `MAE`, `RMSE` and `R2`, each the mean over the targets (R² is NaN for fewer
        than two examples, and without the targets that never change), and the count `num_examples`.

    Raises:
        ValueError: when the shapes differ or a value is no number.

    Example:

    >>> import numpy as np
    >>> scores = regression_metrics(np.array([[1.0], [3.0]]), np.array([[2.0], [3.0]]))
    >>> {name: round(score, 3) for name, score in scores.items()}
    {'MAE': 0.5, 'RMSE': 0.707, 'R2': 0.5, 'num_examples': 2}
    """
    targets, values = np.asarray(targets, np.float64), np.asarray(values, np.float64)
    if targets.shape != values.shape or targets.ndim != 2:
        raise ValueError(
            "`targets` and `values` must have one shape (num_examples, num_targets). "
            f"Received: {targets.shape} and {values.shape}."
        )
    if not np.isfinite(values).all():
        raise ValueError("`values` holds NaN or infinity. Fix: the model has diverged.")
    changes = targets.std(axis=0) > 0
    determination = float("nan")
    if changes.any():
        determination = float(metrics.r2_score(targets[:, changes], values[:, changes]))
    return {
        "MAE": float(metrics.mean_absolute_error(targets, values)),
        "RMSE": float(metrics.root_mean_squared_error(targets, values)),
        "R2": determination,
        "num_examples": len(targets),
    }
