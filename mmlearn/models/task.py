"""What all tasks share: raw data in, phases by part names, presets, export."""

import functools

import keras
import keras_hub
import numpy as np
import tensorflow as tf

from data_prep.names import find
from mmlearn.models import formats, signatures, steps
from mmlearn.models.extension import split_fusion, with_modality
from mmlearn.models.multimodal_backbone import MultimodalBackbone
from mmlearn.models.multimodal_preprocessor import MultimodalPreprocessor, num_rows
from mmlearn.models.presets import CheckedPreset


class MultimodalTask(CheckedPreset, keras_hub.models.Task):
    """Base class of the tasks: a backbone, a head, a preprocessor.

    A subclass sets `self.backbone`, `self.preprocessor` and `self.heads` (dict of name to layer),
    builds the functional model with named outputs, the main one first, and defines
    `targets(y)`; `with_backbone(backbone)`, a task on another backbone that shares the heads;
    `losses_named(name, label_smoothing)`, what phases compile it with; and a `compile` that takes
    `loss_weights` by name or group, `learn_loss_weights` and `micro_batches`.
    """

    backbone_cls = MultimodalBackbone
    preprocessor_cls = MultimodalPreprocessor
    main_output = "classes"
    micro_batches = 1
    also_served = ()  # the names of what `serve_also` returns
    _run_explainer = None

    # --- Parts -------------------------------------------------------------------------------

    @property
    def parts(self):
        """What a training phase can freeze: dict of part name to list of layers.

        What `with_modality` added is apart: `"{modality}_fusion"` and `"{modality}_head"`.
        """
        backbone = self.backbone
        fusion, added = split_fusion(backbone.fusion)
        parts = {f"{m}_encoder": [encoder] for m, encoder in backbone.encoders.items()}
        if fusion is not None:
            parts["fusion"] = [fusion]
        for modality in backbone.projections:
            own = [backbone.projections[modality], backbone.missing_tokens[modality]]
            if modality in added:
                parts[f"{modality}_fusion"] = [*added[modality], *own]
            else:
                parts["fusion"] += own
        parts["head"] = [layer for name, layer in self.heads.items() if not self.is_auxiliary(name)]
        for name, layer in self.heads.items():
            if self.is_auxiliary(name):
                modality = self.modality_of(name)
                part = f"{modality}_head" if modality in added else "auxiliary_heads"
                parts.setdefault(part, []).append(layer)
        return parts

    def is_auxiliary(self, output):
        """Whether an output (or head) sees one modality alone, such as `images_classes`."""
        return self.modality_of(output) is not None

    def modality_of(self, output):
        """The one modality that an output (or head) sees, or `None`."""
        modality = output.removesuffix(f"_{self.main_output}")
        return modality if modality in self.backbone.modalities else None

    def needed(self, output):
        """The modalities without which an example says nothing about an output: a tuple of names."""
        modality = self.modality_of(output)
        return () if modality is None else (modality,)

    @property
    def part_groups(self):
        """The names that stand for parts, each with the list of these.

        A part's own name is one. `"encoders"` and `"all"` stand for several; `"fusion"` and
        `"auxiliary_heads"` also for what was added to them; and the name of an added modality for all
        that is its own.
        """
        parts = self.parts
        groups = {"all": list(parts), "encoders": [n for n in parts if n.endswith("_encoder")]}
        groups.update({name: [name] for name in parts})
        added = split_fusion(self.backbone.fusion)[1]
        for modality in added:
            own = [f"{modality}_{what}" for what in ("encoder", "fusion", "head")]
            groups[modality] = own
            groups["fusion"] = [*groups.get("fusion", []), own[1]]
            groups["auxiliary_heads"] = [*groups.get("auxiliary_heads", []), own[2]]
            if len(self.backbone.modalities) - len(added) == 1:  # that one's own head is new, too
                groups[modality] = [*own, "auxiliary_heads"]
        # With one modality, the way from its encoder to the output is the modality's own head.
        groups.setdefault("auxiliary_heads", [n for n in ("fusion", "head") if n in parts])
        return groups

    def set_trainable(self, names, blocks=0):
        """Makes exactly these parts trainable. Compile again afterwards.

        Args:
            names: iterable of names of `part_groups`.
            blocks: int. The top blocks of the other encoders that are trainable as well.

        Raises:
            ValueError: when a name is unknown, or an encoder has not that many blocks.
        """
        parts, groups = self.parts, self.part_groups
        chosen = {part for name in names for part in find(name, groups, "part")}
        for name, part_layers in parts.items():
            for layer in part_layers:
                _set_trainable(layer, name in chosen)
        for modality, encoder in self.backbone.encoders.items():
            if blocks and f"{modality}_encoder" not in chosen:
                _thaw(modality, encoder, blocks)

    # --- Raw data ----------------------------------------------------------------------------

    def preprocess_samples(self, x, y=None, sample_weight=None):
        """Turns one batch, raw or not, into model inputs, targets and weights per output."""
        is_raw = not all(f"{m}_present" in x for m in self.backbone.modalities)
        if is_raw and self.preprocessor is not None:
            x = self.preprocessor(x)
        x = {name: x[name] for name in self.input}  # extra keys would raise a structure warning
        if y is not None and not isinstance(y, dict):
            weights = self._output_weights(x, sample_weight)
            y, sample_weight = self.targets(y), weights
        return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)

    def targets(self, y):
        """Returns the target of each output, from the labels `y`."""
        raise TypeError(f"{type(self).__name__} must define `targets(y)`.")

    def with_backbone(self, backbone):
        """Returns a task on another backbone that shares the heads with this one."""
        raise TypeError(f"{type(self).__name__} must define `with_backbone(backbone)`.")

    def losses_named(self, name="auto", label_smoothing=0.0):
        """Makes the loss of each output, by the name that a phase gives it."""
        raise TypeError(f"{type(self).__name__} must define `losses_named(name, label_smoothing)`.")

    def learn_loss_weights(self, learn):
        """Says whether losses are weighted by variances that are learned; a task may have none."""
        if learn:
            raise ValueError(
                f"{type(self).__name__} has no loss weights to learn. Fix: leave `learn_loss_weights` "
                "out of the phase."
            )

    def _output_weights(self, x, sample_weight):
        """The weights of each output: what an example lacks can teach it nothing."""
        presence = {m: tf.cast(x[f"{m}_present"], "float32") for m in self.backbone.modalities}
        base = tf.ones_like(next(iter(presence.values())))
        if sample_weight is not None:
            base = tf.cast(sample_weight, "float32")
        return {
            name: functools.reduce(tf.multiply, (presence[m] for m in self.needed(name)), base)
            for name in self.output
        }

    def _check_rows(self, has_value):
        """Checks that every row has a modality: there is nothing to learn from, or to predict."""
        empty = np.flatnonzero(~has_value)
        if len(empty):
            raise ValueError(
                f"Each row of `x` must have one of {', '.join(self.backbone.modalities)}. Received: row "
                f"{empty[0]} without any ({len(empty)} of {len(has_value)} rows). Fix: leave it out."
            )

    def _check_inputs(self, x):
        present = [np.asarray(x[f"{m}_present"]) == 1 for m in self.backbone.modalities]
        self._check_rows(np.any(present, axis=0))

    def _raw_dataset(self, x, y=None, sample_weight=None, batch_size=None, shuffle=False):
        """Makes raw arrays and lists a batched dataset; leaves anything else as it is."""
        if not isinstance(x, dict):
            return x
        if not all(f"{m}_present" in x for m in self.backbone.modalities):
            if self.preprocessor is None:
                raise ValueError(
                    "Raw examples need a preprocessor. Fix: pass `preprocessor` to "
                    f"{type(self).__name__}, or model inputs."
                )
            x = self.preprocessor.read_raw(x)
            self._check_rows(self.preprocessor.has_value(x, self.backbone.modalities))
        else:
            self._check_inputs(x)
        dataset = tf.data.Dataset.from_tensor_slices(
            keras.utils.pack_x_y_sample_weight(x, y, sample_weight)
        )
        if shuffle:
            # A seed drawn from numpy's generator follows `keras.utils.set_random_seed`.
            dataset = dataset.shuffle(len(dataset), seed=np.random.randint(2**31))
        return dataset.batch(batch_size or 32)

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        sample_weight=None,
        validation_data=None,
        validation_split=None,
        validation_steps=None,
        shuffle=True,
        **kwargs,
    ):
        """Trains on raw examples, model inputs or a dataset, as `keras.Model.fit` does.

        Args:
            x: dict of raw values (see `MultimodalPreprocessor.read_raw`) or of model inputs, or a
                dataset of `(x, y)` or `(x, y, sample_weight)`. Each row needs one modality, which is
                checked except in a dataset.
            y: labels `(num_examples, num_classes)`.
            batch_size: int, 32 by default. Only with arrays.
            sample_weight: `(num_examples,)` or `None`.
            validation_data: a dataset or a tuple of arrays.
            validation_split: float. Share of the examples, the last ones, kept for validation.
            validation_steps: int. Batches of a validation dataset, all by default.
            shuffle: bool. Whether to reshuffle arrays on each epoch.
            **kwargs: of `keras.Model.fit`.

        Returns:
            A `keras.callbacks.History`.
        """
        if isinstance(x, dict):
            if validation_split:
                (x, y, sample_weight), validation_data = _split(
                    x, y, sample_weight, validation_split
                )
            x = self._raw_dataset(x, y, sample_weight, batch_size, shuffle)
            y = sample_weight = batch_size = None
        if isinstance(validation_data, (tuple, list)):
            validation_data = self._raw_dataset(*validation_data)
        if isinstance(validation_data, tf.data.Dataset) and validation_steps is None:
            validation_data, validation_steps = _without_end(validation_data)
        return super().fit(
            x,
            y,
            batch_size=batch_size,
            sample_weight=sample_weight,
            validation_data=validation_data,
            validation_steps=validation_steps,
            shuffle=False,
            **kwargs,
        )

    def make_train_function(self, force=False):
        """Makes the step of `fit`, see `keras.Model`."""
        self._make_variables(optimizer=True)
        return super().make_train_function(force)

    def make_test_function(self, force=False):
        """Makes the step of `evaluate`, see `keras.Model`."""
        self._make_variables()
        return super().make_test_function(force)

    def _make_variables(self, optimizer=False):
        """Makes what a first step would make: TensorFlow traces a step that makes variables twice."""
        if keras.config.backend() != "tensorflow":
            return
        if optimizer and self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        for compiled in (self._compile_loss, self._compile_metrics):
            if compiled is not None and not compiled.built:
                compiled.build(self.output, self.output)  # targets have the shapes of predictions

    def train_step(self, *args):
        """One step of `fit`; with TensorFlow, several replicas do what one device would.

        With JAX, on one device, Keras' own does the same.
        """
        if keras.config.backend() == "tensorflow":
            return steps.train_step(self, *args)
        return super().train_step(*args)

    def test_step(self, *args):
        """One step of `evaluate`, likewise."""
        if keras.config.backend() == "tensorflow":
            return steps.test_step(self, *args)
        return super().test_step(*args)

    def evaluate(self, x=None, y=None, batch_size=None, sample_weight=None, **kwargs):
        """Computes loss and metrics on raw examples, model inputs or a dataset."""
        if isinstance(x, dict):
            x = self._raw_dataset(x, y, sample_weight, batch_size)
            y = sample_weight = batch_size = None
        return super().evaluate(x, y, batch_size=batch_size, sample_weight=sample_weight, **kwargs)

    def predict(self, x, batch_size=None, **kwargs):
        """Returns the main output for raw examples, model inputs or a dataset.

        Args:
            x: dict of raw values, any subset of the modalities; or model inputs; or a dataset. Each
                row needs one modality, which is checked except in a dataset.
            batch_size: int, 32 by default. Only with arrays.
            **kwargs: of `keras.Model.predict`.

        Returns:
            numpy array `(num_examples, num_classes)`.
        """
        return self.predict_outputs(x, batch_size, **kwargs)[self.main_output]

    def predict_outputs(self, x, batch_size=None, **kwargs):
        """Like `predict`, for all named outputs: a dict of numpy arrays."""
        if isinstance(x, dict):
            x, batch_size = self._raw_dataset(x, batch_size=batch_size), None
        return super().predict(x, batch_size=batch_size, **kwargs)

    def _batch(self, x, y=None, sample_weight=None):
        data = _arrays(self.preprocess_samples(x, y, sample_weight))
        data = keras.utils.unpack_x_y_sample_weight(data)
        self._check_inputs(data[0])
        return data

    def train_on_batch(self, x, y=None, sample_weight=None, **kwargs):
        """One training step on a batch of raw examples or model inputs."""
        x, y, sample_weight = self._batch(x, y, sample_weight)
        # KerasHub's own takes the targets for one array.
        return keras.Model.train_on_batch(self, x, y, sample_weight=sample_weight, **kwargs)

    def test_on_batch(self, x, y=None, sample_weight=None, **kwargs):
        """Loss and metrics of a batch of raw examples or model inputs."""
        x, y, sample_weight = self._batch(x, y, sample_weight)
        return keras.Model.test_on_batch(self, x, y, sample_weight=sample_weight, **kwargs)

    def explain(self, x):
        """Explains the predictions of one batch in one forward pass.

        Args:
            x: dict of raw values or model inputs.

        Returns:
            A dict of numpy arrays: all named outputs, and what the fusion has of
            `modality_weights (batch_size, num_modalities)` and `attention_scores`
            `{direction: (batch_size, num_layers, num_heads, query_length, key_length)}`; where it
            combines features and predictions, `fused_share (batch_size,)`, that of the features.
        """
        outputs = self.explain_inputs(self.read_inputs(x))
        return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)

    def read_inputs(self, x):
        """Turns one batch of raw values, or of model inputs, into a dict of arrays of model inputs."""
        (data,) = self._raw_dataset(x, batch_size=num_rows(next(iter(x.values())))).take(1)
        inputs, _, _ = keras.utils.unpack_x_y_sample_weight(_arrays(self.preprocess_samples(data)))
        return inputs

    def explain_inputs(self, inputs):
        """Like `explain`, on a dict of tensors of model inputs; also runs in a graph."""
        if self._run_explainer is None:
            model = keras.Model(self.input, {**self.output, **self._explained})
            # In a function: Keras would track a model in an attribute as a part of this one.
            self._run_explainer = lambda x: model(x, training=False)
        return self._run_explainer(inputs)

    def serve_also(self, outputs):
        """What an exported task returns besides its predictions.

        Args:
            outputs: dict of tensors, as `explain_inputs` returns.

        Returns:
            A dict of `also_served` to tensors of TensorFlow, `(batch_size, ...)`.
        """
        return {}

    def with_dtype(self, dtype):
        """Returns a copy with the same weights and preprocessor, in another precision.

        Args:
            dtype: str. Dtype policy of the backbone, such as `"float32"`. Heads stay in float32.
        """
        config = {**self.backbone.get_config(), "dtype_policy": dtype}
        backbone = type(self.backbone).from_config(config)
        config = {**self.get_config(), "backbone": backbone, "preprocessor": self.preprocessor}
        copy = type(self)(**config)
        copy.set_weights(self.get_weights())
        return copy

    def with_modality(self, modality, encoder, converter=None):
        """Returns a copy that takes one more modality, and predicts as this task until it is trained.

        What this task has keeps its weights. The new modality gets a projection, a missing token, a
        head and a gate in the fusion that is shut at first (see `ExtendedFusion`): whatever is given
        for it, the main output is exactly the old one, and so are those of single modalities. Only
        `consistency` compares the new head, too; and one modality has no outputs of its own before
        there is another.

        `set_trainable([modality])` trains what is new alone, the old modality's own head included where
        there was one modality. A new head knows nothing at first:
        train it with its encoder before the fusion, as phases do.

        Args:
            modality: str. One that this task does not have.
            encoder: an encoder (see `mmlearn.encoders.encoder`), with a name of its own. It becomes
                part of the copy.
            converter: the converter of its raw values; without one the copy has no preprocessor, and
                takes model inputs only.

        Returns:
            A task of the same class, compiled anew.

        Raises:
            ValueError: when the task has the modality, or an encoder of that name.

        Example:

        >>> from mmlearn import MultimodalBackbone, MultimodalClassifier, encoders, fusions
        >>> backbone = MultimodalBackbone(
        ...     {"text": encoders.Features(length=4, dim=8, name="text_encoder")},
        ...     fusions.get("concat"),
        ...     hidden_dim=16,
        ... )
        >>> task = MultimodalClassifier(backbone, num_classes=2)
        >>> encoder = encoders.Features(length=3, dim=5, name="series_encoder")
        >>> extended = task.with_modality("series", encoder)
        >>> extended.backbone.modalities, sorted(extended.output)
        (('series', 'text'), ['classes', 'consistency', 'series_classes', 'text_classes'])
        >>> extended.set_trainable(["series"])
        """
        return with_modality(self, modality, encoder, converter)

    # --- Saving ------------------------------------------------------------------------------

    def get_compile_config(self):
        """Returns what `compile_from_config` needs; an optimizer that never ran has no state."""
        config = super().get_compile_config()
        # State of other variables than those that will be trainable after loading is of no use.
        has_state = self.optimizer is not None and self.optimizer.built
        has_state = has_state and len(self.optimizer._trainable_variables) == len(
            self.trainable_variables
        )
        return {**config, "optimizer_has_state": has_state} if config else config

    def compile_from_config(self, config):
        """Compiles as saved and builds the optimizer, so that its state can be loaded."""
        config = dict(config)
        config.pop("jit_compile", None)  # of the backend that saved it
        has_state = config.pop("optimizer_has_state", True)
        self.compile(**keras.saving.deserialize_keras_object(config))
        if has_state and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def save_task_weights(self, filepath):
        """Saves the weights of the heads; a preset holds no optimizer state."""
        keras.saving.save_weights(self, filepath, objects_to_skip=self._not_in_task_weights())

    def load_task_weights(self, filepath):
        """Loads what `save_task_weights` saved."""
        keras.saving.load_weights(self, filepath, objects_to_skip=self._not_in_task_weights())

    def _not_in_task_weights(self):
        return [*self.backbone._flatten_layers(), self.optimizer]

    def export(
        self,
        filepath,
        format="tf_saved_model",
        precision="float32",
        calibration=None,
        verbose=False,
    ):
        """Writes a SavedModel with all signatures, which needs TensorFlow and tf-text alone.

        Or another format, of `serve_tensors` alone: see `mmlearn.models.formats.write`.

        Args:
            filepath: str. The folder, for TF Serving `.../serving/1`.
            format: `"tf_saved_model"`, or `"onnx"`, `"openvino"` or `"litert"`.
            precision: `"float32"`, or `"float16"`; of the other formats also `"int8"`.
            calibration: batches of model inputs on which int8 measures the ranges of values.
            verbose: bool. Whether Keras lists the endpoints.

        Raises:
            ValueError: when the format is unknown or cannot hold the task, the task has no
                preprocessor, or the folder exists.
        """
        formats.write(self, filepath, format, precision, calibration, verbose)

    def signatures(self):
        """What `export` writes: a dict of name to `(function, input signature)`."""
        return signatures.signatures(self)


