"""The formats of an exported task: `FORMATS` by name; `write` and `load`.

A SavedModel has all signatures of a task. The other formats know no files and no strings: they have
`serve_tensors` alone, which takes model inputs, as a preprocessor makes them.
"""

import contextlib
import importlib.util
import io
import json
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from data_prep.names import find
from mmlearn.models import litert_format, onnx_format, openvino_format, signatures
from mmlearn.models.manifest import check_saved_model

TENSORS = "serve_tensors"
SAVED_MODEL = "tf_saved_model"
DESCRIPTION = "signature.json"
PRECISIONS = ("float32", "float16", "int8")


@dataclass(frozen=True)
class Format:
    """A format of plain tensors.

    Attributes:
        file: str. The name of the file that a folder of this format is known by.
        extra: str. What of `mmlearn-keras` it needs to be installed.
        packages: dict of what is done (`"convert"`, `"int8"`, `"load"`) to the modules it needs.
        convert: function of a SavedModel's folder, the name of its signature, the folder to write to, a
            precision and, for int8, a list of dicts of model inputs, one example each.
        load: function of a folder and a precision; returns a function of a dict of arrays that returns
            such a dict.
    """

    file: str
    extra: str
    packages: dict
    convert: Callable
    load: Callable


FORMATS = {
    "onnx": Format(
        onnx_format.FILE,
        "onnx",
        {
            "convert": ("tf2onnx", "onnx"),
            "int8": ("onnxruntime",),
            "load": ("onnxruntime",),
        },
        onnx_format.convert,
        onnx_format.load,
    ),
    "openvino": Format(
        openvino_format.FILE,
        "openvino",
        {"convert": ("openvino",), "int8": ("nncf",), "load": ("openvino",)},
        openvino_format.convert,
        openvino_format.load,
    ),
    "litert": Format(
        litert_format.FILE,
        "litert",
        {"load": ("ai_edge_litert",)},
        litert_format.convert,
        litert_format.load,
    ),
}


def write(task, filepath, format=SAVED_MODEL, precision="float32", calibration=None, verbose=False):
    """Writes a task in a format, beside its place, then renames it.

    | format | files | runs in | extra |
    |---|---|---|---|
    | `tf_saved_model` | see `mmlearn.models.signatures.write` | TF Serving, TensorFlow | |
    | `onnx` | `model.onnx` | ONNX Runtime | `onnx` |
    | `openvino` | `model.xml`, `model.bin` | OpenVINO | `openvino` |
    | `litert` | `model.tflite` | LiteRT, once TensorFlow Lite | `litert` |

    Beside each of the last three, `signature.json` says what goes in and comes out, and which column
    is which label. The first dimension of everything is the batch, of any size.

    - `float32`: as the task computes.
    - `float16`: weights are stored in 16 bits, half the file. TensorFlow, ONNX Runtime and LiteRT compute
      in float32; OpenVINO as the CPU does best, which may be bfloat16.
    - `int8`: weights and what flows between layers are 8-bit integers, whose ranges are measured on
      the calibration examples; an operation that has no such form stays as it was.

    Args:
        task: a task with a preprocessor.
        filepath: str. A folder that does not exist yet.
        format: `"tf_saved_model"` or one of `FORMATS`.
        precision: one of `PRECISIONS`; of a SavedModel not int8.
        calibration: dataset or other iterable of dicts of model inputs, in batches; only for int8.
        verbose: bool. Whether Keras lists the endpoints of a SavedModel.

    Raises:
        ValueError: when the folder exists, the format or the precision is unknown, what the format
            needs is not installed, or it cannot hold the task.
    """
    write_precisions(task, {filepath: precision}, format, calibration, verbose)


def write_precisions(task, precisions, format=SAVED_MODEL, calibration=None, verbose=False):
    """Writes a task in a format and several precisions, as `write` does one after the other.

    What is converted from a SavedModel shares that one. When a precision cannot be written, what was
    written before it stays.

    Args:
        task: a task with a preprocessor.
        precisions: dict of folder, which does not exist yet, to one of `PRECISIONS`.
        format, calibration, verbose: see `write`.

    Raises:
        ValueError: see `write`.
    """
    find(format, (SAVED_MODEL, *FORMATS), "export format")
    precisions = {str(path).rstrip(os.sep): each for path, each in precisions.items()}
    for precision in precisions.values():
        find(precision, PRECISIONS, "precision")
        check_precision(format, precision)
        if format == SAVED_MODEL and precision != "float32":
            _check_backend(format, precision)
    if format == SAVED_MODEL:
        for filepath, precision in precisions.items():
            signatures.write(task, filepath, precision, verbose)
        return
    is_int8 = "int8" in precisions.values()
    _need(format, "convert", *(["int8"] if is_int8 else []))
    for filepath, precision in precisions.items():
        _check(task, filepath, format, precision)
    examples = _one_by_one(calibration) if is_int8 else None
    saved_model = f"{next(iter(precisions))}.partial-{os.getpid()}-saved_model"
    try:
        os.makedirs(os.path.dirname(saved_model) or os.curdir, exist_ok=True)
        description = _write_tensors(task, saved_model)
        for filepath, precision in precisions.items():
            about = {"format": format, "precision": precision, **description}
            _convert(saved_model, filepath, about, examples, type(task).__name__)
    finally:
        shutil.rmtree(saved_model, ignore_errors=True)


