"""What one head predicts."""

import math
from dataclasses import dataclass

from mmlearn.losses import classification, regression

KINDS = {"multi_label": "sigmoid", "multi_class": "softmax", "regression": "linear"}


@dataclass(frozen=True)
class Head:
    """Describes a head of a task: what it predicts from the fused features.

    Attributes:
        name: str. Of its output; those of the modalities' own heads are `"{modality}_{name}"`.
        kind: `"multi_label"` (any number of labels is true), `"multi_class"` (one is) or
            `"regression"`.
        label_names: tuple of str, the classes or the targets, in the order of the columns.
        hidden_dim: int. Size of the hidden layer, or `None` for none: a linear head.
        means: tuple of floats, the mean of each target over the training examples; 0 by default. Only
            of `"regression"`.
        deviations: tuple of floats, the standard deviations, likewise; 1 by default.
        temperatures: tuple of positive floats, by which the logits of each class are divided in what
            is predicted from fused features, so that probabilities mean what they say (see
            `mmlearn.evaluation.calibration`); or `None` for none. Only of classes.
        thresholds: tuple of floats in [0, 1], from which probability on a class is predicted; or
            `None` for 0.5. Only of `"multi_label"`.

    Raises:
        ValueError: when these do not fit together.

    Example:

    >>> Head("scene", "multi_class", ("indoor", "outdoor")).activation
    'softmax'
    """

    name: str
    kind: str
    label_names: tuple[str, ...]
    hidden_dim: int | None = 256
    means: tuple[float, ...] | None = None
    deviations: tuple[float, ...] | None = None
    temperatures: tuple[float, ...] | None = None
    thresholds: tuple[float, ...] | None = None

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(
                f"`kind` of the head {self.name!r} must be one of {', '.join(KINDS)}. "
                f"Received: kind={self.kind!r}."
            )
        names = tuple(self.label_names)
        if not names or len(set(names)) < len(names):
            raise ValueError(
                f"`label_names` of the head {self.name!r} must be one or more different names. "
                f"Received: label_names={names}."
            )
        means = (0.0,) * len(names) if self.means is None else self.means
        deviations = (1.0,) * len(names) if self.deviations is None else self.deviations
        if not self.is_regression:
            if self.means is not None or self.deviations is not None:
                raise ValueError(
                    f"`means` and `deviations` are for regression. Received: head {self.name!r} of the "
                    f"kind {self.kind!r}. Fix: leave them out."
                )
        elif not len(means) == len(deviations) == len(names):
            raise ValueError(
                f"`means` and `deviations` of the head {self.name!r} must have one number per target. "
                f"Received: {len(means)} and {len(deviations)} numbers, {len(names)} targets."
            )
        elif not all(math.isfinite(each) for each in means):
            raise ValueError(
                f"`means` of the head {self.name!r} must be numbers. Received: means={tuple(means)}. "
                "Fix: leave out examples without a target."
            )
        elif not all(0 < each < float("inf") for each in deviations):
            raise ValueError(
                f"`deviations` of the head {self.name!r} must be positive. "
                f"Received: deviations={tuple(deviations)}. Fix: 1 for a target that never changes."
            )
        self._check_calibration()
        # Plain types, so that a config of it is JSON.
        object.__setattr__(self, "label_names", tuple(map(str, names)))
        if self.is_regression:
            object.__setattr__(self, "means", tuple(map(float, means)))
            object.__setattr__(self, "deviations", tuple(map(float, deviations)))

    def _check_calibration(self):
        for name, kinds, is_right, what in (
            (
                "temperatures",
                ("multi_label", "multi_class"),
                lambda t: 0 < t < math.inf,
                "positive",
            ),
            ("thresholds", ("multi_label",), lambda t: 0 <= t <= 1, "in [0, 1]"),
        ):
            values = getattr(self, name)
            if values is None:
                continue
            if self.kind not in kinds:
                raise ValueError(
                    f"`{name}` are for {' and '.join(kinds)}. Received: head {self.name!r} of the kind "
                    f"{self.kind!r}. Fix: leave them out."
                )
            values = tuple(map(float, values))
            if len(values) != len(self.label_names) or not all(map(is_right, values)):
                raise ValueError(
                    f"`{name}` of the head {self.name!r} must be one number per class, {what}. "
                    f"Received: {name}={values} for {len(self.label_names)} classes."
                )
            object.__setattr__(self, name, values)

    @property
    def activation(self):
        """`"sigmoid"`, `"softmax"` or `"linear"`."""
        return KINDS[self.kind]

    @property
    def is_regression(self):
        """Whether it predicts numbers."""
        return self.kind == "regression"

    @property
    def num_columns(self):
        """How many columns of the targets are its own."""
        return len(self.label_names)

    def loss(self, name="auto", label_smoothing=0.0):
        """Makes the loss of its outputs.

        Args:
            name: str, see `mmlearn.losses.classification` and `.regression`; or `"auto"`,
                cross-entropy or the mean squared error.
            label_smoothing: float in [0, 1). Not of numbers.
        """
        if self.is_regression:
            return regression.get("mean_squared_error" if name == "auto" else name, self.deviations)
        name = "cross_entropy" if name == "auto" else name
        return classification.get(name, self.activation, label_smoothing)
