"""Devices, hosts, and what several replicas need to stay equal."""

import contextlib
import json
import os
import signal
import threading
from dataclasses import dataclass

import keras
import tensorflow as tf

from data_prep.names import find

STRATEGIES = ("mirrored", "multi_worker", "none")
BACKENDS = ("tensorflow", "jax")  # of Keras, for training
_EXAMPLE = '{"cluster": {"worker": ["a:8888", "b:8888"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Host:
    """The place of this process among those that train together.

    Attributes:
        index: int, from 0. Host 0 is the chief, which writes what is kept.
        count: int.
    """

    index: int = 0
    count: int = 1

    @property
    def is_chief(self):
        """Whether this host writes checkpoints and results."""
        return self.index == 0


def find_host(strategy):
    """Finds the place of this process in `TF_CONFIG`.

    Args:
        strategy: str. The name of a strategy; only `"multi_worker"` has several hosts.

    Returns:
        A `Host`.

    Raises:
        ValueError: when `TF_CONFIG` is missing or not right, or names several hosts that the
            strategy would not use, or Keras runs on another backend than TensorFlow.
    """
    backend = keras.config.backend()
    if strategy == "multi_worker" and backend != "tensorflow":
        raise ValueError(
            "Several hosts train with TensorFlow alone. Received: the strategy 'multi_worker' with "
            f"Keras on {backend}. Fix: KERAS_BACKEND=tensorflow, or --training.strategy mirrored."
        )
    text = os.environ.get("TF_CONFIG", "")
    if strategy == "multi_worker":
        return _read_tf_config(text)
    if strategy == "mirrored" and text and _read_tf_config(text).count > 1:
        # Each host would train a model of its own, and write it over the others'.
        raise ValueError(
            "TF_CONFIG names several hosts, and the strategy 'mirrored' is for one. Fix: "
            "--training.strategy multi_worker, or unset TF_CONFIG."
        )
    return Host()


def _read_tf_config(text):
    def wrong(what):
        return ValueError(f"TF_CONFIG {what}. Received: {text!r}. Fix: set it as in {_EXAMPLE}.")

    if not text:
        raise ValueError(
            "The strategy 'multi_worker' finds the hosts in TF_CONFIG, which is not set. Fix: set it "
            f"on each host, with its own index, as in {_EXAMPLE}."
        )
    try:
        config = json.loads(text)
    except ValueError:
        raise wrong("must be JSON") from None
    parts = [config.get(name) for name in ("cluster", "task")] if isinstance(config, dict) else []
    if not parts or not all(isinstance(part, dict) for part in parts):
        raise wrong("must have a cluster and a task")
    cluster, task = parts
    other = sorted(set(cluster) - {"chief", "worker"})
    if other:
        raise wrong(f"must name hosts of the types chief and worker alone, not {other[0]!r}")
    places, addresses = [], []
    for kind in ("chief", "worker"):  # TensorFlow's order as well
        listed = cluster.get(kind, [])
        if not isinstance(listed, list) or not all(_is_address(item) for item in listed):
            raise wrong(f"must list the hosts of the type {kind} as HOST:PORT")
        places += [(kind, index) for index in range(len(listed))]
        addresses += listed
    if not addresses or len(cluster.get("chief", [])) > 1:
        raise wrong("must name hosts, and one chief at most")
    if len(set(addresses)) < len(addresses):
        raise wrong("must give each host an address of its own")
    place = (task.get("type"), task.get("index"))
    if place not in places:
        known = ", ".join(f"{kind} {index}" for kind, index in places)
        raise wrong(f"must have the type and index of one of its hosts ({known}) as its task")
    return Host(places.index(place), len(places))


def _is_address(value):
    host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    return bool(host) and port.isdigit() and 0 < int(port) < 2**16


