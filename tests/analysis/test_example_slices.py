"""Slices of examples, from what the data say about them."""

import numpy as np
import pytest

from data_prep.sources.shapes import ShapesSource
from data_prep.splits import Selection
from mmlearn.analysis.example_slices import find_objects, measure_image, slice_examples


def test_slices_of_scenes_hold_what_they_say(shapes):
    index = shapes.examples("val")
    by_name = {each.name: each for each in slice_examples(shapes, "val")}
    objects = find_objects(shapes, "val")
    counts = [len(own) for own in objects]
    for count in set(counts):
        assert by_name[f"objects: {count}"].rows.tolist() == [each == count for each in counts]
    assert by_name[f"objects: {max(counts)}"].case == "complex scenes with multiple objects"
    faint = [any(item.is_faint for item in own) for own in objects]
    assert by_name["has a faint object"].rows.tolist() == faint
    captions = [own[0] for own in index.captions]
    for row, caption in enumerate(captions):
        true = {shapes.label_names[c] for c in np.flatnonzero(index.labels[row])}
        said = {name for name in shapes.label_names if name in caption}
        seen = {item.category for item in objects[row] if not item.is_faint}
        assert by_name["caption names no label"].rows[row] == (not true & said)
        assert by_name["caption leaves a label out"].rows[row] == bool(true - said)
        lost = by_name["a label is neither visible nor named"]
        assert lost.rows[row] == bool(true - said - seen)
    assert lost.case == "low-quality or ambiguous images"
    lengths = np.array([len(caption.replace(",", "").split()) for caption in captions])
    (longest,) = [each for name, each in by_name.items() if name.startswith("longest captions")]
    assert lengths[longest.rows].min() >= lengths[~longest.rows].max()
    assert {each.case for each in by_name.values()} >= {"abstract or metaphorical text"}


def test_objects_are_found_through_a_selection_and_only_in_cocos_format(shapes, tmp_path):
    rows = np.array([5, 2])
    chosen = Selection(shapes, {"some": ("val", rows)})
    whole = find_objects(shapes, "val")
    assert find_objects(chosen, "some") == [whole[row] for row in rows]

    class Elsewhere(ShapesSource):
        def __init__(self):
            self.root = str(tmp_path)

        def examples(self, split):
            return shapes.examples(split)

    assert find_objects(Elsewhere(), "val") is None


def test_image_measures_by_hand():
    flat = np.full((6, 6, 3), 90, np.uint8)
    assert measure_image(flat) == (0.0, 90.0, 0.0)
    assert np.isnan(measure_image(np.zeros((0, 0, 3), np.uint8))).all()
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    smooth = np.repeat(np.repeat(noise[::8, ::8], 8, axis=0), 8, axis=1)
    assert measure_image(noise)[0] > 2 * measure_image(smooth)[0]
    # A dull image is not a blurred one.
    dull = (noise // 4 + 90).astype(np.uint8)
    assert measure_image(dull)[0] == pytest.approx(measure_image(noise)[0], rel=0.02)
    assert measure_image(dull)[2] == pytest.approx(measure_image(noise)[2] / 4, rel=0.05)
