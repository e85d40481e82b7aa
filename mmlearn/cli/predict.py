"""`python -m mmlearn predict MODEL --image a.jpg --text "..."`."""

import contextlib
import json
from dataclasses import dataclass, field

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from data_prep.names import input_names
from data_prep.quiet import quiet_start
from mmlearn.cli.paths import check_files, check_model
from mmlearn.cli.tables import weights_line

_COLUMNS = {"probabilities": "labels", "values": "targets"}  # of an answer, and what names them


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
    """Print one JSON object as the last line of standard output: `labels` or `values`, of several heads each
    by its name; `predicted`, where the model has thresholds; `modality_weights`; and what else it says,
    such as `answer`, `caption`, `match`."""


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
    x = _read(options)
    if isinstance(task, ImageCaptioner):
        if "images" not in x:
            raise ValueError("This model writes captions of images. Fix: pass --image FILE.")
        _print([], {"caption": task.generate(x, prompt=options.text)[0]}, len(x), options)
    elif isinstance(task, ImageTextRetriever):
        _print([], _match(task, x), len(x), options)
    else:
        _print(*_predict(task, x), len(x), options)


@dataclass(frozen=True)
class Prediction:
    """What one head predicts of one example."""

    name: str
    """Of the head; empty where there is only one."""
    scores: dict
    """Class to probability, or target to number."""
    is_regression: bool
    thresholds: dict = field(default_factory=dict)
    """Class to the probability from which it is predicted, where the model has such."""


def _print(predictions, others, num_given, options):
    """Prints what was predicted from so many modalities, of a model here as of one on a server."""
    console, found = Console(stderr=options.json), {}
    for each in sorted(predictions, key=lambda each: each.name):
        scores = each.scores
        if not each.is_regression:
            scores = dict(sorted(scores.items(), key=lambda pair: -pair[1])[: options.top])
        console.print(_table(each, scores))
        kind = "values" if each.is_regression else "labels"
        found[each.name or kind] = scores
        if each.thresholds:
            chosen = [name for name, value in each.scores.items() if value >= each.thresholds[name]]
            if each.name:
                found.setdefault("predicted", {})[each.name] = chosen
            else:
                found["predicted"] = chosen
    weights = others.pop("modality_weights", {})
    for name, value in sorted(others.items()):
        shown = f"{value:.3f}" if isinstance(value, float) else value
        console.print(f"{name}: {shown}", highlight=False, markup=False)
    if weights and num_given > 1:
        console.print(weights_line(weights), highlight=False)
    if options.json:
        weights = {"modality_weights": weights} if predictions else {}
        print(json.dumps({**found, **others, **weights}))


def _table(prediction, scores):
    number = "value" if prediction.is_regression else "probability"
    table = Table("target" if prediction.is_regression else "label", title=prediction.name or None)
    table.add_column(number)
    if prediction.thresholds:
        table.add_column("predicted from")
        table.add_column("predicted")
    for name, value in scores.items():
        cells = [name, f"{value:.6g}" if prediction.is_regression else f"{value:.3f}"]
        if prediction.thresholds:
            cut = prediction.thresholds[name]
            cells += [f"{cut:.3f}", "yes" if value >= cut else "no"]
        table.add_row(*cells)
    return table


def _ask_server(options):
    """Prints what a server predicts, without loading the model or TensorFlow."""
    from mmlearn.serving.client import Client

    x = _read(options)
    num_given = len(x)
    columns = x.pop("table", {})
    x.update({name: columns[column] for column, name in input_names("table", columns).items()})
    starts_tensorflow = options.server.startswith("grpc:")
    with quiet_start() if starts_tensorflow else contextlib.nullcontext():
        client = Client(options.server, options.model, manifest=options.manifest)
    with client:
        taken = client.signatures()["serving_default"]["inputs"]
        for name in sorted(x.keys() & taken.keys()):
            if taken[name][0] is not object and name.startswith("table_"):
                x[name] = [_number(name, value) for value in x[name]]
        answer = client.predict(**x)
    for option in ("image", "audio"):
        status = int(answer.pop(f"{option}_status", [0])[0])
        if status > 1:  # see `mmlearn.models.signatures.write`
            raise ValueError(
                f"--{option}: the server cannot read {getattr(options, option)!r}"
                f"{', which has too many pixels' if status == 3 else ''}. Fix: pass another file."
            )
    if int(answer.pop("status", [0])[0]):
        raise ValueError(
            f"The server has nothing to predict from: this model takes {', '.join(sorted(taken))}. Fix: pass "
            "what is missing, or a text or a file that is not empty."
        )
    modalities = sorted({name.partition("_")[0] for name in taken})
    _print(*_read_answer(answer, modalities), num_given, options)


def _read_answer(answer, modalities):
    """The predictions of the one row of an answer, and what else it has."""
    predictions, others = [], {}
    for name, values in answer.items():
        kind = next((kind for kind in _COLUMNS if name.endswith(kind)), "")
        head = name.removesuffix(kind)
        columns = answer.get(f"{head}{_COLUMNS.get(kind)}")
        if columns is not None:
            scores = dict(zip(columns[0].tolist(), map(float, values[0]), strict=True))
            predictions.append(Prediction(head.rstrip("_"), scores, kind == "values"))
        elif name == "modality_weights":
            others[name] = dict(zip(modalities, values[0].tolist(), strict=True))
        elif not name.endswith(("labels", "targets", "_embedding")):
            others["caption" if name == "captions" else name] = _plain(values[0])
    return predictions, others


def _plain(value):
    """An output of one example as JSON has it."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return value.decode() if isinstance(value, bytes) else value


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
    similarity = (embeddings["images"] * embeddings["text"]).sum()
    return {"match": float(task.predict(x, verbose=0)[0]), "similarity": float(similarity)}


def _predict(task, x):
    """The predictions of each head, and what else the model says of the example."""
    explanation = task.explain(x)
    heads = task.described.values()
    predictions = []
    for head in heads:
        values = map(float, explanation[head.name][0])
        cuts = zip(head.label_names, head.thresholds, strict=True) if head.thresholds else ()
        predictions.append(
            Prediction(
                task.own_name("", head).rstrip("_"),
                dict(zip(head.label_names, values, strict=True)),
                head.is_regression,
                dict(cuts),
            )
        )
    others = {}
    for name, values in task.serve_also(explanation).items():
        others[name] = _plain(np.asarray(values)[0])
    if "modality_weights" in explanation:
        values = explanation["modality_weights"][0].tolist()
        others["modality_weights"] = dict(zip(task.backbone.modalities, values, strict=True))
    return predictions, others


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