def _convert(saved_model, filepath, description, examples, kind):
    """Writes a SavedModel of tensors in the format and precision of its description."""
    format, precision = description["format"], description["precision"]
    partial = f"{filepath}.partial-{os.getpid()}"
    try:
        os.makedirs(partial)
        try:
            # Converters write progress, and warn about their own dependencies.
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                FORMATS[format].convert(saved_model, TENSORS, partial, precision, examples)
        except Exception as error:  # each converter has its own
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ValueError(
                f"{format} cannot hold this {kind} in {precision} ({reason}). Fix: another format: "
                f"{', '.join(n for n in (SAVED_MODEL, *FORMATS) if n != format)}."
            ) from error
        with open(os.path.join(partial, DESCRIPTION), "w", encoding="utf-8") as file:
            json.dump(description, file, indent=2)
        os.rename(partial, filepath)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_precision(format, precision):
    """Checks that a format has a precision.

    Args:
        format: `"tf_saved_model"` or one of `FORMATS`.
        precision: one of `PRECISIONS`.

    Raises:
        ValueError: when it has not.
    """
    if format == SAVED_MODEL and precision == "int8":
        raise ValueError(
            f"A SavedModel has no int8. Received: precision={precision!r}. Fix: float16, or another "
            f"format: {', '.join(FORMATS)}."
        )


def load(filepath):
    """Loads what `write` wrote, in the runtime of its format.

    Args:
        filepath: str. The folder.

    Returns:
        A function of a dict of model inputs, arrays `(batch_size, ...)`, that returns a dict of
        arrays: `probabilities (batch_size, num_classes)`, or what else `serve_tensors` has.

    Raises:
        ValueError: when nothing is there that can be loaded, its runtime is not installed, or a file is
            not the one that a manifest beside it tells of.
    """
    filepath = str(filepath)
    if os.path.isfile(os.path.join(filepath, "saved_model.pb")):
        return _load_saved_model(filepath)
    for name, format in FORMATS.items():
        if os.path.isfile(os.path.join(filepath, format.file)):
            _need(name, "load")
            return format.load(filepath, read_description(filepath)["precision"])
    raise ValueError(
        f"{filepath!r} holds no exported model. Fix: pass the folder that `mmlearn export` or "
        "`mmlearn compress` named."
    )


def read_description(filepath):
    """Reads `signature.json` of an exported folder.

    Args:
        filepath: str.

    Returns:
        A dict of `format`, `precision`, `signature`, `inputs` (dict of name to `shape` and `dtype`),
        `outputs` (names) and `labels` (dict of output to the names of its columns).

    Raises:
        ValueError: when it cannot be read.
    """
    path = os.path.join(filepath, DESCRIPTION)
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path!r} cannot be read ({error}). Fix: export again.") from None


def _need(format, *purposes):
    for purpose in purposes:
        for package in FORMATS[format].packages.get(purpose, ()):
            if importlib.util.find_spec(package) is None:
                extra = FORMATS[format].extra
                raise ValueError(
                    f"The format {format!r} needs the package {package}. Fix: pip install "
                    f"'mmlearn-keras[{extra}]'."
                )


def _check_backend(format, precision):
    if keras.config.backend() != "tensorflow":
        raise ValueError(
            f"The format {format!r} in {precision} is written by TensorFlow. Received: Keras on "
            f"{keras.config.backend()}. Fix: save the preset, and export it with "
            "KERAS_BACKEND=tensorflow."
        )


def _check(task, filepath, format, precision):
    _check_backend(format, precision)
    if task.preprocessor is None:
        raise ValueError("An export needs the preprocessor. Fix: set `task.preprocessor`.")
    if os.path.exists(filepath):
        raise ValueError(f"{filepath!r} exists. Fix: export to another folder, or remove it.")


def _one_by_one(calibration):
    """Batches as a list of examples, each a batch of one: what calibration wants."""
    if calibration is None:
        raise ValueError(
            "int8 needs examples, on which the ranges of values are measured. Fix: pass "
            "`calibration`, batches of model inputs of the training split."
        )
    examples = []
    for batch in calibration:
        batch = {name: np.asarray(values) for name, values in batch.items()}
        count = len(next(iter(batch.values())))
        examples += [{n: v[row : row + 1] for n, v in batch.items()} for row in range(count)]
    if not examples:
        raise ValueError("`calibration` is empty. Fix: pass batches of model inputs.")
    return examples


def _write_tensors(task, folder):
    """Writes a SavedModel with `serve_tensors` alone; returns its description."""
    function, input_signature = task.signatures()[TENSORS]
    archive = keras.export.ExportArchive()
    archive.track(task)
    # Traced twice, unlike what `signatures` writes: through a call, each name in a converted file is longer.
    archive.add_endpoint(TENSORS, function, input_signature)
    archive.write_out(folder, verbose=False)
    outputs = tf.saved_model.load(folder).signatures[TENSORS].structured_outputs
    texts = [name for name, value in outputs.items() if value.dtype == tf.string]
    if texts:
        raise ValueError(
            f"The output {texts[0]!r} of a {type(task).__name__} is text, which only a SavedModel holds. "
            f"Fix: the format {SAVED_MODEL}."
        )
    heads = getattr(task, "described", {}).values()
    labels = {signatures.served_names(task, head)[0]: list(head.label_names) for head in heads}
    return {
        "signature": TENSORS,
        "inputs": {
            name: {"shape": spec.shape.as_list(), "dtype": spec.dtype.name}
            for name, spec in input_signature[0].items()
        },
        "outputs": sorted(outputs),
        "labels": labels,
    }


def _load_saved_model(folder):
    check_saved_model(folder)
    loaded = tf.saved_model.load(folder)
    signature = loaded.signatures[TENSORS]

    def call(inputs):
        inputs = {name: tf.constant(value) for name, value in inputs.items()}
        return {name: value.numpy() for name, value in signature(**inputs).items()}

    call.kept = loaded  # its variables live as long as it does
    return call
