"""How far an exported model is from the one it was made of, and what to ask it with."""

import keras
import numpy as np
import tensorflow as tf

from mmlearn.models.made_inputs import made_inputs

_ABSENT = {
    "O": b"",
    "f": np.nan,
    "i": 0,
}  # by the kind of the array: files and words, numbers, flags


def made_batch(specs, modalities):
    """Makes a batch for a signature: a row with everything, then one without each modality.

    Where the signature does not take a modality, that row has everything as well.

    Args:
        specs: list of `tf.TensorSpec` with names, the inputs of the signature.
        modalities: those of the model.

    Returns:
        A dict of name to array `(num_rows, ...)`, and the names of the rows: `all`,
        `without_images` and so on.

    Example:

    >>> import tensorflow as tf
    >>> specs = [tf.TensorSpec((None,), tf.string, name=name) for name in ("images", "text")]
    >>> inputs, rows = made_batch(specs, ("images", "text"))
    >>> rows, [len(text) for text in inputs["text"]]
    (['all', 'without_images', 'without_text'], [46, 46, 0])
    """
    names = [spec.name for spec in specs]
    rows = ["all", *(f"without_{modality}" for modality in modalities)]
    made = made_inputs({spec.name: spec for spec in specs}, len(rows))
    inputs = {name: np.array(values) for name, values in made.items()}
    for row, modality in enumerate(modalities, 1):
        # Of model inputs the flag alone says what is there.
        flag = [name for name in names if name == f"{modality}_present"]
        for name in flag or [n for n in names if n == modality or n.startswith(f"{modality}_")]:
            inputs[name][row] = _ABSENT[inputs[name].dtype.kind]
    return inputs, rows


def made_requests(task):
    """A batch for each signature of a task, see `made_batch`: dict of name to inputs and rows."""
    return {
        name: made_batch(keras.tree.flatten(specs), task.backbone.modalities)
        for name, (_, specs) in task.signatures().items()
    }


def measure_parity(task, folder, requests):
    """Asks a task and its SavedModel the same, signature by signature.

    Args:
        task: a task, with Keras on TensorFlow.
        folder: str, the SavedModel that was made of it.
        requests: what both are asked, see `made_requests`.

    Returns:
        A dict of signature to a dict of row (`all`, `without_images` and so on) to the largest
        absolute difference of any float, and `unequal`, the names of the other outputs, such as
        captions, that are not the same.
    """
    loaded = tf.saved_model.load(folder)
    return {
        name: _compare(function, specs, loaded.signatures[name], *requests[name])
        for name, (function, specs) in task.signatures().items()
    }


def _compare(function, specs, served, inputs, rows):
    inputs = {name: tf.constant(values) for name, values in inputs.items()}
    in_order = [inputs[spec.name] for spec in keras.tree.flatten(specs)]
    expected = function(*keras.tree.pack_sequence_as(specs, in_order))
    largest, unequal = np.zeros(len(rows)), []
    for name, values in served(**inputs).items():
        first, second = np.asarray(expected[name]), values.numpy()
        if second.dtype.kind == "f":
            apart = np.abs(first - second).reshape(len(rows), -1).max(axis=1)
            largest = np.maximum(largest, apart)
        elif not np.array_equal(first, second):
            unequal.append(name)
    return {**dict(zip(rows, largest.tolist(), strict=True)), "unequal": sorted(unequal)}
