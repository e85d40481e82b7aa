"""A checkpoint is whole or not there."""

import os

import numpy as np
import pytest

from mmlearn.training.checkpoints import Checkpoints

ARRAYS = [
    np.arange(1000, dtype=np.float32).reshape(10, 100),
    np.array(7, np.int64),
    np.zeros((0, 3)),
]


def assert_is(checkpoint, state):
    assert checkpoint.state == state
    for got, want in zip(checkpoint.arrays, ARRAYS, strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


def test_the_newest_is_found_and_the_oldest_removed(tmp_path):
    checkpoints = Checkpoints(str(tmp_path / "run"), keep=2)
    assert checkpoints.latest() is None
    for number in (3, 20, 100):
        checkpoints.save(number, {"step": number}, ARRAYS)
    assert_is(Checkpoints(str(tmp_path / "run")).latest(), {"step": 100})
    assert sorted(os.listdir(tmp_path / "run")) == ["000000000020.npz", "000000000100.npz"]


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_one_is_left_out_with_a_warning(tmp_path, share):
    checkpoints = Checkpoints(str(tmp_path))
    checkpoints.save(1, {"step": 1}, ARRAYS)
    checkpoints.save(2, {"step": 2}, ARRAYS)
    path = tmp_path / "000000000002.npz"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.warns(UserWarning, match=r"000000000002\.npz' is damaged .* and is left out"):
        assert_is(checkpoints.latest(), {"step": 1})


@pytest.mark.parametrize("place", [60, 300, 2000, 4500])
def test_a_changed_byte_is_noticed(tmp_path, place):
    checkpoints = Checkpoints(str(tmp_path))
    checkpoints.save(1, {"step": 1}, ARRAYS)
    path = tmp_path / "000000000001.npz"
    content = bytearray(path.read_bytes())
    content[place] ^= 0x55
    path.write_bytes(bytes(content))
    with pytest.warns(UserWarning, match="is damaged"):
        assert checkpoints.latest() is None


def test_what_a_killed_process_was_writing_does_not_count(tmp_path):
    checkpoints = Checkpoints(str(tmp_path))
    checkpoints.save(1, {"step": 1}, ARRAYS)
    (tmp_path / "000000000002.npz.partial").write_bytes(b"half")
    assert_is(checkpoints.latest(), {"step": 1})


def test_a_full_disk_is_one_line_and_leaves_the_earlier_ones(tmp_path, monkeypatch):
    checkpoints = Checkpoints(str(tmp_path))
    checkpoints.save(1, {"step": 1}, ARRAYS)

    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        OSError, match=r"cannot be written: No space left on device\. Fix: make room"
    ):
        checkpoints.save(2, {"step": 2}, ARRAYS)
    assert os.listdir(tmp_path) == ["000000000001.npz"]
    assert_is(checkpoints.latest(), {"step": 1})


def test_at_least_one_must_be_kept(tmp_path):
    with pytest.raises(ValueError, match=r"`keep` must be positive\. Received: keep=0"):
        Checkpoints(str(tmp_path), keep=0)
