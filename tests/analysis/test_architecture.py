"""What a model is made of, and the drawing."""

import xml.etree.ElementTree as ElementTree

import pytest

from mmlearn.analysis.architecture import describe_architecture, draw_architecture
from tests import toys

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def description():
    """That of the tiny classifier."""
    return describe_architecture(toys.classifier(), {"images": "a <b> & c"})


def test_description_is_what_the_model_has(description):
    classifier = toys.classifier()
    images, text = description["encoders"]
    assert images == {
        "modality": "images",
        "name": "a <b> & c",
        "input": "32 x 32 x 3",
        "grids": [[2, 2]],
        "length": 4,
        "dim": 128,
        "parameters": classifier.backbone.encoders["images"].count_params(),
    }
    assert (text["input"], text["grids"], text["length"], text["dim"]) == (
        "token_ids 8",
        None,
        8,
        16,
    )
    assert description["fusion"]["name"] == "CrossAttention"
    assert description["fusion"]["options"]["num_heads"] == 2
    assert description["heads"] == [
        {"name": "classes", "kind": "multi label", "columns": 3, "hidden_dim": 8}
    ]
    assert description["auxiliary"] == ["images_classes", "text_classes"]
    assert sum(description["parts"].values()) == classifier.count_params()


def test_drawing_shows_each_part_inside_the_picture(description):
    root = ElementTree.fromstring(draw_architecture(description))
    _, _, width, height = map(float, root.get("viewBox").split())
    texts = [text.text or text.find(f"{SVG}title").tail for text in root.iter(f"{SVG}text")]
    for shown in ("a <b> & c", "grid 2 x 2, dim 128", "8 tokens, dim 16", "CrossAttention"):
        assert shown in texts
    for shown in ("num_heads 2", "classes", "images_classes", "3 columns, multi label"):
        assert shown in texts
    boxes = [box for box in root.iter(f"{SVG}rect") if box.get("x")]
    assert len(boxes) == 3 * 2 + 2 + 1 + 1
    for box in boxes:
        left, top, wide, tall = (float(box.get(name)) for name in ("x", "y", "width", "height"))
        assert 0 <= left <= left + wide <= width
        assert 0 <= top <= top + tall <= height


def test_long_names_are_cut_and_whole_in_the_tooltip(description):
    encoders = [{**encoder, "name": "n" * 90} for encoder in description["encoders"]]
    root = ElementTree.fromstring(draw_architecture({**description, "encoders": encoders}))
    titles = [title for title in root.iter(f"{SVG}title") if title.text == "n" * 90]
    assert len(titles) == 2
    assert all(title.tail.endswith("…") and len(title.tail) < 40 for title in titles)


def test_predictions_that_are_joined_have_arrows_into_the_fusion(description):
    def dashed(combines):
        fusion = {**description["fusion"], "combines": combines}
        root = ElementTree.fromstring(draw_architecture({**description, "fusion": fusion}))
        return [line for line in root.iter(f"{SVG}line") if line.get("stroke-dasharray")]

    assert len(dashed("features")) == 0
    assert len(dashed("both")) == 2
