"""The task that answers questions about images, with the answers of people as targets."""

import os

import numpy as np

from data_prep.names import call
from data_prep.pipeline import build_dataset
from data_prep.sources.relabelled import RelabelledSource
from mmlearn.analysis.attention import draw_attention
from mmlearn.analysis.gallery import plot_gallery
from mmlearn.analysis.rationale import plot_rationale, rationale
from mmlearn.evaluation.likeliest import likeliest
from mmlearn.evaluation.vqa import answer_accuracies, best_accuracies, describe_answers, score_by
from mmlearn.evaluation.vqa_baselines import most_frequent, question_kinds
from mmlearn.experiments.backbone import build_backbone
from mmlearn.experiments.baselines import check_has_classes, label_prior
from mmlearn.experiments.task_kind import Measured, TaskKind
from mmlearn.models import VisualQuestionAnswerer

DRAWN = 8  # examples of each figure
_ROWS = {"text": "question_only", "images": "image_only"}


def check_answering(config, source):
    """Checks that there are questions with answers, see `TaskKind`."""
    check_has_classes(source, "a model of answers")
    _check_answers(source, "train")


def _check_answers(source, split):
    if "answers" not in source.examples(split).details:
        raise ValueError(
            f"The data in {source.root!r} have no questions with the answers of people. Fix: "
            "--data.source vqa_v2 --data.root DIR, or --data.source shapes_questions."
        )


def build_answering(config, source, encoders, preprocessor=None, dtype=None):
    """Builds a model of the answers of the data, that starts from their prior, see `TaskKind`."""
    names = source.label_names
    options = {
        "backbone": build_backbone(config, encoders, dtype),
        "num_classes": len(names),
        "preprocessor": preprocessor,
        "label_names": names,
        "hidden_dim": config.head_hidden_dim,
        "dropout": config.dropout,
        "consistency": config.consistency,
    }
    task = call(VisualQuestionAnswerer, {**options, **config.task.options}, "task 'answering'")
    task.start_from(label_prior(source, "train"))
    return task


def open_answering(task, source):
    """The source with the answers of a task as labels, see `TaskKind`."""
    _check_answers(source, source.splits[0])
    if list(source.label_names) == task.label_names:
        return source
    return RelabelledSource(source, task.label_names)


def measure_answering(task, source, split, dataset, prior):
    """Scores answers by the official accuracy, see `TaskKind`.

    Rows are the model; `question_only` and `image_only`, its heads of one modality; `without_text` and
    `without_images`; `prior`, the most frequent answer, and `prior_by_question_type`, that of the
    questions that begin alike, if there are training questions; `oracle_{name}` of data that are made; and
    `vocabulary`, the best that can be said with the answers that the model knows.
    """
    examples, names = source.examples(split), np.array(task.label_names)
    details = examples.details
    columns, probabilities = likeliest(task, dataset)
    rows = {_ROWS.get(name, name): found for name, found in columns.items()}
    kinds = question_kinds(details["question_type"], [texts[0] for texts in examples.captions])
    rows["prior"] = np.full(len(examples), np.argmax(prior))
    if "train" in source.splits:
        train = source.examples("train")
        texts = [each[0] for each in train.captions]
        seen = question_kinds(train.details["question_type"], texts)
        rows["prior_by_question_type"] = most_frequent(train.labels, seen, kinds)
    for name, values in source.oracles(split).items():
        rows[f"oracle_{name}"] = values.argmax(axis=1)
    accuracies = {
        name: answer_accuracies(names[found].tolist(), details["answers"])
        for name, found in rows.items()
    }
    accuracies["vocabulary"] = best_accuracies(task.label_names, details["answers"])
    metrics, described = describe_answers(accuracies, details["answer_type"], examples.groups)
    return Measured(
        metrics,
        per_class={
            name: score_by(accuracies[name], kinds)
            for name in ("model", "prior_by_question_type")
            if name in accuracies
        },
        predictions={
            "answers": names[columns["model"]],
            "probabilities": probabilities["model"],
            **{f"accuracy_{name}": values for name, values in accuracies.items()},
        },
        **described,
    )


def draw_answering(task, source, measured, folder):
    """Draws questions with right and wrong answers, what words attend to, and why, see `TaskKind`."""
    draw_attention(task, source, folder)
    examples = source.examples("val")
    accuracy = measured.predictions["accuracy_model"]
    right, wrong = (
        np.flatnonzero(rows)[: DRAWN // 2] for rows in (accuracy >= 0.5, accuracy < 0.5)
    )
    chosen = {*right.tolist(), *wrong.tolist()}
    gallery = []
    dataset = build_dataset(source, "val").take(max(chosen) + 1)
    for row, example in enumerate(dataset.as_numpy_iterator()):
        if row not in chosen:
            continue
        said = examples.details["answers"][row]
        lines = [
            f"model: {measured.predictions['answers'][row]} (accuracy {accuracy[row]:.1f})",
            f"people: {', '.join(dict.fromkeys(said))}",
        ]
        image, text = example.get("images"), example["text"].decode()
        gallery.append({"image": image, "text": text, "lines": lines})
        both = set(task.backbone.modalities) >= {"images", "text"}
        found = rationale(task, image, text) if both and image is not None and image.size else None
        if found is not None:
            plot_rationale(image, found, os.path.join(folder, f"rationale_{row:03d}.png"))
    plot_gallery(gallery, os.path.join(folder, "answers.png"))


ANSWERING = TaskKind(
    task=VisualQuestionAnswerer,
    check=check_answering,
    build=build_answering,
    prior=label_prior,
    open=open_answering,
    measure=measure_answering,
    draw=draw_answering,
)
