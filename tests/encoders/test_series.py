"""Series: gaps are filled as numpy does it, padding has no effect, statistics ignore what is missing."""

import numpy as np
import pytest
import tensorflow as tf

from mmlearn import encoders
from mmlearn.encoders.series import SeriesConverter, interpolate, measure_series
from tests import checks

LENGTH, NUM_CHANNELS = 6, 2
NAN = np.nan
SIZES = {
    "lstm": {"hidden_dim": 8},
    "gru": {"hidden_dim": 6, "num_layers": 2, "dropout": 0.1, "bidirectional": False},
    "transformer": {"hidden_dim": 8, "num_heads": 2, "num_layers": 1, "intermediate_dim": 8},
}


def build(name, **options):
    options = {"length": LENGTH, "num_channels": NUM_CHANNELS, **SIZES[name], **options}
    return encoders.get("series", name, **options)


def windows(count=4, length=LENGTH, missing=0.4, seed=0):
    random = np.random.default_rng(seed)
    values = random.normal(3, 2, (count, length, NUM_CHANNELS)).astype("float32")
    values[random.random(values.shape) < missing] = NAN
    return values


def inputs():
    """Three windows: padding at both ends, a gap, and none of these."""
    values = windows(3, missing=0)
    is_known = np.ones(values.shape, "int32")
    is_known[0, [0, 1, 5]] = is_known[1, 3] = 0
    return {"series": values, "series_mask": is_known}


# --- Converter -----------------------------------------------------------------------------------


def filled_by_numpy(values):
    time, filled = np.arange(values.shape[1]), np.zeros_like(values)
    for row, channel in np.ndindex(len(values), values.shape[2]):
        known = np.isfinite(values[row, :, channel])
        if known.any():
            filled[row, :, channel] = np.interp(time, time[known], values[row, known, channel])
    return filled


@pytest.mark.parametrize("length", [1, 2, 7, 50])
@pytest.mark.parametrize("missing", [0.0, 0.3, 0.9, 1.0])
def test_gaps_are_filled_as_numpy_does_it(length, missing):
    values = windows(20, length, missing)
    found = interpolate(values, np.isfinite(values))
    np.testing.assert_allclose(found, filled_by_numpy(values), atol=1e-6)


def test_a_window_before_and_after():
    converter = SeriesConverter(5, mean=[1.0, 10.0], std=[2.0, 1.0])
    window = [[NAN, NAN], [1, NAN], [NAN, NAN], [NAN, np.inf], [7, NAN]]
    found = converter.convert(tf.constant([window]), "series")
    assert {name: value.numpy().tolist() for name, value in found.items()} == {
        "series": [[[0, 0], [0, 0], [1, 0], [2, 0], [3, 0]]],
        "series_mask": [[[0, 0], [1, 0], [0, 0], [0, 0], [1, 0]]],
        "series_present": [1],
    }


def test_a_window_without_a_reading_is_absent():
    converter = SeriesConverter(LENGTH, [0.0] * NUM_CHANNELS, [1.0] * NUM_CHANNELS)
    absent = converter.convert(None, "series", 2)
    empty = converter.convert(np.full((2, LENGTH, NUM_CHANNELS), NAN), "series")
    for name, value in absent.items():
        assert not value.numpy().any(), name
        np.testing.assert_array_equal(value, empty[name])
        assert value.dtype == empty[name].dtype


def test_statistics_are_those_of_the_readings_that_are_there():
    values = windows(2100, missing=0.3)  # more than one chunk
    values[:, :, 1] *= 100
    mean, std = measure_series(values)
    np.testing.assert_allclose(mean, np.nanmean(values.astype("float64"), (0, 1)))
    np.testing.assert_allclose(std, np.nanstd(values.astype("float64"), (0, 1)))


def test_statistics_of_a_channel_that_says_nothing():
    values = np.full((3, LENGTH, 2), NAN, "float32")
    values[:, :2, 1] = 0.1
    mean, std = measure_series(values)
    assert mean == pytest.approx([0, 0.1])
    assert std == [1, 1]


def test_raw_windows_may_be_short_or_none():
    converter = SeriesConverter(3, [0.0], [1.0])
    found = converter.read_raw([[[1], [2], [3]], [[4]], None, np.zeros((0, 1))], "series")
    expected = [[1, 2, 3], [NAN, NAN, 4], [NAN] * 3, [NAN] * 3]
    np.testing.assert_array_equal(found[..., 0], expected)


@pytest.mark.parametrize("window", [[[1], [2]], [[1, 2]] * 7, [1, 2, 3]])
def test_raw_windows_of_another_shape_are_refused(window):
    converter = SeriesConverter(LENGTH, [0.0] * 2, [1.0] * 2)
    with pytest.raises(
        ValueError, match=r"series\[1\] must have the shape \(length, 2\), of at most"
    ):
        converter.read_raw([None, window], "series")


def test_batches_of_another_shape_are_refused():
    converter = SeriesConverter(LENGTH, [0.0] * 2, [1.0] * 2)
    with pytest.raises(ValueError, match=r"shape \(batch_size, 6, 2\)\. Received: \(1, 6, 3\)"):
        converter.convert(np.zeros((1, 6, 3)), "series")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, [0.0], [1.0]), "`length` must be positive"),
        ((4, [0.0, 1.0], [1.0]), "one number per channel"),
        ((4, [0.0], [0.0]), "`std` positive ones"),
        ((4, [], []), "one number per channel"),
    ],
)
def test_bad_statistics_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SeriesConverter(*arguments)


def test_converter_survives_json():
    checks.check_layer_config(SeriesConverter(LENGTH, [0.25, 3.0], [1.5, 2.0]))


# --- Encoders ------------------------------------------------------------------------------------


LARGE = {"lstm": pytest.mark.large}


@pytest.mark.parametrize("name", [pytest.param(n, marks=LARGE.get(n, ())) for n in SIZES])
def test_encoder_keeps_the_contract(name):
    checks.check_encoder(build(name), "series", inputs())


@pytest.mark.parametrize("name", SIZES)
def test_gaps_are_no_padding(name):
    _, mask = build(name)(inputs())
    expected = [[False, False, True, True, True, False], [True] * 6, [True] * 6]
    assert np.asarray(mask).tolist() == expected


@pytest.mark.parametrize("with_mask", [True, False])
def test_the_network_sees_what_was_filled_in_only_if_wanted(with_mask):
    encoder = build("gru", with_mask=with_mask)
    given = inputs()
    features, _ = encoder(given)
    full = {**given, "series_mask": given["series_mask"].copy()}
    full["series_mask"][1, 3] = 1  # the gap
    changed, _ = encoder(full)
    assert np.array_equal(features[1], changed[1]) != with_mask


def test_patches_are_tokens():
    encoder = build("transformer", patch_size=3)
    given = inputs()
    given["series_mask"][0, :3] = 0
    features, mask = encoder(given)
    assert features.shape == (3, 2, 8)
    assert np.asarray(mask).tolist() == [[False, True], [True, True], [True, True]]
    assert encoder.model_inputs("series")["series"].shape == (None, LENGTH, NUM_CHANNELS)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gru", {"patch_size": 4}, r"`patch_size` must divide .* patch_size=4, length=6"),
        ("lstm", {"hidden_dim": 7}, r"`hidden_dim` must be even.*hidden_dim=7.*Fix"),
        ("transformer", {"num_heads": 3}, r"divisible by `num_heads`.*hidden_dim=8, num_heads=3"),
    ],
)
def test_bad_sizes_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        build(name, **options)
