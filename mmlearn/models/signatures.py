"""The signatures of an exported task, and the writing of the SavedModel."""

import os
import shutil
import subprocess
import sys

import keras
import tensorflow as tf

from mmlearn.layers.masked_mean import masked_mean
from mmlearn.models import half_weights

SINGULAR = {"images": "image"}  # embed_image, image_embedding, image_status


def write(task, filepath, precision="float32", verbose=False):
    """Writes a SavedModel with all signatures of a task, beside its place, then renames it.

    | signature | inputs | outputs |
    |---|---|---|
    | `serving_default` | `images` and `audio` file bytes, `text` strings, `series` floats, `table_{column}` floats or strings | `probabilities`, `labels`, `modality_weights`, `status`, `image_status`, `audio_status` |
    | `explain` | the same | these, `"{modality}_probabilities"`, `"attention_{direction}"`, `fused_share` |
    | `embed_image`, `embed_text`, ... | one modality | `image_embedding`, `text_embedding`, ..., L2-normalised |
    | `serve_tensors` | the model inputs | `probabilities` |

    Of numbers, `values` and `targets` (their names) are in the place of `probabilities` and `labels`. Of
    several heads, each has its own, with its name before: `objects_probabilities`, `price_values`. A task
    may add outputs of its own to the first two, see `MultimodalTask.serve_also`.

    With Keras on another backend, TensorFlow writes it in a process of its own.

    The first dimension of everything is the batch. `image_status`: 0 ok, 1 absent, 2 unreadable, 3
    too large: a header of more pixels than `data_prep.images.MAX_PIXELS`, which is not decoded; a bad
    row never fails its neighbours. `status`: 0 ok, 1 where a row has no modality, each absent or not
    to be read: what is predicted then says nothing about it.

    Args:
        task: a task with a preprocessor.
        filepath: str. A folder that does not exist yet.
        precision: `"float32"`, or `"float16"`: weights are stored so, see
            `mmlearn.models.half_weights`; with Keras on TensorFlow.
        verbose: bool. Whether Keras lists the endpoints.

    Raises:
        ValueError: when there is no preprocessor, or the folder exists.
    """
    if task.preprocessor is None:
        raise ValueError("An export needs the preprocessor. Fix: set `task.preprocessor`.")
    filepath = str(filepath).rstrip(os.sep)
    if os.path.exists(filepath):
        raise ValueError(
            f"{filepath!r} exists. Fix: export to a new version, such as "
            f"{os.path.join(os.path.dirname(filepath), '2')!r}, or remove it."
        )
    partial = f"{filepath}.partial-{os.getpid()}"
    try:
        if keras.config.backend() == "tensorflow":
            written = partial
            _write(task, written, precision, verbose)
        else:
            written = _write_by_tensorflow(task, partial)
        os.rename(written, filepath)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(task, filepath, precision, verbose):
    archive = keras.export.ExportArchive()
    # Of the lookup tables. A task tracked by itself would be stored as Keras variables besides the
    # TensorFlow variables in them, which the functions use: each weight twice.
    owner = tf.Module()
    owner.task, owner.preprocessor = task, task.preprocessor
    halves = half_weights.halve(task) if precision == "float16" else {}
    owner.halves = list(halves.values())
    archive.track(owner)
    for name, (function, input_signature) in task.signatures().items():
        if halves:
            function = _reading(function, halves)
        _add_endpoint(archive, name, function, input_signature)
    archive.write_out(filepath, verbose=verbose)


def _add_endpoint(archive, name, function, input_signature):
    # TensorFlow traces the functions of an archive again while it saves, so this one but calls the graph.
    traced = tf.function(function, input_signature=input_signature, autograph=False)
    graph = traced.get_concrete_function()
    archive.add_endpoint(name, lambda *values: graph(*values), input_signature)


def _reading(function, halves):
    def read(*values):
        with half_weights.Reading(halves):
            return function(*values)

    return read


