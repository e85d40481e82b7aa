"""Audio: the converter from WAV files and waveforms, and the encoders over their spectrogram."""

import os

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from data_prep import audio, images, names
from mmlearn.encoders.batch_norm import FusedBatchNormalization
from mmlearn.encoders.encoder import Converter, Encoder
from mmlearn.encoders.sequence_networks import stack_recurrent
from mmlearn.layers.log_mel_spectrogram import LogMelSpectrogram

GATE_FRAME = 320  # samples, 20 ms
FEATURES = ("log_mel", "mfcc")


@keras.saving.register_keras_serializable(package="mmlearn")
class AudioConverter(Converter):
    """Turns WAV files or waveforms into mono waveforms of 16 kHz and one length.

    What is longer is cut at the end, what is shorter is followed by zeros.

    Args:
        num_samples: int. Samples of a waveform, 16,000 per second.
        noise_gate_db: float below 0, or `None` for no gate. Frames of 20 ms are silenced whose mean
            power is this far or more below the square of the loudest sample of the waveform.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, num_samples=64000, noise_gate_db=None, **kwargs):
        super().__init__(**kwargs)
        if num_samples < 1:
            raise ValueError(
                f"`num_samples` must be positive. Received: num_samples={num_samples}."
            )
        if noise_gate_db is not None and not noise_gate_db < 0:
            raise ValueError(
                "`noise_gate_db` must be below 0, relative to the loudest sample. "
                f"Received: noise_gate_db={noise_gate_db}. Fix: -40, for example."
            )
        self.num_samples, self.noise_gate_db = num_samples, noise_gate_db

    def convert_example(self, value, modality):
        """Cuts one waveform `(any number,)`, or fills it up with NaN, so that it can be batched."""
        return {modality: audio.fit(value, self.num_samples)}

    def convert(self, values, modality, batch_size=None):
        """Decodes a batch, cuts it to one length and silences noise.

        Args:
            values: string tensor `(batch_size,)` of the bytes of WAV files, where empty or unreadable
                ones count as absent; or floats `(batch_size, any number)` in [-1, 1], NaN behind the
                last sample of a row; or `None`.
            modality: str. Prefix of the names of the model inputs.
            batch_size: scalar int tensor. Needed when `values` is `None`.

        Returns:
            A dict of `modality`, float32 `(batch_size, num_samples)`; int32 `"{modality}_length"
            (batch_size,)`, the samples before the zeros; and `"{modality}_present"`.
        """
        if values is None:
            values = tf.zeros((batch_size, 0))
        if values.dtype == tf.string:
            values = audio.decode_batch(values, self.num_samples)
        values = tf.cast(values, tf.float32)[:, : self.num_samples]
        is_sample = tf.math.is_finite(values)
        length = tf.reduce_sum(tf.cast(is_sample, tf.int32), axis=1)
        missing = self.num_samples - tf.shape(values)[1]
        values = tf.pad(tf.where(is_sample, values, 0.0), [[0, 0], [0, missing]])
        values = tf.ensure_shape(values, (None, self.num_samples))
        if self.noise_gate_db is not None:
            values = gate_noise(values, self.noise_gate_db)
        return {
            modality: values,
            f"{modality}_length": length,
            f"{modality}_present": tf.cast(length > 0, tf.int32),
        }

    def convert_with_status(self, values, modality, batch_size=None):
        """Like `convert`, and which files are absent or cannot be read."""
        inputs = self.convert(values, modality, batch_size)
        if values is None or values.dtype != tf.string:
            return inputs, None
        missing = tf.where(tf.strings.length(values) == 0, images.ABSENT, images.UNREADABLE)
        return inputs, tf.where(inputs[f"{modality}_present"] == 1, images.OK, missing)

    def read_raw(self, values, modality):
        """Reads a list of waveforms `(any number,)` of 16 kHz, paths or bytes of WAV files.

        `None`, `""`, `b""` and waveforms without samples mean absent.
        """
        waveforms = np.full((len(values), self.num_samples), np.nan, np.float32)
        for row, value in enumerate(values):
            waveform = _read_waveform(value, f"{modality}[{row}]")[: self.num_samples]
            waveforms[row, : len(waveform)] = waveform
        return waveforms

    def raw_spec(self, modality):
        """Bytes of WAV files; empty ones mean absent."""
        return tf.TensorSpec((None,), tf.string, name=modality)

    def get_config(self):
        config = {"num_samples": self.num_samples, "noise_gate_db": self.noise_gate_db}
        return {**super().get_config(), **config}


def _read_waveform(value, name):
    if value is None:
        return np.zeros(0, np.float32)
    if isinstance(value, (str, os.PathLike)) and str(value):
        try:
            with open(value, "rb") as file:
                value = file.read() or b"\0"  # an empty file is unreadable, not absent
        except OSError as error:
            raise ValueError(f"{name} cannot be read: {error}. Fix: check the path.") from None
    if isinstance(value, (str, bytes)):
        try:
            return audio.decode(tf.constant(value)).numpy()
        except tf.errors.InvalidArgumentError:
            raise ValueError(
                f"{name} is no readable recording. Fix: pass a whole WAV file of 16-bit samples, or "
                "an empty value if there is none."
            ) from None
    value = np.asarray(value, np.float32)
    # NaN ends a waveform, as `convert` reads it.
    if value.ndim != 1 or not (np.abs(value[~np.isnan(value)]) <= 1).all():
        raise ValueError(
            f"{name} must be samples (any number,) in [-1, 1]. Received: shape {value.shape}, largest "
            f"{np.nanmax(np.abs(value), initial=0):.4g}. Fix: average the channels, divide 16-bit "
            "samples by 32768."
        )
    return value[~np.isnan(value)]


def gate_noise(waveforms, threshold_db):
    """Silences the quiet frames of waveforms.

    Args:
        waveforms: float tensor `(batch_size, num_samples)`.
        threshold_db: float. Frames of `GATE_FRAME` samples whose mean power is this or less, in dB
            relative to the square of the waveform's loudest sample, become 0.

    Returns:
        Float tensor `(batch_size, num_samples)`.
    """
    num_samples = waveforms.shape[1]
    num_frames = -(-num_samples // GATE_FRAME)
    padded = tf.pad(waveforms, [[0, 0], [0, num_frames * GATE_FRAME - num_samples]])
    frames = tf.reshape(padded, (-1, num_frames, GATE_FRAME))
    power = tf.reduce_mean(tf.square(frames), axis=2)
    peak = tf.reduce_max(tf.square(waveforms), axis=1)
    is_loud = power > peak[:, None] * 10.0 ** (threshold_db / 10)
    gated = tf.where(is_loud[..., None], frames, 0.0)
    return tf.reshape(gated, (-1, num_frames * GATE_FRAME))[:, :num_samples]


@keras.saving.register_keras_serializable(package="mmlearn")
class AudioEncoder(Encoder):
    """A network over the spectrogram of a waveform, which becomes a sequence of tokens over time.

    Args:
        model: `keras.Model` from `(num_frames, dim)` to `(num_tokens, dim)`.
        spectrogram: `LogMelSpectrogram`.
        num_samples: int. Samples of a waveform.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: dict of `"{modality}" (batch_size, num_samples)` and int32
            `"{modality}_length" (batch_size,)`.
        training: bool.

    Returns:
        features `(batch_size, num_tokens, dim)` and a bool mask `(batch_size, num_tokens)`, `False`
        where a token begins behind the last sample.
    """

    def __init__(self, model, spectrogram, num_samples, **kwargs):
        super().__init__(model, autocast=False, **kwargs)  # samples need more than 16 bits
        self.spectrogram, self.num_samples = spectrogram, num_samples

    def model_inputs(self, modality):
        """Returns `{name: keras.Input}` of the functional inputs of this encoder."""
        length = f"{modality}_length"
        return {
            modality: keras.Input((self.num_samples,), name=modality),
            length: keras.Input((), dtype="int32", name=length),
        }

    def call(self, inputs, training=None):
        waveform, length = (inputs[name] for name in sorted(inputs))  # audio, audio_length
        is_sample = ops.arange(self.num_samples)[None, :] < length[:, None]
        waveform = ops.where(is_sample, waveform, ops.zeros_like(waveform))
        tokens = self.model(self.spectrogram(waveform), training=self.learns(training))
        num_tokens = tokens.shape[1]
        first = ops.arange(num_tokens) * self.num_samples // num_tokens
        return tokens, first[None, :] < length[:, None]

    def get_config(self):
        return {
            **super().get_config(),
            "spectrogram": keras.saving.serialize_keras_object(self.spectrogram),
            "num_samples": self.num_samples,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["spectrogram"] = keras.saving.deserialize_keras_object(config["spectrogram"])
        return super().from_config(config)


def conv(num_samples=64000, features="log_mel", num_mel_bins=64, num_coefficients=20):
    """Builds a small convolutional network over time and pitch: a token of 128 channels per 80 ms.

    Args:
        num_samples: int. Samples of a waveform, at 16 kHz.
        features: `"log_mel"` or `"mfcc"`.
        num_mel_bins: int. Bands of pitch.
        num_coefficients: int. With `"mfcc"`, how many.

    Returns:
        An `AudioEncoder`.
    """
    spectrogram, inputs = _spectrogram(num_samples, features, num_mel_bins, num_coefficients)
    x = layers.Reshape((*inputs.shape[1:], 1))(inputs)
    for number, filters in enumerate((32, 64, 128)):
        name = f"conv{number}_block0"
        x = layers.Conv2D(filters, 3, 2, padding="same", use_bias=False, name=f"{name}_conv")(x)
        x = layers.ReLU()(FusedBatchNormalization(name=f"{name}_bn")(x))
    x = ops.mean(x, axis=2)  # over pitch
    model = keras.Model(inputs, x, name="audio_conv")
    return AudioEncoder(model, spectrogram, num_samples, name="audio_encoder")


def gru(
    num_samples=64000,
    features="mfcc",
    num_mel_bins=64,
    num_coefficients=20,
    hidden_dim=128,
    num_layers=1,
    bidirectional=True,
    dropout=0.0,
):
    """Builds a recurrent network over the frames of 10 ms, of which each is a token.

    Args:
        num_samples: int. Samples of a waveform, at 16 kHz.
        features: `"log_mel"` or `"mfcc"`.
        num_mel_bins: int. Bands of pitch.
        num_coefficients: int. With `"mfcc"`, how many.
        hidden_dim: int. Size of a token's features, both directions together.
        num_layers: int.
        bidirectional: bool. Whether the recording is read from both ends.
        dropout: float in [0, 1). Rate on the inputs of each layer but the first.

    Returns:
        An `AudioEncoder`.
    """
    spectrogram, inputs = _spectrogram(num_samples, features, num_mel_bins, num_coefficients)
    x = stack_recurrent(inputs, "gru", hidden_dim, num_layers, bidirectional, dropout)
    model = keras.Model(inputs, x, name="audio_gru")
    return AudioEncoder(model, spectrogram, num_samples, name="audio_encoder")


def _spectrogram(num_samples, features, num_mel_bins, num_coefficients):
    names.find(features, FEATURES, "kind of `features`")
    spectrogram = LogMelSpectrogram(
        audio.SAMPLE_RATE,
        num_mel_bins,
        num_coefficients=num_coefficients if features == "mfcc" else None,
        name="spectrogram",
    )
    dim = spectrogram.num_coefficients or num_mel_bins
    return spectrogram, keras.Input((num_samples // spectrogram.frame_step + 1, dim))
