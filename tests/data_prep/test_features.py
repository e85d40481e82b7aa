import pytest
import tensorflow as tf

from data_prep import features


def dataset_of(spec):
    return tf.data.Dataset.from_tensors(spec)


EXPECTED = (
    {"images": tf.TensorSpec((None, 3), tf.uint8), "text": tf.TensorSpec((), tf.string)},
    tf.TensorSpec((2,), tf.float32),
)


def test_example_spec_has_the_length_of_the_label_vector():
    spec = features.example_spec(7)
    assert spec["labels"] == tf.TensorSpec((7,), tf.float32)
    assert list(spec) == ["id", "group", "images", "text", "labels"]


def test_a_dataset_that_fits_is_returned_unchanged():
    dataset = dataset_of(({"images": tf.zeros((4, 3), tf.uint8), "text": "a"}, tf.zeros(2)))
    assert features.check_element_spec(dataset, EXPECTED, "test") is dataset


@pytest.mark.parametrize(
    ("x", "y", "component", "expected", "got"),
    [
        pytest.param(
            {"images": tf.zeros((4, 3)), "text": "a"},
            tf.zeros(2),
            r"\[0\]\['images'\]",
            r"TensorSpec\(shape=\(None, 3\), dtype=tf.uint8",
            r"TensorSpec\(shape=\(4, 3\), dtype=tf.float32",
            id="dtype",
        ),
        pytest.param(
            {"images": tf.zeros((1, 4, 3), tf.uint8), "text": "a"},
            tf.zeros(2),
            r"\[0\]\['images'\]",
            r"TensorSpec\(shape=\(None, 3\)",
            r"TensorSpec\(shape=\(1, 4, 3\)",
            id="rank",
        ),
        pytest.param(
            {"images": tf.zeros((4, 3), tf.uint8), "text": "a"},
            tf.zeros(3),
            r"\[1\]",
            r"TensorSpec\(shape=\(2,\)",
            r"TensorSpec\(shape=\(3,\)",
            id="length",
        ),
        pytest.param(
            {"images": tf.zeros((4, 3), tf.uint8)},
            tf.zeros(2),
            r"\[0\]\['text'\]",
            r"TensorSpec\(shape=\(\), dtype=tf.string",
            "nothing",
            id="missing",
        ),
        pytest.param(
            {"images": tf.zeros((4, 3), tf.uint8), "text": "a", "mask": tf.zeros(5)},
            tf.zeros(2),
            r"\[0\]\['mask'\]",
            "nothing",
            r"TensorSpec\(shape=\(5,\)",
            id="superfluous",
        ),
    ],
)
def test_the_message_names_the_component_and_both_specs(x, y, component, expected, got):
    message = (
        rf"^The pipeline of 'val' yields a wrong component {component}\. "
        rf"Expected {expected}.*, got {got}.*\. Fix: "
    )
    with pytest.raises(ValueError, match=message):
        features.check_element_spec(dataset_of((x, y)), EXPECTED, "pipeline of 'val'")