def _write_by_tensorflow(task, folder):
    """Writes the SavedModel in a process of its own, where Keras runs on TensorFlow.

    No other backend has the decoding of images and the tokenizer, which are part of the graph.

    Args:
        task: a task.
        folder: str, for what is needed on the way.

    Returns:
        str, the folder of the SavedModel.
    """
    preset = os.path.join(folder, "preset")
    task.save_to_preset(preset)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mmlearn", "export", preset),
            *("--output", folder, "--version", "1"),
        ],
        env={
            **os.environ,
            "KERAS_BACKEND": "tensorflow",
            "CUDA_VISIBLE_DEVICES": "-1",  # its memory is taken
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ValueError(
            f"TensorFlow could not write the SavedModel ({reason}). Fix: save the preset, and export "
            "it in a program that imports your own classes, with KERAS_BACKEND=tensorflow."
        )
    return os.path.join(folder, "1")


def signatures(task):
    """Returns `{name: (function, input_signature)}` of a task that predicts."""
    backbone, preprocessor = task.backbone, task.preprocessor
    raw = {
        modality: converter.raw_spec(modality)
        for modality, converter in preprocessor.converters.items()
        if modality in backbone.modalities
    }
    tensors = {
        name: tf.TensorSpec((None, *value.shape[1:]), value.dtype, name=name)
        for name, value in task.input.items()
    }
    found = {"serve_tensors": (lambda inputs: _serve_tensors(task, inputs), [tensors])}
    if None in raw.values():
        return found  # such as features made elsewhere
    # A function that the graphs of both signatures call, and the file holds once; what is not asked for is
    # not computed.
    shared = tf.function(task.explain_inputs, input_signature=[tensors], autograph=False)

    def explain_inputs(inputs):
        return shared(inputs) if tf.inside_function() else task.explain_inputs(inputs)

    def explain(*values):
        inputs, statuses = preprocessor.convert_with_status(dict(zip(raw, values, strict=True)))
        inputs = {name: inputs[name] for name in tensors}
        served = {"status": row_status(task, inputs), **file_statuses(statuses)}
        return {**_named(task, explain_inputs(inputs)), **served}

    def serve(*values):
        outputs = explain(*values)
        own = [name for head in task.described.values() for name in served_names(task, head)]
        kept = (
            *own,
            *task.also_served,
            "modality_weights",
            "status",
            "image_status",
            "audio_status",
        )
        return {name: outputs[name] for name in kept if name in outputs}

    def embed(modality):
        def function(values):
            inputs, statuses = preprocessor.convert_with_status({modality: values})
            names = backbone.encoders[modality].model_inputs(modality)
            features, masks = backbone.encode({name: inputs[name] for name in names})
            pooled = masked_mean(features[modality], masks[modality])
            pooled = tf.math.l2_normalize(tf.cast(pooled, tf.float32), axis=-1)
            name = SINGULAR.get(modality, modality)
            return {f"{name}_embedding": pooled, **file_statuses(statuses)}

        return function

    found["serving_default"] = (serve, list(raw.values()))
    found["explain"] = (explain, list(raw.values()))
    for modality, spec in raw.items():
        found[f"embed_{SINGULAR.get(modality, modality)}"] = (embed(modality), [spec])
    return found


def _serve_tensors(task, inputs):
    outputs = task(inputs, training=False)
    heads = task.described.values()
    return {served_names(task, head)[0]: outputs[head.name] for head in heads}


def served_names(task, head):
    """What the predictions of a head and the names of their columns are called."""
    names = ("values", "targets") if head.is_regression else ("probabilities", "labels")
    return tuple(task.own_name(name, head) for name in names)


def _named(task, outputs):
    """What `MultimodalTask.explain_inputs` returns, by the names of the outputs of `explain`."""
    served = dict(task.serve_also(outputs))
    for head in task.described.values():
        predicted, named = served_names(task, head)
        count = tf.shape(outputs[head.name])[0]
        served[predicted] = outputs[head.name]
        served[named] = tf.repeat(tf.constant(head.label_names)[None, :], count, axis=0)
        for modality in task.backbone.modalities:
            if f"{modality}_{head.name}" in outputs:
                served[f"{modality}_{predicted}"] = outputs[f"{modality}_{head.name}"]
        share = task.own_name("fused_share", head)
        if share in outputs:
            served[share] = outputs[share]
    if "modality_weights" in outputs:
        served["modality_weights"] = tf.cast(outputs["modality_weights"], tf.float32)
    for direction, scores in outputs.get("attention_scores", {}).items():
        served[f"attention_{direction}"] = tf.cast(scores, tf.float32)
    return served


def row_status(task, inputs):
    """0 for each row that has a modality, 1 for one that has none."""
    present = tf.stack([inputs[f"{m}_present"] for m in task.backbone.modalities], axis=1)
    return 1 - tf.reduce_max(present, axis=1)


def file_statuses(statuses):
    """The status of each file by the name of its output: `image_status`, `audio_status`.

    Args:
        statuses: dict of modality to status, see `MultimodalPreprocessor.convert_with_status`.
    """
    return {f"{SINGULAR.get(name, name)}_status": status for name, status in statuses.items()}
