"""What goes on learning: a classifier with labels that are partly unknown, and an earlier model."""

import keras
import numpy as np
from keras import ops

from mmlearn.losses import classification
from mmlearn.losses.distillation import DistillationLoss
from mmlearn.models.multimodal_classifier import MultimodalClassifier


class ContinualLearner(MultimodalClassifier):
    """A classifier that shares everything with another one, and is trained in its place.

    Labels below 0 are unknown and teach nothing. With a teacher, every output that has a loss is
    kept near the one of the same name of the teacher, on the classes that this one knows: the
    loss becomes `loss + distillation * divergence`, so that weights of outputs and of examples,
    replicas and parts of batches treat both alike.

    Made by `continual_learner`.
    """

    _teach = None
    _distillation, _temperature = 0.0, 1.0

    def compile(self, optimizer="auto", loss="auto", **kwargs):
        """Compiles as `MultimodalClassifier` does; a loss of all class outputs is made as above.

        Args:
            optimizer: as there.
            loss: as there, but a dict only of `losses_named`.
            **kwargs: as there.
        """
        if isinstance(loss, keras.losses.Loss):
            loss = self._going_on(loss)
        super().compile(optimizer, loss, **kwargs)

    def losses_named(self, name="auto", label_smoothing=0.0):
        """Makes the loss of each output, as above."""
        losses = super().losses_named(name, label_smoothing)
        return {n: x if self.head_of(n) is None else self._going_on(x) for n, x in losses.items()}

    def _going_on(self, loss):
        loss = classification.known_only(loss, self.activation)
        if self._teach is not None:
            options = (self._distillation, self._temperature)
            loss = DistillationLoss(loss, self.num_classes, self.activation, *options)
        return loss

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The total loss of a batch, as Keras has it, with what the teacher predicts."""
        if self._teach is not None:
            y = self.with_taught(y, self._teach(x))
        return super().compute_loss(x, y, y_pred, sample_weight, training=training)

    def with_taught(self, y, taught):
        """The targets of a batch with what the teacher says, dicts of output name to tensor."""
        return {
            name: labels
            if self.head_of(name) is None
            else ops.concatenate([ops.cast(labels, "float32"), taught[name]], axis=1)
            for name, labels in y.items()
        }

    def with_backbone(self, backbone):
        """Returns a learner on another backbone, which a teacher could not follow.

        Args:
            backbone: see `MultimodalClassifier.with_backbone`.

        Raises:
            ValueError: when there is a teacher: it needs the inputs of the first backbone.
        """
        if self._teach is not None:
            raise ValueError(
                "The teacher needs the examples themselves, not features of the learner's encoders. "
                "Fix: train without stored features."
            )
        return super().with_backbone(backbone)


def continual_learner(task, teacher=None, distillation=0.0):
    """Makes what is trained in the place of a classifier, see `ContinualLearner`.

    Args:
        task: `MultimodalClassifier`. Its layers and weights are shared.
        teacher: `MultimodalClassifier` with the same model inputs, whose classes are the first ones
            of the task; or `None`. It is no part of the learner, so that it is never updated, and its
            weights are in no checkpoint.
        distillation: float. Weight of its predictions.

    Raises:
        ValueError: when the teacher's classes, activation or inputs do not fit the task's.
    """
    config = {**task.get_config(), "backbone": task.backbone, "preprocessor": task.preprocessor}
    learner = ContinualLearner(**config, _share=task)
    if teacher is not None:
        check_teacher(task, teacher)
        names = list(teacher.input)

        def teach(x):
            taught = teacher({name: x[name] for name in names}, training=False)
            return keras.tree.map_structure(ops.stop_gradient, taught)

        # In a function: Keras would track a model in an attribute as a part of this one.
        learner._teach = teach
        learner._distillation = distillation
    return learner


def check_teacher(task, teacher):
    """Raises a `ValueError` when a teacher's classes, activation or inputs do not fit a task's."""
    if task.label_names[: teacher.num_classes] != teacher.label_names:
        raise ValueError(
            "The first classes of the task must be those of the teacher. Received: "
            f"{task.label_names[: teacher.num_classes]} and {teacher.label_names}."
        )
    if task.activation != teacher.activation:
        raise ValueError(
            "The task and its teacher must have the same activation. "
            f"Received: {task.activation!r} and {teacher.activation!r}."
        )
    if set(teacher.input) - set(task.input) or set(teacher.output) != set(task.output):
        raise ValueError(
            "The task must have the inputs and outputs of its teacher. Received: "
            f"{sorted(task.input)} and {sorted(teacher.input)}, {sorted(task.output)} and "
            f"{sorted(teacher.output)}."
        )


def with_classes(task, label_names, dtype=None):
    """Copies a classifier for more classes: those it knows keep their weights, new ones are fresh.

    Args:
        task: `MultimodalClassifier`.
        label_names: list of str. The classes of the task, then the new ones.
        dtype: str. Dtype policy of the copy's backbone, by default that of the task's.

    Returns:
        A `MultimodalClassifier` with weights of its own. As long as it is not trained, sigmoids of
        old classes are what they were but for rounding, and for temperatures, which are left out; a
        softmax shares its probability with the new ones.

    Raises:
        ValueError: when the first names are not those of the task.

    Example:

    >>> from mmlearn import MultimodalBackbone, encoders, fusions
    >>> backbone = MultimodalBackbone(
    ...     {"text": encoders.Features(length=4, dim=8)}, fusions.get("concat"), hidden_dim=16
    ... )
    >>> task = MultimodalClassifier(backbone, 2, label_names=["dog", "cat"])
    >>> with_classes(task, ["dog", "cat", "sofa"]).num_classes
    3
    """
    if list(label_names[: task.num_classes]) != task.label_names:
        raise ValueError(
            "The first classes must be those of the task. Received: "
            f"{list(label_names[: task.num_classes])} and {task.label_names}."
        )
    config = task.backbone.get_config()
    if dtype is not None:
        config["dtype_policy"] = dtype
    backbone = type(task.backbone).from_config(config)
    wider = MultimodalClassifier(
        **{
            **task.get_config(),
            "backbone": backbone,
            "preprocessor": task.preprocessor,
            "num_classes": len(label_names),
            "label_names": list(label_names),
            # Of the classes and weights of before.
            "temperatures": None,
            "thresholds": None,
        }
    )
    backbone.set_weights(task.backbone.get_weights())
    for name, head in task.heads.items():
        # Of the outputs, the last axis is the classes; what the others have is all old.
        pairs = zip(head.get_weights(), wider.heads[name].get_weights(), strict=True)
        wider.heads[name].set_weights(
            [np.concatenate([old, new[..., old.shape[-1] :]], axis=-1) for old, new in pairs]
        )
    return wider
