"""Writing and reading prepared shards. Apache Beam is an extra, so this is in the large tier."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from scipy import sparse

from data_prep.__main__ import main
from data_prep.errors import DataError
from data_prep.pipeline import build_dataset
from data_prep.sources.shards import ShardsSource, read_index, write_index
from data_prep.sources.source import Examples
from data_prep.splits import Selection
from tests import toys
from tests.data_prep.test_pipeline import assert_same, ids_of
from tests.examples_source import ExamplesSource, examples
from tests.pictures import jpeg_with_orientation, smooth_picture

IN_MEMORY = ("--direct_running_mode=in_memory",)


def write(source, output, **options):
    pytest.importorskip("apache_beam")
    from data_prep.shards import write_shards

    options = {"image_size": 64, "num_shards": 3, "runner_options": IN_MEMORY, **options}
    return write_shards(source, str(output), **options)


@pytest.fixture(scope="module")
def shards(shapes, tmp_path_factory):
    return write(shapes, tmp_path_factory.mktemp("shards") / "shapes")[0]


def content(folder):
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(parent, name), "rb") as file:
                found[os.path.relpath(os.path.join(parent, name), folder)] = file.read()
    return found


@pytest.mark.large
def test_shards_hold_the_same_examples(shapes, shards):
    assert (shards.splits, shards.label_names) == (("train", "val"), shapes.label_names)
    assert shards.report("train") == shapes.report("train")
    for split in shapes.splits:
        expected = {e["id"]: e for e in build_dataset(shapes, split).as_numpy_iterator()}
        found = {e["id"]: e for e in build_dataset(shards, split).as_numpy_iterator()}
        assert expected.keys() == found.keys()
        for name, example in found.items():
            for key in ("group", "text", "labels"):
                np.testing.assert_array_equal(example[key], expected[name][key])
            assert example["images"].shape == (64, 64, 3)
            small = cv2.resize(expected[name]["images"], (64, 64), interpolation=cv2.INTER_AREA)
            assert np.abs(example["images"].astype(int) - small).mean() < 4


@pytest.mark.large
def test_each_pass_has_every_example_once_in_an_order_of_its_own(shards):
    dataset = build_dataset(shards, "train", shuffle=True)
    passes = [ids_of(dataset) for _ in range(3)]
    plain = ids_of(build_dataset(shards, "train"))
    for ids in passes:
        assert sorted(ids) == sorted(plain) == sorted(shards.examples("train").ids)
        assert ids != plain
    assert len({tuple(ids) for ids in passes}) == 3


@pytest.mark.large
def test_batches_of_shards_are_a_function_of_seed_epoch_and_step(shards):
    options = {"shuffle": True, "augmentations": ("flip", "crop"), "with_ids": True, "seed": 5}

    def build(**more):
        dataset = build_dataset(shards, "train", toys.preprocessor(), 5, **options, **more)
        return list(dataset.as_numpy_iterator())

    one, eight = build(parallel_calls=1), build(parallel_calls=8)
    assert_same(one, eight)
    assert_same(build(start=(0, 2)), one[2:])
    assert_same(build(cache=True, start=(4, 4))[0][0].shape, eight[4][0].shape)


@pytest.mark.large
def test_hosts_oversampling_and_selections_work_on_shards(shapes, shards):
    parts = [
        ids_of(build_dataset(shards, "train", shuffle=True, shard=(host, 2))) for host in (0, 1)
    ]
    assert sorted(parts[0] + parts[1]) == sorted(shapes.examples("train").ids)
    chosen = Selection(shards, {"few": ("train", np.array([7, 3, 20]))})
    found = list(build_dataset(chosen, "few").as_numpy_iterator())
    expected = {shapes.examples("train").ids[row]: row for row in (7, 3, 20)}
    assert {e["id"].decode() for e in found} == set(expected)
    for example in found:
        row = expected[example["id"].decode()]
        np.testing.assert_array_equal(example["labels"], shapes.examples("train").labels[row])
    ids = ids_of(build_dataset(shards, "train", shuffle=True, oversample=1.0))
    assert len(ids) > 24
    assert set(ids) == set(shapes.examples("train").ids)


@pytest.mark.large
def test_tfds_reads_the_same_files(shapes, shards):
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(os.path.join(shards.root, "shards", "1.0.0"))
    index = shapes.examples("val")
    written = list(tfds.as_numpy(builder.as_dataset(split="val")))
    assert sorted(e["id"].decode() for e in written) == sorted(index.ids)
    for example in written:
        row = int(example["row"])
        assert example["id"].decode() == index.ids[row]
        assert [text.decode() for text in example["captions"]] == index.captions[row]
        assert example["label_ids"].tolist() == np.flatnonzero(index.labels[row]).tolist()
        assert example["image"].shape == (64, 64, 3)


@pytest.mark.large
def test_shards_of_the_same_data_are_kept_and_of_others_refused(shapes, shards):
    before = content(shards.root)
    again, is_new = write(shapes, shards.root)
    assert not is_new
    assert again.settings == shards.settings
    with pytest.raises(DataError, match="holds shards of other data or options"):
        write(shapes, shards.root, image_size=32)
    few = Selection(shapes, {"train": ("train", np.arange(5))})
    with pytest.raises(DataError, match="holds shards of other data or options"):
        write(few, shards.root)
    assert content(shards.root) == before


@pytest.mark.large
def test_two_runs_into_one_folder_are_an_error(shapes, tmp_path):
    import fcntl

    with open(tmp_path / "out.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DataError, match=r"Another run is writing to .*out'\. Fix: wait for it"):
            write(shapes, tmp_path / "out")
    assert not (tmp_path / "out").exists()


WRITE = """
import sys
from data_prep.__main__ import main
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.large
def test_a_killed_run_leaves_nothing_that_looks_whole_and_can_be_repeated(shapes_root, tmp_path):
    pytest.importorskip("apache_beam")
    output = tmp_path / "out"
    command = [sys.executable, "-m", "data_prep", "shards", "shapes", "--root", shapes_root]
    command += ["--output", str(output), "--image-size", "64", "--num-shards", "2"]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    while not (tmp_path / "out.partial").exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not output.exists()
    with pytest.raises(DataError, match="holds no prepared shards"):
        ShardsSource(output)
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)  # in several processes
    assert len(ids_of(build_dataset(ShardsSource(output), "train"))) == 24
    assert sorted(os.listdir(tmp_path)) == ["out"]


