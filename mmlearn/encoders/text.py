"""Text: the converter from strings to token ids, and the encoder that gives token features."""

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from keras import ops
from keras_hub.src.tokenizers import byte_pair_tokenizer

from data_prep import names, text
from mmlearn.encoders.encoder import Converter, Encoder
from mmlearn.encoders.projections import flatten_projections
from mmlearn.layers.masked_mean import masked_mean

CHUNK_POOLINGS = ("mean", "none")


@keras.saving.register_keras_serializable(package="mmlearn")
class TextConverter(Converter):
    """Turns strings into token ids: `[CLS] tokens [SEP]`, or what a tokenizer has for these, padded.

    A text of more tokens is cut off, or goes on in further chunks, each with its special tokens.

    Args:
        tokenizer: tokenizer of KerasHub, such as `keras_hub.models.BertTokenizer`. Its vocabulary is
            saved with presets, `.keras` files and SavedModels.
        sequence_length: int. Tokens per chunk, the two special ones included.
        clean: bool. Whether texts from the web lose their addresses, tags and signs first, see
            `data_prep.text.clean`; in training and serving alike.
        max_chunks: int. Most chunks of a text.
        segment_ids: bool. Whether the encoder takes segment ids, as only BERT does. By default,
            whether the tokenizer is BERT's.
        **kwargs: of `keras.layers.Layer`.

    Example:

    >>> from mmlearn.encoders.text_tokenizers import make_tokenizer
    >>> tokenizer = make_tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog"])
    >>> converter = TextConverter(tokenizer, sequence_length=4, max_chunks=2)
    >>> convert = tf.function(converter.convert)  # as everywhere in the package
    >>> convert(tf.constant(["a dog", "a a dog"]), "text")["token_ids"].numpy()
    array([[2, 5, 6, 3, 0, 0, 0, 0],
           [2, 5, 5, 3, 2, 6, 3, 0]], dtype=int32)
    """

    def __init__(
        self,
        tokenizer,
        sequence_length=32,
        clean=False,
        max_chunks=1,
        segment_ids=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if sequence_length < 3:
            raise ValueError(
                "`sequence_length` must be at least 3: two special tokens and one more. "
                f"Received: sequence_length={sequence_length}."
            )
        check_max_chunks(max_chunks)
        if segment_ids is None:
            segment_ids = isinstance(tokenizer, keras_hub.models.BertTokenizer)
        self.tokenizer, self.sequence_length, self.clean = tokenizer, sequence_length, clean
        self.max_chunks, self.segment_ids = max_chunks, segment_ids

    @property
    def length(self):
        """Token ids per text, all chunks together."""
        return self.max_chunks * self.sequence_length

    def read_raw(self, values, modality):
        """Reads strings; `None`, blank and empty ones mean absent."""
        values = np.asarray(values, object).tolist()  # else ["a", nan] would become ["a", "nan"]
        for row, value in enumerate(values):
            if not isinstance(value, (str, bytes, type(None))):
                raise ValueError(
                    f"`{modality}` must hold strings. Received: {modality}[{row}]={value!r}."
                )
        return np.array([value or "" for value in values], object)

    def has_value(self, values, modality):
        """Which rows hold more than blanks: bool array `(batch_size,)`."""
        return self._is_present(self._cleaned(tf.convert_to_tensor(values))).numpy()

    def raw_spec(self, modality):
        """Strings; empty ones mean absent."""
        return tf.TensorSpec((None,), tf.string, name=modality)

    def convert(self, values, modality, batch_size=None):
        """Tokenizes a batch.

        Args:
            values: string tensor `(batch_size,)`, where blank counts as absent; or `None`.
            modality: str. Prefix of the name of the presence input.
            batch_size: scalar int tensor. Needed when `values` is `None`.

        Returns:
            A dict of model inputs.
        """
        if values is None:
            values = tf.fill([batch_size], "")
        values = self._cleaned(values)
        tokens = _tokenize(self.tokenizer, values)
        # A packer, not round-robin truncation, whose op TF Serving up to 2.19 cannot load.
        packer = keras_hub.layers.StartEndPacker(
            self.sequence_length,
            start_value=self.tokenizer.start_token_id,
            end_value=self.tokenizer.end_token_id,
            pad_value=self.tokenizer.pad_token_id,
            return_padding_mask=True,
        )
        if self.max_chunks == 1:
            token_ids, is_real = packer(tokens)
        else:
            chunks, is_used = self._cut(tokens)
            token_ids, is_real = packer(chunks)
            is_real = is_real & is_used
            token_ids = tf.where(is_real, token_ids, self.tokenizer.pad_token_id)
        inputs = {"token_ids": token_ids, "padding_mask": is_real}
        if self.segment_ids:
            inputs["segment_ids"] = tf.zeros_like(token_ids)
        inputs = {
            name: tf.reshape(tf.cast(value, tf.int32), (-1, self.length))
            for name, value in inputs.items()
        }
        present = tf.cast(self._is_present(values), tf.int32)
        return {**inputs, f"{modality}_present": present}

    def _cut(self, tokens):
        """Cuts ragged tokens into `max_chunks` rows a text; says which of them hold any, or the first."""
        room = self.sequence_length - 2
        tokens = tokens[:, : self.max_chunks * room]
        starts = room * tf.range(self.max_chunks, dtype=tokens.row_splits.dtype)
        sizes = tf.clip_by_value(tokens.row_lengths()[:, None] - starts[None, :], 0, room)
        is_used = (sizes > 0) | (starts[None, :] == 0)
        chunks = tf.RaggedTensor.from_row_lengths(
            tokens.values, tf.reshape(sizes, [-1]), validate=False
        )
        return chunks, tf.reshape(is_used, (-1, 1))

    def _cleaned(self, values):
        return text.clean(values) if self.clean else values

    def _is_present(self, values):
        return tf.strings.length(tf.strings.strip(values)) > 0

    def get_config(self):
        return {
            **super().get_config(),
            "tokenizer": keras.saving.serialize_keras_object(self.tokenizer),
            "sequence_length": self.sequence_length,
            "clean": self.clean,
            "max_chunks": self.max_chunks,
            "segment_ids": self.segment_ids,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["tokenizer"] = keras.saving.deserialize_keras_object(config["tokenizer"])
        return cls(**config)


def check_max_chunks(max_chunks):
    """Raises a `ValueError` when the number of chunks is not positive."""
    if max_chunks < 1:
        raise ValueError(f"`max_chunks` must be at least 1. Received: max_chunks={max_chunks}.")


def _tokenize(tokenizer, texts):
    """Splits texts into token ids, ragged; names of special tokens in a text are words like others."""
    if not isinstance(tokenizer, keras_hub.tokenizers.BytePairTokenizer):
        return tokenizer(texts)
    # KerasHub's own call keeps all words that it has ever seen in a table, half a kilobyte each,
    # which a server could not bound, and gains little by it. The same steps without the table:
    words = byte_pair_tokenizer.split_strings_for_bpe(texts)
    letters = tokenizer.byte2unicode.lookup(tf.strings.bytes_split(words.flat_values))
    token_ids = tokenizer.token_to_id_map.lookup(tokenizer._bpe_merge_tf(letters))
    return tf.RaggedTensor.from_row_splits(token_ids, words.row_splits).merge_dims(1, 2)


@keras.saving.register_keras_serializable(package="mmlearn")
class TextEncoder(Encoder):
    """A network that gives one feature per token, or per chunk of a long text.

    All chunks go through the network as one batch, those that a text does not fill as well: the cost
    is that of `max_chunks` texts. Chunks know nothing of each other before the fusion.

    Args:
        model: `keras.Model` from a dict of `token_ids`, `padding_mask` and maybe `segment_ids` to
            features `(batch_size, sequence_length, dim)`, or to a dict with these as
            `sequence_output`. A KerasHub BERT backbone is taken without its pooler, which would get
            no gradient.
        sequence_length: int. Tokens per chunk.
        max_chunks: int. Chunks per text.
        chunk_pooling: str. Of several chunks, `"mean"` gives the mean of each chunk's real tokens, so
            that what a fusion attends to grows by one position a chunk; `"none"` gives all tokens.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: dict of int32 `(batch_size, max_chunks * sequence_length)`.
        training: bool.

    Returns:
        features `(batch_size, length, dim)` and a bool mask `(batch_size, length)`, `True` at real
        tokens or chunks that hold any. The length is that of the inputs, or `max_chunks` if pooled.
    """

    def __init__(self, model, sequence_length=32, max_chunks=1, chunk_pooling="mean", **kwargs):
        check_max_chunks(max_chunks)
        names.find(chunk_pooling, CHUNK_POOLINGS, "chunk_pooling")
        if isinstance(model.output, dict):
            model = keras.Model(
                model.input, model.output["sequence_output"], name=f"{model.name}_sequence"
            )
        flatten_projections(model)
        super().__init__(model, **kwargs)
        self.sequence_length = sequence_length
        self.max_chunks, self.chunk_pooling = max_chunks, chunk_pooling

    def model_inputs(self, modality):
        """Returns `{name: keras.Input}` of the functional inputs of this encoder."""
        shape = (self.max_chunks * self.sequence_length,)
        return {
            name: keras.Input(shape, dtype="int32", name=name) for name in sorted(self.model.input)
        }

    def call(self, inputs, training=None):
        features = self.model(self._rows(inputs), training=self.learns(training))
        return self._join_chunks(features, inputs)

    def split_at_embeddings(self):
        """Takes the encoder apart where tokens have become vectors, to ask what each contributes.

        Returns:
            Two functions, for inference: `embed(inputs)`, from the encoder's inputs to embeddings
            `(batch_size, num_tokens, embedding_dim)`, and `encode(embeddings, inputs)`, from these to
            what the encoder returns, where of the inputs `token_ids` are not used.

        Raises:
            ValueError: when the network does not embed `token_ids` by one layer.
        """
        token_ids = self.model.input["token_ids"]
        readers = [
            layer
            for layer in self.model.layers
            if any(token_ids is x for node in layer._inbound_nodes for x in node.input_tensors)
        ]
        others = [name for name in self.model.input if name != "token_ids"]
        try:
            (layer,) = readers
            inputs = [layer.output, *(self.model.input[name] for name in others)]
            rest = keras.Model(inputs, self.model.output)
        except ValueError:
            raise ValueError(
                f"The text network {self.model.name!r} does not embed its tokens by one layer that all "
                "else depends on. Fix: an encoder such as bert_tiny."
            ) from None

        def embed(inputs):
            embeddings = layer(self._rows(inputs)["token_ids"])
            return ops.reshape(embeddings, (-1, inputs["token_ids"].shape[1], embeddings.shape[-1]))

        def encode(embeddings, inputs):
            rows = self._rows(inputs)
            shape = (-1, self.sequence_length, embeddings.shape[-1])
            values = [
                ops.reshape(embeddings, shape),
                *(ops.convert_to_tensor(rows[n]) for n in others),
            ]
            return self._join_chunks(rest(values, training=False), inputs)

        return embed, encode

    def _rows(self, inputs):
        """The inputs of all chunks, a row each."""
        if self.max_chunks == 1:
            return inputs
        return {n: ops.reshape(value, (-1, self.sequence_length)) for n, value in inputs.items()}

    def _join_chunks(self, features, inputs):
        """The features and mask of texts, from the features of their chunks."""
        mask = ops.cast(inputs["padding_mask"], "bool")
        if self.max_chunks == 1:
            return features, mask
        if self.chunk_pooling == "none":
            return ops.reshape(features, (-1, mask.shape[1], features.shape[-1])), mask
        mask = ops.cast(self._rows(inputs)["padding_mask"], "bool")
        pooled = masked_mean(features, mask)
        return (
            ops.reshape(pooled, (-1, self.max_chunks, features.shape[-1])),
            ops.reshape(ops.any(mask, axis=1), (-1, self.max_chunks)),
        )

    def get_config(self):
        return {
            **super().get_config(),
            "sequence_length": self.sequence_length,
            "max_chunks": self.max_chunks,
            "chunk_pooling": self.chunk_pooling,
        }
