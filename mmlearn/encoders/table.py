"""Rows of a table: the converter from columns of numbers and names, and the encoders over columns."""

import collections

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from data_prep import names
from mmlearn.encoders.encoder import Converter, Encoder
from mmlearn.encoders.projections import flatten_projections
from mmlearn.encoders.sequence_networks import stack_transformer
from mmlearn.layers.feature_tokenizer import FeatureTokenizer


@keras.saving.register_keras_serializable(package="mmlearn")
class TableConverter(Converter):
    """Turns columns of numbers and names into normalised numbers, category numbers and a mask.

    `keras.utils.FeatureSpace` does the normalising and the looking up. A missing number becomes its
    column's mean, which is 0; a name that training has not seen is category 0. The mask tells which
    cells are there. A row without any is absent.

    Args:
        columns: dict of column name to what the training split has of it, see `measure_table`:
            `{"mean": float, "std": float}` for numbers, `{"vocabulary": list of str}` for names.
        **kwargs: of `keras.layers.Layer`.

    Example:

    >>> converter = TableConverter(
    ...     {"age": {"mean": 30.0, "std": 10.0}, "city": {"vocabulary": ["Rome", "Oslo"]}}
    ... )
    >>> inputs = converter.convert({"age": [50.0, float("nan")], "city": ["Oslo", "Bonn"]}, "table")
    >>> inputs["table_numbers"].numpy().astype(int).tolist()
    [[2], [0]]
    >>> inputs["table_categories"].numpy().tolist()
    [[2], [0]]
    >>> inputs["table_mask"].numpy().tolist()
    [[1, 1], [0, 1]]
    """

    def __init__(self, columns, **kwargs):
        super().__init__(**kwargs)
        if not columns:
            raise ValueError("`columns` must name at least one column. Received: {}.")
        features = {}
        for name, known in columns.items():
            features[name] = _feature(name, known)
        self._columns = {name: dict(known) for name, known in columns.items()}
        self.numbers = tuple(n for n, known in columns.items() if "vocabulary" not in known)
        self.categories = tuple(n for n in columns if n not in self.numbers)
        self.feature_space = keras.utils.FeatureSpace(features, output_mode="dict")
        # What `adapt` would find is known to its layers. They are built now: in a graph, they would
        # keep that graph's tensors.
        self.feature_space.build_from_config({})
        self.feature_space.get_encoded_features()

    @property
    def num_categories(self):
        """The number of categories of each column of names, the unknown one included."""
        return [len(self._columns[name]["vocabulary"]) + 1 for name in self.categories]

    def convert(self, values, modality, batch_size=None):
        """Converts a batch.

        Args:
            values: dict of column to numbers `(batch_size,)`, NaN where one is missing, or strings
                `(batch_size,)`, blank where one is; or `None`. Columns that are not there are
                missing, others are left out.
            modality: str. Prefix of the names of the model inputs.
            batch_size: scalar int tensor. Needed when `values` is `None`.

        Returns:
            A dict of float32 `"{modality}_numbers" (batch_size, columns of numbers)` and int32
            `"{modality}_categories" (batch_size, columns of names)`, of which one that has no
            columns is left out; int32 `"{modality}_mask" (batch_size, columns)`, numbers first,
            and `"{modality}_present" (batch_size,)`.
        """
        given = {name: tf.convert_to_tensor(column) for name, column in (values or {}).items()}
        for name, column in given.items():
            batch_size = tf.shape(column)[0]
            if name in self._columns and (column.dtype == tf.string) != (name in self.categories):
                kinds = ("numbers", "names")
                raise ValueError(
                    f"The column {name!r} of `{modality}` must hold {kinds[name in self.categories]}, as "
                    f"in training. Received: {kinds[column.dtype == tf.string]}. Fix: name it in "
                    "--data.options numeric=NAMES or categorical=NAMES as then."
                )
        table = {}
        for name in self.numbers:
            column = given.get(name, tf.fill([batch_size], np.float32(np.nan)))
            table[name] = tf.cast(column, tf.float32)
        for name in self.categories:
            column = given.get(name, tf.fill([batch_size], ""))
            table[name] = tf.strings.strip(column)
        encoded = self.feature_space(table)
        converted, masks = {}, []
        if self.numbers:
            is_known = tf.math.is_finite(tf.stack([table[n] for n in self.numbers], axis=1))
            numbers = tf.concat([encoded[n] for n in self.numbers], axis=1)
            converted[f"{modality}_numbers"] = tf.where(is_known, numbers, 0.0)
            masks.append(is_known)
        if self.categories:
            categories = tf.concat([encoded[n] for n in self.categories], axis=1)
            converted[f"{modality}_categories"] = tf.cast(categories, tf.int32)
            masks.append(tf.stack([table[n] for n in self.categories], axis=1) != "")
        is_known = tf.concat(masks, axis=1)
        return {
            **converted,
            f"{modality}_mask": tf.cast(is_known, tf.int32),
            f"{modality}_present": tf.cast(tf.reduce_any(is_known, axis=1), tf.int32),
        }

    def read_raw(self, values, modality):
        """Reads a dict of column to values, or a `pandas.DataFrame`.

        `None` and NaN are missing, and so are columns that are left out.
        """
        if not hasattr(values, "keys"):
            raise ValueError(
                f"`{modality}` must be a dict of column to values, or a DataFrame. "
                f"Received: {type(values).__name__}."
            )
        given = {}
        for name in values.keys():  # noqa: SIM118 (a frame, too)
            # What pandas has for a missing value cannot be compared.
            given[name] = [None if type(v).__name__ == "NAType" else v for v in values[name]]
        for name in given:
            names.find(name, self._columns, f"column of `{modality}`")
        counts = {name: len(column) for name, column in given.items()}
        if len(set(counts.values())) != 1:
            raise ValueError(
                f"All columns of `{modality}` need one value per example. Received: {counts}."
            )
        (count,) = set(counts.values())
        table = {}
        for name in self._columns:
            column = given.get(name, [None] * count)
            where = f"{modality}[{name!r}]"
            if name in self.numbers:
                read = [_read_number(v, f"{where}[{row}]") for row, v in enumerate(column)]
                table[name] = np.array(read, np.float32)
            else:
                table[name] = np.array([_read_name(value) for value in column], object)
        return table

    def raw_spec(self, modality):
        """One input per column: `"{modality}_{column}"`, other signs than letters and digits as `_`."""
        return {
            name: tf.TensorSpec(
                (None,), tf.float32 if name in self.numbers else tf.string, name=plain
            )
            for name, plain in names.input_names(modality, self._columns).items()
        }

    def get_config(self):
        columns = {name: dict(known) for name, known in self._columns.items()}
        return {**super().get_config(), "columns": columns}


