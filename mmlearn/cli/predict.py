"""`python -m mmlearn predict MODEL --image a.jpg --text "..."`."""

import json
from dataclasses import dataclass

import tyro
from rich.console import Console
from rich.table import Table

from data_prep.names import input_names
from data_prep.quiet import quiet_start
from mmlearn.cli.paths import check_files, check_model
from mmlearn.cli.tables import weights_line


@dataclass(frozen=True)
class Predict:
    """Predicts what a model is for: labels or numbers, an answer, a caption, a match.

    From an image, a text and so on, or several of them. The text is a question to a model that answers,
    the beginning of the caption to one that writes captions.
    """

    model: tyro.conf.Positional[str]
    """Output folder of a run, such as saved_models/shapes, or a preset directory; with --server, the name
    of the model there."""
    image: str | None = None
    """Image file."""
    text: str | None = None
    """Text that goes with the image."""
    audio: str | None = None
    """WAV file."""
    series: str | None = None
    """CSV file with a header and a column per channel; an empty cell is a missing reading."""
    table: tuple[str, ...] = ()
    """Values of columns, such as age=30 city=Rome."""
    server: str | None = None
    """Ask TF Serving at this address: http://HOST:8501, or grpc://HOST:8500."""
    manifest: str | None = None
    """With --server, for one that does not tell its signatures, such as kserve: the manifest.json in
    assets.extra/ of the version that is served."""
    top: int = 5
    """How many labels to show."""
    json: bool = False
    """Print one JSON object as the last line of standard output."""


def run(args):
    """Predicts and prints."""
    options = tyro.cli(Predict, prog="python -m mmlearn predict", args=args)
    given = {name: getattr(options, name) for name in ("image", "text", "audio", "series")}
    for name, value in given.items():
        if value is not None and not value.strip():
            raise ValueError(f"--{name} is empty. Fix: leave it out, or give it a value.")
    if not options.table and all(value is None for value in given.values()):
        raise ValueError(
            "There is nothing to predict from. Fix: pass --image FILE or --text TEXT (or --audio, "
            "--series, --table, as the model takes them)."
        )
    if options.top < 1:
        raise ValueError(f"--top must be at least 1. Received: {options.top}.")
    if options.manifest is not None and options.server is None:
        raise ValueError("--manifest is of a server. Fix: leave it out, or pass --server URL.")
    if options.server is not None:
        _ask_server(options)
        return
    check_model(options.model)
    check_files(image=options.image, audio=options.audio, series=options.series)
    with quiet_start():
        from mmlearn.models import ImageCaptioner, ImageTextRetriever
        from mmlearn.models.presets import find_preset
        from mmlearn.models.task import MultimodalTask

    task = MultimodalTask.from_preset(find_preset(options.model))
    x, console = _read(options), Console(stderr=options.json)
    if isinstance(task, ImageCaptioner):
        if "images" not in x:
            raise ValueError("This model writes captions of images. Fix: pass --image FILE.")
        found = {"caption": task.generate(x, prompt=options.text)[0]}
    elif isinstance(task, ImageTextRetriever):
        found = _match(task, x)
    else:
        found = _predict_labels(task, x, options.top, console)
    for name, value in found.items():
        if not isinstance(value, (dict, list)):
            shown = value if isinstance(value, str) else f"{value:.3f}"
            console.print(f"{name}: {shown}", highlight=False, markup=False)
    if options.json:
        print(json.dumps(found))


