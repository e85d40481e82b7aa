"""How well each token of a text is guessed from those before it."""

import keras
from keras import ops


class _PerToken(keras.metrics.Mean):
    """The mean of something over the tokens of all texts. Base class."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch; targets are negative at padding, weights `(batch_size,)` or `None`."""
        y_true = ops.cast(y_true, "int32")
        token_ids, mask = ops.maximum(y_true, 0), ops.cast(y_true >= 0, "float32")
        if sample_weight is not None:
            mask = mask * ops.cast(sample_weight, mask.dtype)[:, None]
        super().update_state(self._values(token_ids, y_pred), mask)


@keras.saving.register_keras_serializable(package="mmlearn")
class WordAccuracy(_PerToken):
    """The share of the tokens that are the likeliest ones.

    Args:
        **kwargs: of `keras.metrics.Mean`.

    Example:

    >>> metric = WordAccuracy()
    >>> metric.update_state([[1, 0, -1]], [[[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]])
    >>> float(metric.result())
    0.5
    """

    def __init__(self, name="accuracy", **kwargs):
        super().__init__(name=name, **kwargs)

    def _values(self, token_ids, y_pred):
        return ops.cast(ops.argmax(y_pred, axis=-1) == token_ids, "float32")


@keras.saving.register_keras_serializable(package="mmlearn")
class Perplexity(_PerToken):
    """e to the mean negative log-likelihood of a token: between how many tokens the model wavers.

    KerasHub's counts padding by a token id.

    Args:
        **kwargs: of `keras.metrics.Mean`.

    Example:

    >>> metric = Perplexity()
    >>> metric.update_state([[1, 0, -1]], [[[0.0, 0.0], [0.0, 0.0], [0.0, 9.0]]])
    >>> round(float(metric.result()), 4)
    2.0
    """

    def __init__(self, name="perplexity", **kwargs):
        super().__init__(name=name, **kwargs)

    def _values(self, token_ids, y_pred):
        return ops.sparse_categorical_crossentropy(token_ids, y_pred, from_logits=True)

    def result(self):
        return ops.exp(super().result())
