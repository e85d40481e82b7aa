"""New classes for a saved model: the curve, the saved model, and what is refused."""

import json
import os

import cv2
import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from data_prep.pipeline import build_dataset
from mmlearn import MultimodalClassifier
from mmlearn.evaluation.classification import multilabel_metrics, per_class_average_precision
from mmlearn.experiments import adapt as module
from mmlearn.experiments.adapt import (
    adapt,
    compute_features,
    default_output,
    interval,
    shot_counts,
)
from mmlearn.experiments.config import DataConfig
from mmlearn.training.linear_head import draw_shots
from tests import toys

NAMES = ["arrow", "circle", "cross", "diamond", "ring", "square", "star", "triangle"]


@pytest.fixture(scope="module")
def classifier():
    """Of the classes of the scenes, in another order; not trained, which does not matter here."""
    keras.utils.set_random_seed(0)
    return MultimodalClassifier(toys.backbone(), 8, toys.preprocessor(), label_names=NAMES)


@pytest.fixture(scope="module")
def data(shapes_root):
    return DataConfig(source="shapes", root=shapes_root)


@pytest.fixture(scope="module")
def adapted(classifier, data, tmp_path_factory):
    """The record of an adaptation to the scenes, without the SavedModel, which takes seconds."""
    folder = tmp_path_factory.mktemp("adapted")
    classifier.save_to_preset(folder / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "export_version", make_folder)
        return adapt(
            str(folder / "model"),
            data,
            shots=2,
            num_seeds=3,
            batch_size=10,
            output=str(folder / "out"),
        )


@pytest.fixture(scope="module")
def again(adapted):
    """The saved model."""
    return MultimodalClassifier.from_preset(os.path.join(adapted["output"], "preset"))


@pytest.fixture(scope="module")
def features(classifier, shapes):
    return {split: compute_features(classifier, shapes, split)[0] for split in ("train", "val")}


@pytest.fixture(scope="module")
def outputs(again, shapes):
    """All outputs of the saved model for the validation scenes."""
    dataset = build_dataset(shapes, "val", again.preprocessor).map(lambda x, *_: x)
    return again.predict_outputs(dataset, verbose=0)


@pytest.fixture
def text_model(monkeypatch, tmp_path):
    """A tiny classifier of texts, whose classes are dog, cat and sofa, without the way by the disk."""
    (tmp_path / "task.json").write_text('{"registered_name": "mmlearn>MultimodalClassifier"}')
    classifier = toys.classifier(("text",))
    monkeypatch.setattr(MultimodalClassifier, "from_preset", lambda path: classifier)
    return str(tmp_path)


@pytest.fixture
def fast(monkeypatch, tmp_path):
    """Leaves out the SavedModel; returns an output folder."""
    monkeypatch.setattr(module, "export_version", make_folder)
    return str(tmp_path / "results" / "out")


def make_folder(classifier, folder, name=None):
    """Stands in for the export."""
    os.makedirs(os.path.join(folder, "1"))


def write_table(tmp_path, header, rows):
    path = tmp_path / "table.csv"
    path.write_text("\n".join([header, *rows]))
    return str(path)


def test_features_are_those_of_the_backbone_in_the_order_of_the_split(features, classifier, shapes):
    x, *_ = next(iter(build_dataset(shapes, "train", classifier.preprocessor, batch_size=24)))
    encoded = classifier.backbone(x)
    assert {name: values.shape for name, values in features["train"].items()} == {
        "fused": (24, 16),
        "images": (24, 128),
        "text": (24, 16),
    }
    np.testing.assert_allclose(features["train"]["fused"], encoded["fused_features"], atol=1e-5)
    images = np.asarray(encoded["features"]["images"]).mean(axis=1)
    np.testing.assert_allclose(features["train"]["images"], images, atol=1e-5)
    mask = np.asarray(encoded["masks"]["text"])[..., None]
    text = (np.asarray(encoded["features"]["text"]) * mask).sum(1) / mask.sum(1)
    np.testing.assert_allclose(features["train"]["text"], text, atol=1e-5)


@pytest.mark.large
@pytest.mark.parametrize("kind", ["fused", "images", "text"])
def test_the_saved_model_predicts_what_scikit_learn_does(again, outputs, features, shapes, kind):
    assert again.hidden_dim is None
    assert again.label_names == list(shapes.label_names)
    train, val = features["train"][kind], features["val"][kind]
    labels = shapes.examples("train").labels
    rows = draw_shots(labels, 2, seed=0)
    shots, which = train[rows].astype("float64"), labels[rows]
    scale = np.maximum(shots.std(0), 0.01 * np.sqrt(np.mean(shots.var(0))))
    varied = np.flatnonzero((which.min(0) == 0) & (which.max(0) == 1))
    assert len(varied) >= 6
    for c in varied:
        regression = LogisticRegression(C=1 / train.shape[1], tol=1e-8)
        regression.fit((shots - shots.mean(0)) / scale, which[:, c])
        expected = regression.predict_proba((val - shots.mean(0)) / scale)[:, 1]
        name = "classes" if kind == "fused" else f"{kind}_classes"
        np.testing.assert_allclose(outputs[name][:, c], expected, atol=1e-5)


