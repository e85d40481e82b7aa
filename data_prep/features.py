"""Keys, shapes and dtypes of an example, and the check of what a pipeline yields.

An example is one raw item: `id` (unique string), `group` (int64 image id), `labels` (float32
`(num_classes,)`) and the modality keys

- `images`: uint8 `(height, width, 3)`, RGB;
- `text`: string;
- `audio`: float32 `(num_samples,)` in [-1, 1], mono, 16 kHz;
- `series`: float32 `(length, num_channels)`, NaN where there is no reading;
- `table`: dict of column name to a float32 or string scalar.

A modality that the data does not have is a missing key. Where one example lacks it, the value is
empty: an image of `(0, 0, 3)`, an empty string, no samples, NaN.
"""

import numpy as np
import tensorflow as tf

MODALITIES = ("images", "text", "audio", "series", "table")


def example_spec(index):
    """The element spec of the examples of an index.

    Args:
        index: `data_prep.sources.source.Examples`.

    Returns:
        A dict of `tf.TensorSpec`, nested for `table`.
    """
    spec = {"id": tf.TensorSpec((), tf.string), "group": tf.TensorSpec((), tf.int64)}
    if index.images is not None:
        spec["images"] = tf.TensorSpec((None, None, 3), tf.uint8)
    if index.captions is not None:
        spec["text"] = tf.TensorSpec((), tf.string)
    if index.audio is not None:
        spec["audio"] = tf.TensorSpec((None,), tf.float32)
    if index.series is not None:
        spec["series"] = tf.TensorSpec(index.series.shape[1:], tf.float32)
    if index.table is not None:
        spec["table"] = {
            name: tf.TensorSpec((), tf.float32 if isinstance(column, np.ndarray) else tf.string)
            for name, column in index.table.items()
        }
    spec["labels"] = tf.TensorSpec((index.labels.shape[1],), tf.float32)
    return spec


def check_element_spec(element_spec, expected, name):
    """Compares what a dataset yields with what was declared.

    Args:
        element_spec: nested dicts and tuples of `tf.TensorSpec` or of tensors.
        expected: the same structure of `tf.TensorSpec`.
        name: str. What the dataset is, for the message.

    Raises:
        ValueError: for the first component that differs.
    """
    got = _flatten(element_spec)
    want = _flatten(expected)
    for key in [*want, *(k for k in got if k not in want)]:
        if key not in got or key not in want or not _fits(got[key], want[key]):
            raise ValueError(
                f"The {name} yields a wrong component {key}. "
                f"Expected {want.get(key, 'nothing')}, got {_spec(got.get(key))}. "
                "Fix: an augmentation or preprocessor must keep the dtype and rank of what it changes."
            )


def _fits(got, want):
    return got.dtype == want.dtype and want.shape.is_compatible_with(got.shape)


def _spec(value):
    return tf.TensorSpec.from_tensor(value) if tf.is_tensor(value) else value or "nothing"


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
