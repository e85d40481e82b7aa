"""One token per column of a table."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mmlearn")
class FeatureTokenizer(keras.layers.Layer):
    """Makes each cell of a row a token: T_j = b_j + x_j W_j, or b_j + E_j[x_j] for a category.

    In the place of what is missing stands a learned vector of its column.

    Args:
        num_numbers: int. Columns of numbers, the first ones.
        num_categories: list of int. The number of categories of each other column, unknown ones
            included.
        hidden_dim: int. Size of a token.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        is_known: bool or int tensor `(batch_size, num_columns)`, 0 where a cell is missing.
        numbers: float tensor `(batch_size, num_numbers)`, if there are such columns.
        categories: int tensor `(batch_size, len(num_categories))`, if there are such columns.

    Returns:
        A tensor `(batch_size, num_columns, hidden_dim)`.

    Example:

    >>> import numpy as np
    >>> tokenizer = FeatureTokenizer(num_numbers=1, num_categories=[3], hidden_dim=8)
    >>> tuple(tokenizer(np.ones((4, 2)), np.ones((4, 1)), np.ones((4, 1), int)).shape)
    (4, 2, 8)

    Reference:
        Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data", 2021, section 3.3.
    """

    def __init__(self, num_numbers, num_categories, hidden_dim, **kwargs):
        super().__init__(**kwargs)
        if num_numbers + len(num_categories) < 1 or hidden_dim < 1:
            raise ValueError(
                "There must be a column, and a positive `hidden_dim`. Received: "
                f"num_numbers={num_numbers}, num_categories={list(num_categories)}, "
                f"hidden_dim={hidden_dim}."
            )
        self.num_numbers, self.num_categories = num_numbers, tuple(num_categories)
        self.hidden_dim = hidden_dim

    def build(self, is_known_shape, numbers_shape=None, categories_shape=None):
        dim, num_columns = self.hidden_dim, self.num_numbers + len(self.num_categories)
        scale = dim**-0.5
        uniform = keras.initializers.RandomUniform(-scale, scale)
        self.biases = self.add_weight((num_columns, dim), uniform, name="biases")
        # 0: a column that never lacks a value in training says nothing when it does.
        self.missing = self.add_weight((num_columns, dim), "zeros", name="missing")
        if self.num_numbers:
            self.weights_of_numbers = self.add_weight(
                (self.num_numbers, dim), uniform, name="weights_of_numbers"
            )
        if self.num_categories:
            self.embeddings = self.add_weight(
                (sum(self.num_categories), dim), uniform, name="embeddings"
            )

    def call(self, is_known, numbers=None, categories=None):
        parts = []
        if self.num_numbers:
            parts.append(numbers[..., None] * self.weights_of_numbers)
        if self.num_categories:
            first = [sum(self.num_categories[:j]) for j in range(len(self.num_categories))]
            rows = ops.cast(categories, "int32") + ops.array(first, "int32")
            parts.append(ops.take(self.embeddings, rows, axis=0))
        values = ops.concatenate(parts, axis=1)
        is_known = ops.cast(is_known, "bool")[..., None]
        return self.biases + ops.where(is_known, values, self.missing)

    def compute_output_spec(self, is_known, numbers=None, categories=None):
        shape = (*is_known.shape, self.hidden_dim)
        return keras.KerasTensor(shape, self.compute_dtype)

    def get_config(self):
        config = {
            "num_numbers": self.num_numbers,
            "num_categories": list(self.num_categories),
            "hidden_dim": self.hidden_dim,
        }
        return {**super().get_config(), **config}