def _feature(name, known):
    if sorted(known) == ["vocabulary"]:
        if not known["vocabulary"]:
            raise ValueError(f"The column {name!r} has an empty vocabulary. Fix: leave it out.")
        lookup = layers.StringLookup(vocabulary=list(known["vocabulary"]))
        return keras.utils.FeatureSpace.feature("string", lookup, "int")
    if sorted(known) == ["mean", "std"] and known["std"] > 0:
        normalize = layers.Normalization(
            axis=None, mean=float(known["mean"]), variance=float(known["std"]) ** 2
        )
        return keras.utils.FeatureSpace.feature("float32", normalize, "float")
    raise ValueError(
        f"The column {name!r} needs a mean and a positive std, or a vocabulary. Received: {known}. "
        "Fix: take those of `measure_table`."
    )


def _read_number(value, where):
    try:
        return np.nan if value is None or value == "" else float(value)
    except (TypeError, ValueError):
        raise ValueError(
            f"{where} must be a number. Received: {value!r}. Fix: leave it out if it is missing."
        ) from None


def _read_name(value):
    """As `data_prep.sources.table` reads names: 3.0 is "3"."""
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def measure_table(table, max_categories=1000):
    """What `TableConverter` must know of the columns of a training split.

    Args:
        table: dict of column name to a float array, NaN where a number is missing, or a list of str,
            blank where a name is.
        max_categories: int. The most frequent names of a column that are kept; others are unknown.

    Returns:
        A dict of column name to `{"mean", "std"}` or `{"vocabulary"}`. Columns that hold nothing are
        left out.

    Example:

    >>> measure_table({"age": np.array([1.0, np.nan, 3.0]), "city": ["Oslo", "", "Rome"]})
    {'age': {'mean': 2.0, 'std': 1.0}, 'city': {'vocabulary': ['Oslo', 'Rome']}}
    """
    columns = {}
    for name, column in table.items():
        if isinstance(column, list):
            counts = collections.Counter(value.strip() for value in column if value.strip())
            found = sorted(counts, key=lambda value: (-counts[value], value))
            if found:
                columns[name] = {"vocabulary": found[:max_categories]}
        else:
            known = column[np.isfinite(column)].astype("float64")
            if len(known):
                mean, std = float(known.mean()), float(known.std())
                # Numbers that are all the same have a deviation of rounding alone.
                columns[name] = {"mean": mean, "std": std if std > 1e-6 * abs(mean) else 1.0}
    return columns


