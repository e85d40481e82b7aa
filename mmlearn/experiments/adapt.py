"""Few-shot adaptation: new classes for a saved model, from a few examples of each."""

import os
import time

import numpy as np
import tensorflow as tf
from keras import ops
from rich.console import Console
from scipy import sparse, stats

from data_prep.fingerprint import fingerprint
from data_prep.pipeline import build_dataset
from data_prep.screening import without_empty, without_unreadable
from mmlearn.analysis.shots import plot_shots
from mmlearn.evaluation import scores
from mmlearn.evaluation.classification import per_class_average_precision, trivial_baselines
from mmlearn.experiments.baselines import check_has_classes, label_prior
from mmlearn.experiments.build import absent_modalities, build_source
from mmlearn.experiments.config import to_dict
from mmlearn.experiments.output import MEASURED, check_output, replacing, write_json
from mmlearn.experiments.run import versions
from mmlearn.experiments.scoring import name_bad_images
from mmlearn.layers.masked_mean import masked_mean
from mmlearn.models import MultimodalClassifier
from mmlearn.models.compiled import compile_function
from mmlearn.models.presets import find_preset
from mmlearn.serving.versions import default_name, export_version
from mmlearn.training.callbacks import progress_bar
from mmlearn.training.linear_head import draw_shots, fit_linear_head

RESULTS = ("preset", "serving", "figures", "shots.json", *MEASURED)  # what an adaptation leaves
CONFIDENCE = 0.95
METHOD = (
    "logistic regression on frozen features, standardised on the shots, C = 1 / their number; "
    "means over seeds with 95 % t-intervals"
)


