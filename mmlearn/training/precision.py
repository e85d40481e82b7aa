"""In which precision a run computes. Weights and optimizer are float32 in all of them."""

import keras
import tensorflow as tf

from data_prep.names import find

PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
# What /proc/cpuinfo calls 16-bit arithmetic. Without it, oneDNN emulates bfloat16 slowly.
BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16")
_BFLOAT16_CAPABILITY, _FLOAT16_CAPABILITY = (8, 0), (7, 0)  # Ampere; Volta, the first tensor cores


def choose(name, gpus, cpu_flags, backend="tensorflow"):
    """Chooses the dtype policy of a run.

    Args:
        name: one of `PRECISIONS`; `"auto"` takes the fastest that the devices compute in hardware.
        gpus: compute capabilities of the GPUs in use, such as `[(8, 0)]`; the weakest decides.
        cpu_flags: collection of str, see `find_cpu_flags`. Only looked at without a GPU.
        backend: str, that of Keras. Matrices and convolutions of XLA, which is JAX's compiler, were
            measured slower in bfloat16 than in float32 on a CPU with `avx512_bf16`.

    Returns:
        The name of a Keras dtype policy, and why it was chosen, for people.

    Raises:
        ValueError: when the name is unknown.

    Example:

    >>> choose("auto", gpus=[(9, 0)], cpu_flags=())
    ('mixed_bfloat16', 'the GPU computes in bfloat16')
    """
    if find(name, PRECISIONS, "precision") != "auto":
        return name, "as asked"
    if gpus:
        if min(gpus) >= _BFLOAT16_CAPABILITY:
            return "mixed_bfloat16", "the GPU computes in bfloat16"
        if min(gpus) >= _FLOAT16_CAPABILITY:
            return "mixed_float16", "the GPU computes in float16, not in bfloat16"
        return "float32", "the GPU is no faster in 16 bits"
    if backend == "jax":
        return "float32", "JAX is no faster in 16 bits on a CPU"
    for flag in BFLOAT16_FLAGS:
        if flag in cpu_flags:
            return "mixed_bfloat16", f"the CPU computes in bfloat16 ({flag})"
    return "float32", "the CPU does not compute in 16 bits"


def find_gpus():
    """Returns the compute capability of each GPU, `(major, minor)`; `(0, 0)` where unknown.

    With JAX, of the one that it computes on.
    """
    if keras.config.backend() == "jax":
        import jax

        gpus = [device for device in jax.devices()[:1] if device.platform == "gpu"]
        return [_read_capability(getattr(device, "compute_capability", "")) for device in gpus]
    details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
    return [detail.get("compute_capability", (0, 0)) for detail in details]


def _read_capability(text):
    """`"9.0"` as `(9, 0)`; AMD's names of architectures are not known here."""
    parts = text.split(".")
    return tuple(map(int, parts)) if len(parts) == 2 and text.replace(".", "").isdigit() else (0, 0)


def find_cpu_flags():
    """Returns the instruction sets of the CPU as Linux names them, empty on other systems."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = [line for line in file if line.startswith("flags")]
    except OSError:
        return frozenset()
    return frozenset(lines[0].partition(":")[2].split()) if lines else frozenset()


def scale_loss(optimizer, policy):
    """Wraps an optimizer in a loss scale where gradients would underflow: in float16.

    Args:
        optimizer: a `keras.optimizers.Optimizer`.
        policy: a `keras.DTypePolicy`.
    """
    if policy.compute_dtype == "float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer
