"""`python -m mmlearn export MODEL [--format onnx] [--precision float16] [--output DIR]`."""

import os
from dataclasses import dataclass

import tyro
from rich.console import Console

from data_prep.names import find
from data_prep.quiet import quiet_start
from mmlearn.cli.paths import check_model


@dataclass(frozen=True)
class Export:
    """Writes a SavedModel with what TF Serving takes beside it, or the tensor signature in another format."""

    model: tyro.conf.Positional[str]
    """Output folder of a run, such as saved_models/shapes, or a preset directory."""
    format: str = "tf_saved_model"
    """Also onnx, openvino or litert: model inputs in (pixels, token ids), predictions out."""
    precision: str = "float32"
    """Also float16: weights in 16 bits. `mmlearn compress` says what that costs, and has int8."""
    output: str | None = None
    """Folder that gets a subfolder per version. By default MODEL/serving; of another format MODEL/FORMAT."""
    version: int | None = None
    """By default the highest so far plus 1."""
    name: str | None = None
    """Name of the model to its clients. By default that of the model's folder."""


def run(args):
    """Exports the model."""
    options = tyro.cli(Export, prog="python -m mmlearn export", args=args)
    check_model(options.model)
    with quiet_start():
        from mmlearn.models.formats import FORMATS, SAVED_MODEL
        from mmlearn.models.presets import find_preset
        from mmlearn.models.task import MultimodalTask
        from mmlearn.serving.versions import FOLDER, export_version, next_version

    find(options.format, (SAVED_MODEL, *FORMATS), "export format")
    find(options.precision, ("float32", "float16"), "precision of an export")
    # On standard output, since what converters write to standard error is left out.
    with Console().status(
        f"exporting {options.model} as {options.format}, up to a minute for a small model"
    ):
        task = MultimodalTask.from_preset(find_preset(options.model))
        if options.format == SAVED_MODEL:
            folder = options.output or os.path.join(options.model, FOLDER)
            path = export_version(task, folder, options.version, options.name, options.precision)
        else:
            folder = options.output or os.path.join(options.model, options.format)
            version = next_version(folder, options.version)
            path = os.path.join(folder, str(version))
            os.makedirs(folder, exist_ok=True)
            with quiet_start():  # converters say much
                task.export(path, options.format, options.precision)
    print(f"Wrote {path}")