def adapt(
    model,
    data,
    shots=5,
    shots_max=None,
    num_seeds=5,
    batch_size=32,
    output=None,
    console=None,
):
    """Fits linear heads to frozen features of a saved model, for the classes of other data.

    Encoders and fusion stay as they are; where that combines predictions, those of the new heads are
    joined with its weights. The fused features, and the pooled features of each modality, are computed once for the splits `train` and `val`; what is kept is one vector per
    example and kind. For 1, 2, 5, 10, ... examples per class, and for all of them, heads are fitted
    to examples drawn with several seeds and scored on `val`. The results are written beside the
    output folder and renamed at the end: `preset` and `serving/1`, a classifier whose heads are the
    linear ones for `shots` and seed 0; `shots.json`; `figures/shots.png`.

    Args:
        model: str. Output folder of a run, or a preset directory.
        data: `DataConfig` of data with labels. Soft labels count as true from 0.5.
        shots: int. Examples per class of the model that is saved.
        shots_max: int. The most examples per class of the curve, by default `shots`.
        num_seeds: int. How often examples are drawn for each point of the curve.
        batch_size: int. Of computing features.
        output: str. The folder, by default `saved_models/MODEL-SOURCE`.
        console: `rich.console.Console` for progress, or `None` for silence.

    Returns:
        The record, which is also in `shots.json`: a dict of `output`, `model`, `config`, `method`,
        `curves` (of each kind of features, a list of dicts `shots`, `num_examples`, `values`,
        `mean`, `low`, `high`), `baselines`, `classes_with_fewer`, `metrics` (of the saved
        model), `data`, `seconds` and `versions`.

    Raises:
        ValueError: when an option, the model, the data (`DataError`) or the output is not right.
    """
    start = time.monotonic()
    console = console or Console(quiet=True)
    counts = shot_counts(shots, shots_max)
    if num_seeds < 1:
        raise ValueError(f"`num_seeds` must be at least 1. Received: num_seeds={num_seeds}.")
    preset = find_preset(model, MultimodalClassifier)
    output = output or default_output(model, data.source)
    check_output(output, "an adaptation", "shots.json", RESULTS)
    source = build_source(data)
    check_has_classes(source, "an adaptation")
    labels = {split: _labels(source, split) for split in ("train", "val")}
    _check_shots(source, labels, shots)
    task = MultimodalClassifier.from_preset(preset)
    absent = absent_modalities(task.backbone.modalities, source)
    for modality in absent:
        console.print(f"[bold]no {modality}[/] in the data: a learned token stands in for it")
    source, skipped = without_unreadable(source, ("train", "val"), data.max_unreadable)
    source, num_empty = without_empty(source, ("train", "val"), task.backbone.modalities)
    if skipped:
        console.print(f"[bold]left out[/]: {len(skipped)} images that cannot be read")
    if num_empty:
        console.print(f"[bold]left out[/]: {num_empty} examples with nothing that the model takes")
    if skipped or num_empty:
        labels = {split: _labels(source, split) for split in ("train", "val")}
        _check_shots(source, labels, shots)

    features, present = {}, {}
    with progress_bar(console) as bar:
        for split in ("train", "val"):
            features[split], present[split] = compute_features(task, source, split, batch_size, bar)
        features_seconds = time.monotonic() - start
        # A modality that these data do not have is not scored.
        kinds = [k for k in present["val"] if present["train"][k].any()]
        kinds = [k for k in kinds if labels["val"][present["val"][k]].any()]
        activation = "softmax" if source.label_kind == "multi_class" else "sigmoid"

        def fit(kind, rows):
            known = rows[present["train"][kind][rows]]
            if not len(known):  # its output knows the classes' shares alone
                nothing = np.zeros_like(features["train"][kind][rows])
                return fit_linear_head(nothing, labels["train"][rows], activation)
            return fit_linear_head(
                features["train"][kind][known], labels["train"][known], activation
            )

        # Of what is averaged, all is needed, whether it is scored by itself or not.
        combines = task.backbone.combines
        fitted = [k for k in present["train"] if k != "fused" or combines != "predictions"]
        used = kinds if combines == "features" else fitted

        def score(kind, probabilities):
            known = present["val"][kind]
            return _mean_average_precision(labels["val"][known], probabilities[known])

        curves = {kind: [] for kind in kinds}
        total = (len(counts) * num_seeds + 1) * len(kinds)
        line = bar.add_task("heads", total=total, status="")
        for count in (*counts, "all"):
            # All examples are the same ones for every seed.
            draws = [np.arange(len(labels["train"]))]
            if count != "all":
                draws = [draw_shots(labels["train"], count, seed) for seed in range(num_seeds)]
            values = {kind: [] for kind in kinds}
            for rows in draws:
                found = _predict(task, {k: fit(k, rows) for k in used}, features["val"])
                for kind in kinds:
                    values[kind].append(score(kind, found[kind]))
                    bar.advance(line)
            sizes = [len(rows) for rows in draws]
            point = {"shots": count, "num_examples": float(np.mean(sizes))}
            for kind in kinds:
                curves[kind].append({**point, "values": values[kind], **interval(values[kind])})

    prior = label_prior(source, "train")
    constant = trivial_baselines(len(labels["val"]), prior)["prior"]
    baselines = {"prior": {"fused": _mean_average_precision(labels["val"], constant)}}
    if sorted(task.label_names) == sorted(source.label_names):
        own = _own_predictions(task, features["val"], source.label_names)
        baselines["zero_shot"] = {k: score(k, own[k]) for k in kinds if k in own}
    rows = draw_shots(labels["train"], shots, 0)
    heads = {kind: fit(kind, rows) for kind in fitted}
    metrics, found = {}, _predict(task, heads, features["val"])
    for kind in kinds:
        known = present["val"][kind]
        label_kind = "multi_class" if activation == "softmax" else "multi_label"
        metrics[kind] = scores.score(label_kind, labels["val"][known], found[kind][known])
    adapted = _with_heads(task, heads, source.label_names, activation)
    record = {
        "output": output,
        "model": str(model),
        "config": {
            "data": to_dict(data),
            "shots": shots,
            "shots_max": counts[-1],
            "num_seeds": num_seeds,
        },
        "method": METHOD,
        "curves": curves,
        "baselines": baselines,
        "classes_with_fewer": _classes_with_fewer(source, labels["train"], counts),
        "metrics": metrics,
        "data": {
            "fingerprint": fingerprint(source, ("train", "val")),
            "settings": source.settings,
            "num_examples": {split: len(values) for split, values in labels.items()},
            "skipped": len(skipped),
            "absent_modalities": list(absent),
            "label_names": list(source.label_names),
            "saved_from": [source.examples("train").ids[row] for row in rows],
        },
        "seconds": {"features": round(features_seconds, 2)},
        "versions": versions(),
    }
    _save(adapted, record, start)
    return record


