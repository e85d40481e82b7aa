"""Words find what they name, inside the graph: the loss that trains attention to point."""

import keras
from keras import ops

from mmlearn.layers.token_swapping import swap_tokens
from mmlearn.losses.grounding import grounding, pool_keys
from mmlearn.models import steps


class Grounding(keras.layers.Layer):
    """How hard it is to tell by the words' attention which image is theirs, see `mmlearn.losses.grounding`.

    In training the texts are read again with some words replaced by words of other texts, which must
    not be found in the image. Otherwise a word could take from the words around it which objects there
    are, and point at any of these. A word beside one that was put in is neither of its own text nor
    of another, as a red ring is where there are a blue ring and a red star: it counts as neither.

    The other images are those of the batch, on several replicas of all of them.

    Args:
        read: function from the text encoder's inputs to queries and mask, or `None` where the texts
            themselves are not there, as with stored features.
        special_token_ids: ints, the tokens that are never replaced.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        queries: float tensor `(batch_size, num_heads, num_words, head_dim)`.
        keys: float tensor `(batch_size, num_heads, num_regions, head_dim)`.
        query_mask: bool tensor `(batch_size, num_words)`.
        key_mask: bool tensor `(batch_size, num_regions)`.
        present: int tensor `(batch_size,)`, which examples have both modalities.
        text: dict of the text encoder's inputs.
        training: bool.

    Returns:
        float tensor `(batch_size,)`.
    """

    def __init__(self, read=None, special_token_ids=(), **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.read = read
        self.special_token_ids = tuple(special_token_ids)
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, queries, keys, query_mask, key_mask, present, text, training=None):
        is_true, is_swapped = query_mask, None
        if training and self.read is not None:
            token_ids = text["token_ids"]
            can_swap = ops.cast(text["padding_mask"], "bool")
            for special in self.special_token_ids:
                can_swap = ops.logical_and(can_swap, token_ids != special)
            draws = keras.random.uniform((*ops.shape(token_ids), 2), seed=self.seed_generator)
            token_ids, is_swapped = swap_tokens(token_ids, can_swap, draws)
            queries, query_mask = self.read({**text, "token_ids": token_ids})
            queries = ops.cast(queries, "float32")
            beside = ops.pad(is_swapped, ((0, 0), (1, 1)))
            beside = ops.logical_or(beside[:, 2:], beside[:, :-2])
            is_changed = ops.logical_or(is_swapped, beside)
            is_true = ops.logical_and(query_mask, ops.logical_not(is_changed))
        rows, pooled = steps.number_rows(queries), pool_keys(keys, key_mask)
        marks = steps.all_rows(ops.stack([rows, ops.cast(present, "int32")], axis=1))
        is_other = ops.not_equal(rows[:, None], marks[None, :, 0])
        is_other = ops.logical_and(is_other, marks[None, :, 1] > 0)
        all_keys = steps.all_rows(pooled)
        return grounding(queries, pooled, all_keys, is_true, is_other, is_swapped)

    def compute_output_spec(
        self, queries, keys, query_mask, key_mask, present, text, training=None
    ):
        return keras.KerasTensor(queries.shape[:1], "float32")
