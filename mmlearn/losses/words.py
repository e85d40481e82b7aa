"""The loss of a text that is written token by token."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mmlearn")
class WordLoss(keras.losses.Loss):
    """The negative log-likelihood of each text, in nats: the sum over its tokens.

    Args:
        label_smoothing: float in [0, 1). The share of each target that is spread over all tokens.
        **kwargs: of `keras.losses.Loss`.

    Call arguments:
        y_true: int tensor `(batch_size, length)`, the token ids, negative at padding.
        y_pred: float tensor `(batch_size, length, vocabulary_size)`, logits.

    Example:

    >>> logits = [[[0.0, 0.0], [0.0, 0.0]]]
    >>> [round(float(WordLoss()([y], logits)), 4) for y in ([0, 1], [0, -1])]
    [1.3863, 0.6931]

    Reference:
        Vinyals et al., "Show and tell", 2015, equation 13; Szegedy et al., "Rethinking the inception
        architecture", 2016, section 7 (label smoothing).
    """

    def __init__(self, label_smoothing=0.0, name="word_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        y_true, y_pred = ops.cast(y_true, "int32"), ops.convert_to_tensor(y_pred)
        token_ids, mask = ops.maximum(y_true, 0), ops.cast(y_true >= 0, y_pred.dtype)
        losses = ops.sparse_categorical_crossentropy(token_ids, y_pred, from_logits=True)
        if self.label_smoothing:
            spread = ops.logsumexp(y_pred, axis=-1) - ops.mean(y_pred, axis=-1)
            losses = (1 - self.label_smoothing) * losses + self.label_smoothing * spread
        return ops.sum(losses * mask, axis=-1)

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.label_smoothing}
