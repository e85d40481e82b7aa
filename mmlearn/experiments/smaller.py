"""Smaller models of earlier ones: what is opened, pruned and taught from before training goes on."""

import dataclasses
import os

import keras
import numpy as np

from data_prep.names import find
from data_prep.pipeline import build_dataset
from data_prep.splits import Selection
from mmlearn.compression.distillation import distillation_learner
from mmlearn.compression.importance import CRITERIA, magnitudes, taylor_importances
from mmlearn.compression.pruning import MagnitudePruning
from mmlearn.compression.structured import choose_units, find_groups, without_units
from mmlearn.experiments.build import build_task
from mmlearn.experiments.continual import weights_print
from mmlearn.experiments.tasks import kind_of
from mmlearn.models import MultimodalClassifier
from mmlearn.models.prediction_task import PredictionTask
from mmlearn.models.presets import find_preset
from mmlearn.training.distribution import synchronize_batch_norm

BATCH_SIZE = 32  # of measuring importance


def open_smaller(experiment, output, console):
    """Opens the model that an experiment prunes, and the one that it learns from.

    Args:
        experiment: `Experiment`.
        output: str. The folder of the new results.
        console: `rich.console.Console`.

    Returns:
        A `Smaller`, or `None` when the experiment does neither.

    Raises:
        ValueError: when there is no such model, the output is one of them, or options do not fit.
    """
    pruning, distillation = experiment.pruning, experiment.distillation
    find(pruning.criterion, CRITERIA, "pruning criterion")
    if pruning.model is None and distillation.model is None:
        return None
    if experiment.continual.model is not None:
        raise ValueError(
            "A model goes on with other data, or becomes smaller, one after the other. Fix: leave out "
            "--continual.model."
        )
    if keras.config.backend() != "tensorflow":
        raise ValueError(
            f"A smaller model is made with TensorFlow. Received: Keras on {keras.config.backend()}. "
            "Fix: KERAS_BACKEND=tensorflow."
        )
    opened = []
    for path, kind in ((pruning.model, PredictionTask), (distillation.model, MultimodalClassifier)):
        preset = path and find_preset(path, kind)
        if preset and os.path.realpath(output) == os.path.realpath(
            os.path.dirname(os.path.abspath(preset))
        ):
            raise ValueError(
                f"The output {output!r} is the earlier model, which would be replaced. Fix: pass another "
                "folder, --output DIR."
            )
        opened.append(preset and kind.from_preset(preset))
    return Smaller(pruning, distillation, *opened, console)


@dataclasses.dataclass(frozen=True)
class Smaller:
    """What a smaller model is made of: it has the methods of `mmlearn.experiments.continual.Earlier`.

    Attributes:
        pruning: `PruningConfig`.
        distillation: `DistillationConfig`.
        pruned: the earlier `PredictionTask`, or `None` for a new model.
        teacher: `MultimodalClassifier`, or `None`.
        console: `rich.console.Console`.
        source: `None`: there are no data besides the experiment's.
    """

    pruning: object
    distillation: object
    pruned: PredictionTask | None
    teacher: MultimodalClassifier | None
    console: object
    source: None = None

    @property
    def weights(self):
        """The fingerprints of the weights of the earlier models."""
        return "-".join(
            weights_print(task) for task in (self.pruned, self.teacher) if task is not None
        )

    @property
    def modalities(self):
        """Those of the model."""
        return (self.pruned or self.teacher).backbone.modalities

    def join(self, source, experiment, console):
        """The source with the labels of the earlier model, in its order.

        Args:
            source: the source of the data, screened.
            experiment: `Experiment`.
            console: `rich.console.Console`.

        Raises:
            ValueError: when the labels are others.
        """
        task = self.pruned or self.teacher
        return kind_of(task).open(task, source)

    def build_classifier(self, source, model, num_replicas=1, dtype=None):
        """Builds the model that is trained, under the current strategy's scope.

        Args:
            source: what `join` returned.
            model: `ModelConfig`, of a student that is not a pruned model.
            num_replicas: int. With more than one, batch normalisation is synchronised.
            dtype: dtype policy of the backbone.
        """
        if self.pruned is None:
            return build_task(model, source, num_replicas, dtype)
        task = self.pruned if self.pruning.units is None else self._without_units(source)
        task = task.with_dtype(dtype or "float32")
        if num_replicas > 1:
            for encoder in task.backbone.encoders.values():
                synchronize_batch_norm(encoder)
        return task

    def _without_units(self, source):
        task, config = self.pruned, self.pruning
        groups = find_groups(task)
        if not groups:
            raise ValueError(
                "The model has no filters, hidden units or heads that can be removed. Fix: "
                "--pruning.sparsity, or distil it into a smaller one."
            )
        if config.criterion == "l1":
            importances = magnitudes(groups)
        else:
            task.compile()
            total = len(source.examples("train"))
            rows = np.sort(np.random.default_rng(0).permutation(total)[: config.examples])
            drawn = Selection(source, {"train": ("train", rows)}, drawn=len(rows), draw_seed=0)
            batches = build_dataset(drawn, "train", task.preprocessor, BATCH_SIZE)
            importances = taylor_importances(task, groups, batches)
        kept = [
            choose_units(group, values, config.units)
            for group, values in zip(groups, importances, strict=True)
        ]
        for group, units in zip(groups, kept, strict=True):
            self.console.print(
                f"[bold]pruned[/] {group.name}: {len(units)} of {group.size} are left",
                highlight=False,
            )
        return without_units(task, groups, kept)

    def build_learner(self, task, dtype=None):
        """Builds what is trained in the place of that model, under the same scope.

        Args:
            task: what `build_classifier` returned.
            dtype: dtype policy of the teacher's backbone, if there is one.
        """
        if self.teacher is None:
            return task
        return distillation_learner(task, self.teacher.with_dtype(dtype), self.distillation)

    def measure(self, task, batch_size=32):
        """Nothing is forgotten: the data are the same."""

    def record(self, source):
        """What `run.json` keeps of it, as plain JSON types."""
        return {"weights": self.weights}


def pruning_callbacks(experiment, phases, steps_per_epoch):
    """What prunes single weights while an experiment trains: functions from a phase to a callback.

    Args:
        experiment: `Experiment`.
        phases: list of `TrainingPhase`. The last one is the one that prunes.
        steps_per_epoch: int.

    Raises:
        ValueError: when that phase puts earlier weights back.
    """
    config, last = experiment.pruning, [phase for phase in phases if phase.epochs > 0][-1]
    if config.sparsity is None:
        return []
    if last.restore_best or last.ema_momentum is not None:
        raise ValueError(
            f"Phase {last.name!r} ends with other weights than its last ones, which would not be pruned. "
            "Fix: no `restore_best` and no `ema_momentum` with --pruning.sparsity."
        )

    def make(phase):
        if phase is not last:
            return keras.callbacks.Callback()
        return MagnitudePruning(
            config.sparsity,
            config.begin,
            config.end,
            config.every,
            num_steps=(phase.epochs, steps_per_epoch),
        )

    return [make]
