"""A student should predict what a teacher does."""

import keras
from keras import ops

from mmlearn.losses.logits import remembered_logits


def distillation(teacher, student, activation, temperature=1.0):
    """How far a student's probabilities are from those of a teacher, per example.

    The Kullback-Leibler divergence of the teacher's distribution to the student's: for sigmoids of
    the two outcomes of each class, averaged over the classes; for softmax of the classes. It is the
    cross-entropy against the teacher's probabilities but for a constant: the gradient is the same,
    and it is 0 where the two agree.

    The student may know more classes than the teacher. The teacher's are its first ones; a softmax
    is taken over these alone.

    Args:
        teacher: float tensor `(batch_size, num_old_classes)`, probabilities. No gradient flows back.
        student: float tensor `(batch_size, num_classes)`, with at least as many classes.
        activation: `"sigmoid"` or `"softmax"`, as both have.
        temperature: float. Logits are divided by it, and the result multiplied by its square, so
            that the size of the gradients stays: above 1, small probabilities count more.

    Returns:
        float tensor `(batch_size,)`.

    Raises:
        ValueError: when the temperature is not positive, or the teacher knows more classes.

    Reference:
        Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural network", section 2; Li
        and Hoiem 2017, "Learning without forgetting", equations 2 and 3.

    Example:

    >>> float(distillation([[0.2, 0.9]], [[0.2, 0.9, 0.4]], "sigmoid")[0])
    0.0
    """
    if not temperature > 0:
        raise ValueError(f"`temperature` must be positive. Received: temperature={temperature}.")
    logits = remembered_logits(student)
    teacher, student = ops.convert_to_tensor(teacher), ops.convert_to_tensor(student)
    num_classes = teacher.shape[-1]
    if student.shape[-1] < num_classes:
        raise ValueError(
            "`student` must have the classes of `teacher` as its first ones. "
            f"Received: {student.shape[-1]} and {num_classes} classes."
        )
    teacher = ops.cast(ops.stop_gradient(teacher), student.dtype)
    to_logits = _LOGITS[activation]
    logits = to_logits(student) if logits is None else logits
    logits = logits[..., :num_classes] / temperature
    taught = to_logits(teacher) / temperature
    if activation == "sigmoid":
        # Of both outcomes of each class.
        terms = [
            ops.exp(ops.log_sigmoid(sign * taught))
            * (ops.log_sigmoid(sign * taught) - ops.log_sigmoid(sign * logits))
            for sign in (1, -1)
        ]
        divergence = ops.mean(terms[0] + terms[1], axis=-1)
    else:
        taught, known = ops.log_softmax(taught, axis=-1), ops.log_softmax(logits, axis=-1)
        divergence = ops.sum(ops.exp(taught) * (taught - known), axis=-1)
    return temperature**2 * divergence


def _of_sigmoid(probabilities):
    epsilon = keras.config.epsilon()
    p = ops.clip(probabilities, epsilon, 1 - epsilon)
    return ops.log(p) - ops.log(1 - p)


def _of_softmax(probabilities):
    return ops.log(ops.maximum(probabilities, keras.config.epsilon()))


_LOGITS = {"sigmoid": _of_sigmoid, "softmax": _of_softmax}


def divergence(teacher, student):
    """The Kullback-Leibler divergence of the teacher's distributions to the student's, per example.

    Args:
        teacher: float tensor `(batch_size, ..., num_values)`, of which the last axis sums to 1.
        student: float tensor of the same shape. Rows that are all 0 do not count.

    Returns:
        float tensor `(batch_size,)`, the mean over the rows that count.

    Reference:
        Wang et al. 2020, "MiniLM", equation 1 (of attention distributions).

    Example:

    >>> float(divergence([[[0.5, 0.5], [1.0, 0.0]]], [[[0.5, 0.5], [0.0, 0.0]]])[0])
    0.0
    """
    student = ops.convert_to_tensor(student)
    teacher = ops.cast(ops.stop_gradient(ops.convert_to_tensor(teacher)), student.dtype)
    epsilon = keras.config.epsilon()
    logs = [ops.log(ops.maximum(each, epsilon)) for each in (teacher, student)]
    rows = ops.sum(teacher * (logs[0] - logs[1]), axis=-1)
    counts = ops.cast(ops.sum(student, axis=-1) > 0, rows.dtype)
    size = ops.shape(rows)[0]
    rows, counts = (ops.reshape(each, (size, -1)) for each in (rows * counts, counts))
    return ops.sum(rows, axis=-1) / ops.maximum(ops.sum(counts, axis=-1), 1)


@keras.saving.register_keras_serializable(package="mmlearn")
class DivergenceLoss(keras.losses.Loss):
    """`divergence` as a loss: targets are the teacher's distributions."""

    def call(self, y_true, y_pred):
        return divergence(y_true, y_pred)


@keras.saving.register_keras_serializable(package="mmlearn")
class DistillationLoss(keras.losses.Loss):
    """A loss of labels, and the distillation of a teacher beside it: `loss + weight * distillation`.

    Args:
        loss: a `keras.losses.Loss` of labels and probabilities.
        num_classes: int. Of the student, which is how many columns of the targets are labels.
        activation: `"sigmoid"` or `"softmax"`.
        weight: float.
        temperature: float, see `distillation`.
        **kwargs: of `keras.losses.Loss`.

    Shapes:
        Targets `(batch_size, num_classes + num_old_classes)`, the labels and then the teacher's
        probabilities; probabilities `(batch_size, num_classes)`; the loss per example
        `(batch_size,)`.
    """

    def __init__(
        self,
        loss,
        num_classes,
        activation,
        weight=1.0,
        temperature=1.0,
        name="distillation",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        if not weight >= 0:
            raise ValueError(f"`weight` must not be negative. Received: weight={weight}.")
        self.loss = loss
        self.num_classes = num_classes
        self.activation = activation
        self.weight = weight
        self.temperature = temperature

    def call(self, y_true, y_pred):
        labels, teacher = y_true[..., : self.num_classes], y_true[..., self.num_classes :]
        apart = distillation(teacher, y_pred, self.activation, self.temperature)
        return self.loss.call(labels, y_pred) + self.weight * apart

    def get_config(self):
        return {
            **super().get_config(),
            "loss": keras.saving.serialize_keras_object(self.loss),
            "num_classes": self.num_classes,
            "activation": self.activation,
            "weight": self.weight,
            "temperature": self.temperature,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})
