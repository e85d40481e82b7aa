"""The contract of a kind of task: how it is built from a config, measured and drawn."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Measured:
    """What a task scored on a split.

    Attributes:
        metrics: dict of row (the model first, then what it is compared with) to dict of metric to
            number, the main metric first.
        intervals: dict of row to dict of metric to `low` and `high`.
        comparisons: dict of name to a paired comparison, see `mmlearn.evaluation.paired`.
        per_class: dict of row to dict of class to metrics.
        predictions: dict of arrays, a row per example; `ids` are added to them.
    """

    metrics: dict
    intervals: dict = field(default_factory=dict)
    comparisons: dict = field(default_factory=dict)
    per_class: dict = field(default_factory=dict)
    predictions: dict = field(default_factory=dict)

    @property
    def details(self):
        """What is known of the metrics, for the record of a run."""
        names = ("intervals", "comparisons", "per_class")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class TaskKind:
    """A kind of task that an experiment can name.

    Attributes:
        task: the class of its tasks.
        check: function of a `ModelConfig` and a source, which raises `ValueError` where the data lack
            what the task needs.
        build: function of a `ModelConfig`, a source, a dict of modality to encoder, a
            `MultimodalPreprocessor` (or `None`) and a dtype policy (or `None`); returns the task.
        prior: function of a source and a split: what is known of the answers before any example is seen,
            an array or `None`.
        open: function of a task and a source; returns the source as the task needs it, or raises
            `ValueError` where the data are not of its kind.
        measure: function of a task, a source, a split, batches of that split `(x, y, sample_weight)` in
            the order of the source, and the prior of the training split; returns a `Measured`.
        draw: function of a task, a source, a `Measured` of its validation split, and a folder, to which it
            writes figures.
    """

    task: type
    check: Callable
    build: Callable
    prior: Callable
    open: Callable
    measure: Callable
    draw: Callable
