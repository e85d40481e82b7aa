"""Several replicas stay one model."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmlearn import encoders
from mmlearn.training import distribution
from tests import toys
from tests.programs import run_program

# Two replicas on the CPU, which must be made before TensorFlow starts: a process of its own.
MIRRORED = """
import json, sys
from mmlearn.training import distribution
strategy = distribution.make_strategy("mirrored", num_replicas=2)
import keras, numpy as np
from mmlearn import MultimodalBackbone, MultimodalClassifier, fusions
from tests import toys
keras.utils.set_random_seed(0)
with strategy.scope():
    encoder = distribution.synchronize_batch_norm(toys.encoder("images"))
    backbone = MultimodalBackbone({"images": encoder}, fusions.get("concat"), hidden_dim=16)
    task = MultimodalClassifier(backbone, 3, preprocessor=toys.preprocessor(("images",)))
    task.compile(keras.optimizers.SGD(0.01))
    x, y = toys.examples(8)
    # Each replica sees images of another brightness.
    images = np.where(np.arange(8)[:, None, None, None] % 4 < 2, x["images"] // 8, x["images"])
    task.fit({"images": images}, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
drift = {
    weight.path: float(np.ptp([copy.numpy() for copy in weight.value.values], axis=0).max())
    for weight in task.weights
}
moved = [np.abs(w.numpy()).max() for w in task.weights if "moving_mean" in w.path]
task.save_to_preset(sys.argv[1])
images = images[:4].astype("uint8")
memory = task.predict({"images": images}, verbose=0)
saved = MultimodalClassifier.from_preset(sys.argv[1]).predict({"images": images}, verbose=0)
print(json.dumps({
    "replicas": strategy.num_replicas_in_sync,
    "drift": drift,
    "moved": float(min(moved)),
    "difference": float(np.abs(memory - saved).max()),
}))
"""


def run_mirrored(folder):
    return run_program("-c", MIRRORED, folder)


@pytest.mark.large
def test_replicas_stay_equal_and_are_what_is_saved(tmp_path):
    report = run_mirrored(tmp_path / "preset")
    assert report["replicas"] == 2
    assert report["moved"] > 1e-4  # BatchNorm did learn statistics
    assert max(report["drift"].values()) == 0.0, report["drift"]
    assert report["difference"] <= 1e-5


def test_synchronized_batch_norm_keeps_weights_and_predictions():
    encoder = toys.encoder("images")
    x = {"images": np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")}
    before, _ = encoder(x)
    weights = encoder.weights
    assert distribution.synchronize_batch_norm(encoder) is encoder
    # The same variables: a second copy would be trained and counted beside the first.
    assert [id(weight) for weight in encoder.weights] == [id(weight) for weight in weights]
    # Another kernel, so all but the last digits.
    np.testing.assert_allclose(encoder(x)[0], before, rtol=1e-4, atol=1e-5)
    norms = [x for x in encoder._flatten_layers() if isinstance(x, keras.layers.BatchNormalization)]
    assert norms
    assert all(norm.get_config()["synchronized"] for norm in norms)


@pytest.mark.parametrize("make", [lambda: encoders.Features(3, 4), lambda: toys.encoder("text")])
def test_encoders_without_batch_norm_stay_as_they_are(make):
    encoder = make()
    config = encoder.get_config()
    assert distribution.synchronize_batch_norm(encoder) is encoder
    assert encoder.get_config() == config


def test_no_strategy_is_the_default_one():
    assert distribution.make_strategy("none").num_replicas_in_sync == 1
    assert distribution.make_strategy("none") is tf.distribute.get_strategy()


def test_an_unknown_strategy_is_refused():
    with pytest.raises(ValueError, match=r"Unknown strategy 'miror'\. Did you mean 'mirrored'"):
        distribution.make_strategy("miror")


def test_no_replicas_are_refused():
    with pytest.raises(ValueError, match=r"`num_replicas` must be positive\. Received: 0"):
        distribution.make_strategy("mirrored", num_replicas=0)


def test_too_many_replicas_after_the_start_are_refused():
    assert tf.constant(1).numpy() == 1  # TensorFlow runs
    count = len(tf.config.list_physical_devices("GPU")) + 64
    with pytest.raises(ValueError, match=rf"{count} replicas on the CPU must be asked for before"):
        distribution.make_strategy("mirrored", num_replicas=count)


def tf_config(**changes):
    config = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}
    return json.dumps({**config, **changes})


def test_the_place_of_a_host_is_read_from_tf_config(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", tf_config())
    assert distribution.find_host("multi_worker") == distribution.Host(1, 2)
    assert not distribution.find_host("multi_worker").is_chief
    cluster = {"chief": ["a:1"], "worker": ["b:2", "c:3"]}
    monkeypatch.setenv("TF_CONFIG", tf_config(cluster=cluster))
    assert distribution.find_host("multi_worker") == distribution.Host(2, 3)
    assert distribution.find_host("none") == distribution.Host(0, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"TF_CONFIG, which is not set\. Fix: set it on each host"),
        ("{", r"TF_CONFIG must be JSON\. Received: '{'\. Fix: set it as in"),
        ("[]", "must have a cluster and a task"),
        (tf_config(cluster={}), "must name hosts"),
        (
            tf_config(cluster={"worker": ["a"]}),
            "must list the hosts of the type worker as HOST:PORT",
        ),
        (
            tf_config(cluster={"worker": ["a:1", "a:1"]}),
            "must give each host an address of its own",
        ),
        (tf_config(cluster={"worker": ["a:1"], "ps": ["b:2"]}), "alone, not 'ps'"),
        (
            tf_config(task={"type": "worker", "index": 2}),
            r"one of its hosts \(worker 0, worker 1\)",
        ),
        (tf_config(task={"type": "worker", "index": "1"}), "type and index of one of its hosts"),
    ],
)
def test_a_wrong_tf_config_is_refused(monkeypatch, text, message):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=message):
        distribution.make_strategy("multi_worker")


def test_several_hosts_need_their_strategy(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", tf_config())
    with pytest.raises(ValueError, match=r"Fix: --training\.strategy multi_worker"):
        distribution.make_strategy("mirrored")
    with pytest.raises(ValueError, match=r"`num_replicas` is for the strategy 'mirrored'"):
        distribution.make_strategy("multi_worker", num_replicas=2)
