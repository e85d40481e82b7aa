import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.utils.class_weight import compute_class_weight

from data_prep.balance import (
    class_weights,
    example_weights,
    label_counts,
    label_shares,
    oversampled_rows,
)
from data_prep.errors import DataError

# Class 0 is in 4 of 6 examples, class 1 in 2, class 2 in none, class 3 in 1; the last has none.
LABELS = np.array(
    [[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]], np.uint8
)


def test_label_counts():
    counts = label_counts(LABELS)
    assert (counts.dtype, counts.tolist()) == (np.float64, [4, 2, 0, 1])
    assert label_counts(np.array([[0.5, 0.25], [0.25, 0]], np.float32)).tolist() == [0.75, 0.25]
    many = np.ones((300, 2), np.uint8)
    assert label_counts(many).tolist() == [300, 300]  # more than a byte holds


def test_class_weights_of_literal_labels():
    weights = class_weights(LABELS)  # 7 labels of 3 classes
    np.testing.assert_allclose(weights, [7 / 12, 7 / 6, 0, 7 / 3])
    assert (weights * label_counts(LABELS)).sum() == pytest.approx(7)  # the mean is 1
    assert class_weights(np.zeros((3, 2), np.uint8)).tolist() == [0, 0]


def test_class_weights_are_those_of_scikit_learn_where_each_example_has_one_class():
    classes = np.random.default_rng(0).choice(5, 200, p=[0.5, 0.3, 0.1, 0.07, 0.03])
    expected = compute_class_weight("balanced", classes=np.arange(5), y=classes)
    np.testing.assert_allclose(class_weights(np.eye(5, dtype=np.uint8)[classes]), expected)


def test_example_weights_of_literal_labels():
    weights = example_weights(LABELS, [1, 2, 9, 4])
    # The means of the labels are 1, 1, 1, 1.5 and 3, and 1 for none: 8.5 / 6 in the mean.
    expected = np.array([1, 1, 1, 1.5, 3, 1]) * 6 / 8.5
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_soft_labels_count_in_part():
    labels = np.array([[0.75, 0.25], [0.5, 0], [0, 0]], np.float32)
    np.testing.assert_allclose(class_weights(labels), [1.5 / 2 / 1.25, 1.5 / 2 / 0.25])
    means = np.array([0.75 * 1 + 0.25 * 3, 1, 1])
    np.testing.assert_allclose(example_weights(labels, [1, 3]), means / means.mean(), rtol=1e-6)


def test_unknown_labels_count_nowhere():
    labels = np.array([[1, -1], [1, -1], [0, 1], [-1, 1], [-1, -1]], np.int8)
    assert label_counts(labels).tolist() == [2, 2]
    assert label_shares(labels).tolist() == [2 / 3, 1]
    assert label_shares(sparse.csr_array(np.maximum(labels, 0))).tolist() == [2 / 5, 2 / 5]
    assert label_shares(np.full((2, 1), -1)).tolist() == [0]
    expected = example_weights(np.maximum(labels, 0), [1, 3])
    assert example_weights(labels, [1, 3]).tolist() == expected.tolist()
    # Both classes are above the threshold where they are known.
    assert oversampled_rows(labels, threshold=0.6).tolist() == [0, 1, 2, 3, 4]


def test_weights_of_zero_leave_examples_out():
    assert example_weights(np.eye(2), [0, 5]).tolist() == [0, 2]
    assert example_weights(np.eye(2), [0, 0]).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("weights", "received"),
    [
        ([1, 2, 3], r"\[1\.0, 2\.0, 3\.0\]"),
        ([1, 2, 3, 4, 5], r"\[1\.0, 2\.0, 3\.0, 4\.0, 5\.0\]"),
        (2, r"2\.0"),
        ([[1, 2, 3, 4]], r"\[\[1\.0"),
        ([1, 2, 3, -1], r"\[1\.0, 2\.0, 3\.0, -1\.0\]"),
        ([1, 2, 3, np.nan], r"\[1\.0, 2\.0, 3\.0, nan\]"),
        ([1, 2, 3, np.inf], r"\[1\.0, 2\.0, 3\.0, inf\]"),
    ],
)
def test_weights_that_do_not_fit(weights, received):
    message = rf"^There must be one weight from 0 for each of 4 classes\. Received: {received}.*Fix"
    with pytest.raises(DataError, match=message):
        example_weights(LABELS, weights)


