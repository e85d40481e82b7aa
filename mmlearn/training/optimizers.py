"""Optimizers with a rate per variable, and the optimizer of a phase."""

import keras
import tensorflow as tf
from keras import ops

from data_prep.names import find
from mmlearn.training.precision import scale_loss


class _RatePerVariable:
    """Rate factors per variable, decay of matrices alone, averages taken when asked.

    Keras has none of the three in a form that is saved: `MultiOptimizer` does not load, and
    `exclude_from_weight_decay` is forgotten.
    """

    def __init__(self, learning_rate, rate_factors=None, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.rate_factors = None if rate_factors is None else tuple(rate_factors)

    def build(self, variables):
        if self.rate_factors is not None and len(self.rate_factors) != len(variables):
            raise ValueError(
                "`rate_factors` must have one number per trainable variable. Received: "
                f"{len(self.rate_factors)} for {len(variables)} variables."
            )
        super().build(variables)

    def update_step(self, gradient, variable, learning_rate):
        rate = ops.cast(learning_rate, variable.dtype)
        if self.rate_factors is not None:
            rate = rate * self.rate_factors[self._get_variable_index(variable)]
        if self.weight_decay and len(variable.shape) > 1:
            self._decay(variable, rate * self.weight_decay)
        super().update_step(gradient, variable, rate)

    def _decay(self, variable, share):
        if keras.config.backend() != "tensorflow":
            self.assign_sub(variable, variable * share)
            return
        # One pass through memory instead of three.
        tf.raw_ops.ResourceApplyGradientDescent(
            var=_handle(variable), alpha=share, delta=tf.convert_to_tensor(variable)
        )

    def _apply_weight_decay(self, variables):
        """Nothing: `update_step` does it, at each variable's own rate."""

    def finalize_variable_values(self, var_list):
        """Nothing: `fit` calls this although the phase may go on. See `take_average`."""

    def take_average(self, variables):
        """Replaces variables by their moving averages, if `use_ema`."""
        super().finalize_variable_values(variables)
        if self.use_ema and keras.config.backend() == "jax":
            # Else each would be one buffer with its average, and `fit` gives buffers away.
            for variable in variables:
                variable.assign(ops.copy(variable.value))

    def get_config(self):
        return {**super().get_config(), "rate_factors": self.rate_factors}


class _FusedAdam:
    """The update of Adam in one TensorFlow kernel per variable.

    Keras composes it of a dozen ops, each of which goes through memory once more: for a model of
    100 M parameters that is what an update costs, and its graph takes long to compile.
    """

    def update_step(self, gradient, variable, learning_rate):
        if self.amsgrad or keras.config.backend() != "tensorflow":
            super().update_step(gradient, variable, learning_rate)
            return
        index, dtype = self._get_variable_index(variable), variable.dtype
        step = tf.cast(self.iterations + 1, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[index]),
            v=_handle(self._velocities[index]),
            beta1_power=tf.pow(tf.cast(self.beta_1, dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, dtype), step),
            lr=tf.cast(learning_rate, dtype),
            beta1=tf.cast(self.beta_1, dtype),
            beta2=tf.cast(self.beta_2, dtype),
            epsilon=tf.cast(self.epsilon, dtype),
            # An embedding's gradient is of few rows; the averages of the others move all the same.
            grad=tf.cast(tf.convert_to_tensor(gradient), dtype),
        )


def _handle(variable):
    """The resource of a variable, on this replica where there are several."""
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle


@keras.saving.register_keras_serializable(package="mmlearn")
class AdamW(_RatePerVariable, _FusedAdam, keras.optimizers.AdamW):
    """AdamW whose rate may differ per variable; biases and norms (rank 1) do not decay.

    Args:
        learning_rate: float or schedule.
        rate_factors: floats, one per trainable variable in their order, or `None` for 1.
        **kwargs: of `keras.optimizers.AdamW`.

    Reference:
        Loshchilov and Hutter 2019, "Decoupled weight decay regularization", algorithm 2.
    """


@keras.saving.register_keras_serializable(package="mmlearn")
class SGD(_RatePerVariable, keras.optimizers.SGD):
    """Gradient descent whose rate may differ per variable; biases and norms do not decay.

    Args:
        learning_rate: float or schedule.
        rate_factors: floats, one per trainable variable in their order, or `None` for 1.
        **kwargs: of `keras.optimizers.SGD`, such as `momentum`.
    """


OPTIMIZERS = {"adamw": AdamW, "sgd": SGD}


def build_optimizer(task, phase, steps_per_epoch):
    """Builds the optimizer of a phase, for the variables that are trainable now.

    The rate follows a cosine with a linear warm-up over the steps of the phase. Where the backbone
    computes in float16, the loss is scaled.

    Args:
        task: a task, after `set_trainable`.
        phase: `TrainingPhase`.
        steps_per_epoch: int.

    Reference:
        Loshchilov and Hutter 2017, "SGDR", equation 5 (cosine).
    """
    cls = find(phase.optimizer, OPTIMIZERS, "optimizer")
    steps = max(phase.epochs * steps_per_epoch, 1)
    warmup_steps = min(round(steps * phase.warmup_fraction), steps - 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup_steps else phase.learning_rate,
        decay_steps=steps - warmup_steps,
        warmup_target=phase.learning_rate if warmup_steps else None,
        warmup_steps=warmup_steps,
    )
    options = {"momentum": 0.9} if phase.optimizer == "sgd" else {}
    if phase.ema_momentum is not None:
        options.update(use_ema=True, ema_momentum=phase.ema_momentum)
    optimizer = cls(
        schedule,
        weight_decay=phase.weight_decay,
        global_clipnorm=phase.clip_norm,
        rate_factors=rate_factors(task, phase.part_rates, phase.layer_decay),
        **options,
    )
    return scale_loss(optimizer, task.backbone.dtype_policy)


def unwrap(optimizer):
    """The optimizer itself, where a loss scale is around it."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def rate_factors(task, part_rates, layer_decay):
    """The rate of each trainable variable, relative to that of the phase.

    Args:
        task: a task.
        part_rates: dict of name (see `part_groups` of the task) to factor; other parts have 1, and a
            part's own name counts before that of a group.
        layer_decay: float in (0, 1]. Each block of an encoder learns that much slower than the one
            above it.

    Returns:
        List of floats in the order of `task.trainable_variables`, or `None` when all are 1.

    Reference:
        Howard and Ruder 2018, "Universal language model fine-tuning", section 3.2 (discriminative
        fine-tuning), with one factor per block.
    """
    groups, rates, factors = task.part_groups, {}, {}
    for name in sorted(part_rates, key=lambda name: groups.get(name) == [name]):
        for part in find(name, groups, "part with a rate"):
            rates[part] = part_rates[name]
    for name, layers in task.parts.items():
        for layer in layers:
            for variable in layer.trainable_variables:
                factors[id(variable)] = rates.get(name, 1.0)
    if layer_decay != 1.0:
        for encoder in task.backbone.encoders.values():
            for depth, block in enumerate(reversed(getattr(encoder, "blocks", []))):
                for layer in block:
                    for variable in layer.trainable_variables:
                        factors[id(variable)] *= layer_decay**depth
    result = [factors[id(variable)] for variable in task.trainable_variables]
    return None if all(factor == 1.0 for factor in result) else result
