"""How much each token of a vocabulary counts in a text."""

import keras
from keras import ops


def weigh_tokens(features, weights, mask):
    """Scales tokens so that their mean over a text is sum_t a_t e_t / ||a||.

    Args:
        features: float tensor `(batch_size, length, dim)`, e.
        weights: float tensor `(batch_size, length)`, a.
        mask: bool tensor `(batch_size, length)`.

    Returns:
        float tensor `(batch_size, length, dim)`; zeros where the mask is `False`, and in a text whose
        tokens all weigh nothing.

    Example:

    >>> import numpy as np
    >>> weighed = weigh_tokens(np.ones((1, 2, 1)), np.array([[3.0, 4.0]]), np.ones((1, 2), bool))
    >>> np.round(np.asarray(weighed)[0, :, 0], 3).tolist()
    [1.2, 1.6]
    """
    mask = ops.cast(mask, features.dtype)
    weights = ops.cast(weights, features.dtype) * mask
    # The root of the square has no gradient at 0.
    length = ops.sqrt(ops.sum(ops.square(weights), axis=1, keepdims=True) + keras.config.epsilon())
    count = ops.sum(mask, axis=1, keepdims=True)
    return features * (weights * count / length)[..., None]


@keras.saving.register_keras_serializable(package="mmlearn")
class TokenWeights(keras.layers.Layer):
    """Scales the tokens of a text by a learned weight of each token of the vocabulary.

    The mean over a text is then that of TF-IDF, if the weights start from inverse document
    frequencies: rare words count more than frequent ones, and long texts no less than short ones.

    Args:
        vocabulary_size: int.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        features: float tensor `(batch_size, length, dim)`.
        token_ids: int tensor `(batch_size, length)`.
        mask: int or bool tensor `(batch_size, length)`, 0 at padding.

    Returns:
        A tensor `(batch_size, length, dim)`.

    Reference:
        Salton and Buckley, "Term-weighting approaches in automatic text retrieval", 1988, table 1
        (inverse frequencies, and vectors scaled to one length).
    """

    def __init__(self, vocabulary_size, **kwargs):
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size

    def build(self, features_shape, token_ids_shape=None, mask_shape=None):
        self.weights_of_tokens = self.add_weight(
            shape=(self.vocabulary_size,), initializer="ones", name="weights_of_tokens"
        )

    def call(self, features, token_ids, mask):
        weights = ops.take(self.weights_of_tokens, token_ids, axis=0)
        return weigh_tokens(features, weights, ops.cast(mask, "bool"))

    def compute_output_spec(self, features, token_ids, mask):
        return keras.KerasTensor(features.shape, self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "vocabulary_size": self.vocabulary_size}
