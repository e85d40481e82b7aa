import numpy as np
import pytest
import tensorflow as tf

from data_prep import augment_audio


def waveforms(function, waveform, count, **options):
    """The waveforms for the seeds (0, 0), (0, 1), ..."""
    example = {"audio": tf.constant(waveform, tf.float32)}
    seeds = tf.data.Dataset.from_tensor_slices(tf.range(count))
    results = seeds.map(lambda seed: function(example, tf.stack([0, seed]), **options)["audio"])
    return list(results.as_numpy_iterator())


def sine(count=8000, amplitude=0.5):
    return amplitude * np.sin(np.arange(count) / 3).astype(np.float32)


def white(count, amplitude=0.1):
    return amplitude * np.random.default_rng(0).normal(size=count).astype(np.float32)


def test_audio_noise_has_a_ratio_of_10_to_40_db():
    clean = sine()
    ratios, means = [], []
    for noisy in waveforms(augment_audio.audio_noise, clean, 200):
        noise = noisy - clean
        ratios.append(10 * np.log10(np.mean(clean**2) / np.mean(noise**2)))
        means.append(noise.mean() / noise.std() * np.sqrt(noise.size))
        spectrum = abs(np.fft.rfft(noise)) ** 2  # white: as strong below as above
        assert abs(np.log(spectrum[:2000].mean() / spectrum[2000:].mean())) < 0.2
    # The power of 8000 samples is off by 0.07 dB, one standard deviation.
    assert 9.7 < min(ratios) < 12
    assert 38 < max(ratios) < 40.3
    assert abs(np.mean(ratios) - 25) < 3 * 30 / np.sqrt(12 * 200)
    assert abs(np.mean(means)) < 3 / np.sqrt(200)


def test_audio_noise_takes_the_ratio_it_is_given():
    (noisy,) = waveforms(augment_audio.audio_noise, sine(), 1, lowest_snr=20.0, highest_snr=20.0)
    noise = noisy - sine()
    assert noise.std() == pytest.approx(0.5 / np.sqrt(2) / 10, rel=0.04)


def test_audio_noise_leaves_silence_silent_and_stays_in_range():
    (silent,) = waveforms(augment_audio.audio_noise, np.zeros(100), 1)
    np.testing.assert_array_equal(silent, np.zeros(100))
    (loud,) = waveforms(
        augment_audio.audio_noise, np.ones(100), 1, lowest_snr=10.0, highest_snr=10.0
    )
    assert (loud.max(), loud.min() < 0.9) == (1, True)


def test_audio_shift_of_a_literal_waveform():
    waveform = np.arange(1, 21) / 20
    shifted = {
        2: [0, 0, *waveform[:-2]],
        1: [0, *waveform[:-1]],
        0: waveform,
        -1: [*waveform[1:], 0],
        -2: [*waveform[2:], 0, 0],
    }
    found = []
    for after in waveforms(augment_audio.audio_shift, waveform, 300):
        (shift,) = [k for k, v in shifted.items() if np.array_equal(after, np.float32(v))]
        found.append(shift)
    for shift in shifted:
        assert abs(np.mean(np.equal(found, shift)) - 0.2) < 3 * np.sqrt(0.16 / 300)


@pytest.mark.parametrize("count", [0, 1, 9])
def test_audio_shift_of_less_than_one_sample_is_none(count):
    for after in waveforms(augment_audio.audio_shift, np.arange(count) / 10, 5):
        np.testing.assert_array_equal(after, np.float32(np.arange(count) / 10))


@pytest.mark.parametrize("count", [0, 1, 127, 511, 512, 513, 1000, 4096])
def test_spec_augment_without_masks_is_the_identity(count):
    before = white(count)
    (after,) = waveforms(augment_audio.spec_augment, before, 1, num_masks=0)
    np.testing.assert_allclose(after, before, atol=1e-6)
    for after in waveforms(augment_audio.spec_augment, before, 3):
        assert after.shape == (count,)


def runs(mask):
    """The lengths of the runs of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return edges[1::2] - edges[::2]


def test_spec_augment_masks_gaps_in_time():
    before = sine(40_000)
    frames = 1 + (40_000 + 2 * 512 - 512) // 128
    longest, numbers = [], set()
    for after in waveforms(augment_audio.spec_augment, before, 40, widest_band=0.0):
        is_changed = abs(after - before) > 1e-5
        is_silent = np.convolve(abs(after) < 1e-5, np.ones(20), "same") == 20
        # Where a frame is kept, only the frames that overlap with it can have changed.
        assert is_changed.sum() <= 2 * (0.1 * frames * 128 + 512)
        lengths = runs(is_silent)
        numbers.add(len(lengths))
        longest.extend(lengths)
    assert max(numbers) == 2
    assert 0.6 * 0.1 * 40_000 < max(longest) < 0.2 * 40_000


def test_spec_augment_masks_bands_of_frequency():
    before = white(40_000)
    power = np.mean(abs(tf.signal.stft(before, 512, 128).numpy()) ** 2, axis=0)
    numbers, widths = set(), []
    for after in waveforms(augment_audio.spec_augment, before, 40, longest_gap=0.0):
        ratio = np.mean(abs(tf.signal.stft(after, 512, 128).numpy()) ** 2, axis=0) / power
        is_masked = ratio < 0.02
        is_kept = ratio > 0.95
        assert (is_masked | is_kept).sum() > 257 - 12  # beside them only the edges of bands
        lengths = runs(is_masked)
        numbers.add(len(lengths))
        widths.extend(lengths)
    assert max(numbers) == 2
    assert 0.1 * 257 < max(widths) < 0.4 * 257
    assert min(widths) < 15


def test_spec_augment_stays_in_range():
    square = np.sign(np.sin(np.arange(8000) / 20))
    for after in waveforms(augment_audio.spec_augment, square, 10):
        assert abs(after).max() <= 1


@pytest.mark.parametrize(
    "function",
    [augment_audio.audio_noise, augment_audio.audio_shift, augment_audio.spec_augment],
)
def test_a_seed_gives_the_same_waveform_and_another_seed_another(function):
    before = {"audio": tf.constant(sine(3000)), "labels": tf.constant([1.0])}
    first, again = function(before, (0, 1)), function(before, (0, 1))
    np.testing.assert_array_equal(first["audio"], again["audio"])
    assert first["labels"] is before["labels"]
    assert not np.array_equal(first["audio"], function(before, (0, 2))["audio"])
