"""Examples that are encoded once and predicted often: with modalities absent, exchanged or replaced."""

import dataclasses
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from mmlearn.models.compiled import compile_function


@dataclass(frozen=True)
class EncodedExamples:
    """What the encoders make of a data set, in memory.

    Attributes:
        labels: array `(num_examples, num_columns)`; int of classes.
        present: dict of modality to bool `(num_examples,)`.
        features: dict of modality to `(num_examples, length, dim)`.
        masks: dict of modality to bool `(num_examples, length)`.
    """

    labels: np.ndarray
    present: dict
    features: dict
    masks: dict

    def __len__(self):
        return len(self.labels)

    @property
    def modalities(self):
        """The modalities, in alphabetical order."""
        return tuple(sorted(self.present))

    @property
    def has_any(self):
        """Which examples have a modality at all: bool `(num_examples,)`."""
        return np.any(list(self.present.values()), axis=0)

    def without(self, modality, rows=slice(None)):
        """The same with a modality declared absent.

        Args:
            modality: str.
            rows: of which examples, by default of all.
        """
        present = self.present[modality].copy()
        present[rows] = False
        return dataclasses.replace(self, present={**self.present, modality: present})

    def only(self, modalities):
        """The same with all modalities but some declared absent."""
        examples = self
        for modality in self.modalities:
            if modality not in modalities:
                examples = examples.without(modality)
        return examples

    def exchanged(self, modality, donors):
        """The same with a modality of other examples.

        Args:
            modality: str.
            donors: int array `(num_examples,)`, the row from which each example gets it.
        """
        columns = ("present", "features", "masks")
        changed = {
            name: {**getattr(self, name), modality: getattr(self, name)[modality][donors]}
            for name in columns
        }
        return dataclasses.replace(self, **changed)

    def replaced(self, features, masks, present=None):
        """The same with other features of some modalities.

        Args:
            features: dict of modality to `(num_examples, length, dim)`.
            masks: dict of modality to bool `(num_examples, length)`.
            present: dict of modality to bool `(num_examples,)`, or `None`: as they are.
        """
        return dataclasses.replace(
            self,
            features={**self.features, **features},
            masks={**self.masks, **masks},
            present={**self.present, **(present or {})},
        )


class EncodedPredictor:
    """Runs the two halves of a task apart: encoders, then the fusion and the main head.

    What is encoded stays in memory, `length * dim` numbers per example and modality: 0.4 MB a photo
    with ResNet50 at 224 px.

    Args:
        task: `MultimodalClassifier` or another `PredictionTask`.
        batch_size: int. Examples per step.

    Reference:
        Of declaring modalities absent: Covert et al., "Explaining by removing", 2021, section 4.
    """

    def __init__(self, task, batch_size=32):
        self.task, self.batch_size = task, batch_size
        backbone, head = task.backbone, task.described[task.main_output]

        def encode(inputs):
            return backbone.encode(inputs, training=False)

        def predict(features, masks, presence):
            alone = task.predict_alone(features, masks, head.name, training=False)
            outputs = backbone.fuse(features, masks, presence, training=False)
            found = {"fused": task.predict_fused(outputs, alone, head.name, training=False)}
            if "modality_weights" in outputs:
                found["modality_weights"] = outputs["modality_weights"]
            return {**alone, **found}

        self._encode = compile_function(encode, backbone)
        self._predict = compile_function(predict, task)

    def encode(self, dataset):
        """Encodes a dataset.

        Args:
            dataset: dataset of `(x, y, ...)` in a fixed order, raw or of model inputs.

        Returns:
            `EncodedExamples`; labels are those of the main head.

        Raises:
            ValueError: when the number of columns of data and task differ.
        """
        task, found = self.task, []
        for x, y in dataset.map(lambda x, y, *_: (task.preprocess_samples(x), y)):
            features, masks = self._encode(x)
            present = {m: x[f"{m}_present"] == 1 for m in task.backbone.modalities}
            found.append(_to_numpy({"f": features, "m": masks, "p": present, "y": y}))
        labels = np.concatenate([batch["y"] for batch in found])
        if labels.shape[1] != len(task.label_names):
            raise ValueError(
                f"The data has {labels.shape[1]} columns of labels, but the model knows "
                f"{len(task.label_names)}. "
                "Fix: data with the labels that the model was trained on."
            )
        labels = labels[:, task.columns[task.main_output]]
        if not task.described[task.main_output].is_regression:
            labels = labels.astype(int)
        return EncodedExamples(labels, *(_join(found, key) for key in ("p", "f", "m")))

    def encode_inputs(self, inputs):
        """Encodes model inputs of some modalities.

        Args:
            inputs: dict of arrays, of the model inputs that the encoders of these modalities name.

        Returns:
            Features and masks, dicts of modality to arrays, for `EncodedExamples.replaced`.
        """
        found = [
            dict(zip("fm", _to_numpy(self._encode(batch)), strict=True))
            for batch in self._batches(inputs)
        ]
        return _join(found, "f"), _join(found, "m")

    def predict(self, examples):
        """Predicts from what is encoded.

        Args:
            examples: `EncodedExamples`. Rows without any modality are predicted too, from nothing.

        Returns:
            A dict of arrays: `fused (num_examples, num_columns)`; the predictions of the modalities'
            own heads, if there are several; and `modality_weights (num_examples, num_modalities)`, if
            the fusion has them.
        """
        presence = {m: values.astype("int32") for m, values in examples.present.items()}
        parts = {"f": examples.features, "m": examples.masks, "p": presence}
        found = [
            _to_numpy(self._predict(part["f"], part["m"], part["p"]))
            for part in self._batches(parts)
        ]
        return {name: np.concatenate([each[name] for each in found]) for name in found[0]}

    def _batches(self, arrays):
        count = len(keras.tree.flatten(arrays)[0])
        for start in range(0, count, self.batch_size):
            rows = slice(start, start + self.batch_size)
            # As tensors: of an array, TensorFlow would trace each value anew.
            yield keras.tree.map_structure(lambda a, rows=rows: tf.constant(a[rows]), arrays)


def _to_numpy(nested):
    return keras.tree.map_structure(np.asarray, nested)


def _join(batches, key):
    return {name: np.concatenate([b[key][name] for b in batches]) for name in batches[0][key]}