@pytest.mark.large
def test_the_curve_has_a_point_per_number_of_shots_and_features(adapted, shapes):
    assert list(adapted["curves"]) == ["fused", "images", "text"]
    labels = shapes.examples("train").labels
    for points in adapted["curves"].values():
        assert [point["shots"] for point in points] == [1, 2, "all"]
        assert [len(point["values"]) for point in points] == [3, 3, 1]
        assert points[2]["num_examples"] == 24
        drawn = [len(draw_shots(labels, 2, seed)) for seed in range(3)]
        assert points[1]["num_examples"] == np.mean(drawn)
        for point in points[:2]:
            assert point["low"] <= point["mean"] <= point["high"]
            assert len(set(point["values"])) > 1  # seeds draw other examples
        assert points[2]["low"] is None
    # The model that is saved is the one of the curve's first seed.
    for kind, points in adapted["curves"].items():
        assert adapted["metrics"][kind]["mAP"] == points[1]["values"][0]


@pytest.mark.large
def test_the_scores_are_those_of_what_the_saved_model_predicts(adapted, outputs, shapes):
    labels = shapes.examples("val").labels.astype(int)
    prior = np.tile(shapes.examples("train").labels.mean(0), (12, 1))
    for kind in ("fused", "images", "text"):
        name = "classes" if kind == "fused" else f"{kind}_classes"
        expected = multilabel_metrics(labels, outputs[name])
        assert adapted["metrics"][kind] == pytest.approx(expected, abs=1e-6)
    expected = multilabel_metrics(labels, prior)["mAP"]
    assert adapted["baselines"]["prior"]["fused"] == pytest.approx(expected)


@pytest.mark.large
def test_with_the_same_classes_the_model_itself_is_a_baseline(adapted, classifier, shapes):
    dataset = build_dataset(shapes, "val", classifier.preprocessor).map(lambda x, *_: x)
    own = classifier.predict_outputs(dataset, verbose=0)
    columns = [NAMES.index(name) for name in shapes.label_names]
    assert columns != sorted(columns)
    labels = shapes.examples("val").labels
    for kind, values in adapted["baselines"]["zero_shot"].items():
        name = "classes" if kind == "fused" else f"{kind}_classes"
        expected = np.nanmean(per_class_average_precision(labels, own[name][:, columns]))
        assert values == pytest.approx(expected, abs=1e-6)
    assert list(adapted["baselines"]["zero_shot"]) == ["fused", "images", "text"]


@pytest.mark.large
def test_everything_is_written_and_nothing_else(adapted):
    output = adapted["output"]
    assert sorted(os.listdir(output)) == ["figures", "preset", "serving", "shots.json"]
    assert sorted(os.listdir(os.path.dirname(output))) == ["model", "out"]
    assert os.listdir(os.path.join(output, "serving")) == ["1"]
    assert cv2.imread(os.path.join(output, "figures", "shots.png")).std() > 5
    with open(os.path.join(output, "shots.json")) as file:
        assert json.load(file) == json.loads(json.dumps(adapted))


@pytest.mark.large
def test_one_modality_alone_one_label_each_and_too_few_of_a_class(adapted, fast, tmp_path):
    rows = [f"a {word} dog,{word}" for word in ("red", "blue", "left") for _ in range(8)][:-4]
    table = write_table(tmp_path, "text,kind", rows)
    options = {"text": "text", "labels": "kind"}
    data = DataConfig(source="table", root=table, options=options, val_fraction=0.25, stratify=True)
    record = adapt(adapted["model"], data, shots=4, num_seeds=2, output=fast)
    assert list(record["curves"]) == ["fused", "text"]
    assert record["data"]["absent_modalities"] == ["images"]
    assert record["classes_with_fewer"] == {"4": {"left": 3}}
    assert "zero_shot" not in record["baselines"]  # other classes
    again = MultimodalClassifier.from_preset(os.path.join(fast, "preset"))
    assert again.activation == "softmax"
    probabilities = again.predict({"text": [row.split(",")[0] for row in rows]}, verbose=0)
    names = [again.label_names[c] for c in probabilities.argmax(1)]
    assert names == [row.split(",")[1] for row in rows]  # three texts, three classes
    assert not again.heads["images_classes"].get_weights()[0].any()  # it knows the shares alone


