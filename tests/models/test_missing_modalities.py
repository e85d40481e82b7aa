"""Rows without one modality are predicted by every fusion; rows without any are refused by number."""

import numpy as np
import pytest
import tensorflow as tf

from mmlearn import MultimodalClassifier, MultimodalPreprocessor, encoders
from mmlearn.fusions import FUSIONS
from tests import toys

BOTH = ("images", "text")
SLOW = pytest.mark.full


@pytest.fixture(scope="module")
def classifier():
    classifier = toys.classifier()
    classifier.compile(run_eagerly=True)  # a few calls each: tracing would take longer
    return classifier


@pytest.fixture(scope="module")
def holes():
    """Four raw examples: whole, without text, without image, with neither."""
    x, y = toys.examples(4)
    images, text = list(x["images"]), list(x["text"])
    images[2], text[1] = None, "  "
    images[3], text[3] = b"", None
    return {"images": images, "text": text}, y


@pytest.fixture(scope="module")
def prepared():
    """A preprocessor, and the model inputs of three examples: whole, images alone, text alone."""
    preprocessor, (x, _) = toys.preprocessor(), toys.examples(3)
    parts = (x, {"images": x["images"]}, {"text": x["text"]})
    return preprocessor, [preprocessor(part) for part in parts]


@pytest.mark.parametrize(
    "fusion",
    [n if n in ("cross_attention", "late") else pytest.param(n, marks=SLOW) for n in FUSIONS],
)
def test_every_fusion_predicts_rows_with_holes_like_rows_without_the_modality(fusion, prepared):
    classifier = MultimodalClassifier(toys.backbone(BOTH, fusion), 3, preprocessor=prepared[0])
    classifier.compile(run_eagerly=True)
    x, _ = toys.examples(3)
    images, text = list(x["images"]), x["text"]
    holes = {"images": [images[0], images[1], None], "text": [text[0], "", text[2]]}
    together = classifier.predict(holes, verbose=0)
    assert np.isfinite(together).all()
    both, images, text = (np.asarray(classifier(inputs)["classes"]) for inputs in prepared[1])
    np.testing.assert_allclose(together, [both[0], images[1], text[2]], rtol=0, atol=1e-5)
    assert (np.abs(together - both).max(axis=1) > 1e-5).tolist() == [False, True, True]


def test_a_row_with_nothing_is_refused_by_number(classifier, holes):
    x, y = holes
    message = (
        r"one of images, text\. Received: row 3 without any \(1 of 4 rows\)\. Fix: leave it out"
    )
    for call in (
        lambda: classifier.predict(x),
        lambda: classifier.predict_outputs(x),
        lambda: classifier.explain(x),
        lambda: classifier.fit(x, y),
        lambda: classifier.fit(toys.examples(4)[0], y, validation_data=(x, y)),
        lambda: classifier.evaluate(x, y),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    good = {modality: values[:3] for modality, values in x.items()}
    assert classifier.explain(good)["classes"].shape == (3, 3)


def test_a_batch_with_such_a_row_is_refused(classifier, holes):
    x, y = holes
    x = {"images": np.array([b""] * 4, object), "text": np.array([t or "" for t in x["text"]])}
    for call in (classifier.train_on_batch, classifier.test_on_batch):
        with pytest.raises(ValueError, match=r"row 1 without any \(2 of 4 rows\)"):
            call(x, y)


def test_model_inputs_with_all_flags_0_are_refused(classifier):
    inputs = {n: np.array(v) for n, v in toys.preprocessor()(toys.examples(3)[0]).items()}
    inputs["images_present"][1:] = inputs["text_present"][:2] = 0
    for call in (classifier.predict, classifier.explain):
        with pytest.raises(ValueError, match=r"row 1 without any \(1 of 3 rows\)"):
            call(inputs)


def test_only_the_modalities_of_the_model_count():
    classifier = MultimodalClassifier(
        toys.backbone(("text",)), 3, preprocessor=toys.preprocessor(BOTH)
    )
    x, _ = toys.examples(2)
    with pytest.raises(ValueError, match=r"one of text\. Received: row 0 without any \(1 of 2"):
        classifier.predict({**x, "text": ["", "a dog"]})
    with pytest.raises(ValueError, match=r"row 0 without any \(2 of 2 rows\)"):
        classifier.predict({"images": x["images"]})


def test_text_of_which_cleaning_leaves_nothing_is_none():
    converter = encoders.TextConverter(toys.tokenizer(), toys.SEQUENCE_LENGTH, clean=True)
    preprocessor = MultimodalPreprocessor({"text": converter})
    batch = preprocessor.read_raw({"text": ["a dog", "https://example.org/a", None]})
    assert preprocessor.has_value(batch, ["text"]).tolist() == [True, False, False]
    assert preprocessor(batch)["text_present"].numpy().tolist() == [1, 0, 0]


def test_a_converter_is_asked_what_it_would_take_for_absent():
    class NotAllZero(encoders.FeaturesConverter):
        def convert(self, values, modality, batch_size=None):
            inputs = super().convert(values, modality, batch_size)
            there = tf.reduce_any(inputs["series_features"] != 0, axis=(1, 2))
            return {**inputs, "series_present": tf.cast(there, tf.int32)}

    preprocessor = MultimodalPreprocessor({"series": NotAllZero(length=2, dim=1)})
    batch = preprocessor.read_raw({"series": [[[1.0], [2.0]], [[0.0], [0.0]]]})
    assert preprocessor.has_value(batch, ["series"]).tolist() == [True, False]
