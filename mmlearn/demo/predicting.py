"""What the page shows of a prediction: probabilities, weights of modalities, maps; nothing of its looks."""

from dataclasses import dataclass

import keras
import numpy as np

from mmlearn.analysis.attention import text_maps
from mmlearn.analysis.grad_cam import grad_cam
from mmlearn.analysis.rationale import rationale
from mmlearn.models.prediction_task import PredictionTask
from mmlearn.models.presets import find_preset

MAX_CHARACTERS = 10_000  # of a text
NUM_LABELS = 3  # whose maps are made, by default


@dataclass(frozen=True)
class Row:
    """A label and what is predicted for it.

    Attributes:
        label: str.
        value: float, a probability or a number.
        change: float, the difference to the value with everything given, or `None` if nothing was left
            out.
        is_predicted: bool, whether it reaches its threshold, or `None` without thresholds.
    """

    label: str
    value: float
    change: float | None
    is_predicted: bool | None


@dataclass(frozen=True)
class HeadRows:
    """What a head predicts.

    Attributes:
        name: str, of the head.
        rows: list of `Row`, the likeliest first; numbers in the order of the targets.
        is_regression: bool, whether they are numbers.
        is_calibrated: bool, whether the probabilities were calibrated.
    """

    name: str
    rows: list
    is_regression: bool
    is_calibrated: bool


@dataclass(frozen=True)
class Prediction:
    """What a model predicts for one example, and what that is made of.

    Attributes:
        heads: list of `HeadRows`, the main one first.
        modality_weights: dict of modality to float, empty where the model has none.
        word_maps: list of `(word, map)`, each map `(grid_height, grid_width)`: where a word attends to.
        label_maps: list of `(label, map)`, Grad-CAM of the likeliest labels.
        remarks: list of str, on what there is not.
    """

    heads: list
    modality_weights: dict
    word_maps: list
    label_maps: list
    remarks: list


def open_predictor(model):
    """Loads a saved model that predicts labels or numbers from images, texts or both.

    Args:
        model: str. Output folder of a run, or a preset directory.

    Raises:
        ValueError: when there is none, or it is another task, or takes neither.
    """
    task = PredictionTask.from_preset(find_preset(model, PredictionTask))
    if not {"images", "text"} & set(task.backbone.modalities):
        raise ValueError(
            f"The page shows images and texts, and {model!r} is a model of "
            f"{' and '.join(task.backbone.modalities)}. Fix: another model; `predict` takes these."
        )
    return task


def predict_example(task, photo=None, text="", left_out=(), num_labels=NUM_LABELS):
    """Predicts, and explains, as far as the model and the example allow.

    Args:
        task: `PredictionTask` with a preprocessor.
        photo: `Photo`, or `None`.
        text: str. Empty or blank counts as none.
        left_out: collection of the modalities that are given and shall not be used: the learned missing
            tokens stand in for them, and the changes are noted.
        num_labels: int. How many labels get maps, the likeliest, or the first of numbers.

    Returns:
        `Prediction`.

    Raises:
        ValueError: in words for whoever gave them, when nothing is left to predict from, or the text is
            too long.
    """
    given = _given(task, photo, text)
    used = {modality: value for modality, value in given.items() if modality not in left_out}
    if not used:
        names = {"images": "an image", "text": "a text"}
        wanted = " or ".join(name for m, name in names.items() if m in task.backbone.modalities)
        raise ValueError(f"There is nothing to predict from. Fix: give {wanted}, and use it.")
    # What is used, and everything for comparison, in one batch; b"" and "" are absent.
    batch = [used] if used == given else [used, given]
    x = {m: [each.get(m, type(value)()) for each in batch] for m, value in given.items()}
    inputs = task.read_inputs(x)
    found = keras.tree.map_structure(keras.ops.convert_to_numpy, task.explain_inputs(inputs))
    heads = [_rows(head, found[head.name]) for head in task.described.values()]
    weights = {}
    if "modality_weights" in found:
        values = found["modality_weights"][0].tolist()
        weights = dict(zip(task.backbone.modalities, values, strict=True))
    words, labels, remarks = [], [], []
    if len(used) == 2:
        maps, remark = text_maps(task, found, used["text"])
        words, remarks = maps or [], [remark] if remark else []
    elif "images" in used and "text" in task.backbone.modalities:
        remarks = ["With a text as well, each of its words shows where in the image it looks."]
    if "images" in used and num_labels:
        labels = _label_maps(task, inputs, found[task.main_output][0], num_labels)
    return Prediction(heads, weights, words, labels, remarks)


def answer_question(task, photo, question):
    """Answers a question about an image, with reasons.

    Args:
        task: `VisualQuestionAnswerer` with a preprocessor.
        photo: `Photo`, or `None`, with which there is no answer.
        question: str.

    Returns:
        `Prediction`, whose labels are the answers; and what `mmlearn.analysis.rationale.rationale`
        returns of the image as the model sees it, of which `box` is in shares of the sides, or `None`.

    Raises:
        ValueError: in words for whoever asked, when there is no image or no question.
    """
    if photo is None:
        raise ValueError("There is no image to ask about. Fix: give one.")
    if not (question or "").strip():
        raise ValueError("There is no question. Fix: ask one.")
    # What speaks for an answer in the image without the question says nothing.
    prediction = predict_example(task, photo, question, num_labels=0)
    inputs = task.read_inputs({"images": [photo.data], "text": [question]})
    image = np.asarray(inputs["images"][0]).round().astype(np.uint8)
    reasons = rationale(task, image, question)
    for region in reasons["regions"] if reasons else ():
        height, width = image.shape[:2]
        sizes = (width, height, width, height)
        region["box"] = [place / size for place, size in zip(region["box"], sizes, strict=True)]
    return prediction, reasons


def _given(task, photo, text):
    text = (text or "").strip()
    if len(text) > MAX_CHARACTERS:
        raise ValueError(
            f"The text has {len(text):,} characters, and {MAX_CHARACTERS:,} are the most. Fix: a part of it."
        )
    given = {"images": photo.data if photo is not None else b"", "text": text}
    return {m: value for m, value in given.items() if value and m in task.backbone.modalities}


def _rows(head, values):
    """The rows of a head, from its predictions `(1 or 2, num_columns)`: used, and of everything."""
    names, thresholds = list(head.label_names), head.thresholds
    rows = []
    for column, name in enumerate(names):
        value = float(values[0, column])
        change = value - float(values[1, column]) if len(values) > 1 else None
        is_predicted = value >= thresholds[column] if thresholds is not None else None
        rows.append(Row(name, value, change, is_predicted))
    if not head.is_regression:
        rows.sort(key=lambda row: -row.value)
    return HeadRows(head.name, rows, head.is_regression, head.temperatures is not None)


def _label_maps(task, inputs, predicted, count):
    """Grad-CAM of labels, each map of the sum 1."""
    head = task.described[task.main_output]
    order = np.arange(len(predicted)) if head.is_regression else np.argsort(-predicted)
    columns = order[:count]
    repeated = {
        name: np.repeat(values[:1], len(columns), axis=0) for name, values in inputs.items()
    }
    maps = grad_cam(task, repeated, columns)
    return [
        (head.label_names[column], heat / max(float(heat.sum()), 1e-12))
        for column, heat in zip(columns, maps, strict=True)
    ]