@pytest.mark.large
def test_a_full_disk_or_a_read_only_folder_is_one_line_and_keeps_what_was_there(
    shapes, shapes_root, tmp_path, monkeypatch, capsys
):
    pytest.importorskip("apache_beam")
    (tmp_path / "file").write_text("")
    arguments = ["shards", "shapes", "--root", shapes_root, "--output"]
    assert main([*arguments, str(tmp_path / "file" / "out")]) == 2
    assert "file/out' cannot be written (File exists). Fix: check the rights" in (
        capsys.readouterr().err
    )
    from data_prep import shards as module

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_index", fails)
    with pytest.raises(DataError, match=r"could not be written to .*No space left on device"):
        write(shapes, tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["file"]


@pytest.mark.large
def test_images_that_cannot_be_read_are_left_out_and_listed(shapes_root, tmp_path):
    from data_prep.sources.coco import CocoSource

    root = str(shutil.copytree(shapes_root, tmp_path / "shapes"))
    source = CocoSource(root)
    bad = source.examples("train").images[4]
    with open(bad, "w") as file:
        file.write("no image")
    shards, _ = write(source, tmp_path / "out")
    assert shards.manifest.skipped == [
        {
            "split": "train",
            "id": source.examples("train").ids[4],
            "path": bad,
            "reason": "is no JPEG, PNG or BMP",
        }
    ]
    assert len(ids_of(build_dataset(shards, "train"))) == 23


@pytest.mark.large
def test_a_damaged_or_incomplete_folder_is_refused(shards, tmp_path):
    root = shutil.copytree(shards.root, tmp_path / "shards")
    (file,) = [n for n in shards.manifest.files if n.endswith("shards-val.tfrecord-00001-of-00003")]
    os.truncate(root / file, 10)
    with pytest.raises(DataError, match="is missing or has another size than when it was written"):
        ShardsSource(root)
    (root / "shards.json").write_text(json.dumps({"source": "CocoSource"}))
    with pytest.raises(DataError, match=r"shards\.json' is not in its format: Object missing"):
        ShardsSource(root)


@pytest.mark.large
def test_examples_without_an_image_are_refused(tmp_path):
    with pytest.raises(DataError, match="shards are for examples that all have an image"):
        write(ExamplesSource({"train": examples([0], captions=[["a"]])}), tmp_path / "out")


@pytest.mark.large
@pytest.mark.parametrize("endian", ["<", ">"])
def test_all_exif_orientations_agree_between_files_and_shards(tmp_path, endian):
    paths = []
    for orientation in range(1, 9):
        paths.append(str(tmp_path / f"{orientation}.jpg"))
        with open(paths[-1], "wb") as file:
            file.write(jpeg_with_orientation(smooth_picture(), orientation, endian))
    source = ExamplesSource({"train": examples(range(8), images=paths)})
    shards, _ = write(source, tmp_path / "out", num_shards=1)
    preprocessor = toys.preprocessor(("images",))
    ((ids, (raw, _, _)),) = build_dataset(source, "train", preprocessor, with_ids=True)
    ((order, (prepared, _, _)),) = build_dataset(shards, "train", preprocessor, with_ids=True)
    places = [order.numpy().tolist().index(name) for name in ids.numpy().tolist()]
    difference = np.abs(prepared["images"].numpy()[places] - raw["images"].numpy())
    assert difference.mean() < 2


def test_an_index_survives_the_disk(tmp_path):
    soft = np.array([[0, 0.25], [1, 0]], np.float32)
    columns = {
        "ids": ["a", "b"],
        "groups": np.array([5, -7]),
        "images": ["x.jpg", "y.jpg"],
        "captions": [["é", "two"], []],
        "audio": ["", "s.wav"],
        "series": np.array([[[1.0, np.nan]]] * 2, np.float32),
        "table": {"age": np.array([1, 2], np.float32), "city": ["Rome", ""]},
        "details": {"kind": ["yes/no", "number"], "answers": [["a"], []]},
    }
    for labels in (np.array([[1, 0], [0, 1]], np.uint8), soft, sparse.csr_array(soft)):
        write_index(Examples(labels=labels, **columns), str(tmp_path / "index"))
        index = read_index(str(tmp_path / "index"))
        assert type(index.labels) is type(labels)
        assert index.labels.dtype == labels.dtype
        np.testing.assert_array_equal((index.labels - labels).sum(), 0)
        for name in ("ids", "images", "captions", "audio", "details"):
            assert getattr(index, name) == columns[name]
        np.testing.assert_array_equal(index.groups, columns["groups"])
        np.testing.assert_array_equal(index.series, columns["series"])
        assert index.table["city"] == ["Rome", ""]
        np.testing.assert_array_equal(index.table["age"], [1, 2])
    bare = Examples(ids=["a"], groups=np.array([1]), labels=np.zeros((1, 0), np.uint8))
    write_index(bare, str(tmp_path / "bare"))
    index = read_index(str(tmp_path / "bare"))
    assert index.labels.shape == (1, 0)
    assert (index.images, index.captions, index.audio, index.series, index.table) == (None,) * 5


def test_a_folder_without_shards_is_named_with_the_command(tmp_path):
    message = "holds no prepared shards. Fix: make them, python -m data_prep shards"
    with pytest.raises(DataError, match=message):
        ShardsSource(tmp_path)
