"""Weights that are pruned while a model trains."""

import keras
import numpy as np
import pytest

from mmlearn.compression.pruning import MagnitudePruning, kernels_of, sparsity_of


class Zeros(keras.callbacks.Callback):
    """Notes after each step which weights are 0."""

    def on_train_begin(self, logs=None):
        self.steps = []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append([np.asarray(kernel) == 0 for kernel in kernels_of(self.model)])


def small_model():
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    return model


def fit(model, callbacks, epochs=5):
    x = np.random.default_rng(0).normal(size=(16, 6, 6, 2)).astype("float32")
    y = x.mean(axis=(1, 2, 3), keepdims=True)[..., 0, 0]
    return model.fit(x, y, batch_size=4, epochs=epochs, verbose=0, callbacks=callbacks)


def test_what_is_pruned_stays_zero_and_the_rest_learns():
    model, seen = small_model(), Zeros()
    start = [np.array(kernel) for kernel in kernels_of(model)]
    fit(model, [MagnitudePruning(0.5, begin=0.2, end=0.6, every=2), seen])
    shares = [[float(zeros.mean()) for zeros in step] for step in seen.steps]
    assert shares[3] == [0, 0]  # before `begin`
    for column in zip(*shares, strict=True):
        assert list(column) == sorted(column)
        assert len(set(column)) > 3  # in several turns
        assert column[11] == column[-1] == pytest.approx(0.5, abs=0.01)  # from `end` on
    for before, after in zip(seen.steps, seen.steps[1:], strict=False):
        for one, next_one in zip(before, after, strict=True):
            assert not (one & ~next_one).any()
    for first, kernel, zeros in zip(start, kernels_of(model), seen.steps[-1], strict=True):
        assert (np.asarray(kernel)[~zeros] != first[~zeros]).all()
    assert sparsity_of(model) == pytest.approx(0.5, abs=0.01)


def test_the_smallest_weights_go_and_frozen_layers_stay():
    model = small_model()
    model.layers[0].trainable = False
    model.compile(keras.optimizers.SGD(0.0), "mse")  # nothing but pruning changes weights
    frozen, before = (np.array(kernel) for kernel in kernels_of(model))
    fit(model, [MagnitudePruning(0.25, every=1)], epochs=1)
    same, after = (np.array(kernel) for kernel in kernels_of(model))
    np.testing.assert_array_equal(same, frozen)
    assert (after == 0).sum() == before.size // 4
    assert np.abs(before[after == 0]).max() < np.abs(before[after != 0]).min()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 1.0}, r"`sparsity` must be in \(0, 1\). Received: sparsity=1.0"),
        ({"sparsity": 0.5, "begin": 0.8}, "`begin` the smaller one. Received: begin=0.8, end=0.75"),
        ({"sparsity": 0.5, "every": 0}, "`every` must be at least 1"),
    ],
)
def test_wrong_numbers_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        MagnitudePruning(**options)


def test_a_model_without_anything_to_prune_is_refused():
    model = small_model()
    model.trainable = False
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="no trainable kernel to prune"):
        fit(model, [MagnitudePruning(0.5)])


def test_training_in_several_calls_prunes_as_in_one():
    """As after an interruption: a new callback, and an epoch of which some steps are done."""
    x = np.random.default_rng(0).normal(size=(16, 6, 6, 2)).astype("float32")
    y = x.mean(axis=(1, 2, 3), keepdims=True)[..., 0, 0]
    options = {"begin": 0.2, "end": 0.6, "every": 3, "num_steps": (5, 4)}

    def trained(calls):
        keras.utils.set_random_seed(0)
        model = small_model()
        for first, end, start in calls:
            data = (x[4 * start :], y[4 * start :])
            pruning = MagnitudePruning(0.5, **options)
            model.fit(
                *data,
                batch_size=4,
                initial_epoch=first,
                epochs=end,
                shuffle=False,
                verbose=0,
                callbacks=[pruning],
            )
        return [np.array(kernel) for kernel in kernels_of(model)]

    whole = trained([(0, 5, 0)])
    # The first two steps of the third epoch are left out of neither: it is cut where it begins.
    several = trained([(0, 2, 0), (2, 3, 0), (3, 5, 0)])
    for one, other in zip(whole, several, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_epoch_that_was_begun_goes_on_at_its_step():
    pruning = MagnitudePruning(0.5, every=2, num_steps=(2, 4))
    model = small_model()
    pruning.set_model(model)
    pruning.set_params({"steps": 1, "epochs": 2})  # three of the four steps are done
    pruning.on_train_begin()
    pruning.on_epoch_begin(1)
    assert pruning.step == 7
    # What was chosen at step 6 is chosen again.
    assert float(np.mean([np.mean(~np.asarray(mask)) for mask in pruning.masks])) == pytest.approx(
        0.5, abs=0.02
    )