@pytest.mark.large
@pytest.mark.parametrize("fusion", ["late", "hybrid"])
def test_predictions_are_joined_as_in_the_model_itself(fusion, data, shapes, fast, tmp_path):
    options = {"preprocessor": toys.preprocessor(), "label_names": NAMES}
    first = MultimodalClassifier(toys.backbone(fusion=fusion), 8, **options)
    first.save_to_preset(tmp_path / "model")
    record = adapt(str(tmp_path / "model"), data, shots=2, num_seeds=2, output=fast)
    again = MultimodalClassifier.from_preset(os.path.join(fast, "preset"))
    assert ("classes" in again.heads) == (fusion == "hybrid")
    dataset = build_dataset(shapes, "val", again.preprocessor).map(lambda x, *_: x)
    labels = shapes.examples("val").labels.astype(int)
    metrics = {kind: scores["mAP"] for kind, scores in record["metrics"].items()}
    for task, scores in ((again, metrics), (first, record["baselines"]["zero_shot"])):
        found = task.predict_outputs(dataset, verbose=0)
        columns = [task.label_names.index(name) for name in shapes.label_names]
        for kind in ("fused", "images", "text"):
            name = "classes" if kind == "fused" else f"{kind}_classes"
            expected = multilabel_metrics(labels, found[name][:, columns])["mAP"]
            assert scores[kind] == pytest.approx(expected)


def test_an_interruption_leaves_the_earlier_results(text_model, data, fast, monkeypatch):
    os.makedirs(os.path.join(fast, "serving"))
    with open(os.path.join(fast, "shots.json"), "w") as file:
        file.write("earlier")

    def broken(*args):
        raise OSError("the disk is full")

    monkeypatch.setattr(module, "plot_shots", broken)
    with pytest.raises(OSError, match="the disk is full"):
        adapt(text_model, data, shots=1, num_seeds=1, output=fast)
    assert sorted(os.listdir(fast)) == ["serving", "shots.json"]
    assert os.listdir(os.path.dirname(fast)) == ["out"]


def test_counts_go_up_in_1_2_5_and_hold_what_was_asked_for():
    assert shot_counts(1) == [1]
    assert shot_counts(7) == [1, 2, 5, 7]
    assert shot_counts(5, 100) == [1, 2, 5, 10, 20, 50, 100]


def test_intervals_are_students():
    found = interval([0.1, 0.2, 0.3])
    assert found["mean"] == pytest.approx(0.2)
    half = 4.302653 * 0.1 / np.sqrt(3)  # the 97.5 % quantile of two degrees of freedom
    assert found["high"] - 0.2 == pytest.approx(half, rel=1e-5)
    assert 0.2 - found["low"] == pytest.approx(half, rel=1e-5)


def test_the_default_output_is_named_after_model_and_source():
    assert default_output("saved_models/shapes", "coco") == "saved_models/shapes-coco"
    assert default_output("saved_models/shapes/preset/", "coco") == "saved_models/shapes-coco"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shots": 0}, r"`shots` must be at least 1\. Received: shots=0"),
        (
            {"shots_max": 4},
            r"`shots_max` must be at least `shots`\. Received: shots_max=4, shots=5",
        ),
        ({"num_seeds": 0}, "`num_seeds` must be at least 1"),
        (
            {"shots": 25},
            r"No class has 25 examples in the 24 of 'train' .* Fix: --shots \d+ or less",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(text_model, data, fast, options, message):
    with pytest.raises(ValueError, match=message):
        adapt(text_model, data, output=fast, **options)
    assert not os.path.exists(fast)


def test_data_without_labels_or_modalities_are_refused(text_model, fast, shapes_root, tmp_path):
    table = write_table(tmp_path, "text", ["a dog", "a cat"] * 4)
    data = DataConfig(source="table", root=table, options={"text": "text"})
    with pytest.raises(ValueError, match=r"have no labels, and an adaptation needs labels\. Fix:"):
        adapt(text_model, data, output=fast)
    for kind in ("ring", "star"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for number in range(5):
            picture = np.full((8, 8, 3), 40 * number, np.uint8)
            cv2.imwrite(str(tmp_path / "photos" / kind / f"{number}.png"), picture)
    data = DataConfig(source="image_folder", root=str(tmp_path / "photos"))
    with pytest.raises(ValueError, match=r"have none of the model's modalities, text\. Fix:"):
        adapt(text_model, data, shots=1, output=fast)


def test_an_output_of_something_else_is_refused(text_model, data, tmp_path):
    (tmp_path / "run.json").touch()
    with pytest.raises(ValueError, match=r"is not the result of an adaptation\. Fix:"):
        adapt(text_model, data, output=str(tmp_path))
