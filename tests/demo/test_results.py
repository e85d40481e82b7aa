"""The HTML of the page: whole, escaped, and with what the maps say."""

import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np

from mmlearn.demo import results
from mmlearn.demo.captioning import Caption
from mmlearn.demo.photos import Photo
from mmlearn.demo.picture import Group, picture_html
from mmlearn.demo.predicting import HeadRows, Prediction, Row

EVIL = '<script>alert("1")</script>'
PIXELS = np.zeros((8, 12, 3), np.uint8)
PHOTO = Photo(b"", PIXELS)
VOID = {"img", "br"}


class Checker(HTMLParser):
    """Notes the tags, and that each is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def prediction(**changes):
    rows = [Row(EVIL, 0.75, -0.125, True), Row("cat", 0.25, 0.125, False)]
    given = {
        "heads": [HeadRows("classes", rows, False, True)],
        "modality_weights": {"images": 0.25, "text": 0.75},
        "word_maps": [(EVIL, np.array([[0.1, 0.2, 0.7]])), ("red", np.array([[0.5, 0.25, 0.25]]))],
        "label_maps": [],
        "remarks": [EVIL],
    }
    return Prediction(**{**given, **changes})


def test_a_picture_has_each_words_map_and_its_shares():
    checked = Checker(
        picture_html(PIXELS, [Group("Words", prediction().word_maps)], [(0, 0, 0.5, 1)])
    )
    buttons = [attrs for tag, attrs in checked.tags if tag == "button"]
    assert [each["data-shares"] for each in buttons] == ["100 200 700", "500 250 250"]
    assert all(each["data-heat"].startswith("data:image/png;base64,") for each in buttons)
    assert buttons[0]["data-heat"] != buttons[1]["data-heat"]
    (regions,) = (attrs for _, attrs in checked.tags if "data-rows" in attrs)
    assert (regions["data-rows"], regions["data-columns"]) == ("1", "3")
    (frame,) = (attrs for _, attrs in checked.tags if attrs.get("class") == "mm-frame")
    assert frame["style"] == "left:0.00%;top:0.00%;width:50.00%;height:100.00%"


def test_a_picture_without_maps_has_nothing_to_pick():
    checked = Checker(picture_html(PIXELS, [Group("Words", [])]))
    assert [tag for tag, _ in checked.tags] == ["div", "div", "img"]


def test_a_prediction_is_told_with_its_changes():
    text = results.prediction_html(prediction(), PHOTO)
    Checker(text)
    for told in ("75.0%", "-12.5 points", "+12.5 points", ">yes<", ">no<", "are calibrated"):
        assert told in text


def test_a_model_that_was_not_calibrated_says_how_to():
    heads = [HeadRows("classes", [Row("cat", 0.5, None, None)], False, False)]
    text = results.prediction_html(prediction(heads=heads))
    assert "not calibrated (python -m mmlearn calibrate)" in text
    assert "change" not in text
    assert "<img" not in text


def test_numbers_have_no_bars_and_many_labels_are_folded():
    heads = [HeadRows("values", [Row("price", 1234.5, None, None)], True, False)]
    text = results.prediction_html(prediction(heads=heads, modality_weights={}))
    assert "1234.5" in text
    assert "mm-bar" not in text
    rows = [Row(str(number), 0.5, None, None) for number in range(80)]
    text = results.prediction_html(prediction(heads=[HeadRows("classes", rows, False, True)]))
    Checker(text)
    assert "<summary>72 more</summary>" in text


def test_what_people_and_models_write_is_never_html():
    reasons = {
        "regions": [{"box": [0, 0, 1, 1]}],
        "answer": EVIL,
        "answer_without": EVIL,
        "probability_without": 0.5,
    }
    texts = [
        results.problem_html(EVIL),
        results.hint_html(EVIL),
        results.prediction_html(prediction(), PHOTO),
        results.answer_html(prediction(), reasons, PHOTO),
        results.caption_html(Caption(EVIL, prediction().word_maps), PHOTO),
        results.found_html(
            [
                SimpleNamespace(name=EVIL, cosine=0.5, pixels=PIXELS, text=""),
                SimpleNamespace(name="b", cosine=0.25, pixels=None, text=EVIL),
            ]
        ),
    ]
    for text in texts:
        assert not [tag for tag, _ in Checker(text).tags if tag == "script"], text
        assert "&lt;script&gt;" in text


def test_nothing_of_the_page_is_from_elsewhere():
    text = results.prediction_html(prediction(), PHOTO)
    assert re.findall(r'(?:src|href)="(?!data:)', text) == []
