import json

import cv2
import keras
import numpy as np
import pytest

from mmlearn import MultimodalClassifier
from mmlearn.analysis import grounding
from mmlearn.analysis.attention import split_words
from mmlearn.analysis.grounding import (
    BASELINES,
    attention_maps,
    measure_grounding,
    randomized,
    read_scenes,
    score_maps,
    swapped_maps,
    verdict,
    words_of,
)
from mmlearn.analysis.grounding_figures import plot_deletion, plot_pointing
from mmlearn.analysis.pointing import KINDS, centres_inside, oracle_points_at
from tests import toys
from tests.examples_source import ExamplesSource, examples

GRID = (2, 2)


@pytest.fixture(scope="module")
def task(shapes):
    keras.utils.set_random_seed(0)
    return MultimodalClassifier(
        toys.backbone(), 8, toys.preprocessor(), label_names=shapes.label_names, hidden_dim=8
    )


def test_scenes_hold_the_words_that_name_objects(task, shapes):
    scenes = read_scenes(task, shapes, count=12)
    assert 0 < len(scenes) <= 12
    for scene, named in words_of(scenes):
        assert scene.image.shape == (96, 96, 3)
        words = scene.caption.replace(",", " , ").split()
        assert named.category == words[named.start]  # a shape has one word
        # Eight tokens are all that this model reads.
        assert all(1 <= place < 7 for place in scene.positions(named))
    assert len(read_scenes(task, shapes, count=2)) <= 2


def test_maps_that_look_at_the_object_get_all_points(task, shapes, monkeypatch):
    scenes = read_scenes(task, shapes, count=12)
    words, random = words_of(scenes), np.random.default_rng(0)

    def attend(task, scenes):
        for scene in scenes:
            scores = random.random((2, 2, toys.SEQUENCE_LENGTH, 4)) / 100
            for named in scene.named:
                inside = centres_inside(GRID, named.boxes).ravel()
                scores[1, 1, scene.positions(named)] += inside  # in one head of the last layer
            yield scores, scores[1].mean(axis=0)

    monkeypatch.setattr(grounding, "attention_of", attend)
    maps = attention_maps(task, scenes)
    assert set(maps) == {
        "attention",
        "rollout",
        *(f"layer {i // 2} head {i % 2}" for i in range(4)),
    }
    best = [oracle_points_at(GRID, named.boxes) for _, named in words]
    assert 0 < np.mean(best) < 1  # some objects lie between the centres of four cells
    for name in ("attention", "rollout", "layer 1 head 1"):
        found = score_maps(maps[name], words)["pointing"]
        np.testing.assert_array_equal(found[np.array(best) == 1], 1)
    assert score_maps(maps["layer 0 head 1"], words)["pointing"].mean() < np.mean(best)
    without = score_maps([None, *maps["attention"][1:]], words)
    assert np.isnan(without["energy"][0]) and np.isfinite(without["energy"][1:]).all()


@pytest.mark.large
def test_everything_is_measured_and_an_untrained_model_points_no_better_than_the_centre(
    task, shapes, tmp_path
):
    steps = []
    found = measure_grounding(
        task, shapes, count=10, num_curves=1, progress=lambda *step: steps.append(step)
    )
    assert steps == [(done, 12) for done in range(1, 13)]
    found = json.loads(json.dumps(found))
    counts = found["num_words"]
    assert sum(counts.get(kind, 0) for kind in KINDS) == len(
        words_of(read_scenes(task, shapes, count=10))
    )
    assert set(found["maps"]) == {
        "attention",
        "layer 0 head 0",
        "layer 0 head 1",
        "grad_cam",
        *BASELINES,
    }
    best = found["maps"]["constant_cell"]["visible"]["pointing"]["value"]
    assert best >= found["maps"]["centre_prior"]["visible"]["pointing"]["value"]
    assert set(found["curves"]) == {"attention", "grad_cam", "centre_prior", "random_order"}
    assert len(found["curves"]["attention"]["deletion"]["scores"]) == 10
    said = " ".join(found["verdict"])
    assert "attention does no better than the centre prior" in said
    assert "no evidence of what the model looks at" in said
    for plot, name in ((plot_pointing, "a.png"), (plot_deletion, "b.png")):
        plot(found, tmp_path / name)
        assert cv2.imread(str(tmp_path / name)).std() > 10


def test_the_verdict_tells_maps_that_point_from_those_that_do_not():
    def record(low, high):
        means = {"attention": 0.6, "centre_prior": 0.2, "random_weights": 0.1}
        return {
            "maps": {n: {"visible": {"pointing": {"value": m}}} for n, m in means.items()},
            "oracle": {"visible": 0.8},
            "better_than_centre": {"attention": {"value": 0.4, "low": low, "high": high}},
        }

    (said,) = verdict(record(0.3, 0.5))
    assert "points better than the centre prior: 0.600" in said and "of which that is 75%" in said
    (said,) = verdict(record(-0.1, 0.9))
    assert "does no better than the centre prior" in said
    found = record(0.3, 0.5)
    found["better_than_centre"] = {"random_weights": {"value": 0.1, "low": 0.05, "high": 0.2}}
    (said,) = verdict(found)
    assert "random weights point better" in said and "only what goes beyond them was" in said
    assert verdict({}) == ["No word names one visible object: there is nothing to point at."]


def test_a_word_is_lent_the_map_of_another_object(task, shapes):
    words = words_of(read_scenes(task, shapes, count=12))
    maps = [np.full(GRID, float(row)) for row in range(len(words))]
    for row, (lent, (scene, named)) in enumerate(
        zip(swapped_maps(maps, words), words, strict=True)
    ):
        if lent is not None:
            other_scene, other = words[int(lent[0, 0])]
            assert other_scene is scene and other.boxes != named.boxes
        else:
            assert all(w.boxes == named.boxes for s, w in words if s is scene), row


def test_new_weights_are_new_where_they_should_be(task):
    x, _ = toys.examples(2)
    before = task.get_weights()
    copy, fusion = randomized(task, seed=1), randomized(task, seed=1, parts=("fusion",))
    for old, new in zip(before, task.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    old, all_new, part_new = (
        t.backbone.encode(t.read_inputs(x))[0]["images"] for t in (task, copy, fusion)
    )
    assert np.abs(np.asarray(all_new) - old).max() > 1e-3
    np.testing.assert_array_equal(part_new, old)
    scores = [t.explain(x)["attention_scores"]["text_to_images"] for t in (task, fusion)]
    assert np.abs(scores[0] - scores[1]).max() > 1e-4


def test_what_cannot_be_measured_is_said(task, shapes, tmp_path):
    with pytest.raises(ValueError, match=r"a model of images and text\. Received: one of images"):
        measure_grounding(toys.classifier(("images",)), shapes)
    other = ExamplesSource({"val": examples([1], images=["a.jpg"], captions=[["a ring"]])})
    with pytest.raises(ValueError, match="need images with captions and boxes"):
        measure_grounding(task, other)
    silent = ExamplesSource({"val": examples([1], captions=[["a ring"]])})
    with pytest.raises(ValueError, match="need images with captions and boxes, in COCO's"):
        measure_grounding(task, silent)


def test_split_words_counts_positions_of_tokens():
    tokens = ["[CLS]", "a", "ring", ",", "one", "st", "##ar", "[SEP]"]
    assert split_words(tokens)[-1] == ("star", [5, 6])