def _arrays(data):
    """Tensors of TensorFlow, in which raw data are prepared, as arrays for any Keras backend."""
    return keras.tree.map_structure(lambda v: None if v is None else np.asarray(v), data)


def _thaw(modality, encoder, count):
    blocks = getattr(encoder, "blocks", [])
    if count > len(blocks):
        raise ValueError(
            f"The {modality} encoder has {len(blocks)} blocks, and the top {count} were to be trained. "
            "Fix: a smaller `trainable_blocks`."
        )
    _set_trainable(encoder, True)
    for block in blocks[: len(blocks) - count]:
        for layer in block:
            layer.trainable = False


def _set_trainable(layer, value):
    for part in layer._flatten_layers():
        # Keras does nothing where a layer has the value already, even if what is in it has not.
        part.trainable = not value
        part.trainable = value


def _without_end(dataset):
    """The dataset again and again, and its number of batches.

    To begin a dataset anew takes longer than a pass over a few hundred images, and Keras does so twice
    for each validation of one that ends.
    """
    count = int(dataset.cardinality())
    return (dataset, None) if count < 0 else (dataset.repeat(), count)


def _split(x, y, sample_weight, fraction):
    count = num_rows(next(iter(x.values())))
    cut = int(count * (1 - fraction))
    if not 0 < cut < count:
        raise ValueError(
            "`validation_split` leaves no examples for one of the two parts. "
            f"Received: validation_split={fraction} for {count} examples."
        )

    def part(start, end):
        def take(values):
            if isinstance(values, dict):
                return {name: take(column) for name, column in values.items()}
            return None if values is None else values[start:end]

        return take(x), take(y), take(sample_weight)

    return part(0, cut), part(cut, count)
