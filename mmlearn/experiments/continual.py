"""Going on from an earlier model: its weights, its examples, its predictions, what it forgets."""

import dataclasses
import hashlib
import os

import keras
import numpy as np

from data_prep import mix
from data_prep.fingerprint import fingerprint
from data_prep.names import find
from data_prep.pipeline import build_dataset
from data_prep.screening import without_empty, without_unreadable
from data_prep.sources.joined import JoinedSource
from data_prep.splits import Selection
from mmlearn.evaluation.forgetting import measure_forgetting
from mmlearn.experiments.baselines import check_has_classes
from mmlearn.experiments.build import absent_modalities, build_source
from mmlearn.experiments.config import read_run
from mmlearn.experiments.modalities import BUILDERS
from mmlearn.models import MultimodalClassifier
from mmlearn.models.presets import find_preset
from mmlearn.training.continual import continual_learner, with_classes
from mmlearn.training.distribution import synchronize_batch_norm

OLD, NEW = "earlier", "new"  # what the ids of examples begin with where both are trained on


def with_earlier_model(experiment):
    """Returns the experiment with the `model` of the run that it goes on from, and what is added to it.

    Args:
        experiment: `Experiment`. One that does not go on, or goes on from a preset without a
            `run.json`, is returned as it is.

    Raises:
        ValueError: when there is no such model.
    """
    config = experiment.continual
    earlier = config.model or experiment.pruning.model
    if earlier is None:
        return experiment
    path = _record_path(find_preset(earlier))
    if not os.path.isfile(path):
        return experiment
    model = read_run(path)[0].model
    modalities = tuple(dict.fromkeys([*model.modalities, *config.add]))
    added = {name: getattr(experiment.model, name) for name in config.add if name in BUILDERS}
    model = dataclasses.replace(model, modalities=modalities, **added)
    return dataclasses.replace(experiment, model=model)


def open_earlier(experiment, output, console):
    """Opens the model that an experiment goes on from, and its data.

    Args:
        experiment: `Experiment`.
        output: str. The folder of the new results.
        console: `rich.console.Console`.

    Returns:
        An `Earlier`, or `None` when the experiment does not go on.

    Raises:
        ValueError: when there is no such model, or an option needs what is not there, such as
            rehearsal the earlier data (`DataError`); or the output is the earlier one.
    """
    config = experiment.continual
    if config.model is None:
        for name in ("add", "rehearsal", "distillation", "root"):
            if getattr(config, name):
                raise ValueError(
                    f"--continual.{name} is for going on from an earlier model. Fix: "
                    "--continual.model DIR, or leave it out."
                )
        return None
    if experiment.model.task.name != "prediction":
        raise ValueError(
            "Going on is for models that predict labels. Received: "
            f"task={experiment.model.task.name!r}. Fix: leave out --continual.model."
        )
    if config.distillation and keras.config.backend() != "tensorflow":
        raise ValueError(
            f"--continual.distillation needs TensorFlow. Received: Keras on {keras.config.backend()}. "
            "Fix: KERAS_BACKEND=tensorflow, or --continual.rehearsal instead."
        )
    preset = find_preset(config.model, MultimodalClassifier)
    if os.path.realpath(output) == os.path.realpath(os.path.dirname(os.path.abspath(preset))):
        raise ValueError(
            f"The output {output!r} is the earlier model, which would be replaced. Fix: pass another "
            "folder, --output DIR."
        )
    task = MultimodalClassifier.from_preset(preset)
    source, reason, data_print = None, None, None
    try:
        found, is_same = _open_data(_record_path(preset), config.root)
        found = JoinedSource({OLD: found}, task.label_names)
        data_print, source = fingerprint(found, ("train", "val")), found
    except (ValueError, OSError) as error:  # `DataError` is a `ValueError`
        if config.rehearsal or config.root:
            raise
        reason = str(error)
        console.print(
            f"[bold]forgetting[/] is not measured, the earlier data are not there: {reason}",
            highlight=False,
        )
    else:
        if not is_same:
            console.print(
                "[bold]earlier data[/]: not those that the earlier model was trained on, so what is "
                "measured as forgotten may be their difference",
                highlight=False,
            )
    return Earlier(config, task, source, weights_print(task), data_print, reason)