def shot_counts(shots, shots_max=None):
    """The examples per class of a curve: 1, 2, 5, 10, 20, ... up to the most, and `shots`.

    Raises:
        ValueError: when one is less than 1, or the most is less than `shots`.

    Example:

    >>> shot_counts(5), shot_counts(4, 25)
    ([1, 2, 5], [1, 2, 4, 5, 10, 20, 25])
    """
    if shots < 1:
        raise ValueError(f"`shots` must be at least 1. Received: shots={shots}.")
    most = shots if shots_max is None else shots_max
    if most < shots:
        raise ValueError(
            f"`shots_max` must be at least `shots`. Received: shots_max={most}, shots={shots}."
        )
    steps = (digit * 10**power for power in range(len(str(most))) for digit in (1, 2, 5))
    return sorted({step for step in steps if step <= most} | {shots, most})


def default_output(model, source):
    """Returns `saved_models/MODEL-SOURCE`, of the names of the model's folder and the source."""
    folder = os.path.abspath(model)
    if os.path.basename(folder) == "preset":
        folder = os.path.dirname(folder)
    return os.path.join("saved_models", f"{os.path.basename(folder)}-{source}")


def compute_features(task, source, split, batch_size=32, bar=None):
    """Computes what linear heads see of each example of a split.

    Args:
        task: a task with a preprocessor.
        source: a source.
        split: str.
        batch_size: int.
        bar: a progress bar, started (see `mmlearn.training.callbacks.progress_bar`), or `None`.

    Returns:
        Two dicts: of `fused` and each modality to float32 `(num_examples, dim)`, the fused
        features and the mean over each encoder's tokens, with `modality_weights` where the fusion
        combines predictions; and to bool `(num_examples,)`, whether
        the example has that modality.

    Raises:
        DataError: when an image has become unreadable.
    """
    backbone = task.backbone

    def encode(inputs):
        encoded = backbone(inputs, training=False)
        found = {"fused": encoded["fused_features"]}
        if backbone.combines != "features":
            found["modality_weights"] = encoded["modality_weights"]
        for modality in backbone.modalities:
            found[modality] = masked_mean(encoded["features"][modality], encoded["masks"][modality])
        return {name: ops.cast(values, "float32") for name, values in found.items()}

    compute = compile_function(encode, backbone)
    count = len(source.examples(split))
    features, present = {}, {"fused": np.ones(count, bool)}
    present.update({modality: np.zeros(count, bool) for modality in backbone.modalities})
    line = bar.add_task(f"features of {split}", total=count, status="") if bar else None
    begin = 0
    try:
        for x, *_ in build_dataset(source, split, task.preprocessor, batch_size):
            batch = compute({name: x[name] for name in task.input})
            for name, values in batch.items():
                if name not in features:  # now that its size is known
                    features[name] = np.empty((count, values.shape[1]), np.float32)
                end = begin + len(values)
                features[name][begin:end] = np.asarray(values)
            for modality in backbone.modalities:
                present[modality][begin:end] = x[f"{modality}_present"].numpy() == 1
            begin = end
            if bar:
                bar.update(line, completed=end)
    except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError) as error:
        raise name_bad_images(source, (split,)) or error from None
    return features, present


