"""The kind of task that writes captions: built, measured and drawn."""

import dataclasses

import pytest

from data_prep.pipeline import build_dataset
from mmlearn.experiments import EXPERIMENTS, tasks
from mmlearn.experiments.build import build_task
from mmlearn.experiments.captioning import draw_captioning, measure_captioning, open_captioning
from mmlearn.experiments.config import ImagesConfig, TaskConfig, TextConfig
from mmlearn.models import ImageCaptioner

MODEL = dataclasses.replace(
    EXPERIMENTS["shapes_captions"].model,
    images=ImagesConfig(name="resnet_tiny", image_size=32),
    text=TextConfig(name="words", sequence_length=8),
    task=TaskConfig(name="captioning", options={"num_layers": 1, "num_heads": 2}),
    hidden_dim=16,
)
ROWS = ["model", "beam", "most_frequent", "nearest", "person"]


@pytest.fixture(scope="module")
def task(shapes):
    return build_task(MODEL, shapes)


@pytest.fixture(scope="module")
def measured(task, shapes):
    return measure(task, shapes)


def measure(task, source):
    """Measures a task as if it wrote the second caption of each scene, and the third by beams."""
    captions = source.examples("val").captions
    places = {"greedy": 1, "beam": 2}

    def generate(dataset, sampler="greedy"):
        return [own[min(places[sampler], len(own) - 1)] for own in captions]

    dataset = build_dataset(source, "val", task.preprocessor, 12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageCaptioner, "generate", lambda self, *args: generate(*args))
        return measure_captioning(task, source, "val", dataset)


def test_is_built_from_a_config(task):
    assert isinstance(task, ImageCaptioner)
    assert tasks.kind_of(task) is tasks.TASKS["captioning"]
    assert (task.hidden_dim, task.num_layers, task.sequence_length) == (16, 1, 8)
    assert task.backbone.modalities == ("images",)


def test_all_rows_are_judged_by_the_same_captions(measured, shapes):
    assert list(measured.metrics) == list(measured.intervals) == ROWS
    for row in ROWS:
        assert next(iter(measured.metrics[row])) == "CIDEr-D"
        assert set(measured.metrics[row]) == set(measured.intervals[row])
    for row in ("model", "beam", "person"):
        assert measured.metrics[row]["faithfulness"] == 1.0
    assert measured.metrics["most_frequent"]["CIDEr-D"] < measured.metrics["model"]["CIDEr-D"]
    assert 0.4 < measured.metrics["person"]["coverage"] < 1.0
    assert {"over_nearest", "over_most_frequent", "over_person"} <= set(measured.comparisons)
    captions = shapes.examples("val").captions
    assert measured.predictions["model"].tolist() == [own[1] for own in captions]
    assert measured.predictions["person"].tolist() == [own[0] for own in captions]
    known = {own[0] for own in shapes.examples("train").captions}
    assert set(measured.predictions["nearest"].tolist()) <= known


def test_images_with_one_caption_do_not_count_unless_all_have_one(task, shapes):
    index = shapes.examples("val")
    few = _Captions(shapes, [own[:1] if row < 4 else own for row, own in enumerate(index.captions)])
    found = measure(task, few)
    assert found.predictions["person"][:4].tolist() == [""] * 4
    assert found.metrics["person"]["faithfulness"] == 1.0
    single = _Captions(shapes, [own[:1] for own in index.captions])
    assert "person" not in measure(task, single).metrics


@pytest.mark.large
def test_it_writes_and_is_measured(task, shapes):
    dataset = build_dataset(shapes, "val", task.preprocessor, 12)
    found = measure_captioning(task, shapes, "val", dataset)
    assert list(found.metrics) == ROWS
    assert found.predictions["model"].tolist() == task.generate(dataset)


@pytest.mark.large
def test_figures(task, shapes, measured, tmp_path):
    draw_captioning(task, shapes, measured, str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {
        "captions.png",
        *(f"attention_{row:03d}.png" for row in range(3)),
    }


def test_what_it_cannot_be_built_from(shapes):
    without = _Captions(shapes, None)
    with pytest.raises(
        ValueError, match=r"have no text, and a captioner needs both\. Fix: another"
    ):
        build_task(MODEL, without)
    with pytest.raises(ValueError, match=r"have no captions\. Fix: another data set"):
        open_captioning(None, without)
    with pytest.raises(ValueError, match=r"Received: images\. Fix: --model.modalities images text"):
        build_task(dataclasses.replace(MODEL, modalities=("images",)), shapes)


class _Captions:
    """The same source with other captions."""

    def __init__(self, source, captions):
        self.source, self.captions = source, captions
        self.root, self.splits = source.root, source.splits

    def examples(self, split):
        """The examples; those to train on keep their captions if there are any."""
        index = self.source.examples(split)
        keep = self.captions is not None and split == "train"
        return index if keep else dataclasses.replace(index, captions=self.captions)

    def records(self, split):
        """Those of the source."""
        return self.source.records(split)
