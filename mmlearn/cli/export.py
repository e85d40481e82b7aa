"""`python -m mmlearn export MODEL [--output DIR]`."""

import os
from dataclasses import dataclass

import tyro

from data_prep.quiet import quiet_start


@dataclass(frozen=True)
class Export:
    """Writes a SavedModel for TF Serving, with warm-up requests, a manifest and the server's config."""

    model: tyro.conf.Positional[str]
    """Output folder of a run, such as saved_models/shapes, or a preset directory."""
    output: str | None = None
    """Folder that gets a subfolder per version. By default MODEL/serving."""
    version: int | None = None
    """By default the highest so far plus 1."""
    name: str | None = None
    """Name of the model to its clients. By default that of the model's folder."""


def run(args):
    """Exports the model."""
    options = tyro.cli(Export, prog="python -m mmlearn export", args=args)
    with quiet_start():
        from mmlearn.models.presets import find_preset
        from mmlearn.models.task import MultimodalTask
        from mmlearn.serving.versions import FOLDER, export_version

    task = MultimodalTask.from_preset(find_preset(options.model))
    folder = options.output or os.path.join(options.model, FOLDER)
    path = export_version(task, folder, options.version, options.name)
    print(f"Wrote {path}")