def _ask_server(options):
    """Prints what a server predicts, without loading the model or TensorFlow."""
    from mmlearn.serving.client import Client

    console = Console(stderr=options.json)
    x = _read(options)
    columns = x.pop("table", {})
    x.update({name: columns[column] for column, name in input_names("table", columns).items()})
    with quiet_start():  # gRPC imports TensorFlow
        client = Client(options.server, options.model, manifest=options.manifest)
    with client:
        taken = client.signatures()["serving_default"]["inputs"]
        for name in sorted(x.keys() & taken.keys()):
            if taken[name][0] is not object and name.startswith("table_"):
                x[name] = [_number(name, value) for value in x[name]]
        answer = client.predict(**x)
    found = {}
    for name, values in answer.items():
        head, is_columns, _ = name.rpartition("probabilities")
        named = answer.get(f"{head}labels") if is_columns else None
        if named is None and name.endswith("values"):
            named = answer.get(f"{name.removesuffix('values')}targets")
        if named is not None:
            pairs = zip(named[0].tolist(), map(float, values[0]), strict=True)
            if is_columns:
                pairs = sorted(pairs, key=lambda pair: -pair[1])[: options.top]
            table = Table(name, "")
            found[name] = dict(pairs)
            for label, value in found[name].items():
                table.add_row(label, f"{value:.3f}" if is_columns else f"{value:.6g}")
            console.print(table)
        elif not name.endswith(("labels", "targets", "_embedding")):
            found[name] = values[0].tolist() if hasattr(values[0], "tolist") else values[0]
            console.print(f"{name}: {found[name]}", highlight=False, markup=False)
    if options.json:
        print(json.dumps(found))


def _number(name, value):
    try:
        return float(value)
    except ValueError:
        raise ValueError(
            f"--table: the column {name!r} takes numbers. Received: {value!r}. Fix: such as {name}=1.5."
        ) from None


def _match(task, x):
    """How well an image and a text match."""
    missing = [modality for modality in ("images", "text") if modality not in x]
    if missing:
        raise ValueError("This model matches an image with a text. Fix: pass --image and --text.")
    embeddings = task.embed(x)
    cosine = (embeddings["images"] * embeddings["text"]).sum()
    return {"match": float(task.predict(x, verbose=0)[0]), "cosine": float(cosine)}


def _predict_labels(task, x, top, console):
    """Prints a table of labels or numbers; returns them."""
    explanation = task.explain(x)
    printed, chosen = {}, {}
    for head in task.described.values():
        predicted = [float(value) for value in explanation[head.name][0]]
        found = list(zip(head.label_names, predicted, strict=True))
        table = Table("target", "value") if head.is_regression else Table("label", "probability")
        cuts = dict(zip(head.label_names, head.thresholds, strict=True)) if head.thresholds else {}
        if cuts:
            table.add_column("predicted from")
            table.add_column("predicted")
            chosen[head.name] = [name for name, value in found if value >= cuts[name]]
        if len(task.described) > 1:
            table.title = head.name
        if not head.is_regression:
            found = sorted(found, key=lambda pair: -pair[1])[:top]
        for name, value in found:
            cells = [name, f"{value:.6g}" if head.is_regression else f"{value:.3f}"]
            if cuts:
                cells += [f"{cuts[name]:.3f}", "yes" if value >= cuts[name] else "no"]
            table.add_row(*cells)
        console.print(table)
        printed[head.name] = dict(found)
    weights = {}
    if "modality_weights" in explanation:
        values = explanation["modality_weights"][0].tolist()
        weights = dict(zip(task.backbone.modalities, values, strict=True))
        if len(x) > 1:
            console.print(weights_line(weights), highlight=False)
    if len(task.described) == 1:
        kind = "values" if task.described[task.main_output].is_regression else "labels"
        printed = {kind: printed[task.main_output]}
        chosen = chosen.get(task.main_output)
    predicted = {"predicted": chosen} if chosen is not None and chosen != {} else {}
    return {**printed, **predicted, "modality_weights": weights}


def _read(options):
    """The batch of one example."""
    x = {"images": options.image, "text": options.text, "audio": options.audio}
    x = {modality: [value] for modality, value in x.items() if value is not None}
    if options.series is not None:
        import pandas as pd

        try:
            readings = pd.read_csv(options.series).to_numpy("float32")
        except (OSError, ValueError) as error:
            raise ValueError(
                f"--series: {options.series!r} cannot be read ({error}). Fix: pass a CSV file with a "
                "header and numbers."
            ) from None
        x["series"] = [readings]
    for word in options.table:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise ValueError(
                f"--table takes COLUMN=VALUE. Received: {word!r}. Fix: such as --table age=30 city=Rome."
            )
        # As it is written: whether "1.50" is a number or a name, the model knows.
        x.setdefault("table", {})[name] = [value]
    return x