@keras.saving.register_keras_serializable(package="mmlearn")
class TableEncoder(Encoder):
    """A network over the columns of a row.

    Args:
        model: `keras.Model` from a dict of `mask` and of `numbers`, `categories` or both, as
            `TableConverter` gives them, to `(num_tokens, dim)`.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: dict of `"{modality}_mask"` and so on.
        training: bool.

    Returns:
        features `(batch_size, num_tokens, dim)` and a bool mask `(batch_size, num_tokens)`, all
        `True`: that a cell is missing is worth knowing, too.
    """

    def __init__(self, model, **kwargs):
        flatten_projections(model)
        super().__init__(model, **kwargs)

    def model_inputs(self, modality):
        """Returns `{name: keras.Input}` of the functional inputs of this encoder."""
        inputs = {}
        for part, value in sorted(self.model.input.items()):
            name = f"{modality}_{part}"
            inputs[name] = keras.Input(value.shape[1:], dtype=value.dtype, name=name)
        return inputs

    def call(self, inputs, training=None):
        parts = {name.rpartition("_")[2]: value for name, value in inputs.items()}
        tokens = self.model(parts, training=self.learns(training))
        return tokens, ops.ones(ops.shape(tokens)[:2], "bool")

    def compute_output_spec(self, inputs, training=None):
        batch_size = next(iter(inputs.values())).shape[0]
        _, num_tokens, dim = self.model.output_shape
        return (
            keras.KerasTensor((batch_size, num_tokens, dim), self.compute_dtype),
            keras.KerasTensor((batch_size, num_tokens), "bool"),
        )


def feature_tokens(num_numbers, num_categories, hidden_dim=64):
    """Builds the encoder that makes each column a token and leaves the rest to the fusion.

    Args:
        num_numbers: int. Columns of numbers.
        num_categories: list of int. The number of categories of each column of names, the unknown
            one included.
        hidden_dim: int. Size of a token.

    Returns:
        A `TableEncoder`.
    """
    inputs, tokens = _tokenize(num_numbers, num_categories, hidden_dim)
    return TableEncoder(keras.Model(inputs, tokens, name="feature_tokens"), name="table_encoder")


def ft_transformer(
    num_numbers,
    num_categories,
    hidden_dim=64,
    num_layers=2,
    num_heads=4,
    intermediate_dim=128,
    dropout=0.1,
):
    """Builds an FT-Transformer: a token per column, and attention among them.

    Args:
        num_numbers: int. Columns of numbers.
        num_categories: list of int. The number of categories of each column of names, the unknown
            one included.
        hidden_dim: int. Size of a token; divisible by `num_heads`.
        num_layers: int.
        num_heads: int.
        intermediate_dim: int. Size of the hidden layer in each block.
        dropout: float in [0, 1).

    Returns:
        A `TableEncoder`, which has no token of its own for the whole row: the fusion pools.

    Reference:
        Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data", 2021, section 3.3.
    """
    inputs, x = _tokenize(num_numbers, num_categories, hidden_dim)
    x = stack_transformer(x, None, num_layers, num_heads, intermediate_dim, dropout)
    return TableEncoder(keras.Model(inputs, x, name="ft_transformer"), name="table_encoder")


def mlp(num_numbers, num_categories, hidden_dim=128, embedding_dim=16, num_layers=2, dropout=0.1):
    """Builds a perceptron over all columns at once, which gives one token.

    Args:
        num_numbers: int. Columns of numbers.
        num_categories: list of int. The number of categories of each column of names, the unknown
            one included.
        hidden_dim: int. Size of the hidden layers and of the token.
        embedding_dim: int. Size to which each column is embedded first.
        num_layers: int.
        dropout: float in [0, 1).

    Returns:
        A `TableEncoder`.
    """
    inputs, tokens = _tokenize(num_numbers, num_categories, embedding_dim)
    x = layers.Flatten()(tokens)
    for number in range(num_layers):
        x = layers.Dense(hidden_dim, "relu", name=f"block{number}_dense")(x)
        x = layers.Dropout(dropout, name=f"block{number}_dropout")(x)
    x = layers.Reshape((1, hidden_dim if num_layers else x.shape[-1]))(x)
    return TableEncoder(keras.Model(inputs, x, name="mlp"), name="table_encoder")


def _tokenize(num_numbers, num_categories, hidden_dim):
    num_columns = num_numbers + len(num_categories)
    inputs = {"mask": keras.Input((num_columns,), dtype="int32", name="mask")}
    if num_numbers:
        inputs["numbers"] = keras.Input((num_numbers,), name="numbers")
    if num_categories:
        shape = (len(num_categories),)
        inputs["categories"] = keras.Input(shape, dtype="int32", name="categories")
    tokenizer = FeatureTokenizer(num_numbers, num_categories, hidden_dim, name="tokenizer")
    tokens = tokenizer(inputs["mask"], inputs.get("numbers"), inputs.get("categories"))
    return inputs, tokens
