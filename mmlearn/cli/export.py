"""`python -m mmlearn export MODEL [--format onnx] [--output DIR]`."""

import os
from dataclasses import dataclass

import tyro

from data_prep.names import find
from data_prep.quiet import quiet_start


@dataclass(frozen=True)
class Export:
<<<<<<< HEAD
    """Writes a SavedModel for TF Serving, with warm-up requests, a manifest and the server's config."""
=======
    """Writes a SavedModel for TF Serving, or its tensor signature in another format."""
>>>>>>> step7-formats

    model: tyro.conf.Positional[str]
    """Output folder of a run, such as saved_models/shapes, or a preset directory."""
    format: str = "tf_saved_model"
    """Also onnx, openvino or litert: model inputs in (pixels, token ids), predictions out."""
    output: str | None = None
    """Folder that gets a subfolder per version. By default MODEL/serving; of another format MODEL/FORMAT."""
    version: int | None = None
    """By default the highest so far plus 1."""
    name: str | None = None
    """Name of the model to its clients. By default that of the model's folder."""


def run(args):
    """Exports the model."""
    options = tyro.cli(Export, prog="python -m mmlearn export", args=args)
    with quiet_start():
        from mmlearn.models.formats import FORMATS, SAVED_MODEL
        from mmlearn.models.presets import find_preset
        from mmlearn.models.task import MultimodalTask
        from mmlearn.serving.versions import FOLDER, export_version

    find(options.format, (SAVED_MODEL, *FORMATS), "export format")
    task = MultimodalTask.from_preset(find_preset(options.model))
<<<<<<< HEAD
    folder = options.output or os.path.join(options.model, FOLDER)
    path = export_version(task, folder, options.version, options.name)
=======
    own = "serving" if options.format == SAVED_MODEL else options.format
    folder = options.output or os.path.join(options.model, own)
    version = options.version
    if version is None:
        taken = os.listdir(folder) if os.path.isdir(folder) else []
        version = max([int(name) for name in taken if name.isdigit()], default=0) + 1
    if version < 1:
        raise ValueError(f"--version must be at least 1. Received: {version}.")
    path = os.path.join(folder, str(version))
    os.makedirs(folder, exist_ok=True)
    with quiet_start():  # converters say much
        task.export(path, options.format)
>>>>>>> step7-formats
    print(f"Wrote {path}")
