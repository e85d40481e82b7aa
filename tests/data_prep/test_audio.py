import io
import struct
import wave

import numpy as np
import pytest
import scipy.signal
import tensorflow as tf

from data_prep import audio


def wav(samples, rate=audio.SAMPLE_RATE, channels=1, width=2):
    """The bytes of a WAV file of int16 samples, channels interleaved."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(width)
        writer.setframerate(rate)
        writer.writeframes(np.asarray(samples, "<i2").tobytes())
    return file.getvalue()


def decode(data, *rate):
    """Decodes eagerly and inside `Dataset.map`, which must agree bit by bit."""
    eager = audio.decode(tf.constant(data), *rate).numpy()
    dataset = tf.data.Dataset.from_tensors(data).map(lambda item: audio.decode(item, *rate))
    assert dataset.element_spec == tf.TensorSpec((None,), tf.float32)
    (mapped,) = dataset.as_numpy_iterator()
    np.testing.assert_array_equal(eager, mapped)
    return eager


def sine(frequency, rate, amplitude=0.5):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(rate) / rate)


def test_decode_of_literal_samples():
    samples = decode(wav([0, 16384, -32768, 32767]))
    assert samples.tolist() == [0, 0.5, -1, 32767 / 32768]


def test_decode_averages_the_channels():
    data = wav([0, 8192, 16384, -16384, -32768, -32768], channels=2)
    assert decode(data).tolist() == [0.125, 0, -1]


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("frequency", [100, 440, 3000])
def test_decode_of_a_sine_at_any_rate_is_the_sine(rate, frequency):
    # One second holds whole periods, so the signal is periodic and the result exact.
    data = wav(np.round(32768 * sine(frequency, rate)), rate)
    np.testing.assert_allclose(decode(data), sine(frequency, 16000), atol=3e-5)


def test_decode_to_another_rate_cuts_off_what_does_not_fit():
    data = wav(np.round(32768 * (sine(1000, 44100) + 0.5 * sine(6000, 44100))), 44100)
    np.testing.assert_allclose(decode(data, 8000), sine(1000, 8000), atol=3e-5)
    assert decode(data, 22050).shape == (22050,)


def test_decode_stays_in_range_where_resampling_overshoots():
    data = wav(np.repeat([32767, -32768, 32767], 100), 8000)
    samples = decode(data)
    assert (samples.min(), samples.max()) == (-1, 1)
    assert audio.resample(decode(data, 8000), 8000, 16000).numpy().max() > 1.05


def test_empty_bytes_and_a_file_without_samples_are_an_empty_waveform():
    assert decode(b"").shape == (0,)
    assert decode(wav([], rate=8000)).shape == (0,)


def changed(start, *values, form="<I"):
    data = bytearray(wav(range(100), rate=8000))
    for position, value in zip(range(start, start + 8, 4), values, strict=False):
        data[position : position + struct.calcsize(form)] = struct.pack(form, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no WAV at all, but long enough for a header", "Expected RIFF but found no W"),
        (b"RIFF", "Data too short"),
        (wav(range(100))[:40], "Data too short"),
        (wav(range(100))[:-1], "Data too short"),
        (wav(range(100), width=1), "Can only read 16-bit WAV files"),
        (changed(20, 3, form="<H"), "Expected 1 .PCM., but got3"),
        (changed(22, 0, form="<H"), "Bad number of channels"),
        (changed(24, 0, 0), "The sample rate is too low"),
        (changed(24, 999, 1998), "The sample rate is too low"),
        (changed(24, 800_000, 1_600_000), "The sample rate is too high"),
        (changed(40, 2**32 - 1), "too large"),
    ],
)
def test_bytes_that_are_no_whole_wav_file_are_an_error(data, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        audio.decode(tf.constant(data))
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        list(tf.data.Dataset.from_tensors(data).map(audio.decode))


@pytest.mark.parametrize(
    ("count", "from_rate", "to_rate", "new_count"),
    [
        (1000, 8000, 16000, 2000),
        (1001, 8000, 16000, 2002),
        (1000, 16000, 8000, 500),
        (999, 16000, 8000, 500),
        (1000, 44100, 16000, 363),
        (997, 48000, 16000, 333),
        (160, 16000, 44100, 441),
        (5, 7, 3, 3),
        (2, 16000, 8000, 1),
        (1, 8000, 16000, 2),
        (1, 44100, 16000, 1),
    ],
)
def test_resample_agrees_with_scipy(count, from_rate, to_rate, new_count):
    samples = np.random.default_rng(count).normal(size=count).astype(np.float32)
    expected = scipy.signal.resample(samples.astype(float), new_count)
    rates = tf.constant([from_rate, to_rate])
    resampled = audio.resample(tf.constant(samples), rates[0], rates[1])
    np.testing.assert_allclose(resampled, expected, atol=3e-6)
    dataset = tf.data.Dataset.from_tensors((samples, rates))
    (mapped,) = dataset.map(lambda x, r: audio.resample(x, r[0], r[1])).as_numpy_iterator()
    np.testing.assert_array_equal(mapped, resampled)


def test_resample_to_the_same_rate_changes_nothing():
    samples = np.random.default_rng(0).normal(size=101).astype(np.float32)
    np.testing.assert_array_equal(audio.resample(samples, 44100, 44100), samples)
    assert audio.resample(tf.zeros([0]), 8000, 16000).shape == (0,)


def test_resample_there_and_back_is_the_identity():
    samples = np.random.default_rng(0).normal(size=800).astype(np.float32)
    back = audio.resample(audio.resample(samples, 8000, 22050), 22050, 8000)
    np.testing.assert_allclose(back, samples, atol=3e-6)


@pytest.mark.parametrize("rates", [(0, 16000), (16000, 0), (-8000, 16000)])
def test_a_rate_that_is_not_positive_is_an_error(rates):
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be positive"):
        audio.resample(tf.zeros([4]), *rates)
    dataset = tf.data.Dataset.from_tensors(rates)
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be positive"):
        list(dataset.map(lambda a, b: audio.resample(tf.zeros([4]), a, b)))


def test_a_bad_file_of_a_batch_fails_alone():
    good = wav([0, 16384, -32768])
    data = tf.constant([good, b"", b"garbage", good[:40], wav([8192] * 9)])
    half, none = [0.25] * 4, [np.nan] * 4
    expected = [[0, 0.5, -1, np.nan], none, none, none, half]
    np.testing.assert_array_equal(audio.decode_batch(data, 4), expected)
    (mapped,) = tf.data.Dataset.from_tensors(data).map(lambda x: audio.decode_batch(x, 4))
    np.testing.assert_array_equal(mapped, expected)
    assert audio.decode_batch(tf.constant([b"", b"x"]), 4).shape == (2, 4)
