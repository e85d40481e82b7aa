"""Grad-CAM: which regions of an image speak for a class, whatever its encoder is."""

import numpy as np
import tensorflow as tf

from mmlearn.analysis.attention import to_map
from mmlearn.analysis.class_scores import check_gradients, scores_of


def grad_cam(task, x, columns, alone=True):
    """Maps of the regions whose features raise the score of a class.

    With A the encoder's grid features and y the score (see `class_scores.scores_of`): the map is
    ReLU(A a), where a is the mean of dy/dA over the regions. It works on the features that the encoder
    hands over, so with any encoder, a network of your own among them.

    Args:
        task: a task with images and a preprocessor.
        x: dict of raw values, one batch.
        columns: int array `(batch_size,)`, the class of each example.
        alone: bool. Whether the class is scored by the images' own head, rather than by the main
            output, which also sees the text. With images as the only modality, both are one.

    Returns:
        A list of maps `(grid_height, grid_width)`, not negative; of the finest grid, where there are
        several.

    Raises:
        ValueError: when Keras does not run on TensorFlow, or the task has no images.

    Reference:
        Selvaraju et al., "Grad-CAM", 2017, equations 1 and 2.
    """
    check_gradients("Grad-CAM")
    if "images" not in task.backbone.modalities:
        raise ValueError(
            f"Grad-CAM is of images. Received: a model of {', '.join(task.backbone.modalities)}."
        )
    inputs = task.read_inputs(x)
    features, masks = task.backbone.encode(inputs, training=False)
    with tf.GradientTape() as tape:
        tape.watch(features["images"])
        scores = scores_of(task, features, masks, inputs, columns, "images" if alone else None)
        total = tf.reduce_sum(scores)  # examples do not depend on each other
    gradients = tf.cast(tape.gradient(total, features["images"]), "float32").numpy()
    values = np.asarray(tf.cast(features["images"], "float32"))
    grids = task.backbone.encoders["images"].grids
    maps, start = np.zeros(values.shape[:2], np.float32), 0
    for grid in grids:  # each stage has channels of its own
        stage = slice(start, start + grid[0] * grid[1])
        weights = gradients[:, stage].mean(axis=1, keepdims=True)
        maps[:, stage] = np.maximum((weights * values[:, stage]).sum(axis=-1), 0)
        start = stage.stop
    return [to_map(each, grids) for each in maps]
