"""Rates per part and per block, no decay of biases, and all of it survives saving."""

import keras
import numpy as np
import pytest

from mmlearn.training.optimizers import SGD, AdamW, build_optimizer, rate_factors
from mmlearn.training.phase import TrainingPhase
from tests import toys


def variables():
    return [keras.Variable(np.ones((2, 3), "float32")), keras.Variable(np.ones(3, "float32"))]


def test_only_matrices_decay_each_at_its_own_rate():
    matrix, bias = variables()
    optimizer = SGD(0.5, rate_factors=[0.1, 1.0], weight_decay=0.2)
    optimizer.build([matrix, bias])
    optimizer.apply([np.zeros((2, 3), "float32"), np.zeros(3, "float32")])
    np.testing.assert_allclose(matrix, 1 - 0.5 * 0.1 * 0.2)
    np.testing.assert_array_equal(bias, np.ones(3))


def test_a_step_of_gradient_descent_at_two_rates():
    matrix, bias = variables()
    optimizer = SGD(0.5, rate_factors=[0.1, 1.0])
    optimizer.build([matrix, bias])
    optimizer.apply([np.ones((2, 3), "float32"), np.ones(3, "float32")])
    np.testing.assert_allclose(matrix, 0.95)
    np.testing.assert_allclose(bias, 0.5)


def test_without_factors_adamw_is_that_of_keras_with_biases_left_out():
    ours, theirs = variables(), variables()
    first, second = AdamW(0.1, weight_decay=0.3), keras.optimizers.AdamW(0.1, weight_decay=0.3)
    first.build(ours)
    second.exclude_from_weight_decay(var_list=[theirs[1]])
    second.build(theirs)
    random = np.random.default_rng(0)
    for _ in range(3):
        gradients = [random.normal(size=v.shape).astype("float32") for v in ours]
        first.apply(gradients)
        second.apply(gradients)
    for one, two in zip(ours, theirs, strict=True):
        # The kernel has 1 - beta in float32, Keras in float64.
        np.testing.assert_allclose(one, two, rtol=1e-5)


def test_as_many_factors_as_variables():
    with pytest.raises(ValueError, match=r"one number per trainable variable\. Received: 1 for 2"):
        AdamW(0.1, rate_factors=[1.0]).build(variables())


def test_parts_and_blocks_have_rates_of_their_own():
    task = toys.classifier()
    factors = rate_factors(task, {"text_encoder": 0.1}, 0.5)
    paths = [variable.path for variable in task.trainable_variables]
    found = dict(zip(map(id, task.trainable_variables), factors, strict=True))
    blocks = task.backbone.encoders["images"].blocks
    assert len(blocks) > 2
    for depth, block in enumerate(reversed(blocks)):
        for layer in block:
            for variable in layer.trainable_variables:
                assert found[id(variable)] == 0.5**depth
    text = task.backbone.encoders["text"]
    top = [found[id(v)] for layer in text.blocks[-1] for v in layer.trainable_variables]
    assert set(top) == {0.1}
    assert {found[id(v)] for v in task.heads["classes"].trainable_variables} == {1.0}
    assert len(paths) == len(factors)
    assert rate_factors(task, {}, 1.0) is None
    grouped = rate_factors(task, {"images_encoder": 0.3, "encoders": 0.1}, 1.0)
    found = {id(v): f for v, f in zip(task.trainable_variables, grouped, strict=True)}
    assert {found[id(v)] for v in text.trainable_variables} == {0.1}
    images = task.backbone.encoders["images"]
    assert {found[id(v)] for v in images.trainable_variables} == {0.3}
    with pytest.raises(ValueError, match="Unknown part with a rate 'txt_encoder'"):
        rate_factors(task, {"txt_encoder": 1.0}, 1.0)


def test_a_saved_task_has_the_rates_and_the_state(tmp_path):
    task = toys.classifier(("text",), fusion="concat")
    phase = TrainingPhase("tune", 1, part_rates={"head": 2.0}, clip_norm=1.0, ema_momentum=0.9)
    task.compile(build_optimizer(task, phase, 2))
    x, y = toys.examples(4)
    task.fit({"text": x["text"]}, y, verbose=0)
    task.save(tmp_path / "task.keras")
    loaded = keras.saving.load_model(tmp_path / "task.keras")
    assert loaded.optimizer.get_config() == task.optimizer.get_config()
    assert 2.0 in loaded.optimizer.rate_factors
    for one, two in zip(loaded.optimizer.variables, task.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, two)


def test_an_unknown_optimizer_is_refused():
    task = toys.classifier(("text",), fusion="concat")
    with pytest.raises(ValueError, match=r"Unknown optimizer 'adam'\. Did you mean 'adamw'"):
        build_optimizer(task, TrainingPhase("tune", 1, optimizer="adam"), 2)
