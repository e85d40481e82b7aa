"""Answers, from raw questions and images to the SavedModel."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mmlearn import MultimodalClassifier, VisualQuestionAnswerer
from mmlearn.models.presets import find_preset
from tests import checks, toys
from tests.models.test_signatures import ALLOWED

ANSWERS = ["yes", "no", "red", "2"]
PRIOR = [0.5, 0.25, 0.2, 0.0]


def answerer(modalities=("images", "text"), **kwargs):
    backbone = toys.backbone(modalities, **kwargs)
    return VisualQuestionAnswerer(
        backbone, len(ANSWERS), toys.preprocessor(modalities), ANSWERS, hidden_dim=8
    )


def examples(count=4):
    """Questions with images, and soft targets."""
    random = np.random.default_rng(0)
    x, _ = toys.examples(count)
    return x, random.choice([0, 1 / 3, 2 / 3, 1], (count, len(ANSWERS)))


def test_the_answer_is_the_likeliest_one():
    task = answerer()
    x, _ = examples()
    predicted = task.predict(x, verbose=0)
    expected = [ANSWERS[column] for column in predicted.argmax(axis=1)]
    assert task.answer(x, batch_size=2, verbose=0) == expected
    assert task.answer({"text": x["text"]}, verbose=0) != []  # without images, too


def test_its_metric_is_the_accuracy_of_the_answer():
    task = answerer()
    task.compile(run_eagerly=True)
    x, y = examples()
    scores = task.evaluate(x, y, return_dict=True, verbose=0)
    for name in ("classes", "images_classes", "text_classes"):
        best = task.predict_outputs(x, verbose=0)[name].argmax(axis=1)
        assert scores[f"{name}_accuracy"] == pytest.approx(y[np.arange(len(y)), best].mean())
        assert f"{name}_map" not in scores


def test_it_starts_from_the_prior():
    task = answerer()
    for name in task.heads.keys() & task.output.keys():
        kernel, bias = task.heads[name].get_weights()
        task.heads[name].set_weights([np.zeros_like(kernel), bias])
    task.start_from(PRIOR)
    x, _ = examples()
    outputs = task.predict_outputs(x, verbose=0)
    for name in ("classes", "images_classes", "text_classes"):
        np.testing.assert_allclose(outputs[name], [[0.5, 0.25, 0.2, 1e-5]] * 4, rtol=1e-4)


@pytest.mark.parametrize("prior", [[0.5, 0.5], [0.5, 0.5, 0.5, 1.5], [0.5, 0.5, 0.5, np.nan]])
def test_a_prior_that_does_not_fit_is_refused(prior):
    with pytest.raises(ValueError, match=r"one share in \[0, 1\] for each of 4 answers\. Received"):
        answerer(("text",), fusion="concat").start_from(prior)


def test_one_modality_answers_alone():
    task = answerer(("text",), fusion="concat")
    task.start_from(PRIOR)
    assert set(task.output) == {"classes"}
    assert set(task.answer({"text": ["a dog", "the cat"]}, verbose=0)) <= set(ANSWERS)


def test_copies_are_answerers():
    task = answerer(fusion="concat")
    x, _ = examples()
    for copy in (task.with_dtype("float32"), task.with_calibration([2.0] * 4)):
        assert isinstance(copy, VisualQuestionAnswerer)
        assert copy.answer(x, verbose=0) == task.answer(x, verbose=0)


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


@pytest.mark.large
def test_it_is_trained_saved_and_served(tmp_path):
    task = answerer()
    x, y = examples()
    x["images"] = [png(image) for image in x["images"]]
    checks.check_task(task, x, y, tmp_path)
    expected = task.predict(x, verbose=0)
    model = tf.saved_model.load(str(tmp_path / "serving"))
    raw = {"images": tf.constant(x["images"]), "text": tf.constant(x["text"])}
    for signature in ("serving_default", "explain"):
        served = model.signatures[signature](**raw)
        assert [answer.decode() for answer in served["answer"].numpy()] == task.answer(x, verbose=0)
        np.testing.assert_allclose(served["answer_probability"], expected.max(axis=1), rtol=1e-5)
        graph = model.signatures[signature].graph.as_graph_def()
        nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
        assert {node.op for node in nodes} - ALLOWED <= {"ArgMax"}
    # A classifier of answers for all that takes a classifier.
    preset = find_preset(str(tmp_path / "preset"), MultimodalClassifier)
    again = MultimodalClassifier.from_preset(preset)
    assert type(again) is VisualQuestionAnswerer
    assert again.answer(x, verbose=0) == task.answer(x, verbose=0)
    keras.tree.map_structure(np.testing.assert_array_equal, again.explain(x), task.explain(x))
