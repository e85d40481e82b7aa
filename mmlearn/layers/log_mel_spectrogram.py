"""Loudness of a waveform by time and pitch, or its cepstrum."""

import math

import keras
from keras import ops

LOWEST_POWER = 1e-10  # -100 dB: what is below counts as silence


@keras.saving.register_keras_serializable(package="mmlearn")
class LogMelSpectrogram(keras.layers.Layer):
    """Makes a waveform a log-mel spectrogram, or mel-frequency cepstral coefficients (MFCC) of it.

    `keras.layers.MelSpectrogram` gives the powers. Their decibels are taken here, row by row: Keras'
    own are cut off below the loudest value of the whole batch, so that a row would depend on its
    neighbours. The scale is fixed, so that loudness is kept: -100 dB is -1, 0 dB is 1.

    Computed in float32, whatever the dtype policy.

    Args:
        sample_rate: int. In Hz.
        num_mel_bins: int. Bands of pitch.
        frame_length: int. Samples per frame.
        frame_step: int. Samples from one frame to the next.
        num_coefficients: int, or `None`. With it, the first that many MFCC in the place of the bands.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        waveform: float tensor `(batch_size, num_samples)` in [-1, 1].

    Returns:
        float32 tensor `(batch_size, num_frames, num_mel_bins or num_coefficients)`. Frame t is
        centred at the sample `t * frame_step`.

    Example:

    >>> import numpy as np
    >>> layer = LogMelSpectrogram(num_mel_bins=40, num_coefficients=13)
    >>> tuple(layer(np.zeros((2, 1600), "float32")).shape)
    (2, 11, 13)

    Reference:
        Davis and Mermelstein, "Comparison of parametric representations for monosyllabic word
        recognition in continuously spoken sentences", 1980, equation 1 (MFCC).
    """

    def __init__(
        self,
        sample_rate=16000,
        num_mel_bins=64,
        frame_length=400,
        frame_step=160,
        num_coefficients=None,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        if num_coefficients is not None and not 0 < num_coefficients <= num_mel_bins:
            raise ValueError(
                "`num_coefficients` must be positive and at most `num_mel_bins`. Received: "
                f"num_coefficients={num_coefficients}, num_mel_bins={num_mel_bins}."
            )
        self.sample_rate, self.num_mel_bins = sample_rate, num_mel_bins
        self.frame_length, self.frame_step = frame_length, frame_step
        self.num_coefficients = num_coefficients
        mel = keras.layers.MelSpectrogram(
            fft_length=2 ** math.ceil(math.log2(frame_length)),
            sequence_stride=frame_step,
            sequence_length=frame_length,
            sampling_rate=sample_rate,
            num_mel_bins=num_mel_bins,
            power_to_db=False,
            dtype="float32",
        )
        # In a function: a part of this layer would get its dtype policy, and 16 bits cannot hold powers.
        self._powers = lambda waveform: mel(waveform)
        self.built = True  # no weights

    def call(self, waveform):
        powers = ops.swapaxes(self._powers(ops.cast(waveform, "float32")), 1, 2)
        decibels = 10.0 * ops.log10(ops.maximum(powers, LOWEST_POWER))
        scaled = decibels / 50.0 + 1.0
        return scaled if self.num_coefficients is None else dct(scaled, self.num_coefficients)

    def compute_output_spec(self, waveform):
        batch_size, num_samples = waveform.shape
        num_frames = None if num_samples is None else num_samples // self.frame_step + 1
        dim = self.num_coefficients or self.num_mel_bins
        return keras.KerasTensor((batch_size, num_frames, dim), "float32")

    def get_config(self):
        config = {
            "sample_rate": self.sample_rate,
            "num_mel_bins": self.num_mel_bins,
            "frame_length": self.frame_length,
            "frame_step": self.frame_step,
            "num_coefficients": self.num_coefficients,
        }
        return {**super().get_config(), **config}


def dct(x, num_coefficients):
    """The first coefficients of the orthonormal discrete cosine transform (type 2) of the last axis.

    Args:
        x: float tensor `(..., length)`.
        num_coefficients: int, at most `length`.

    Returns:
        Float tensor `(..., num_coefficients)`.

    Example:

    >>> import numpy as np
    >>> ops.convert_to_numpy(dct(np.ones((1, 4), "float32"), 2)).round(6) + 0.0
    array([[2., 0.]], dtype=float32)
    """
    length = x.shape[-1]
    place = ops.arange(length, dtype="float32")[:, None] + 0.5
    number = ops.arange(num_coefficients, dtype="float32")[None, :]
    basis = ops.cos(math.pi / length * place * number)
    scale = ops.where(number == 0, math.sqrt(1 / length), math.sqrt(2 / length))
    return ops.matmul(x, ops.cast(basis * scale, x.dtype))
