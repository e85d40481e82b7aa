"""Tasks that lose filters, hidden units and attention heads."""

import keras
import numpy as np
import pytest
from keras import layers

from mmlearn import MultimodalClassifier
from mmlearn.compression.importance import magnitudes, taylor_importances
from mmlearn.compression.structured import choose_units, find_groups, without_units
from mmlearn.compression.units import UnitGroup, filter_groups
from tests import toys


@pytest.fixture(scope="module")
def task():
    keras.utils.set_random_seed(0)
    fusion = toys.get_fusion("cross_attention").get_config()
    fusion = {**fusion, "num_heads": 4, "grounded_heads": 2, "intermediate_dim": 8}
    return toys.classifier(fusion=type(toys.get_fusion("cross_attention")).from_config(fusion))


def batches(task, count=8, batch_size=4):
    x, y = toys.examples(count)
    data = task._raw_dataset(x, y.astype("float32"), batch_size=batch_size)
    return [(inputs, labels, None) for inputs, labels in data]


def places(part, units):
    return (units[:, None] * part.width + np.arange(part.width)).ravel()


def silence(group, units):
    """Makes what some units give count for nothing."""
    for part in group.slices:
        if part.reads:
            values = np.array(part.variable.numpy())
            index = [slice(None)] * values.ndim
            index[part.axis] = places(part, units)
            values[tuple(index)] = 0
            part.variable.assign(values)


def test_every_kind_of_unit_is_found_and_what_goes_between_parts_is_not(task):
    found = {group.name: group.size for group in find_groups(task)}
    assert found == {
        "stem_conv": 32,
        "stack0_block0_1_conv": 64,
        "stack0_block0_2_conv": 64,
        "stack1_block0_1_conv": 128,
        "transformer_layer_0 heads": 2,
        "transformer_layer_0 units": 16,
        "images_to_text_0 heads": 4,
        "text_to_images_0 heads": 4,
        "images_0 units": 8,
        "text_0 units": 8,
        "head units": 8,
    }


def test_without_units_that_nothing_reads_a_task_predicts_the_same(task, tmp_path):
    task = task.with_dtype("float32")
    groups = find_groups(task)
    kept = [
        choose_units(g, values, 0.5) for g, values in zip(groups, magnitudes(groups), strict=True)
    ]
    smaller = without_units(task, groups, kept)
    x, _ = toys.examples(4)
    before = smaller.explain(x)
    with_units = task.explain(x)
    assert np.abs(with_units["classes"] - before["classes"]).max() > 1e-4
    for group, units in zip(groups, kept, strict=True):
        silence(group, np.setdiff1d(np.arange(group.size), units))
    silenced = task.explain(x)
    for name in ("classes", "images_classes", "text_classes", "modality_weights"):
        np.testing.assert_allclose(before[name], silenced[name], rtol=0, atol=1e-6)
    assert smaller.count_params() < 0.45 * task.count_params()
    # One grounded head and one free one are left of two and two.
    assert smaller.backbone.fusion.get_config()["grounded_heads"] == 1
    assert before["attention_scores"]["text_to_images"].shape[2] == 2
    smaller.save_to_preset(str(tmp_path))
    again = MultimodalClassifier.from_preset(str(tmp_path))
    np.testing.assert_array_equal(again.explain(x)["classes"], before["classes"])
    # And once more: heads keep their size.
    groups = find_groups(again)
    assert {group.size for group in groups if "transformer" in group.name} == {1, 8}
    kept = [
        choose_units(g, values, 0.5) for g, values in zip(groups, magnitudes(groups), strict=True)
    ]
    assert without_units(again, groups, kept).count_params() < again.count_params()


def test_taylor_importance_is_what_the_loss_does_without_a_unit():
    """To first order: of weights that are made smaller by a thousandth, the loss changes so much."""
    task = toys.classifier()
    task.compile("sgd", loss_weights={"main": 1.0, "auxiliary": 0.5})
    groups, (batch,) = find_groups(task), batches(task, 4)
    found = taylor_importances(task, groups, [batch])
    x, y, weights = task.preprocess_samples(*batch)

    def loss():
        return float(task.compute_loss(x, y, task(x, training=False), weights, training=False))

    step, full = 1e-2, loss()
    for group, values in zip(groups, found, strict=True):
        unit = int(np.argmax(values))
        kept = [np.array(part.variable.numpy()) for part in group.slices]
        losses = []
        for scale in (1 - step, 1 + step):
            for part, start in zip(group.slices, kept, strict=True):
                if part.reads:
                    changed, index = start.copy(), [slice(None)] * start.ndim
                    index[part.axis] = places(part, np.array([unit]))
                    changed[tuple(index)] *= scale
                    part.variable.assign(changed)
            losses.append(loss())
            for part, start in zip(group.slices, kept, strict=True):
                part.variable.assign(start)
        slope = (losses[1] - losses[0]) / (2 * step)
        assert slope**2 == pytest.approx(values[unit], rel=0.05, abs=1e-9 + (1e-5 * full) ** 2)


def test_magnitude_is_of_the_weights_that_make_a_unit(task):
    group = next(g for g in find_groups(task) if g.name == "stack1_block0_1_conv")
    kernel = task.backbone.encoders["images"].model.get_layer(group.name).kernel.numpy()
    (found,) = magnitudes([group])
    np.testing.assert_allclose(found, np.abs(kernel).mean(axis=(0, 1, 2)), rtol=1e-6)


def test_heads_that_are_trained_apart_lose_their_own_share():
    group = UnitGroup("heads", 6, apart=2)
    importances = np.array([0.0, 0.1, 5.0, 4.0, 3.0, 2.0])
    assert choose_units(group, importances, 0.5).tolist() == [1, 2, 3]
    assert choose_units(group, importances, 0.99).tolist() == [1]


def test_channels_stay_where_something_unknown_or_the_output_uses_them():
    inputs = keras.Input((8, 8, 3))
    first = layers.Conv2D(4, 3, padding="same", name="first")(inputs)
    second = layers.Conv2D(4, 3, padding="same", name="second")(first)
    x = layers.Add()([first, second])
    x = layers.Conv2D(6, 3, name="third")(layers.DepthwiseConv2D(3)(x))
    x = layers.Conv2D(5, 3, name="fourth")(layers.LayerNormalization()(x))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    groups = filter_groups(model)
    assert [(group.name, group.size) for group in groups] == [("first", 4)]
    readers = {part.variable.path for part in groups[0].slices if part.reads}
    assert readers == {"second/kernel", "third/kernel"}