def test_oversampled_rows_of_literal_labels():
    # The shares are 4/6, 2/6 and 1/6. At 1, class 1 comes sqrt(3) times, class 3 sqrt(6) times.
    rows = oversampled_rows(LABELS, 1.0)
    assert (rows.dtype, rows.tolist()) == (np.int64, [0, 1, 2, 3, 3, 4, 4, 5])
    # At 0.4, only class 3 is rare enough: sqrt(0.4 * 6) = 1.55.
    assert oversampled_rows(LABELS, 0.4).tolist() == [0, 1, 2, 3, 4, 4, 5]
    assert oversampled_rows(LABELS, 0.1).tolist() == [0, 1, 2, 3, 4, 5]
    # A class with one of 100 examples: sqrt(0.5 * 100) = 7.07.
    rare = np.zeros((100, 1), np.uint8)
    rare[40] = 1
    assert oversampled_rows(rare, 0.5).tolist() == [*range(40), *[40] * 7, *range(41, 100)]


def test_every_soft_label_above_zero_is_a_label():
    soft = LABELS * np.float32(0.01)
    assert oversampled_rows(soft, 1.0).tolist() == oversampled_rows(LABELS, 1.0).tolist()


@pytest.mark.parametrize("threshold", [0, -0.1, 1.01, float("nan")])
def test_a_threshold_that_is_no_share(threshold):
    message = rf"^`oversample` must be a share in \(0, 1\]\. Received: {threshold}\.$"
    with pytest.raises(ValueError, match=message):
        oversampled_rows(LABELS, threshold)


@st.composite
def label_matrices(draw):
    """Labels of up to 30 examples and 6 classes, some rows and columns empty."""
    shape = draw(st.tuples(st.integers(1, 30), st.integers(1, 6)))
    values = st.sampled_from([0, 0, 0, 1, 0.5, 0.25] if draw(st.booleans()) else [0, 0, 1])
    cells = draw(st.lists(values, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))
    return np.array(cells, np.float32).reshape(shape)


@settings(derandomize=True, max_examples=80, deadline=None)
@given(label_matrices(), st.floats(0.01, 1))
def test_what_always_holds(labels, threshold):
    packed = sparse.csr_array(labels)
    counts, weights = label_counts(labels), class_weights(labels)
    np.testing.assert_array_equal(label_counts(packed), counts)
    np.testing.assert_array_equal(class_weights(packed), weights)
    assert ((weights > 0) == (counts > 0)).all()
    assert (weights @ counts) == pytest.approx(counts.sum())
    present = counts > 0
    # Each class that occurs has the same part in the sum of all.
    np.testing.assert_allclose((weights * counts)[present], counts.sum() / max(present.sum(), 1))
    of_examples = example_weights(labels, weights)
    np.testing.assert_allclose(example_weights(packed, weights), of_examples, rtol=1e-5)
    assert of_examples.mean() == pytest.approx(1, rel=1e-5)
    rows = oversampled_rows(labels, threshold)
    np.testing.assert_array_equal(oversampled_rows(packed, threshold), rows)
    assert (np.diff(rows) >= 0).all()
    repeats = np.bincount(rows, minlength=len(labels))
    shares = (labels > 0).mean(axis=0)
    for row, repeat in enumerate(repeats):
        factors = [np.sqrt(threshold / share) for share in shares[labels[row] > 0]]
        assert repeat == round(max([1.0, *factors]))
