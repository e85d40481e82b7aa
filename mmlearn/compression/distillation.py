"""Knowledge distillation: a small classifier learns from a larger one."""

import keras
from keras import ops

from mmlearn.losses.distillation import DivergenceLoss
from mmlearn.training.continual import ContinualLearner, check_teacher

_ATTENTION, _WEIGHTS = "_attention", "modality_weights"


class Student(ContinualLearner):
    """A classifier that shares everything with another one, and learns from a teacher in its place.

    As in going on from an earlier model, each output with a loss is kept near the teacher's. Where both
    have them, so are the attention between modalities, averaged over layers and heads, of which the two
    may have different numbers, and the weights of the modalities. These two are losses of their own,
    `"{query}_to_{key}_attention"` and `"modality_weights"`, in phases that train the main output.

    The teacher sees all of an example, also where modality dropout hides a part from the student.

    `keras.distillation.Distiller` of Keras 3.15 does not fit: its losses are of one output tensor, where a
    task has a dict of named ones with a weight for each example; its logits are those of a softmax; and
    phases, checkpoints and replicas train tasks, not what is around them.

    Made by `distillation_learner`.
    """

    _extra_weights = {}

    def _predict_all(self, inputs, encoded, auxiliary):
        outputs = super()._predict_all(inputs, encoded, auxiliary)
        for direction, scores in encoded.get("attention_scores", {}).items():
            queries = ops.cast(encoded["masks"][direction.split("_to_")[0]], scores.dtype)
            outputs[direction + _ATTENTION] = _mean_scores(scores) * queries[..., None]
        if _WEIGHTS in encoded:
            outputs[_WEIGHTS] = encoded[_WEIGHTS]
        return outputs

    def needed(self, output):
        """The modalities without which an example says nothing about an output: a tuple of names."""
        if output.endswith(_ATTENTION):
            return tuple(output.removesuffix(_ATTENTION).split("_to_"))
        return self.backbone.modalities if output == _WEIGHTS else super().needed(output)

    def losses_named(self, name="auto", label_smoothing=0.0):
        """Makes the loss of each output, as above."""
        losses = super().losses_named(name, label_smoothing)
        return {n: DivergenceLoss() if _is_extra(n) else loss for n, loss in losses.items()}

    def _expand(self, loss_weights):
        weights = super()._expand(loss_weights)
        if weights is None:
            return None
        trains_main = any(name in weights for name in self.described)
        own = {name: weight for name, weight in weights.items() if not _is_extra(name)}
        return {**own, **(self._extra_weights if trains_main else {})}

    def with_taught(self, y, taught):
        """The targets of a batch with what the teacher says, dicts of output name to tensor."""
        y = super().with_taught(y, taught)
        for name in filter(_is_extra, y):
            if name == _WEIGHTS:
                y[name] = taught[name]
            else:
                y[name] = _mean_scores(taught["attention_scores"][name.removesuffix(_ATTENTION)])
        return y


def distillation_learner(task, teacher, config):
    """Makes what is trained in the place of a classifier, see `Student`.

    Args:
        task: `MultimodalClassifier`, the student. Its layers and weights are shared.
        teacher: `MultimodalClassifier` of the same classes, with the same model inputs. It is no part of
            the learner, and is not changed.
        config: what has `weight`, `temperature`, `attention` and `modality_weights`, such as
            `DistillationConfig`.

    Raises:
        ValueError: when the teacher does not fit, in classes, inputs, or the sizes of these.

    Reference:
        Hinton et al. 2015, "Distilling the knowledge in a neural network"; Wang et al. 2020, "MiniLM"
        (attention).
    """
    check_teacher(task, teacher)
    _check_same_inputs(task, teacher)
    options = {**task.get_config(), "backbone": task.backbone, "preprocessor": task.preprocessor}
    learner = Student(**options, _share=task)
    known = teacher._explained
    scores, weights = known.get("attention_scores", {}), {}
    for name in filter(_is_extra, learner.output):
        if name == _WEIGHTS:
            has_it, weight = _WEIGHTS in known, config.modality_weights
        else:
            found = scores.get(name.removesuffix(_ATTENTION))
            has_it, weight = found is not None, config.attention
            if has_it and weight and found.shape[3:] != learner.output[name].shape[1:]:
                raise ValueError(
                    f"Attention of {name.removesuffix(_ATTENTION)} is of {learner.output[name].shape[1:]} "
                    f"tokens, and the teacher's of {found.shape[3:]}. Fix: encoders that give as many, "
                    "or --distillation.attention 0."
                )
        if has_it and weight:
            weights[name] = weight
    names = list(teacher.input)

    def teach(x):
        taught = teacher.explain_inputs({name: x[name] for name in names})
        return keras.tree.map_structure(ops.stop_gradient, taught)

    # In a function: Keras would track a model in an attribute as a part of this one.
    learner._teach = teach
    learner._distillation, learner._temperature = config.weight, config.temperature
    learner._extra_weights = weights
    return learner


def _is_extra(output):
    return output == _WEIGHTS or output.endswith(_ATTENTION)


def _mean_scores(scores):
    """Attention `(batch_size, query, key)`, the mean over layers and heads."""
    return ops.cast(ops.mean(scores, axis=(1, 2)), "float32")


def _check_same_inputs(task, teacher):
    for name, tensor in teacher.input.items():
        if tensor.shape != task.input[name].shape:
            raise ValueError(
                f"A student sees what its teacher sees. Received: {name} {task.input[name].shape[1:]} and "
                f"{tensor.shape[1:]}. Fix: images and texts of the teacher's size."
            )
    tokenizers = [
        getattr(each.preprocessor and each.preprocessor.converters.get("text"), "tokenizer", None)
        for each in (task, teacher)
    ]
    if None not in tokenizers and len({tuple(t.get_vocabulary()) for t in tokenizers}) > 1:
        raise ValueError(
            "A student reads the tokens of its teacher, and their vocabularies differ. Fix: the "
            "teacher's, --model.text.vocabulary FILE, or a vocabulary trained from the same captions."
        )