def interval(values):
    """The mean of some values and its 95 % interval by Student's t; none of a single value.

    Example:

    >>> interval([0.5])
    {'mean': 0.5, 'low': None, 'high': None}
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return {"mean": mean, "low": None, "high": None}
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * error)
    return {"mean": mean, "low": mean - half, "high": mean + half}


def _labels(source, split):
    values = source.examples(split).labels
    values = values.toarray() if sparse.issparse(values) else np.asarray(values)
    return values >= 0.5


def _check_shots(source, labels, shots):
    if not labels["val"].any():
        raise ValueError(
            f"No example of 'val' of {source.root!r} has a label, so nothing can be measured. Fix: "
            "--data.val-fraction, or other data."
        )
    labels = labels["train"]
    most = int(labels.sum(axis=0).max())
    if most < shots:
        raise ValueError(
            f"No class has {shots} examples in the {len(labels)} of 'train' of {source.root!r}, the "
            f"most have {most}. Fix: --shots {max(most, 1)} or less, or more data."
        )


def _mean_average_precision(labels, probabilities):
    return float(np.nanmean(per_class_average_precision(labels.astype(int), probabilities)))


def _own_predictions(task, features, label_names):
    """What the model itself predicts, from features, in the data's order of classes."""
    columns = [task.label_names.index(name) for name in label_names]
    heads = {m: task.heads.get(f"{m}_{task.main_output}") for m in task.backbone.modalities}
    alone = {m: head(features[m]) for m, head in heads.items() if head is not None}
    found = {"fused": task.predict_fused(_fused(features), alone), **alone}
    return {name: np.asarray(values)[:, columns] for name, values in found.items()}


def _fused(features):
    """What the fusion returned, of computed features."""
    return {
        "fused_features": features["fused"],
        "modality_weights": features.get("modality_weights"),
    }


def _predict(task, heads, features):
    """What linear heads predict, by kind; the fused prediction is joined as the fusion asks for."""
    found = {kind: head.predict(features[kind]) for kind, head in heads.items()}
    if task.backbone.combines != "features":
        single = {kind: values.astype(np.float32) for kind, values in found.items()}
        fused = single.pop("fused", None)
        found["fused"] = np.asarray(task.join(_fused(features), single, fused))
    return found


def _with_heads(task, heads, label_names, activation):
    """A classifier on the backbone of another one, with linear heads."""
    adapted = MultimodalClassifier(
        task.backbone,
        num_classes=len(label_names),
        preprocessor=task.preprocessor,
        label_names=label_names,
        activation=activation,
        hidden_dim=None,
        dropout=task.dropout,
    )
    for kind, head in heads.items():
        name = adapted.main_output if kind == "fused" else f"{kind}_{adapted.main_output}"
        if name in adapted.heads:  # a single modality has the main head alone
            adapted.heads[name].set_weights(head.weights())
    if "share" in adapted.heads:  # it depends on the fused features alone, which are the same
        adapted.heads["share"].set_weights(task.heads["share"].get_weights())
    return adapted


def _classes_with_fewer(source, labels, counts):
    """Of each number of shots that some classes do not have: dict of class to what it has."""
    there = labels.sum(axis=0)
    fewer = {}
    for count in counts:
        names = {source.label_names[c]: int(there[c]) for c in np.flatnonzero(there < count)}
        if names:
            fewer[str(count)] = names
    return fewer


def _save(adapted, record, start):
    with replacing(record["output"]) as partial:
        for folder in ("figures", "serving"):
            os.makedirs(os.path.join(partial, folder))
        adapted.save_to_preset(os.path.join(partial, "preset"))
        name = default_name(record["output"])
        export_version(adapted, os.path.join(partial, "serving"), name=name)
        plot_shots(
            record["curves"], record["baselines"], os.path.join(partial, "figures", "shots.png")
        )
        record["seconds"]["total"] = round(time.monotonic() - start, 2)
        write_json(os.path.join(partial, "shots.json"), record)
