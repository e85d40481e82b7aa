"""The one audio decoder: bytes of a WAV file -> mono waveform at one sample rate.

Only TensorFlow ops, because the same functions run in the training pipeline and inside the served
SavedModel.
"""

import tensorflow as tf

SAMPLE_RATE = 16000  # Hz; the rate of most speech and sound models

# What a header may say. A broken one with 1 Hz would ask for 16000 times the memory of the file.
_LOWEST_RATE, _HIGHEST_RATE = 1000, 768_000
_NAN = float("nan")


def decode(data, sample_rate=SAMPLE_RATE):
    """Decodes one WAV file (16-bit PCM) to mono, at one sample rate.

    Several channels are averaged.

    Args:
        data: scalar string tensor, the bytes of the file; empty means absent.
        sample_rate: int or scalar int tensor. The sample rate of the result in Hz.

    Returns:
        float32 tensor `(num_samples,)` in [-1, 1]; empty where the audio is absent.

    Raises:
        tf.errors.InvalidArgumentError: when the bytes are no whole WAV file of this kind.
    """

    def read():
        channels, rate = tf.audio.decode_wav(data)
        too_low = tf.debugging.assert_greater_equal(
            rate, _LOWEST_RATE, "The sample rate is too low."
        )
        too_high = tf.debugging.assert_less_equal(
            rate, _HIGHEST_RATE, "The sample rate is too high."
        )
        with tf.control_dependencies([too_low, too_high]):
            waveform = resample(tf.reduce_mean(channels, axis=1), rate, sample_rate)
        return tf.clip_by_value(waveform, -1.0, 1.0)  # resampling overshoots at steep edges

    is_absent = tf.strings.length(data) == 0
    return tf.ensure_shape(tf.cond(is_absent, lambda: tf.zeros([0]), read), (None,))


def decode_batch(data, num_samples, sample_rate=SAMPLE_RATE):
    """Decodes a batch in which single rows may be absent or unreadable.

    A bad row never fails its neighbours: as in `data_prep.images.decode_batch`, the batch runs through
    one small tf.data pipeline whose failing elements are dropped.

    Args:
        data: string tensor `(batch_size,)`, the bytes of WAV files; empty means absent.
        num_samples: int. The samples of a row of the result; what is longer is cut at the end.
        sample_rate: int. The sample rate of the result in Hz.

    Returns:
        float32 tensor `(batch_size, num_samples)` in [-1, 1], NaN behind the last sample of a row, so
        everywhere where it is absent or unreadable.
    """
    count = tf.shape(data)[0]
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    options.threading.private_threadpool_size = 1

    def convert(row, item):
        return row, fit(decode(item, sample_rate), num_samples)

    rows = tf.data.Dataset.from_tensor_slices((tf.range(count), data)).map(convert).ignore_errors()
    # The extra last row makes the batch non-empty when every row fails.
    rows = rows.concatenate(tf.data.Dataset.from_tensors((count, tf.fill([num_samples], _NAN))))
    rows = rows.batch(tf.cast(count, tf.int64) + 1).with_options(options)
    index, found = rows.get_single_element()
    waveforms = tf.tensor_scatter_nd_update(
        tf.fill([count + 1, num_samples], _NAN), index[:, None], found
    )
    return tf.ensure_shape(waveforms[:count], (None, num_samples))


def fit(waveform, num_samples):
    """Cuts a waveform at the end, or fills it up with NaN.

    Args:
        waveform: float32 tensor `(any number,)`.
        num_samples: int.

    Returns:
        float32 tensor `(num_samples,)`.

    Example:

    >>> fit(tf.constant([0.5, 0.25]), 3).numpy().tolist()
    [0.5, 0.25, nan]
    """
    waveform = waveform[:num_samples]
    missing = num_samples - tf.size(waveform)
    waveform = tf.pad(waveform, [[0, missing]], constant_values=_NAN)
    return tf.ensure_shape(waveform, (num_samples,))


def resample(waveform, from_rate, to_rate):
    """Resamples band-limited: what lies above the lower Nyquist frequency is cut off.

    The Fourier transform of the whole waveform is cut or padded with zeros and transformed back.
    This is exact for periodic signals within the band. The waveform counts as periodic, so its
    two ends ring into each other for a few samples. The number of samples is rounded up, and time
    is stretched by that, less than one sample in all. The cost is two Fourier transforms of the
    whole waveform, `O(n log n)`, and a few copies of it in memory, for any pair of rates.

    Args:
        waveform: float32 tensor `(num_samples,)`; may be empty.
        from_rate: int or scalar int tensor. The sample rate of `waveform` in Hz.
        to_rate: int or scalar int tensor. The sample rate of the result in Hz.

    Returns:
        float32 tensor `(ceil(num_samples * to_rate / from_rate),)`.

    Raises:
        tf.errors.InvalidArgumentError: when a rate is not positive.

    Example:

    >>> resample(tf.constant([0.0, 1.0, 0.0, -1.0]), 4, 8).numpy().round(3) + 0.0
    array([ 0.   ,  0.707,  1.   ,  0.707,  0.   , -0.707, -1.   , -0.707],
          dtype=float32)
    """
    from_rate, to_rate = tf.cast(from_rate, tf.int64), tf.cast(to_rate, tf.int64)
    checks = [
        tf.debugging.assert_positive(rate, "A sample rate must be positive.")
        for rate in (from_rate, to_rate)
    ]
    with tf.control_dependencies(checks):
        is_done = (from_rate == to_rate) | (tf.size(waveform) == 0)

    def band_limited():
        count = tf.size(waveform, tf.int64)
        new_count = (count * to_rate + from_rate - 1) // from_rate
        spectrum = tf.signal.rfft(waveform)
        # The Nyquist frequency of an even length stands for a pair of frequencies in a longer
        # spectrum, and a pair of a longer spectrum falls together in it.
        is_nyquist = 2 * tf.range(count // 2 + 1) == tf.minimum(count, new_count)
        factor = tf.where(new_count > count, 0.5, tf.where(new_count < count, 2.0, 1.0))
        spectrum *= tf.cast(tf.where(is_nyquist, factor, 1.0), tf.complex64)
        # irfft cuts or pads the spectrum to the new length by itself.
        samples = tf.signal.irfft(spectrum, tf.cast(new_count, tf.int32)[None])
        return samples * tf.cast(new_count / count, tf.float32)

    waveform = tf.convert_to_tensor(waveform)
    return tf.ensure_shape(tf.cond(is_done, lambda: waveform, band_limited), (None,))
