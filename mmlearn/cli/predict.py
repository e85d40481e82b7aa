"""`python -m mmlearn predict MODEL --image a.jpg --text "..."`."""

import json
from dataclasses import dataclass

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from data_prep.quiet import quiet_start


@dataclass(frozen=True)
class Predict:
    """Predicts the labels of an image, a text, or both."""

    model: tyro.conf.Positional[str]
    """Output folder of a run, such as saved_models/shapes, or a preset directory."""
    image: str | None = None
    """Image file."""
    text: str | None = None
    """Text that goes with the image."""
    top: int = 5
    """How many labels to show."""
    json: bool = False
    """Print one JSON object as the last line of standard output."""


def run(args):
    """Predicts and prints the labels."""
    options = tyro.cli(Predict, prog="python -m mmlearn predict", args=args)
    given = {"image": options.image, "text": options.text}
    for name, value in given.items():
        if value is not None and not value.strip():
            raise ValueError(f"--{name} is empty. Fix: leave it out, or give it a value.")
    if options.image is None and options.text is None:
        raise ValueError("There is nothing to predict from. Fix: pass --image FILE or --text TEXT.")
    if options.top < 1:
        raise ValueError(f"--top must be at least 1. Received: {options.top}.")
    with quiet_start():
        from mmlearn.models import MultimodalClassifier
        from mmlearn.models.presets import find_preset

    classifier = MultimodalClassifier.from_preset(find_preset(options.model))
    x = {"images": options.image, "text": options.text}
    explanation = classifier.explain({m: [v] for m, v in x.items() if v is not None})
    probabilities = explanation["classes"][0]
    order = np.argsort(-probabilities)[: options.top]
    labels = [(classifier.label_names[i], float(probabilities[i])) for i in order]
    weights = {}
    if "modality_weights" in explanation:
        values = explanation["modality_weights"][0].tolist()
        weights = dict(zip(classifier.backbone.modalities, values, strict=True))
    table = Table("label", "probability")
    for label, probability in labels:
        table.add_row(label, f"{probability:.3f}")
    console = Console(stderr=options.json)
    console.print(table)
    if weights:
        shares = ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items())
        console.print(f"modality weights: {shares}", highlight=False)
    if options.json:
        print(json.dumps({"labels": dict(labels), "modality_weights": weights}))
