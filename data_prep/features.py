"""Keys, shapes and dtypes of an example, and the check of what a pipeline yields.

An example is one raw item: `id` (unique string), `group` (int64 image id), the modality keys
(`images`: uint8 `(height, width, 3)` RGB, `text`: string) and `labels` (float32 `(num_classes,)`).
An absent modality is a missing key, an empty string or empty bytes.
"""

import tensorflow as tf

MODALITIES = ("images", "text", "audio", "series", "table")


def example_spec(num_classes):
    """The element spec of one example.

    Args:
        num_classes: int. The length of the label vector.

    Returns:
        A dict of `tf.TensorSpec`.
    """
    return {
        "id": tf.TensorSpec((), tf.string),
        "group": tf.TensorSpec((), tf.int64),
        "images": tf.TensorSpec((None, None, 3), tf.uint8),
        "text": tf.TensorSpec((), tf.string),
        "labels": tf.TensorSpec((num_classes,), tf.float32),
    }


def check_element_spec(dataset, expected, name):
    """Compares what a dataset yields with what was declared.

    Args:
        dataset: a `tf.data.Dataset` of (nested) dicts and tuples.
        expected: the same structure of `tf.TensorSpec`.
        name: str. What the dataset is, for the message.

    Returns:
        The dataset, unchanged.

    Raises:
        ValueError: for the first component that differs.
    """
    got = _flatten(dataset.element_spec)
    want = _flatten(expected)
    for key in [*want, *(k for k in got if k not in want)]:
        if key not in got or key not in want or not _fits(got[key], want[key]):
            raise ValueError(
                f"The {name} yields a wrong component {key}. "
                f"Expected {want.get(key, 'nothing')}, got {got.get(key, 'nothing')}. "
                "Fix: an augmentation or preprocessor must keep the dtype and rank of what it changes."
            )
    return dataset


def _fits(got, want):
    return got.dtype == want.dtype and want.shape.is_compatible_with(got.shape)


def _flatten(spec, prefix=""):
    if isinstance(spec, dict):
        items = [(f"{prefix}[{key!r}]", value) for key, value in spec.items()]
    elif isinstance(spec, (tuple, list)):
        items = [(f"{prefix}[{i}]", value) for i, value in enumerate(spec)]
    else:
        return {prefix: spec}
    flat = {}
    for key, value in items:
        flat |= _flatten(value, key)
    return flat
