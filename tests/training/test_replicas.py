"""Two replicas train what one device trains."""

import keras
import numpy as np
import pytest

from tests import toys
from tests.programs import run_program


@pytest.fixture(scope="module")
def report():
    return run_program("-m", "tests.training.replicas_program")


@pytest.mark.large
@pytest.mark.parametrize("optimizer", ["sgd", "clipnorm"])
def test_uneven_and_empty_shares_clipping_and_statistics_change_nothing(report, optimizer):
    assert report["moved"] > 1e-2  # the weights did learn
    found = report[optimizer]
    assert found["weights"] <= 1e-6
    assert found["statistics"] <= 1e-6
    assert found["metrics"] <= 1e-5


@pytest.mark.large
def test_adamw_stays_as_close_as_one_device_to_itself_in_another_order(report):
    assert report["adamw"]["predictions"] <= 1e-3
    assert report["adamw"]["predictions"] <= max(2 * report["adamw_permuted"]["predictions"], 1e-6)


def toy(micro_batches):
    keras.utils.set_random_seed(2)
    task = toys.classifier(("text",), fusion="concat", dropout=0.0, modality_dropout=0.0)
    for layer in task._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    task.compile(keras.optimizers.SGD(0.1, global_clipnorm=0.1), micro_batches=micro_batches)
    return task


@pytest.mark.large
def test_a_batch_in_parts_makes_the_same_update():
    x, y = toys.examples(7)
    whole, parts = toy(1), toy(3)
    before = [np.array(weight) for weight in whole.get_weights()]
    histories = [
        task.fit({"text": x["text"]}, y, batch_size=7, epochs=2, shuffle=False, verbose=0).history
        for task in (whole, parts)
    ]
    for last, other in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_allclose(other, last, atol=1e-6)
    assert any((a != b).any() for a, b in zip(before, whole.get_weights(), strict=True))
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, atol=1e-5)


def test_no_parts_are_refused():
    with pytest.raises(ValueError, match=r"`micro_batches` must be positive\. Received: 0"):
        toys.classifier(("text",), fusion="concat").compile(micro_batches=0)


@pytest.mark.full
def test_unknown_labels_and_a_teacher_are_the_same_on_replicas():
    report = run_program("-m", "tests.training.continual_program")
    assert report["without_teacher"]["weights"] > 1e-4  # the teacher does something
    assert report["replicas"]["weights"] <= 1e-6
    assert report["replicas"]["metrics"] <= 1e-5


@pytest.mark.large
def test_contrast_and_learned_weights_are_those_of_one_device():
    report = run_program("-m", "tests.training.heads_replicas_program")
    assert report["moved"] > 1e-2
    assert report["log_variances"] > 1e-3
    assert report["weights"] <= 1e-5
    assert report["metrics"] <= 1e-4


@pytest.fixture(scope="module")
def retriever_report():
    return run_program("-m", "tests.training.retriever_replicas_program")


@pytest.mark.large
@pytest.mark.parametrize("how", ["replicas", "parts", "replicas and parts"])
def test_embeddings_are_compared_across_replicas_and_parts(retriever_report, how):
    assert retriever_report["moved"] > 1e-2
    assert retriever_report[how]["weights"] <= 2e-6
    assert retriever_report[how]["loss"] <= 1e-5
