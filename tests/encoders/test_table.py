"""Tables: numbers are normalised, names looked up, and what is missing is told apart from both."""

import json

import numpy as np
import pandas
import pytest
import tensorflow as tf

from mmlearn import encoders
from mmlearn.encoders.table import TableConverter, measure_table
from tests import checks, toys

NAN = np.nan
SIZES = {
    "feature_tokens": {"hidden_dim": 8},
    "ft_transformer": {"hidden_dim": 8, "num_layers": 1, "num_heads": 2, "intermediate_dim": 8},
    "mlp": {"hidden_dim": 8, "embedding_dim": 4},
}
NUM_TOKENS = {"feature_tokens": 3, "ft_transformer": 3, "mlp": 1}


def inputs():
    random = np.random.default_rng(0)
    return {
        "table_mask": np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]], "int32"),
        "table_numbers": random.normal(size=(3, 2)).astype("float32"),
        "table_categories": np.array([[0], [1], [2]], "int32"),
    }


def build(name, num_numbers=2, num_categories=(4,)):
    options = {"num_numbers": num_numbers, "num_categories": list(num_categories)}
    return encoders.get("table", name, **options, **SIZES[name])


def convert(values, columns=toys.COLUMNS):
    converter = TableConverter(columns)
    found = converter.convert(converter.read_raw(values, "table"), "table")
    return {name: value.numpy().tolist() for name, value in found.items()}


# --- Converter -----------------------------------------------------------------------------------


def test_rows_before_and_after():
    table = {
        "age": [20, None, NAN, 50.0, None],
        "city": ["Oslo", "Bonn", " Rome ", "", None],
        "net income": [1.5, 0, None, -1, NAN],
    }
    assert convert(table) == {
        "table_numbers": [[-1, 1.5], [0, 0], [0, 0], [2, -1], [0, 0]],
        "table_categories": [[2], [0], [1], [0], [0]],  # 0 is a city that training has not seen
        "table_mask": [[1, 1, 1], [0, 1, 1], [0, 0, 1], [1, 1, 0], [0, 0, 0]],
        "table_present": [1, 1, 1, 1, 0],
    }


def test_frames_and_columns_that_are_left_out():
    frame = pandas.DataFrame({"city": ["Rome", None], "age": [40, 30]})
    assert convert(frame) == convert({"age": [40, 30], "city": ["Rome", ""]})
    assert convert({"age": [40]})["table_mask"] == [[1, 0, 0]]


def test_names_that_are_numbers_are_read_as_the_source_reads_them():
    columns = {"floor": {"vocabulary": ["3", "2.5"]}}
    assert convert({"floor": [3.0, 2.5, 3, b"3", NAN]}, columns) == {
        "table_categories": [[1], [2], [1], [1], [0]],
        "table_mask": [[1], [1], [1], [1], [0]],
        "table_present": [1, 1, 1, 1, 0],
    }


def test_absent_tables_have_the_same_inputs():
    converter = TableConverter(toys.COLUMNS)
    absent = converter.convert(None, "table", 2)
    there = converter.convert(converter.read_raw({"age": [1, 2]}, "table"), "table")
    assert {n: (x.shape, x.dtype) for n, x in absent.items()} == {
        n: (x.shape, x.dtype) for n, x in there.items()
    }
    assert not any(value.numpy().any() for value in absent.values())


def test_examples_one_by_one_equal_the_batch():
    preprocessor = toys.preprocessor(("table",))
    raw = {"table": TableConverter(toys.COLUMNS).read_raw(toys.signals()["table"], "table")}
    dataset = tf.data.Dataset.from_tensor_slices(raw).map(preprocessor.convert_example)
    (mapped,) = dataset.batch(4).map(preprocessor)
    for name, values in preprocessor(raw).items():
        np.testing.assert_array_equal(mapped[name], values, name)


def test_measures_are_those_of_what_is_there():
    numbers = np.random.default_rng(0).normal(5, 3, 100).astype("float32")
    numbers[::3] = NAN
    table = {"a": numbers, "b": ["x", "y", "y", "", "z", "z"], "c": np.full(3, NAN), "d": ["", " "]}
    found = measure_table(table, max_categories=2)
    assert list(found) == ["a", "b"]
    assert found["a"]["mean"] == pytest.approx(np.nanmean(numbers), rel=1e-6)
    assert found["a"]["std"] == pytest.approx(np.nanstd(numbers), rel=1e-6)
    assert found["b"] == {"vocabulary": ["y", "z"]}  # the most frequent ones
    assert measure_table({"a": np.full(9, 0.1, "float32")})["a"]["std"] == 1
    json.dumps(found)


def test_served_inputs_have_plain_and_different_names():
    columns = {name: {"mean": 0.0, "std": 1.0} for name in ("a b", "a_b", "größe")}
    specs = TableConverter(columns).raw_spec("table")
    assert [spec.name for spec in specs.values()] == ["table_a_b", "table_a_b_", "table_gr__e"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, 2], r"`table` must be a dict of column to values, or a DataFrame\. Received: list"),
        ({"aeg": [1]}, r"Unknown column of `table` 'aeg'\. Did you mean 'age'"),
        ({"age": [1, "old"]}, r"table\['age'\]\[1\] must be a number\. Received: 'old'"),
        ({"age": [1], "city": ["a", "b"]}, r"one value per example\. Received: .*'city': 2"),
    ],
)
def test_bad_tables_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        TableConverter(toys.COLUMNS).read_raw(values, "table")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "at least one column"),
        ({"a": {"mean": 1.0}}, "'a' needs a mean and a positive std, or a vocabulary"),
        ({"a": {"mean": 1.0, "std": 0.0}}, "positive std"),
        ({"a": {"vocabulary": []}}, "'a' has an empty vocabulary"),
    ],
)
def test_bad_columns_are_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        TableConverter(columns)


def test_converter_survives_json():
    again = checks.check_layer_config(TableConverter(toys.COLUMNS))
    found = again.convert(again.read_raw({"age": [50], "city": ["Oslo"]}, "table"), "table")
    assert found["table_numbers"].numpy().tolist() == [[2, 0]]


# --- Encoders ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIZES)
def test_encoder_keeps_the_contract(name):
    encoder = build(name)
    checks.check_encoder(encoder, "table", inputs())
    assert encoder(inputs())[0].shape == (3, NUM_TOKENS[name], 8)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("kind", ["numbers", "categories"])
def test_columns_may_be_of_one_kind(name, kind):
    encoder = build(name, 2, ()) if kind == "numbers" else build(name, 0, (3, 4))
    given = {"table_mask": np.ones((2, 2), "int32"), f"table_{kind}": np.ones((2, 2), "int32")}
    given = {n: v.astype("float32") if n == "table_numbers" else v for n, v in given.items()}
    given["table_mask"][0, 1] = 0
    assert sorted(encoder.model_inputs("table")) == sorted(given)
    assert encoder(given)[0].shape == (2, min(2, NUM_TOKENS[name]), 8)
    checks.check_layer_config(encoder)


@pytest.mark.parametrize("name", SIZES)
def test_what_is_missing_has_no_value(name):
    encoder = build(name)
    given = inputs()
    other = {**given, "table_numbers": given["table_numbers"].copy()}
    other["table_numbers"][1, 0] = 99  # masked
    np.testing.assert_array_equal(encoder(given)[0], encoder(other)[0])
    other["table_numbers"][1, 1] = 99
    assert np.abs(encoder(given)[0] - encoder(other)[0]).max() > 1e-3