def make_strategy(name="mirrored", num_replicas=None):
    """Makes the strategy under whose scope models are built and trained.

    Args:
        name: `"mirrored"` (`tf.distribute.MirroredStrategy`), `"multi_worker"`
            (`tf.distribute.MultiWorkerMirroredStrategy`, which waits for the other hosts) or `"none"`.
        num_replicas: int, or `None` for all GPUs, or one replica where there is no GPU. Where there
            is none, the CPU is split into that many logical devices. Several hosts always use all
            GPUs. Both must happen before TensorFlow runs its first op. With JAX there is one replica.

    Returns:
        A `tf.distribute.Strategy`; with JAX the default one, which does nothing.

    Raises:
        ValueError: when the devices or hosts cannot be had.
    """
    find(name, STRATEGIES, "strategy")
    find(keras.config.backend(), BACKENDS, "Keras backend for training")
    find_host(name)
    if keras.config.backend() == "jax":
        return _make_for_jax(num_replicas)
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "multi_worker":
        return _make_multi_worker(num_replicas)
    gpus = tf.config.list_physical_devices("GPU")
    if num_replicas is None:
        num_replicas = max(len(gpus), 1)
    if num_replicas < 1:
        raise ValueError(f"`num_replicas` must be positive. Received: {num_replicas}.")
    if len(gpus) > 0:
        if num_replicas > len(gpus):
            raise ValueError(
                f"There are {len(gpus)} GPUs for {num_replicas} replicas. Fix: "
                "--training.num-replicas, or hide the GPUs (CUDA_VISIBLE_DEVICES=-1) for replicas "
                "on the CPU."
            )
        return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(num_replicas)])
    (cpu,) = tf.config.list_physical_devices("CPU")
    logical = [tf.config.LogicalDeviceConfiguration()] * num_replicas
    current = tf.config.get_logical_device_configuration(cpu) or logical[:1]
    if len(current) < num_replicas:
        try:
            tf.config.set_logical_device_configuration(cpu, logical)
        except RuntimeError:
            raise ValueError(
                f"{num_replicas} replicas on the CPU must be asked for before TensorFlow starts. "
                "Fix: restart the process, or use the command line."
            ) from None
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(num_replicas)])


def _make_for_jax(num_replicas):
    if num_replicas not in (None, 1):
        raise ValueError(
            f"With JAX, one device trains. Received: num_replicas={num_replicas}. Fix: "
            "--training.num-replicas 1, or KERAS_BACKEND=tensorflow."
        )
    # Read when JAX starts: else sums on a GPU have no fixed order, and repeat but for the last digits.
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_gpu_deterministic_ops" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    with contextlib.suppress(RuntimeError):  # it has started
        # TensorFlow prepares the data alone, and would take all memory of the GPU for it.
        tf.config.set_visible_devices([], "GPU")
    return tf.distribute.get_strategy()


def _make_multi_worker(num_replicas):
    if num_replicas is not None:
        raise ValueError(
            "`num_replicas` is for the strategy 'mirrored'; each of several hosts uses all GPUs it "
            f"sees, or its CPU. Received: {num_replicas}. Fix: leave it out, or hide GPUs "
            "(CUDA_VISIBLE_DEVICES)."
        )
    before = signal.getsignal(signal.SIGTERM)
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise ValueError(
            f"Several hosts must be asked for before TensorFlow starts ({error}). Fix: restart the "
            "process, or use the command line."
        ) from None
    if before is not None and threading.current_thread() is threading.main_thread():
        # TensorFlow takes SIGTERM as a mere notice, and the host would go on until it is killed.
        signal.signal(signal.SIGTERM, before)
    return strategy


def synchronize_batch_norm(encoder):
    """Makes the batch normalisation of an encoder use the statistics of all replicas.

    Otherwise the moving statistics of the replicas drift apart and only those of the first are
    saved: the saved model would not predict what the model in memory does. Call it before the
    encoder is used for the first time; names and weights stay.

    Args:
        encoder: an encoder.

    Returns:
        The same encoder.
    """
    for layer in encoder._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
    return encoder
