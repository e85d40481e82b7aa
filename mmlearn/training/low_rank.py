"""Low-rank updates of encoders (LoRA): few trainable variables while a phase lasts, none afterwards."""

import gc
import zlib

import keras
import numpy as np
from keras import ops

# Of the layers with a kernel; an embedding or a norm stays as it is.
_WITH_KERNEL = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
)


def add_updates(encoder, rank):
    """Makes an encoder learn through low-rank updates of its kernels alone.

    Each kernel `W (..., out)` of a dense or convolutional layer computes as `W + A B` with
    `A (..., rank)` and `B (rank, out)`; `B` begins at zero, so nothing changes at first. Everything
    else in the encoder is frozen, its batch normalisation as well. Compile the task afterwards.

    Args:
        encoder: an encoder, built and trainable.
        rank: int.

    Raises:
        ValueError: when the encoder has no such layer.

    Reference:
        Hu et al. 2022, "LoRA: Low-rank adaptation of large language models", equation 3, with
        alpha = rank; on all kernels instead of those of queries and values alone, as Dettmers et al.
        2023, "QLoRA", section 4, found to be needed to reach full fine-tuning.
    """
    layers = encoder._flatten_layers()
    updated = [layer for layer in layers if isinstance(layer, _WITH_KERNEL)]
    if not updated:
        raise ValueError(
            f"The encoder {encoder.name!r} has no dense or convolutional layer that low-rank updates "
            "could be added to. Fix: leave `lora_rank` out."
        )
    for layer in layers:
        if not layer._flatten_layers(include_self=False):
            layer.trainable = isinstance(layer, _WITH_KERNEL)
    for variable in encoder.weights:
        variable.trainable = False
    for layer in updated:
        # Drawn from the weights: an interrupted phase begins with the same values again.
        seed = zlib.crc32(np.ascontiguousarray(ops.convert_to_numpy(layer.kernel)).tobytes())
        layer.enable_lora(rank, a_initializer=keras.initializers.HeUniform(seed))


def merge_updates(encoder):
    """Adds the low-rank updates of an encoder to their kernels and removes them.

    Args:
        encoder: an encoder, after `add_updates`.
    """
    for layer in encoder._flatten_layers():
        if not getattr(layer, "lora_enabled", False):
            continue
        # In float32, whatever the layer computes in.
        update = ops.matmul(layer.lora_kernel_a.value, layer.lora_kernel_b.value)
        layer._kernel.assign(layer._kernel.value + update)
        layer.lora_enabled = False
        layer.lora_rank = layer.lora_alpha = None  # they would be in its config
        gc.freeze()  # Keras collects all garbage after each
        try:
            del layer.lora_kernel_a, layer.lora_kernel_b
        finally:
            gc.unfreeze()
