"""Features on disk: what is written comes back, in any order, or is not there."""

import os

import numpy as np
import pytest

from mmlearn.training.feature_store import FeatureStore


def filled(folder, order=(0, 1, 2, 5, 4, 3)):
    """A store of six values of 2 positions of 3 numbers, and these."""
    store = FeatureStore(str(folder), 6, 2, 3)
    features = np.random.default_rng(0).normal(size=(6, 2, 3))
    mask, present = np.tile([1, 0], (6, 1)), np.arange(6) % 2
    places = np.array(order)
    assert store.begin() == 0
    store.write(places, features[places], mask[places], present[places])
    store.note(6, is_whole=True)
    return store, {"features": features, "mask": mask, "present": present}


@pytest.mark.parametrize("order", [range(6), (5, 4, 3, 2, 1, 0), (3, 4, 0, 1, 2, 5)])
def test_values_come_back_whatever_the_order(tmp_path, order):
    store, values = filled(tmp_path / "store", order)
    assert FeatureStore(str(tmp_path / "store"), 6, 2, 3).is_whole
    for name, column in store.read().items():
        np.testing.assert_allclose(column, values[name], atol=1e-3)
    names = ("features", "mask", "present")
    assert store.size == sum(os.path.getsize(tmp_path / "store" / name) for name in names)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"values": "x", "is_whole": true}', None])
def test_a_damaged_note_means_nothing_is_there(tmp_path, content):
    store, _ = filled(tmp_path / "store")
    if content is None:
        (tmp_path / "store" / "note.json").unlink()
    else:
        (tmp_path / "store" / "note.json").write_text(content)
    assert not store.is_whole and store.num_written == 0
    assert store.begin() == 0


def test_a_file_that_was_cut_means_it_is_not_whole(tmp_path):
    store, _ = filled(tmp_path / "store")
    with open(tmp_path / "store" / "features", "r+b") as file:
        file.truncate(20)
    assert not store.is_whole


@pytest.mark.parametrize("value", [1e5, np.inf, np.nan])
def test_what_is_no_number_in_16_bits_is_refused(tmp_path, value):
    store, values = filled(tmp_path / "store")
    with pytest.raises(OverflowError):
        store.write(np.array([0]), np.full((1, 2, 3), value), np.ones((1, 2)), np.ones(1))
    np.testing.assert_allclose(store.read()["features"][0], values["features"][0], atol=1e-3)


def test_a_missing_file_means_beginning_anew(tmp_path):
    store, _ = filled(tmp_path / "store")
    store.note(4)
    (tmp_path / "store" / "mask").unlink()
    assert store.begin() == 0
    assert os.path.getsize(tmp_path / "store" / "features") == 0
