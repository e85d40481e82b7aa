"""Audio: files and waveforms of any length become one, bad ones fail alone, noise is silenced."""

import numpy as np
import pytest
import tensorflow as tf

from mmlearn import encoders
from mmlearn.encoders.audio import GATE_FRAME, AudioConverter, gate_noise
from tests import checks, toys

NUM_SAMPLES = toys.NUM_SAMPLES
OPTIONS = {
    "conv": {"num_mel_bins": 32},
    "conv-mfcc": {"features": "mfcc", "num_mel_bins": 32},
    "gru": {"hidden_dim": 8, "num_mel_bins": 32},
}


def build(name):
    kind = name.partition("-")[0]
    return encoders.get("audio", kind, num_samples=NUM_SAMPLES, **OPTIONS[name])


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")


# --- Converter -----------------------------------------------------------------------------------


def test_files_of_any_length_and_bad_ones():
    short = np.round(32767 * noise(100)) / 32768
    data = [toys.wav(short), b"", toys.wav(noise(2 * NUM_SAMPLES)), b"RIFFgarbage"]
    data += [toys.wav(noise(500))[:300]]
    found = AudioConverter(NUM_SAMPLES).convert(tf.constant(data), "audio")
    assert found["audio_length"].numpy().tolist() == [100, 0, NUM_SAMPLES, 0, 0]
    assert found["audio_present"].numpy().tolist() == [1, 0, 1, 0, 0]
    assert found["audio"].shape == (5, NUM_SAMPLES)
    np.testing.assert_allclose(found["audio"][0, :100], short, atol=1e-4)
    assert not found["audio"][0, 100:].numpy().any()
    assert not found["audio"].numpy()[[1, 3, 4]].any()


def test_files_waveforms_and_examples_are_converted_alike(tmp_path):
    converter = AudioConverter(NUM_SAMPLES, noise_gate_db=-20)
    preprocessor = toys.preprocessor(("audio",))
    waveforms = [noise(NUM_SAMPLES + 7), noise(11, seed=1), np.zeros(0)]
    files = [toys.wav(waveforms[0]), toys.wav(waveforms[1]), b""]
    (tmp_path / "a.wav").write_bytes(files[0])
    decoded = converter.read_raw(files, "audio")
    by_file = converter.convert(tf.constant(files), "audio")
    by_raw = converter.convert(decoded, "audio")
    by_path = converter.read_raw([tmp_path / "a.wav", files[1], None], "audio")
    np.testing.assert_array_equal(by_path, decoded)
    for name, value in by_file.items():
        np.testing.assert_array_equal(by_raw[name], value, name)
    examples = [preprocessor.convert_example({"audio": row[~np.isnan(row)]}) for row in decoded]
    batch = {"audio": tf.stack([example["audio"] for example in examples])}
    for name, value in preprocessor(batch).items():
        np.testing.assert_array_equal(preprocessor({"audio": decoded})[name], value, name)
    np.testing.assert_allclose(
        converter.read_raw(waveforms, "audio"), decoded, atol=1e-4, equal_nan=True
    )


def test_absent_audio_has_the_same_inputs():
    converter = AudioConverter(NUM_SAMPLES)
    absent, there = converter.convert(None, "audio", 2), converter.convert(noise(2, 50), "audio")
    for name, value in absent.items():
        assert (value.shape, value.dtype) == (there[name].shape, there[name].dtype)
        assert not value.numpy().any()


def test_the_gate_silences_frames_below_the_threshold():
    loud, quiet = noise(GATE_FRAME), 0.05 * noise(GATE_FRAME, seed=1)  # about -26 dB of power less
    waveform = np.concatenate([quiet, loud, quiet[:100]])[None]
    gated = gate_noise(waveform, -20.0).numpy()
    np.testing.assert_array_equal(gated[0, GATE_FRAME : 2 * GATE_FRAME], loud)
    assert not gated[0, :GATE_FRAME].any()
    assert not gated[0, 2 * GATE_FRAME :].any()
    np.testing.assert_array_equal(gate_noise(waveform, -60.0), waveform)
    for scale in (0.01, 0.5):  # relative to the loudest sample
        np.testing.assert_allclose(gate_noise(scale * waveform, -20.0), scale * gated, rtol=1e-6)
    assert not gate_noise(np.zeros((1, 1000), "float32"), -20.0).numpy().any()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"garbage", r"audio\[0\] is no readable recording\. Fix:"),
        ("/no/file.wav", r"audio\[0\] cannot be read.*Fix: check the path"),
        (np.zeros((4, 2)), r"audio\[0\] must be samples.*shape \(4, 2\).*Fix"),
        ([0.0, 300.0], r"in \[-1, 1\]\. Received: shape \(2,\), largest 300\. Fix:"),
    ],
)
def test_bad_recordings_are_named(value, message):
    with pytest.raises(ValueError, match=message):
        AudioConverter(NUM_SAMPLES).read_raw([value], "audio")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"num_samples": 0}, "must be positive"), ({"noise_gate_db": 3.0}, "must be below 0.*Fix")],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        AudioConverter(**options)


def test_converter_survives_json():
    checks.check_layer_config(AudioConverter(NUM_SAMPLES, -40.0))


# --- Encoders ------------------------------------------------------------------------------------


LARGE = {"gru": pytest.mark.large, "conv-mfcc": pytest.mark.large}


@pytest.mark.parametrize("name", [pytest.param(n, marks=LARGE.get(n, ())) for n in OPTIONS])
def test_encoder_keeps_the_contract(name):
    lengths = np.full(3, NUM_SAMPLES, "int32")
    inputs = {"audio": noise(3, NUM_SAMPLES), "audio_length": lengths}
    checks.check_encoder(build(name), "audio", inputs)


@pytest.mark.parametrize("name", ["conv", "gru"])
def test_what_is_behind_the_last_sample_has_no_effect(name):
    encoder, waveforms = build(name), noise(2, NUM_SAMPLES)
    inputs = {"audio": waveforms, "audio_length": np.array([NUM_SAMPLES // 2, 0], "int32")}
    features, mask = encoder(inputs)
    mask = np.asarray(mask)
    assert mask[0].sum() == -(-mask.shape[1] // 2)
    assert not mask[1].any()
    other = waveforms.copy()
    other[0, NUM_SAMPLES // 2 :] = 0.5
    np.testing.assert_array_equal(encoder({**inputs, "audio": other})[0], features)
    other[0, 0] = -other[0, 0]
    assert np.abs(encoder({**inputs, "audio": other})[0] - features).max() > 0


def test_unknown_features_are_refused():
    with pytest.raises(ValueError, match=r"Unknown kind of `features` 'mfc'\. Did you mean 'mfcc'"):
        encoders.get("audio", "conv", features="mfc")
