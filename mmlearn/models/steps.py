"""Steps of training and validation that mean the same on one device and on several.

With TensorFlow; other Keras backends take the steps of Keras.
"""

import keras
import tensorflow as tf
from keras import tree


def train_step(task, data):
    """Updates a task by one batch; the `train_step` that `fit` runs on each replica.

    Differs from Keras in three ways: unequal shares of a batch count by their rows, gradients are
    clipped after they are summed, and a batch may be worked off in parts to save memory
    (`task.micro_batches`), whose mean gradient makes one update.

    Args:
        task: a compiled task.
        data: `(x, y, sample_weight)` of this replica, maybe of no rows.

    Returns:
        The metrics so far, a dict.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    rows = tf.shape(tree.flatten(x)[0])[0]
    num_parts = task.micro_batches
    filled, mean_rows = fill_empty_share((x, y, sample_weight), rows)
    mean_rows = mean_rows / num_parts
    variables = task.trainable_variables
    gradients, predictions = None, []
    for part in range(num_parts):
        start, end = rows * part // num_parts, rows * (part + 1) // num_parts
        # As for replicas: a part of no rows takes one that counts nothing.
        parts = filled if num_parts == 1 else cut(filled, start, tf.maximum(end, start + 1))
        part_x, part_y, part_weight = parts
        # Keras averages the means of the shares as if they were equal, in the gradient and in the
        # metrics of the losses. Weights are the one place that mends both.
        part_weight = weigh(part_weight, tf.cast(end - start, tf.float32) / mean_rows)
        with tf.GradientTape() as tape:
            y_pred = task(part_x, training=True)
            loss = task.compute_loss(part_x, part_y, y_pred, part_weight, training=True)
            objective = task.optimizer.scale_loss(loss / num_parts)
        track(task, loss + hidden_nan(task, part_x), mean_rows)
        found = tape.gradient(objective, variables)
        gradients = found if gradients is None else add(gradients, found)
        predictions.append(cut(y_pred, 0, end - start))  # without a row that was lent
    y_pred = tree.map_structure(lambda *parts: tf.concat(parts, axis=0), *predictions)
    gradients = clip_gradients(gradients, task.optimizer)
    task.optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return task.compute_metrics(x, y, y_pred, sample_weight=sample_weight)


def check_micro_batches(count):
    """Checks the number of parts into which a batch is to be divided.

    Args:
        count: int.

    Raises:
        ValueError: when it is not positive, or more than 1 with another Keras backend.
    """
    if count < 1:
        raise ValueError(f"`micro_batches` must be positive. Received: {count}.")
    backend = keras.config.backend()
    if count > 1 and backend != "tensorflow":
        raise ValueError(
            f"`micro_batches` needs TensorFlow. Received: micro_batches={count} with Keras on "
            f"{backend}. Fix: 1 and a smaller batch, or KERAS_BACKEND=tensorflow."
        )


def test_step(task, data):
    """Scores one batch; the `test_step` that `fit` and `evaluate` run on each replica.

    Args:
        task: a compiled task.
        data: `(x, y, sample_weight)` of this replica, maybe of no rows.

    Returns:
        The metrics so far, a dict.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    rows = tf.shape(tree.flatten(x)[0])[0]
    filled, mean_rows = fill_empty_share((x, y, sample_weight), rows)
    filled_x, filled_y, weight = filled
    weight = weigh(weight, tf.cast(rows, tf.float32) / mean_rows)
    y_pred = task(filled_x, training=False)
    loss = task.compute_loss(filled_x, filled_y, y_pred, weight, training=False)
    track(task, loss, mean_rows)
    y_pred = cut(y_pred, 0, rows)  # without a row that was lent
    return task.compute_metrics(x, y, y_pred, sample_weight=sample_weight)


def track(task, loss, mean_rows):
    """Notes the loss of a part of a batch in the metrics of a task."""
    # Keras has divided the loss by the replicas, since it sums their gradients.
    num_replicas = tf.distribute.get_replica_context().num_replicas_in_sync
    tracker = next(metric for metric in task.metrics if metric.name == "loss")
    tracker.update_state(loss * num_replicas, sample_weight=mean_rows)


def hidden_nan(task, x):
    """NaN when the inputs or the statistics of batch normalisation hold one, else 0.

    The loss alone does not tell: on a CPU, TensorFlow fuses batch normalisation with the ReLU that
    follows, and that kernel turns NaN into 0.
    """
    values = [v for v in tree.flatten(x) if v.dtype.is_floating]
    for layer in task._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            values += [layer.moving_mean, layer.moving_variance]
    return 0.0 * tf.add_n([tf.reduce_sum(tf.cast(v, tf.float32)) for v in values] or [0.0])


def cut(data, start, end):
    """Rows of nested tensors, or `None`."""
    return tree.map_structure(lambda v: None if v is None else v[start:end], data)


def weigh(sample_weight, factor):
    """Nested sample weights times a factor; `None` is 1."""
    return tree.map_structure(
        lambda w: factor if w is None else tf.cast(w, tf.float32) * factor, sample_weight
    )


def add(first, second):
    """Adds two lists of gradients, of which some are `None`."""
    return [
        tf.add_n([a, b]) if a is not None and b is not None else (b if a is None else a)
        for a, b in zip(first, second, strict=True)
    ]