@dataclasses.dataclass(frozen=True)
class Earlier:
    """A model to go on from.

    Attributes:
        config: `ContinualConfig`.
        task: the earlier `MultimodalClassifier`.
        source: the source of its data, in the order of its classes; `None` where it is not there.
        weights: str, the fingerprint of its weights.
        data: str, that of its data, or `None`.
        reason: str. Why there is no source, or `None`.
    """

    config: object
    task: MultimodalClassifier
    source: object
    weights: str
    data: str | None
    reason: str | None

    def join(self, source, experiment, console):
        """Gives the new data the classes of the earlier model, and to train on, some of its examples.

        Args:
            source: the source of the new data, screened.
            experiment: `Experiment`.
            console: `rich.console.Console`.

        Returns:
            A source. Its classes are those of the earlier model and then the new ones; `train`
            holds the rehearsed examples as well, `val` the new data alone. Labels are -1 where an
            example says nothing about a class.

        Raises:
            ValueError: when the data do not fit the model, or `DataError` the earlier data.
        """
        check_has_classes(source, "going on")
        for modality in self.config.add:
            find(modality, BUILDERS, "modality")
            if modality in self.task.backbone.modalities:
                raise ValueError(
                    f"The earlier model has {modality} already. Fix: leave it out of --continual.add."
                )
            if modality not in source.examples("train").modalities:
                raise ValueError(
                    f"The data in {source.root!r} have no {modality}, which cannot be added then. Fix: "
                    "other data, or leave it out of --continual.add."
                )
        if self.task.activation == "softmax" and source.label_kind != "multi_class":
            raise ValueError(
                f"The examples in {source.root!r} have any number of classes each, and the earlier "
                f"model {self.config.model!r} predicts exactly one. Fix: data of that kind, or another "
                "model."
            )
        for modality in absent_modalities(self.modalities, source):
            console.print(f"[bold]no {modality}[/] in the data: a learned token stands in for it")
        names = list(dict.fromkeys([*self.task.label_names, *source.label_names]))
        mixes = sorted(set(experiment.data.augmentations) & set(mix.MIXES))
        sizes = [len(source.label_names)]
        sizes += [self.task.num_classes] if self.config.rehearsal else []
        if mixes and self.task.activation == "sigmoid" and min(sizes) < len(names):
            raise ValueError(
                f"The augmentation {mixes[0]!r} mixes labels, and those of the old and the new classes "
                "are partly unknown. Fix: leave it out."
            )
        old = self.task.num_classes
        console.print(
            f"[bold]going on[/] from {self.config.model}: {old} classes and "
            f"{len(names) - old} new ones; `model` of the config is that of the earlier one",
            highlight=False,
        )
        # That a photo is of one new class does not say that no old one is in it.
        kind = "multi_label" if self.task.activation == "sigmoid" else "multi_class"
        kind = "soft" if source.label_kind == "soft" else kind
        if not self.config.rehearsal:
            return JoinedSource({NEW: source}, names, kind)
        num_old, num_new = (len(each.examples("train")) for each in (self.source, source))
        rows = draw_rehearsal(num_old, num_new, self.config.rehearsal, experiment.training.seed)
        console.print(
            f"[bold]rehearsal[/]: {len(rows):,} of {num_old:,} earlier training examples, "
            f"{len(rows) / (len(rows) + num_new):.1%} of an epoch",
            highlight=False,
        )
        chosen = Selection(self.source, {"train": ("train", rows)}, rehearsed=len(rows))
        return JoinedSource({OLD: chosen, NEW: source}, names, kind)

    @property
    def modalities(self):
        """Those of the model that goes on: of the earlier one, and what is added."""
        return tuple(sorted({*self.task.backbone.modalities, *self.config.add}))

    def build_classifier(self, source, model, num_replicas=1, dtype=None):
        """Builds the classifier that goes on, under the current strategy's scope.

        Args:
            source: what `join` returned. Its labels name the classes, those of the earlier model and
                then the new ones.
            model: `ModelConfig`, for the encoders of modalities that are added.
            num_replicas: int. With more than one, batch normalisation is synchronised.
            dtype: dtype policy of the backbone.
        """
        task = self.task
        for modality in self.config.add:
            built = BUILDERS[modality](getattr(model, modality), source)
            task = task.with_modality(modality, *built)
        task = with_classes(task, source.label_names, dtype)
        if num_replicas > 1:
            for encoder in task.backbone.encoders.values():
                synchronize_batch_norm(encoder)
        return task

    def build_learner(self, task, dtype=None):
        """Builds what is trained in the place of that classifier, under the same scope.

        Args:
            task: what `build_classifier` returned.
            dtype: dtype policy of the teacher's backbone, if there is one.
        """
        weight = self.config.distillation
        teacher = self.task.with_dtype(dtype) if weight else None
        return continual_learner(task, teacher, weight)

    def measure(self, task, batch_size=32):
        """Measures what the classifier has forgotten, on the validation split of the earlier data.

        Args:
            task: the classifier, trained.
            batch_size: int.

        Returns:
            What `measure_forgetting` returns; `None` where the earlier data are not there, or no
            example of them has a label.
        """
        labels = None if self.source is None else self._labels()
        if labels is None or not (labels > 0).any():
            return None
        predictions = [
            each.predict(
                build_dataset(self.source, "val", each.preprocessor, batch_size).map(
                    lambda x, *_: x
                ),
                verbose=0,
            )[:, : self.task.num_classes]
            for each in (self.task, task)
        ]
        groups = self.source.examples("val").groups
        return measure_forgetting(labels, *predictions, self.task.label_names, groups)

    def _labels(self):
        labels = self.source.examples("val").labels
        labels = labels if isinstance(labels, np.ndarray) else labels.toarray()
        return labels.astype(int)

    def record(self, source):
        """What `run.json` keeps of it, as plain JSON types.

        Args:
            source: what `join` returned.
        """
        old = source.sources.get(OLD)
        return {
            "weights": self.weights,
            "data": self.data,
            "data_missing": self.reason,
            "label_names": self.task.label_names,
            "num_rehearsed": 0 if old is None else len(old.examples("train")),
        }


