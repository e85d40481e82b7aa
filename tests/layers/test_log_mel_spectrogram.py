"""Spectrograms against numpy and scipy, each row on its own."""

import keras
import numpy as np
import pytest
import scipy.fft

from mmlearn.layers.log_mel_spectrogram import LogMelSpectrogram, dct
from tests import checks

RATE = 16000


def sines(*frequencies, count=3200):
    time = np.arange(count) / RATE
    return np.stack([np.sin(2 * np.pi * f * time) for f in frequencies]).astype("float32")


@pytest.mark.parametrize(("length", "count"), [(64, 20), (40, 40), (5, 1)])
def test_dct_is_that_of_scipy(length, count):
    x = np.random.default_rng(0).normal(size=(3, 7, length)).astype("float32")
    expected = scipy.fft.dct(x, type=2, norm="ortho", axis=-1)[..., :count]
    np.testing.assert_allclose(dct(x, count), expected, atol=1e-5)


def test_mfcc_are_the_dct_of_the_log_mel_spectrogram():
    x = np.random.default_rng(0).uniform(-1, 1, (2, 1600)).astype("float32")
    bands = LogMelSpectrogram(num_mel_bins=32)(x)
    mfcc = LogMelSpectrogram(num_mel_bins=32, num_coefficients=13)(x)
    expected = scipy.fft.dct(np.asarray(bands), norm="ortho", axis=-1)[..., :13]
    np.testing.assert_allclose(mfcc, expected, atol=1e-5)


def test_powers_are_those_of_numpy():
    x = np.random.default_rng(0).uniform(-1, 1, (1, 3200)).astype("float32")
    layer = LogMelSpectrogram(num_mel_bins=40)
    # The frame at sample 1600, windowed and in the middle of 512 samples.
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frame = np.zeros(512)
    frame[56:456] = x[0, 1400:1800] * window
    powers = np.abs(np.fft.rfft(frame)) ** 2
    mel = keras.layers.MelSpectrogram()
    matrix = np.asarray(mel.linear_to_mel_weight_matrix(40, 257, RATE, 20.0, RATE / 2))
    expected = 10 * np.log10(powers @ matrix) / 50 + 1
    np.testing.assert_allclose(layer(x)[0, 10], expected, atol=1e-4)


def test_higher_sounds_are_in_higher_bands_and_louder_ones_are_louder():
    layer = LogMelSpectrogram()
    middle = np.asarray(layer(sines(200, 1000, 4000)))[:, 10]
    assert (np.diff(middle.argmax(axis=1)) > 0).all()
    tenth = np.asarray(layer(0.1 * sines(1000)))[0, 10]
    assert middle[1].max() - tenth.max() == pytest.approx(20 / 50, abs=1e-4)  # 20 dB
    np.testing.assert_array_equal(layer(np.zeros((1, 1600), "float32")), -np.ones((1, 11, 64)))


def test_a_row_does_not_depend_on_its_neighbours():
    layer = LogMelSpectrogram()
    quiet, loud = 1e-4 * sines(1000), sines(300)
    both = layer(np.concatenate([quiet, loud]))
    np.testing.assert_allclose(both[:1], layer(quiet), atol=1e-6)


def test_low_precision_changes_nothing():
    layer = LogMelSpectrogram(num_coefficients=8)
    again = checks.check_layer_config(layer)
    for part in again._flatten_layers():
        part.dtype_policy = "mixed_float16"
    x = sines(1000)
    np.testing.assert_array_equal(again(x), layer(x))
    symbolic = layer(keras.Input((3200,)))
    assert symbolic.shape == (None, *layer(x).shape[1:])


def test_too_many_coefficients_are_refused():
    with pytest.raises(ValueError, match=r"at most `num_mel_bins`.*num_coefficients=41"):
        LogMelSpectrogram(num_mel_bins=40, num_coefficients=41)