def fill_empty_share(data, num_rows):
    """Lends a replica without rows the first row of the fullest one.

    The replicas cannot divide every batch: of one row, all but one get nothing, and TensorFlow
    cannot compute with nothing. A convolution of no images by oneDNN (any x86 CPU) has the shape of
    its input, and the sums of the replicas no longer fit together.

    The caller gives the lent row no weight, so only batch normalisation sees it. In a batch of one
    row all replicas hold that row, and its statistics stay as they are. From three replicas on, a
    batch of more rows that leaves a replica empty counts its first row more often in them.

    Args:
        data: nested tensors of this replica with the same number of rows, maybe 0, or `None`.
        num_rows: scalar int tensor, that number.

    Returns:
        The data, of one row if it had none, and the mean number of rows of a replica, a float32.
    """
    replica = tf.distribute.get_replica_context()
    num_replicas = replica.num_replicas_in_sync
    if num_replicas == 1:
        return data, tf.cast(num_rows, tf.float32)
    place = tf.one_hot(replica.replica_id_in_sync_group, num_replicas)
    counts = replica.all_reduce(tf.distribute.ReduceOp.SUM, place * tf.cast(num_rows, tf.float32))
    lends = place[tf.argmax(counts)]  # 1 on the lender, 0 elsewhere
    missing = 1 - tf.minimum(num_rows, 1)

    def first_row(values):
        # In float32, since the replicas sum a list only if all of it is of the kind for devices.
        row = tf.cast(values[:1], tf.float32) * lends
        return tf.pad(row, [[0, missing], *[[0, 0]] * (values.shape.rank - 1)])

    leaves = [values for values in tree.flatten(data) if values is not None]
    lent = iter(replica.all_reduce(tf.distribute.ReduceOp.SUM, [first_row(v) for v in leaves]))

    def fill(values):
        if values is None:
            return None
        return tf.concat([values, tf.cast(next(lent)[:missing], values.dtype)], axis=0)

    return tree.map_structure(fill, data), tf.reduce_mean(counts)


def all_rows(values):
    """Joins the rows of all replicas, for what compares the examples of a batch with each other.

    A gradient finds its way back to the replica that the row is from.

    Args:
        values: tensor `(rows, ...)` of this replica.

    Returns:
        A tensor `(all rows, ...)`, the same on each replica; with one replica, the values.
    """
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return values
    return replica.all_gather(values, axis=0)


def number_rows(values):
    """Numbers the rows of this replica so that no row of another one has the same number.

    Args:
        values: tensor `(rows, ...)`, of less than a million rows.

    Returns:
        int32 tensor `(rows,)`.
    """
    numbers = keras.ops.arange(keras.ops.shape(values)[0], dtype="int32")
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return numbers
    return numbers + replica.replica_id_in_sync_group * 2**20


def clip_gradients(gradients, optimizer):
    """Clips the sum of the replicas' gradients, as the optimizer should on one device.

    Keras clips on each replica and sums afterwards, and takes the norm of an embedding's gradient
    token by token, however often a token comes. Here everything is summed first; the result is
    divided among the replicas, so that the optimizer, which sums again, leaves it as it is.

    Args:
        gradients: list of tensors, `tf.IndexedSlices` or `None`.
        optimizer: a `keras.optimizers.Optimizer`, maybe with a loss scale.

    Returns:
        The list of gradients for `optimizer.apply`.

    Raises:
        ValueError: when the optimizer accumulates gradients, which Keras does per replica.
    """
    replica = tf.distribute.get_replica_context()
    num_replicas = replica.num_replicas_in_sync
    scale = 1.0  # of the gradients
    is_scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if is_scaled:
        scale = optimizer.dynamic_scale.value if optimizer.built else optimizer.initial_scale
        optimizer = optimizer.inner_optimizer
    elif optimizer.loss_scale_factor:
        scale = optimizer.loss_scale_factor
    if num_replicas > 1 and optimizer.gradient_accumulation_steps:
        raise ValueError(
            "`gradient_accumulation_steps` of a Keras optimizer does not work on several replicas. "
            "Fix: `compile(micro_batches=...)`, which accumulates within a step."
        )
    clips = optimizer.clipnorm or optimizer.global_clipnorm or optimizer.clipvalue
    # A dynamic loss scale looks at the gradients of the first replica alone: all must see the sum.
    if not clips and not (is_scaled and num_replicas > 1):
        return gradients
    places = [place for place, gradient in enumerate(gradients) if gradient is not None]
    total = [gradients[place] for place in places]
    if num_replicas > 1:
        total = replica.all_reduce(tf.distribute.ReduceOp.SUM, total)
    total = [_sum_rows(gradient) for gradient in total]
    if optimizer.clipnorm:
        clipped = [tf.clip_by_norm(g, scale * optimizer.clipnorm) for g in total]
    elif optimizer.global_clipnorm:
        clipped, _ = tf.clip_by_global_norm(total, scale * optimizer.global_clipnorm)
    elif not optimizer.clipvalue:
        clipped = total
    else:
        limit = scale * optimizer.clipvalue
        clipped = [tf.clip_by_value(g, -limit, limit) for g in total]
    result = list(gradients)
    for place, gradient in zip(places, clipped, strict=True):
        result[place] = tf.math.scalar_mul(1.0 / num_replicas, gradient)
    return result


def _sum_rows(gradient):
    """Adds up what an embedding's gradient holds for the same row several times."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows, places = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, places, tf.size(rows))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)
