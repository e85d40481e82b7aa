"""Features of frozen encoders, computed once and stored while a phase trains the rest.

For most models `encode` is ten times the work of `fuse` and more. A phase that freezes whole encoders
and does not augment what they see would compute the same features again in each epoch.
"""

import hashlib
import json
import os
import shutil
import time

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from mmlearn.encoders.features import Features
from mmlearn.training.data import SPLITS, SourceData
from mmlearn.training.feature_store import FeatureStore

BYTES_AT_A_TIME = 1 << 27  # of model inputs and features, encoded by all devices, then written
SECONDS_BETWEEN_NOTES = 30  # what is lost when the process is killed
SHARE_OF_DISK = 0.9  # of what is free
_FORMAT = 1  # to be raised where images or texts are converted in another way


class FeatureCache:
    """A folder of stored features, keyed by what they were computed from.

    Args:
        folder: str. Made when it is needed.
        data_print: str. The fingerprint of the data.
        budget_gb: float. Most space on the disk, in units of 1e9 bytes.
        report: function that takes a line of text: what is stored, or what not and why.
        progress: function `(description, total) -> advance`, where `advance(count)` is called as
            values get done.
        reserve_bytes: int. What must stay free on the disk, for checkpoints.
    """

    def __init__(
        self,
        folder,
        data_print,
        budget_gb=20.0,
        report=lambda line: None,
        progress=lambda description, total: lambda count: None,
        reserve_bytes=0,
    ):
        if not budget_gb >= 0:
            raise ValueError(f"`budget_gb` must be at least 0. Received: budget_gb={budget_gb}.")
        self.folder = folder
        self.data_print = data_print
        self.budget_gb = budget_gb
        self.report = report
        self.progress = progress
        self.reserve_bytes = reserve_bytes

    def prepare(self, task, phase, data, only=None):
        """Stores the features of the encoders that a phase leaves as they are.

        Args:
            task: a task, after `set_trainable`.
            phase: the `TrainingPhase`.
            data: the `TrainingData` of the phase.
            only: modalities whose features the phase had stored when it was interrupted; `None` where
                it begins now.

        Returns:
            A task that shares all other weights with the given one, and its `SourceData`; or `None`
            where there is nothing to store.

        Raises:
            ValueError: when those of `only` cannot be stored any more.
        """
        modalities = storable_modalities(task, data) if only is None else only
        stores = {m: self._stores(task, data, m) for m in modalities}
        if (
            phase.epochs < 2 and only is None
        ):  # storing costs about one epoch; but what is there may be used
            stores = {m: own for m, own in stores.items() if all(s.is_whole for s in own.values())}
        kept = {}
        for modality in self._within_budget(stores):
            if self._fill(stores[modality], task, data, modality):
                kept[modality] = stores[modality]
        if only is not None and sorted(kept) != sorted(only):
            raise ValueError(
                f"The interrupted phase {phase.name!r} trained on stored features of "
                f"{' and '.join(only)}, which cannot be stored now. Fix: make room in "
                f"{self.folder!r}, or --training.restart."
            )
        if not kept:
            return None
        converters = {m: {s: StoredFeatures(own[s]) for s in SPLITS} for m, own in kept.items()}
        encoders = {
            m: Features(own["train"].length, own["train"].dim, name=f"{m}_stored")
            for m, own in kept.items()
        }
        backbone = task.backbone.with_encoders(encoders)
        return task.with_backbone(backbone), data.with_stored(converters)

    def _stores(self, task, data, modality):
        """The store of each split."""
        _, length, dim = task.backbone.output["features"][modality].shape
        origin = _origin(task, modality)
        stores = {}
        for split in SPLITS:
            count = data.count_places(split, modality)
            key = hashlib.sha256(json.dumps([origin, self.data_print, split, count]).encode())
            name = f"{modality}-{split}-{key.hexdigest()[:16]}"
            stores[split] = FeatureStore(os.path.join(self.folder, name), count, length, dim)
        return stores

    def _within_budget(self, stores):
        """Yields the modalities there is room for, the largest first; says which there is not."""
        sizes = {m: sum(store.size for store in own.values()) for m, own in stores.items()}
        budget = self.budget_gb * 1e9
        for modality in sorted(sizes, key=sizes.get, reverse=True):
            size = sizes[modality]
            missing = sum(s.size for s in stores[modality].values() if not s.is_whole)
            free = SHARE_OF_DISK * shutil.disk_usage(_existing(self.folder)).free
            free = max(free - self.reserve_bytes, 0)
            if size > budget:
                self._refuse(
                    modality, f"they need {_gb(size)} of {_gb(budget)} (--cache.budget-gb)"
                )
            elif missing > free:
                where = f"{self.folder!r} has {_gb(free)} to spare (--cache.folder)"
                self._refuse(modality, f"they need {_gb(missing)}, and {where}")
            else:
                budget -= size
                yield modality

    def _refuse(self, modality, reason):
        self.report(f"features of {modality} are not stored, but computed in each epoch: {reason}")

    def _fill(self, stores, task, data, modality):
        """Computes what is missing; returns whether it could be stored."""
        missing = [split for split, store in stores.items() if not store.is_whole]
        if not missing:
            return True
        counts = " and ".join(f"{stores[split].count:,} ({split})" for split in missing)
        size = sum(stores[split].size for split in missing)
        self.report(
            f"features of {modality}: {counts} are computed once and stored, {_gb(size)} in "
            f"{self.folder!r}"
        )
        model = _encoding_model(task.backbone.encoders[modality], modality)
        try:
            for split in missing:
                self._encode(stores[split], model, data, modality, split)
        except OSError as error:
            self._refuse(modality, f"{self.folder!r} cannot be written to ({error.strerror})")
        except OverflowError:
            self._refuse(modality, "some are too large for 16 bits, or no numbers")
        for store in stores.values():
            if not store.is_whole:
                shutil.rmtree(store.folder, ignore_errors=True)
        return all(store.is_whole for store in stores.values())

    def _encode(self, store, model, data, modality, split):
        batch_size = data.batch_size
        done = store.begin() // batch_size  # batches
        advance = self.progress(f"features of {modality} ({split})", store.count)
        advance(min(done * batch_size, store.count))
        noted = time.monotonic()
        row = store.length * store.dim * np.dtype("float32").itemsize
        for batches in _chunks(data.values(split, modality, done), row, BYTES_AT_A_TIME):
            places = np.concatenate([found for found, _ in batches])
            x = {k: np.concatenate([x[k] for _, x in batches]) for k in batches[0][1]}
            # Whole batches, by repeating the last row: each row is computed as part of as many.
            rows = np.minimum(
                np.arange(-(-len(places) // batch_size) * batch_size), len(places) - 1
            )
            found = model.predict(
                {name: x[name][rows] for name in model.input}, batch_size=batch_size, verbose=0
            )
            features = np.asarray(found["features"][: len(places)], np.float32)
            store.write(places, features, found["mask"][: len(places)], x[f"{modality}_present"])
            advance(len(places))
            done += len(batches)
            if time.monotonic() - noted > SECONDS_BETWEEN_NOTES:
                store.note(min(done * batch_size, store.count))
                noted = time.monotonic()
        store.note(store.count, is_whole=True)


class StoredFeatures:
    """The converter of stored features: from places to the model inputs of `encoders.Features`.

    Args:
        store: `FeatureStore`.
    """

    def __init__(self, store):
        self.length, self.dim = store.length, store.dim
        self._columns = store.read()

    def convert_example(self, value, modality):
        """Returns `{modality: value}`: places can be batched as they are."""
        return {modality: value}

    def convert(self, values, modality, batch_size=None):
        """Looks up a batch.

        Args:
            values: int64 tensor `(batch_size,)`, the places.
            modality: str. Prefix of the names of the model inputs.
            batch_size: not needed.

        Returns:
            A dict of model inputs; the features are float16.
        """
        features, mask, present = tf.numpy_function(
            lambda places: tuple(column[places] for column in self._columns.values()),
            [values],
            (tf.float16, tf.uint8, tf.uint8),
            stateful=False,  # or tf.data would read one batch after the other
        )
        return {
            f"{modality}_features": tf.ensure_shape(features, (None, self.length, self.dim)),
            f"{modality}_mask": tf.cast(tf.ensure_shape(mask, (None, self.length)), tf.int32),
            f"{modality}_present": tf.cast(tf.ensure_shape(present, (None,)), tf.int32),
        }

    def convert_with_status(self, values, modality, batch_size=None):
        """Like `convert`: what is stored are no files."""
        return self.convert(values, modality, batch_size), None


def storable_modalities(task, data):
    """The modalities whose encoders are frozen and see the same in each epoch.

    Args:
        task: a task, after `set_trainable`.
        data: `TrainingData` of the phase.

    Returns:
        A list of str.
    """
    if not isinstance(data, SourceData):
        return []
    fixed = data.fixed_modalities()
    shapes = {m: output.shape for m, output in task.backbone.output["features"].items()}
    return [
        modality
        for modality, encoder in task.backbone.encoders.items()
        if modality in fixed and not encoder.trainable and None not in shapes[modality][1:]
    ]


def _encoding_model(encoder, modality):
    inputs = encoder.model_inputs(modality)
    features, mask = encoder(inputs)
    return keras.Model(inputs, {"features": features, "mask": ops.cast(mask, "uint8")})


def _origin(task, modality):
    """A hash of all that makes features of raw values: converter, encoder, weights, precision."""
    encoder, converter = task.backbone.encoders[modality], task.preprocessor.converters[modality]
    tokenizer = getattr(converter, "tokenizer", None)
    parts = [
        [_FORMAT, tf.__version__, keras.__version__, keras.config.backend()],
        keras.saving.serialize_keras_object(converter),
        keras.saving.serialize_keras_object(encoder),
        tokenizer.get_vocabulary() if tokenizer else [],  # it is not in the config
    ]
    digest = hashlib.sha256(json.dumps(parts).encode())
    for variable in encoder.weights:  # not the states of random numbers
        digest.update(np.ascontiguousarray(ops.convert_to_numpy(variable)).tobytes())
    return digest.hexdigest()


def _chunks(batches, feature_bytes, limit):
    """Lists of batches `(places, model inputs)` of about `limit` bytes with their features."""
    chunk, size = [], 0
    for places, x in batches:
        chunk.append((places, x))
        size += len(places) * feature_bytes + sum(value.nbytes for value in x.values())
        if size >= limit:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _existing(folder):
    """The folder, or the nearest one above it that exists."""
    folder = os.path.abspath(folder)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


def _gb(size):
    return f"{size / 1e9:.2f} GB"
