"""The oracles of synthetic scenes against the generator itself."""

import numpy as np
import pytest

from data_prep.sources import shapes
from data_prep.sources.coco import PlacedObject
from mmlearn.evaluation.shapes_oracles import caption_oracles, read_caption


def made(count, seed=0):
    """Scenes as they are annotated, and a caption of each with what it mentions."""
    random = np.random.default_rng(seed)
    scenes, captions = [], []
    for _ in range(count):
        scene = shapes._draw_scene(random)
        text, mentioned = shapes._write_caption(scene, random)
        captions.append((text, [(item["color"], item["shape"]) for item in mentioned]))
        scenes.append(
            [
                PlacedObject(
                    item["shape"],
                    tuple(
                        (item["center"][axis] + side * item["radius"]) / shapes.IMAGE_SIZE
                        for side in (-1, 1)
                        for axis in (0, 1)
                    ),
                    item["color"],
                )
                for item in scene
            ]
        )
    return scenes, captions


def test_reads_what_the_generator_writes():
    _, captions = made(300)
    for text, mentioned in captions:
        assert sorted(read_caption(text).kinds) == sorted(mentioned), text


def test_reads_places_and_relations():
    found = read_caption(
        "this shows one red star above a blue ring, an orange cross in the top left"
    )
    assert found.kinds == (("red", "star"), ("blue", "ring"), ("orange", "cross"))
    assert found.relations == {(0, 1): "above"}
    assert found.places == {2: (0, 0)}


def test_oracles_rank_by_the_probability_of_the_caption():
    # Of 4,000 scenes and their captions: how often a caption is that of a scene of some kind.
    star, ring = (
        PlacedObject("star", (0, 0, 0.2, 0.2), "red"),
        PlacedObject("ring", (0.5,) * 4, "blue"),
    )
    few, many, none = [star, ring], [star, ring, ring, ring], [ring, ring]
    scores = caption_oracles(["a red star", "a small drawing"], [few, many, none])["objects"]
    # P(star alone) = 0.7 x 0.3 of two objects, 0.7 x 0.3^3 of four.
    assert scores[0, 0] - scores[0, 1] == pytest.approx(np.log(1 / 0.3**2), abs=2e-3)
    assert scores[0, 2] < -40
    assert scores[1, 0] - scores[1, 1] == pytest.approx(np.log(1 / 0.3**2), abs=2e-3)


def test_places_tell_scenes_apart_that_objects_do_not():
    left = PlacedObject("star", (0.0, 0.4, 0.2, 0.6), "red")
    right = PlacedObject("star", (0.8, 0.4, 1.0, 0.6), "red")
    ring = PlacedObject("ring", (0.4, 0.4, 0.6, 0.6), "blue")
    scenes = [[left, ring], [right, ring]]
    texts = ["a red star on the right", "a blue ring left of a red star"]
    scores = caption_oracles(texts, scenes)
    assert (scores["scene"].argmax(axis=1) == 1).all()
    apart = np.abs(scores["objects"][:, 0] - scores["objects"][:, 1])
    assert (apart <= 1e-3).all()  # a draw


def test_the_own_scene_is_always_possible():
    scenes, captions = made(200, seed=1)
    scores = caption_oracles([text for text, _ in captions], scenes)
    for values in scores.values():
        assert np.diag(values).min() > -20
        # Better than chance by far, and with places better still.
    right = {name: np.mean(np.argmax(v, axis=1) == np.arange(200)) for name, v in scores.items()}
    assert right["scene"] > right["objects"] > 0.5
