import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_prep.errors import DataError
from data_prep.pipeline import build_dataset
from data_prep.sources.coco_tfds import CocoTfdsSource

NAMES = ["person", "dog", "cat"]
# image id, captions, labels; the colour of the image is ten times the id.
IMAGES = {
    "train": [(7, ["a  dog", ""], [1, 1]), (3, ["two cats", "cats"], [2, 0]), (9, ["sky"], [])],
    "val": [(4, ["a man"], [0])],
}


def picture(image_id):
    image = np.full((12, 16, 3), 10 * image_id, np.uint8)
    return cv2.imencode(".jpg", image)[1].tobytes()


def write(folder, has_captions=True):
    """Writes a data set as TFDS writes COCO: the same features, the same files."""
    objects = tfds.features.Sequence({"label": tfds.features.ClassLabel(names=NAMES)})
    features = {
        "image": tfds.features.Image(encoding_format="jpeg"),
        "image/id": tfds.features.Scalar(np.int64),
        "objects": objects,
    }
    if has_captions:
        features["captions"] = tfds.features.Sequence({"text": tfds.features.Text()})

    def examples(rows):
        for image_id, captions, labels in rows:
            example = {
                "image": picture(image_id),
                "image/id": image_id,
                "objects": {"label": labels},
                "captions": {"text": captions},
            }
            yield image_id, {name: example[name] for name in features}

    tfds.dataset_builders.store_as_tfds_dataset(
        name="coco_captions",
        version="1.1.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={split: list(examples(rows)) for split, rows in IMAGES.items()},
        config="2014",
        data_dir=str(folder),
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    write(folder)
    return str(folder)


def test_reads_captions_labels_and_images_by_the_row(root):
    source = CocoTfdsSource(root)
    assert (source.splits, source.label_names) == (("train", "val"), NAMES)
    index = source.examples("train")
    found = {
        group: (index.captions[row], np.flatnonzero(index.labels[row]).tolist())
        for row, group in enumerate(index.groups.tolist())
    }
    assert found == {7: (["a dog"], [1]), 3: (["two cats", "cats"], [0, 2]), 9: (["sky"], [])}
    assert index.ids == [f"train/{group}" for group in index.groups]
    assert source.report("train") == {
        "images": 3,
        "captions": 4,
        "objects": 4,
        "empty captions, left out": 1,
    }
    for shuffle in (False, True):
        examples = list(build_dataset(source, "train", shuffle=shuffle).as_numpy_iterator())
        assert sorted(example["group"] for example in examples) == [3, 7, 9]
        for example in examples:
            assert abs(example["images"].mean() - 10 * example["group"]) < 1
            assert example["text"].decode() in found[example["group"]][0]
            assert np.flatnonzero(example["labels"]).tolist() == found[example["group"]][1]


def test_a_data_set_without_captions_has_no_text(tmp_path):
    write(tmp_path, has_captions=False)
    source = CocoTfdsSource(tmp_path)
    assert source.examples("val").captions is None
    (example,) = build_dataset(source, "val").as_numpy_iterator()
    assert sorted(example) == ["group", "id", "images", "labels"]


def test_a_directory_without_the_data_set_is_named_with_the_command_that_makes_it(tmp_path):
    message = "holds no prepared 'coco/2017'. Fix: tfds build coco/2017 --data_dir"
    with pytest.raises(DataError, match=message):
        CocoTfdsSource(tmp_path, dataset="coco/2017")


def test_a_broken_data_set_is_named(tmp_path):
    write(tmp_path)
    path = tmp_path / "coco_captions" / "2014" / "1.1.0" / "dataset_info.json"
    path.write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        CocoTfdsSource(tmp_path)
