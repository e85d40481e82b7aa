"""Devices, and what several replicas need to stay equal."""

import keras
import tensorflow as tf

from data_prep.names import find

STRATEGIES = ("mirrored", "none")


def make_strategy(name="mirrored", num_replicas=None):
    """Makes the strategy under whose scope models are built and trained.

    Args:
        name: `"mirrored"` (`tf.distribute.MirroredStrategy`) or `"none"`.
        num_replicas: int, or `None` for all GPUs, or one replica where there is no GPU. Where there
            is none, the CPU is split into that many logical devices, which must happen before
            TensorFlow runs its first op.

    Returns:
        A `tf.distribute.Strategy`.

    Raises:
        ValueError: when the devices cannot be had.
    """
    find(name, STRATEGIES, "strategy")
    if name == "none":
        return tf.distribute.get_strategy()
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
