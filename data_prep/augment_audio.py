"""Augmentations of the waveform of an example, see `data_prep.augment`.

`audio` is a float32 tensor `(num_samples,)` in [-1, 1], and keeps its length. An absent waveform
has no samples, and stays so.
"""

import tensorflow as tf

_FRAME_LENGTH, _FRAME_STEP = 512, 128  # samples: 32 ms and 8 ms at 16 kHz


def audio_noise(example, seed, lowest_snr=10.0, highest_snr=40.0):
    """Adds white noise at a random signal-to-noise ratio, in dB. Silence stays silent."""
    if "audio" not in example:
        return example
    waveform = example["audio"]
    ratio, values = tf.unstack(tf.random.split(seed))
    snr = tf.random.stateless_uniform((), ratio, lowest_snr, highest_snr)
    # In float64 the order of the sum, which depends on the number of threads, does not show.
    power = tf.cast(tf.reduce_mean(tf.square(tf.cast(waveform, tf.float64))), tf.float32)
    noise = tf.random.stateless_normal(tf.shape(waveform), values)
    # One scalar first: inside of a graph, TensorFlow would choose the order of the products.
    waveform += noise * (tf.sqrt(power) * tf.pow(10.0, -snr / 20))
    return {**example, "audio": tf.clip_by_value(waveform, -1.0, 1.0)}


def audio_shift(example, seed, largest_fraction=0.1):
    """Shifts in time, either way, by up to `largest_fraction` of the length.

    What leaves at one end does not come back at the other: zeros do.
    """
    if "audio" not in example:
        return example
    waveform = example["audio"]
    count = tf.size(waveform)
    limit = tf.cast(tf.cast(count, tf.float32) * largest_fraction, tf.int32)
    start = tf.random.stateless_uniform((), seed, 0, 2 * limit + 1, tf.int32)
    shifted = tf.pad(waveform, [[limit, limit]])[start : start + count]
    return {**example, "audio": tf.ensure_shape(shifted, waveform.shape)}


def spec_augment(example, seed, num_masks=2, widest_band=0.2, longest_gap=0.1):
    """Masks random bands of frequency and gaps in time.

    The masks lie on the spectrogram of the waveform, which is then turned back into a waveform.
    So any converter profits, whatever spectrogram it computes. Unlike in the paper, the
    frequencies are linear, not mel, what is masked is silence, and there is no time warping.

    Args:
        example: dict with the waveform.
        seed: int32 `(2,)`.
        num_masks: int. Masks of each kind. A mask may have no width, so it is the largest number.
        widest_band: float. The largest width of one band, a fraction of all frequencies.
        longest_gap: float. The largest length of one gap, a fraction of the time.

    Reference:
        Park et al. 2019, "SpecAugment: A simple data augmentation method for automatic speech
        recognition", section 2.
    """
    if "audio" not in example:
        return example
    waveform = example["audio"]
    # A frame of silence at both ends: the inverse needs all frames that overlap at a sample.
    padded = tf.pad(waveform, [[_FRAME_LENGTH, _FRAME_LENGTH]])
    spectrogram = tf.signal.stft(padded, _FRAME_LENGTH, _FRAME_STEP)
    num_frames, num_bins = tf.unstack(tf.shape(spectrogram))
    bands, gaps = tf.unstack(tf.random.stateless_uniform((2, num_masks, 2), seed))
    is_kept = _outside(gaps, num_frames, longest_gap)[:, None]
    is_kept &= _outside(bands, num_bins, widest_band)
    masked = tf.signal.inverse_stft(
        tf.where(is_kept, spectrogram, 0),
        _FRAME_LENGTH,
        _FRAME_STEP,
        window_fn=tf.signal.inverse_stft_window_fn(_FRAME_STEP),
    )
    masked = masked[_FRAME_LENGTH : _FRAME_LENGTH + tf.size(waveform)]
    masked = tf.clip_by_value(masked, -1.0, 1.0)
    return {**example, "audio": tf.ensure_shape(masked, waveform.shape)}


def _outside(draws, size, largest_fraction):
    """Whether each of `size` positions is in none of the random intervals, bool `(size,)`.

    Args:
        draws: float32 `(num_intervals, 2)` in [0, 1), for the length and the start of each.
        size: scalar int32.
        largest_fraction: float. Of `size`, the largest length of an interval.
    """
    largest = tf.floor(tf.cast(size, tf.float32) * largest_fraction)
    lengths = tf.cast(draws[:, 0] * (largest + 1), tf.int32)
    starts = tf.cast(draws[:, 1] * tf.cast(size - lengths + 1, tf.float32), tf.int32)
    positions = tf.range(size)[:, None]
    return tf.reduce_all((positions < starts) | (positions >= starts + lengths), axis=1)