def draw_rehearsal(num_old, num_new, share, seed=0):
    """Draws the old examples that are trained on beside the new ones.

    Args:
        num_old: int. Old examples there are. Where they are too few for the share, all are taken.
        num_new: int. New examples.
        share: float in [0, 1). Of the old ones, in the old and new ones together.
        seed: int.

    Returns:
        int64 array of rows, rising.

    Example:

    >>> len(draw_rehearsal(1000, 600, 0.25))
    200
    """
    count = min(num_old, round(share / (1 - share) * num_new))
    return np.sort(np.random.default_rng(seed).permutation(num_old)[:count])


def weights_print(task):
    """Hashes the weights of a task: str, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for variable in task.weights:  # not the states of random numbers
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return digest.hexdigest()


def _record_path(preset):
    return os.path.join(os.path.dirname(os.path.abspath(preset)), "run.json")


def _open_data(path, root=None):
    """The data of a run, those of the runs it went on from included; and whether they are the same.

    Args:
        path: str. Its `run.json`.
        root: str. Where its own data are now, or `None`.
    """
    if not os.path.isfile(path):
        raise ValueError(
            f"{os.path.dirname(path)!r} has no run.json, which names the data of a model. Fix: the "
            "output folder of a run."
        )
    experiment, data_print = read_run(path)
    data = experiment.data
    data = data if root is None else dataclasses.replace(data, root=root)
    source, _ = without_unreadable(build_source(data), ("train", "val"), data.max_unreadable)
    source, _ = without_empty(source, ("train", "val"), experiment.model.modalities)
    if experiment.continual.model is None:
        # What follows a dash is of data without labels.
        return source, fingerprint(source, ("train", "val")) == data_print.partition("-")[0]
    before, is_same = _open_data(_record_path(find_preset(experiment.continual.model)))
    # What it was trained on is a part of this, so its own fingerprint tells nothing.
    return JoinedSource({OLD: before, NEW: source}), is_same
