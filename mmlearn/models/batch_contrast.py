"""Contrastive losses inside the graph, over the batch of all replicas."""

import keras
from keras import ops

from mmlearn.models import steps

FIRST_TEMPERATURE, SMALLEST_TEMPERATURE = 0.07, 0.01  # learned


class BatchContrast(keras.layers.Layer):
    """A contrastive loss over the batch of all replicas.

    Args:
        loss: function, see `mmlearn.losses.contrastive`.
        scale: float, what cosines are multiplied by.
        learns_scale: bool. Whether it is learned, from that value on and up to 100.
        bias: float, the first value of a learned bias of the loss; or `None` where it has none.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        first: float tensor `(batch_size, dim)`, L2-normalised embeddings.
        second: likewise, of the other half of each pair.
        pair: int64 `(batch_size, 2)`, a number of each example that is unique in the batch, and its
            group; or the groups alone, `(batch_size,)`.
        present: bool `(batch_size,)`, `False` for examples that stand for nothing.

    Returns:
        float tensor `(batch_size,)`.
    """

    def __init__(self, loss, scale=1 / FIRST_TEMPERATURE, learns_scale=False, bias=None, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.loss = loss
        self.scale = scale
        self.logit_scale = self.logit_bias = None
        if learns_scale:
            self.logit_scale = self._add("logit_scale", float(ops.log(scale)))
        if bias is not None:
            self.logit_bias = self._add("logit_bias", bias)

    def _add(self, name, value):
        first = keras.initializers.Constant(value)
        return self.add_weight(shape=(), initializer=first, name=name)

    def call(self, first, second, pair, present):
        options = {"scale": self.scale}
        if self.logit_scale is not None:
            options["scale"] = ops.minimum(ops.exp(self.logit_scale), 1 / SMALLEST_TEMPERATURE)
        if self.logit_bias is not None:
            options["bias"] = self.logit_bias
        if len(pair.shape) == 1:
            numbers = ops.cast(steps.number_rows(pair), pair.dtype)
            pair = ops.stack([numbers, pair], axis=1)
        marks = ops.concatenate([pair, ops.cast(present, pair.dtype)[:, None]], axis=1)
        all_first, all_second = ops.split(
            steps.all_rows(ops.concatenate([first, second], axis=1)), 2, axis=1
        )
        rows, all_rows = _columns(marks), _columns(steps.all_rows(marks))
        return self.loss(first, second, rows, all_first, all_second, all_rows, **options)

    def compute_output_spec(self, first, second, pair, present):
        return keras.KerasTensor(first.shape[:1], "float32")


def _columns(marks):
    return marks[:, 0], marks[:, 1], ops.cast(marks[:, 2], "bool")
