"""Magnitude pruning: the smallest weights become 0 while a model trains, and stay 0."""

import keras
import numpy as np
from keras import ops

# Of the layers with a kernel; biases, norms and embeddings are a small part of what is computed.
_WITH_KERNEL = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
)


class MagnitudePruning(keras.callbacks.Callback):
    """Sets the smallest weights of each trainable kernel to 0, more and more of them.

    After each step of training the masks are applied, so that what was pruned stays 0 whatever the
    optimizer does. Each kernel loses the same share. Zeros make a file smaller once it is compressed, and
    a model no faster on the usual runtimes, which multiply by them.

    What puts earlier weights back, such as `restore_best` of a phase, brings back theirs: prune in a
    phase of its own, without it. TensorFlow only: with JAX, Keras has the weights elsewhere while it fits.

    Args:
        sparsity: float in (0, 1). Share of each kernel's weights that are 0 at the end.
        begin: float in [0, 1). Share of the training steps before anything is pruned.
        end: float in (begin, 1]. Share of the steps after which nothing more is pruned; the rest lets
            what is left recover.
        every: int. Steps from one choice of weights to the next.
        num_steps: `(epochs, steps_per_epoch)` of the whole training, or `None` for those of `fit`. To be
            named where training is done in several calls, as after an interruption: it then goes on
            where it was, from weights that are pruned already.

    Raises:
        ValueError: when a number is out of its range.

    Reference:
        Zhu and Gupta 2018, "To prune, or not to prune: exploring the efficacy of pruning for model
        compression", equation 1.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    >>> model.compile("sgd", "mse")
    >>> x = np.ones((8, 4), "float32")
    >>> _ = model.fit(x, x, batch_size=2, verbose=0, callbacks=[MagnitudePruning(0.75, every=1)])
    >>> sparsity_of(model)
    0.75
    """

    def __init__(self, sparsity, begin=0.0, end=0.75, every=10, num_steps=None):
        super().__init__()
        if not 0 < sparsity < 1:
            raise ValueError(f"`sparsity` must be in (0, 1). Received: sparsity={sparsity}.")
        if not 0 <= begin < end <= 1:
            raise ValueError(
                "`begin` and `end` must be shares of the steps, `begin` the smaller one. "
                f"Received: begin={begin}, end={end}."
            )
        if every < 1:
            raise ValueError(f"`every` must be at least 1. Received: every={every}.")
        self.sparsity = sparsity
        self.begin = begin
        self.end = end
        self.every = every
        self.num_steps = num_steps
        self.masks = None

    def on_train_begin(self, logs=None):
        if keras.config.backend() != "tensorflow":
            raise ValueError(
                "Pruning needs Keras on TensorFlow. Received: Keras on "
                f"{keras.config.backend()}. Fix: KERAS_BACKEND=tensorflow."
            )
        if not self.params.get("steps"):
            raise ValueError(
                "Pruning needs to know how many steps there are. Fix: pass `steps_per_epoch` to `fit`."
            )
        self.kernels = [kernel for kernel in kernels_of(self.model) if kernel.trainable]
        if not self.kernels:
            raise ValueError("The model has no trainable kernel to prune. Fix: `set_trainable`.")
        epochs, self.steps_per_epoch = self.num_steps or (
            self.params["epochs"],
            self.params["steps"],
        )
        self.total = epochs * self.steps_per_epoch

    def on_epoch_begin(self, epoch, logs=None):
        # An epoch that was interrupted has fewer steps left.
        self.step = (epoch + 1) * self.steps_per_epoch - self.params["steps"]
        if self.masks is None and self.step:
            # What was 0 is the smallest, so the last choice is made again.
            self._choose(self.step - self.step % self.every)

    def _choose(self, step):
        progress = step / self.total
        if progress > self.begin:
            share = sparsity_at(progress, self.sparsity, self.begin, self.end)
            self.masks = [ops.convert_to_tensor(_mask(kernel, share)) for kernel in self.kernels]

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        is_full = self.masks is not None and (self.step - self.every) / self.total >= self.end
        if not is_full and (self.step % self.every == 0 or self.step == self.total):
            self._choose(self.step)
        if self.masks is not None:
            for kernel, mask in zip(self.kernels, self.masks, strict=True):
                kernel.assign(kernel * ops.cast(mask, kernel.dtype))


def sparsity_at(progress, sparsity, begin=0.0, end=1.0):
    """The share of weights that are pruned by now: quick at first, slow at the end.

    Args:
        progress: float in [0, 1]. Share of the training steps that are done.
        sparsity: float. The share at the end.
        begin: float. The progress at which pruning begins.
        end: float. The progress at which the final share is reached.

    Returns:
        float, `sparsity * (1 - (1 - t)**3)`, where t goes from 0 to 1 between `begin` and `end`.

    Example:

    >>> [sparsity_at(progress, 0.8, 0.0, 0.5) for progress in (0.0, 0.25, 0.5, 1.0)]
    [0.0, 0.7000000000000001, 0.8, 0.8]
    """
    share = min(max((progress - begin) / (end - begin), 0.0), 1.0)
    return sparsity * (1 - (1 - share) ** 3)


def kernels_of(model):
    """The kernels of a model's dense and convolutional layers: a list of variables, each once."""
    layers = model._flatten_layers()
    found = {id(layer): layer.kernel for layer in layers if isinstance(layer, _WITH_KERNEL)}
    return list(found.values())


def sparsity_of(model):
    """The share of zeros in the kernels of a model: float in [0, 1]."""
    kernels = [np.asarray(kernel) for kernel in kernels_of(model)]
    return float(sum((k == 0).sum() for k in kernels) / sum(k.size for k in kernels))


def _mask(kernel, share):
    """False for the share of a kernel's weights that are the smallest; zeros come first."""
    sizes = np.abs(np.asarray(ops.cast(kernel, "float32"))).ravel()
    mask = np.ones(sizes.size, bool)
    count = round(share * sizes.size)
    if count:
        mask[np.argpartition(sizes, count - 1)[:count]] = False
    return mask.reshape(kernel.shape)
