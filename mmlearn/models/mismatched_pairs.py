"""Draws what a head that tells pairs from mismatched pairs learns from."""

import keras
from keras import ops

# What cosines are multiplied by: the nearer, the more often drawn. What tells pairs from such draws has
# learned how likely a pair is beyond what its cosine says, so who ranks adds this much of the cosine
# to its logit (Gutmann and Hyvarinen, "Noise-contrastive estimation", 2010, equation 3).
HARDNESS = 30.0
_NEVER = -1e9


@keras.saving.register_keras_serializable("mmlearn")
class MismatchedPairs(keras.layers.Layer):
    """Draws a text of another group for each image of a batch, and an image for each text.

    Those that are near by their embeddings are drawn more often: the others teach nothing. In training
    they are drawn at random, else the nearest is taken. On several replicas, among the rows of each.

    Args:
        seed: int, or `None`.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        images: float tensor `(batch_size, dim)`, L2-normalised embeddings.
        texts: likewise.
        groups: int tensor `(batch_size,)`.
        present: bool tensor `(batch_size,)`, which rows have both.

    Returns:
        A tuple of int32 `(batch_size,)`, the row of a text for each image and that of an image for each
        text, and float32 `(batch_size,)`, 1 where there is such a row: it is the same for both.

    Reference:
        Li et al. 2021, "Align before fuse: vision and language representation learning with momentum
        distillation", section 3.2 (image-text matching).
    """

    def __init__(self, seed=None, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images, texts, groups, present, training=None):
        is_other = ops.not_equal(groups[:, None], groups[None, :])
        is_other = ops.logical_and(is_other, ops.logical_and(present[:, None], present[None, :]))
        cosines = HARDNESS * ops.matmul(images, ops.transpose(texts))
        rows = []
        for logits in (cosines, ops.transpose(cosines)):
            if training:  # the largest of logits with such noise is a draw by their softmax
                uniform = keras.random.uniform(
                    ops.shape(logits), 1e-6, 1 - 1e-6, seed=self.seed_generator
                )
                logits = logits - ops.log(-ops.log(uniform))
            rows.append(ops.cast(ops.argmax(ops.where(is_other, logits, _NEVER), axis=1), "int32"))
        rows = [ops.stop_gradient(row) for row in rows]
        return (*rows, ops.cast(ops.any(is_other, axis=1), "float32"))

    def compute_output_spec(self, images, texts, groups, present, training=None):
        row = keras.KerasTensor(groups.shape, "int32")
        return row, row, keras.KerasTensor(groups.shape, "float32")

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}
