"""The agreement of the modalities, inside the graph."""

import keras
from keras import ops

from mmlearn.losses.consistency import consistency, consistency_contrast
from mmlearn.models import steps

TEMPERATURE = 0.1  # of contrast


class Agreement(keras.layers.Layer):
    """How far the predictions of the modalities are apart, see `mmlearn.losses.consistency`.

    A layer and not ops of the graph, since it needs the logits that Keras remembers with a tensor.

    Args:
        kind: str.
        activation: str, as the predictions have.
        **kwargs: of `keras.layers.Layer`.

    Shapes:
        List of `(batch_size, num_classes)`; result `(batch_size,)`.
    """

    def __init__(self, kind, activation, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.kind = kind
        self.activation = activation

    def call(self, predictions):
        return consistency(predictions, self.kind, self.activation)


class Contrast(keras.layers.Layer):
    """How hard it is to find an example's other modalities among all examples of a batch.

    On several replicas, among those of all of them. Examples that are worked off in parts
    (`micro_batches`) are compared within a part, and a row that was lent to an empty replica is one
    more negative. There is no label in it: an example of the same class is a negative as well.

    Args:
        **kwargs: of `keras.layers.Layer`.

    Shapes:
        List of `(batch_size, dim)`, one per modality, and of int `(batch_size,)`, which examples have
        it; result `(batch_size,)`.
    """

    def __init__(self, **kwargs):
        super().__init__(dtype="float32", **kwargs)

    def call(self, embeddings, presence):
        embeddings = [ops.normalize(embedding, axis=-1) for embedding in embeddings]
        rows = steps.number_rows(embeddings[0])
        keys = ops.split(
            steps.all_rows(ops.concatenate(embeddings, axis=1)), len(embeddings), axis=1
        )
        present = ops.cast(ops.stack(presence, axis=1), "int32")
        marks = steps.all_rows(ops.concatenate([rows[:, None], present], axis=1))
        all_rows = (marks[:, 0], ops.cast(marks[:, 1:], "bool"))
        return consistency_contrast(embeddings, rows, keys, all_rows, 1 / TEMPERATURE)

    def compute_output_spec(self, embeddings, presence):
        return keras.KerasTensor(embeddings[0].shape[:1], "float32")
