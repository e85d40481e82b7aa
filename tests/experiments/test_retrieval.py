"""The kind of task that retrieves, from its config to what it measured."""

import dataclasses
import os

import numpy as np
import pytest

from data_prep.pipeline import build_dataset
from mmlearn.experiments import EXPERIMENTS, retrieval, tasks
from mmlearn.experiments.build import build_task
from tests import toys


@pytest.fixture(scope="module")
def measured(shapes):
    task = toys.retriever()
    dataset = build_dataset(shapes, "val", task.preprocessor, batch_size=5)
    return retrieval.measure_retrieval(task, shapes, "val", dataset, None)


def test_rows_of_the_model_and_of_what_it_is_compared_with(measured):
    directions = ("text_to_images", "images_to_text")
    kinds = ("", "reranked_", "oracle_objects_", "oracle_scene_")
    expected = {f"{kind}{direction}" for kind in kinds for direction in directions}
    assert set(measured.metrics) == expected | {"matching", "zero_shot", "prior"}
    assert next(iter(measured.metrics)) == "text_to_images"
    assert next(iter(measured.metrics["text_to_images"])) == "R@1"
    for row, metrics in measured.metrics.items():
        for metric, value in metrics.items():
            found = measured.intervals[row][metric]
            assert found["low"] <= found["high"], (row, metric)
            if metric not in ("median_rank",):
                assert 0 <= value <= 1
    # Who knows the scenes finds nearly all of twelve; a model that was not trained does not.
    assert measured.metrics["oracle_scene_text_to_images"]["R@1"] > 0.8
    assert measured.metrics["text_to_images"]["R@1"] < 0.5
    assert sorted(measured.comparisons) == ["reranking_images_to_text", "reranking_text_to_images"]


def test_predictions_hold_what_the_metrics_are_of(measured):
    kept = measured.predictions
    assert kept["image_embedding"].shape == (12, 8)
    assert kept["text_embedding"].shape == (60, 8)
    ranks = kept["text_to_images_ranks"]
    assert np.mean(ranks <= 5) == pytest.approx(measured.metrics["text_to_images"]["R@5"])
    scores = kept["text_embedding"] @ kept["image_embedding"].T
    own = kept["text_groups"][:, None] == kept["image_groups"]
    first = scores[own]
    np.testing.assert_array_equal(ranks, 1 + ((scores >= first[:, None] - 1e-6) & ~own).sum(axis=1))


def test_draws_recall(measured, tmp_path):
    retrieval.draw_retrieval(None, None, measured, tmp_path)
    assert os.path.getsize(tmp_path / "recall.png") > 10_000


def test_experiment_builds_a_retriever(shapes):
    config = EXPERIMENTS["shapes_retrieval"].model
    task = build_task(config, shapes)
    assert tasks.kind_of(task) is tasks.TASKS["retrieval"]
    assert task.embedding_dim == config.task.options["embedding_dim"]
    assert task.preprocessor.with_group


def test_data_without_captions_are_refused(shapes):
    class Uncaptioned:
        root = "photos"

        def examples(self, split):
            return dataclasses.replace(shapes.examples(split), captions=None)

    with pytest.raises(ValueError, match=r"'photos' have no text, and a retriever needs images"):
        retrieval.check_retrieval(None, Uncaptioned())
