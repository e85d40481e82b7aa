import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse

from data_prep import features
from data_prep.sources.source import Examples

EXPECTED = (
    {"images": tf.TensorSpec((None, 3), tf.uint8), "text": tf.TensorSpec((), tf.string)},
    tf.TensorSpec((2,), tf.float32),
)


def index(num_classes=7, **columns):
    return Examples(["a", "b"], np.arange(2), np.zeros((2, num_classes), np.uint8), **columns)


def test_an_example_always_has_an_id_a_group_and_labels():
    assert features.example_spec(index()) == {
        "id": tf.TensorSpec((), tf.string),
        "group": tf.TensorSpec((), tf.int64),
        "labels": tf.TensorSpec((7,), tf.float32),
    }


def test_an_example_has_the_modalities_of_the_index():
    columns = {
        "images": ["a.jpg", ""],
        "captions": [["one", "uno"], []],
        "audio": ["", "b.wav"],
        "series": np.zeros((2, 5, 3), np.float32),
        "table": {"age": np.zeros(2, np.float32), "town": ["A", "B"]},
    }
    specs = {
        "images": tf.TensorSpec((None, None, 3), tf.uint8),
        "text": tf.TensorSpec((), tf.string),
        "audio": tf.TensorSpec((None,), tf.float32),
        "series": tf.TensorSpec((5, 3), tf.float32),
        "table": {"age": tf.TensorSpec((), tf.float32), "town": tf.TensorSpec((), tf.string)},
    }
    assert tuple(specs) == features.MODALITIES
    spec = features.example_spec(index(**columns))
    assert list(spec) == ["id", "group", *features.MODALITIES, "labels"]
    assert {modality: spec[modality] for modality in specs} == specs
    for (column, values), modality in zip(columns.items(), features.MODALITIES, strict=True):
        alone = features.example_spec(index(**{column: values}))
        assert list(alone) == ["id", "group", modality, "labels"]
        assert alone[modality] == specs[modality]


def test_the_labels_of_an_example_are_dense_even_where_those_of_the_index_are_not():
    labels = sparse.csr_array((2, 3129), dtype=np.float32)
    spec = features.example_spec(Examples(["a", "b"], np.arange(2), labels))
    assert spec["labels"] == tf.TensorSpec((3129,), tf.float32)


@pytest.mark.parametrize(
    "element",
    [
        ({"images": tf.zeros((4, 3), tf.uint8), "text": tf.constant("a")}, tf.zeros(2)),
        EXPECTED,
        ({"text": tf.TensorSpec((), tf.string), "images": EXPECTED[0]["images"]}, EXPECTED[1]),
        ({**EXPECTED[0], "images": tf.TensorSpec(None, tf.uint8)}, tf.TensorSpec(None, tf.float32)),
    ],
    ids=["tensors", "specs", "another order", "of unknown shape"],
)
def test_what_fits_is_let_through(element):
    assert features.check_element_spec(element, EXPECTED, "pipeline") is None


WRONG = {
    "dtype": (
        {"images": tf.zeros((4, 3)), "text": tf.constant("a")},
        tf.zeros(2),
        r"\[0\]\['images'\]",
        r"TensorSpec\(shape=\(None, 3\), dtype=tf.uint8",
        r"TensorSpec\(shape=\(4, 3\), dtype=tf.float32",
    ),
    "rank": (
        {"images": tf.zeros((1, 4, 3), tf.uint8), "text": tf.constant("a")},
        tf.zeros(2),
        r"\[0\]\['images'\]",
        r"TensorSpec\(shape=\(None, 3\)",
        r"TensorSpec\(shape=\(1, 4, 3\)",
    ),
    "length": (
        {"images": tf.zeros((4, 3), tf.uint8), "text": tf.constant("a")},
        tf.zeros(3),
        r"\[1\]",
        r"TensorSpec\(shape=\(2,\)",
        r"TensorSpec\(shape=\(3,\)",
    ),
    "missing": (
        {"images": tf.zeros((4, 3), tf.uint8)},
        tf.zeros(2),
        r"\[0\]\['text'\]",
        r"TensorSpec\(shape=\(\), dtype=tf.string",
        "nothing",
    ),
    "superfluous": (
        {"images": tf.zeros((4, 3), tf.uint8), "text": tf.constant("a"), "mask": tf.zeros(5)},
        tf.zeros(2),
        r"\[0\]\['mask'\]",
        "nothing",
        r"TensorSpec\(shape=\(5,\)",
    ),
}


@pytest.mark.parametrize("as_specs", [False, True])
@pytest.mark.parametrize("case", WRONG)
def test_the_message_names_the_component_and_both_specs(case, as_specs):
    x, y, component, expected, got = WRONG[case]
    element = (x, y)
    if as_specs:
        element = tf.nest.map_structure(tf.TensorSpec.from_tensor, element)
    message = (
        rf"^The pipeline of 'val' yields a wrong component {component}\. "
        rf"Expected {expected}.*, got {got}.*\. Fix: "
    )
    with pytest.raises(ValueError, match=message):
        features.check_element_spec(element, EXPECTED, "pipeline of 'val'")


def test_a_wrong_column_of_a_table_is_named():
    expected = features.example_spec(index(table={"age": np.zeros(2, np.float32)}))
    element = {**expected, "table": {"age": tf.TensorSpec((), tf.string)}}
    with pytest.raises(
        ValueError, match=r"wrong component \['table'\]\['age'\]\. Expected .*float32"
    ):
        features.check_element_spec(element, expected, "pipeline")
