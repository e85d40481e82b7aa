import numpy as np
import tensorflow as tf

from mmlearn.evaluation.likeliest import likeliest
from tests import toys


def test_rows_are_what_the_task_predicts():
    task = toys.classifier()
    x, y = toys.examples(5)
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(2)
    columns, probabilities = likeliest(task, dataset)
    outputs = task.predict_outputs(x, verbose=0)
    expected = {
        "model": outputs["classes"],
        "images": outputs["images_classes"],
        "text": outputs["text_classes"],
        "without_images": task.predict({"text": x["text"]}, verbose=0),
        "without_text": task.predict({"images": x["images"]}, verbose=0),
    }
    assert set(columns) == set(probabilities) == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(columns[name], values.argmax(axis=1), name)
        np.testing.assert_allclose(probabilities[name], values.max(axis=1), atol=1e-5)


def test_one_modality_has_one_row():
    task = toys.classifier(("text",), fusion="concat")
    dataset = tf.data.Dataset.from_tensor_slices(({"text": ["a dog", "a cat"]},)).batch(2)
    columns, _ = likeliest(task, dataset)
    assert {name: len(values) for name, values in columns.items()} == {"model": 2}
