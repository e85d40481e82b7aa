"""A training step in parts whose examples are still compared with the whole batch."""

import keras
import tensorflow as tf
from keras import tree

from mmlearn.models import steps


def train_step(task, data):
    """Updates a retriever by one batch that is worked off in `task.micro_batches` parts.

    The first pass embeds all parts and keeps no activations. From the embeddings of the whole batch, on all
    replicas, follow the contrastive loss and its gradient with respect to each embedding. The second
    pass embeds the parts again, and hands each its share of this gradient. The update is that of the
    whole batch, but for batch normalisation, which sees the parts, and for mismatched pairs, which are
    drawn within them.

    Args:
        task: a compiled `ImageTextRetriever`.
        data: `(x, y, sample_weight)` of this replica, maybe of no rows.

    Returns:
        The metrics so far, a dict.

    Reference:
        Gao et al. 2021, "Scaling deep contrastive learning batch size under memory limited setup",
        section 3 (gradient cache).
    """
    x, y, sample_weight = data
    rows, count = tf.shape(tree.flatten(x)[0])[0], task.micro_batches
    filled, mean_rows = steps.fill_empty_share(data, rows)
    filled_x, _, filled_weight = filled
    lent_or_rows = tf.maximum(rows, 1)
    parts = [(lent_or_rows * n // count, lent_or_rows * (n + 1) // count) for n in range(count)]
    variables = task.trainable_variables

    # Both passes must draw the same dropout, and count in the statistics of normalisation once.
    state = _changing(task)
    before = [tf.identity(variable) for variable in state]
    embeddings = [_embed(task, _cut(filled_x, *part))[: part[1] - part[0]] for part in parts]
    embeddings = tf.concat(embeddings, axis=0)
    for variable, value in zip(state, before, strict=True):
        variable.assign(value)

    counts = tf.cast(rows > 0, tf.float32)  # a row that was lent does not
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        contrast = _contrast(task, embeddings, filled_x)
        total = tf.reduce_sum(tf.cast(filled_weight["contrast"], tf.float32) * contrast)
        num_replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        total *= task.own_loss_weights["contrast"] * counts / (mean_rows * num_replicas)
        total = task.optimizer.scale_loss(total)
    of_embeddings, *gradients = tape.gradient(total, [embeddings, *variables])

    predictions = []
    for start, end in parts:
        part_x, part_y, part_weight = _cut(filled, start, end)
        share = tf.cast(end - start, tf.float32) * counts * count / mean_rows
        with tf.GradientTape() as tape:
            y_pred = task(part_x, training=True)
            both = tf.concat([y_pred["image_embedding"], y_pred["text_embedding"]], axis=1)
            handed = tf.reduce_sum(both[: end - start] * of_embeddings[start:end])
            y_pred["contrast"] = _cut(contrast, start, end)  # of the whole batch
            weights = steps.weigh(part_weight, share)
            loss = task.compute_loss(part_x, part_y, y_pred, weights, training=True)
            objective = task.optimizer.scale_loss(loss / count) + handed
        steps.track(task, loss + steps.hidden_nan(task, part_x), mean_rows / count)
        gradients = steps.add(gradients, tape.gradient(objective, variables))
        predictions.append(steps.cut(y_pred, 0, end - start))
    y_pred = tree.map_structure(lambda *own: tf.concat(own, axis=0)[:rows], *predictions)
    gradients = steps.clip_gradients(gradients, task.optimizer)
    task.optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return task.compute_metrics(x, y, y_pred, sample_weight=sample_weight)


def _cut(values, start, end):
    # A part of no rows takes one, which the caller gives no weight.
    return steps.cut(values, start, tf.maximum(end, start + 1))


def _changing(task):
    """The variables that a forward pass changes: seeds, and statistics of batch normalisation."""
    known = {id(variable) for variable in task.weights}
    layers = [task.backbone, *(task.heads[f"{m}_dropout"] for m in task.backbone.modalities)]
    found = [v for layer in layers for v in layer.variables if id(v) not in known]
    for layer in task.backbone._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            found += [layer.moving_mean, layer.moving_variance]
    return found


def _embed(task, x):
    features, masks = task.backbone.encode(x, training=True)
    embeddings = task.embed_features(features, masks, training=True)
    return tf.concat([embeddings["images"], embeddings["text"]], axis=1)


def _contrast(task, embeddings, x):
    present = [tf.cast(x[f"{m}_present"], tf.bool) for m in ("images", "text")]
    images, texts = tf.split(embeddings, 2, axis=1)
    return task.heads["contrast"](images, texts, x["group"], tf.logical_and(*present))
