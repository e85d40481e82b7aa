import dataclasses

import cv2
import numpy as np
import pytest

from mmlearn.analysis.attention import draw_attention, plot_attention, word_maps
from tests import toys
from tests.examples_source import ExamplesSource, examples


def explanation(scores):
    return {"attention_scores": {"text_to_images": np.asarray(scores)[None, None, None]}}


def test_word_maps_keep_words_average_pieces_and_drop_special_tokens():
    tokens = ["[CLS]", "a", "dia", "##mond", "[SEP]"]
    scores = np.zeros((6, 4))  # six positions, the last one padding, by a grid of 2x2
    scores[1] = [1, 0, 0, 0]
    scores[2] = [0, 1, 0, 0]
    scores[3] = [0, 0, 0, 1]
    maps = word_maps(explanation(scores), tokens, ((2, 2),))
    assert [word for word, _ in maps] == ["a", "diamond"]
    np.testing.assert_array_equal(maps[0][1], [[1, 0], [0, 0]])
    np.testing.assert_array_equal(maps[1][1], [[0, 0.5], [0, 0.5]])


@pytest.mark.parametrize(
    "tokens",
    [
        ["<s>", "a", "\u0120dia", "mond", "</s>"],  # byte pairs
        ["<s>", "\u2581a", "\u2581dia", "mond", "</s>"],  # SentencePiece
    ],
)
def test_word_maps_join_the_pieces_of_other_tokenizers(tokens):
    scores = np.zeros((6, 4))
    scores[2], scores[3] = [0, 1, 0, 0], [0, 0, 0, 1]
    maps = word_maps(explanation(scores), tokens, ((2, 2),))
    assert [word for word, _ in maps] == ["a", "diamond"]
    np.testing.assert_array_equal(maps[1][1], [[0, 0.5], [0, 0.5]])


def test_word_maps_average_heads_of_the_chosen_layer():
    scores = np.zeros((1, 2, 2, 1, 4))  # two layers, two heads, one word
    scores[0, 0, :, 0] = [[0, 0, 0, 1], [0, 0, 0, 1]]
    scores[0, 1, :, 0] = [[1, 0, 0, 0], [0, 1, 0, 0]]
    found = {"attention_scores": {"text_to_images": scores}}
    np.testing.assert_array_equal(word_maps(found, ["dog"], ((2, 2),))[0][1], [[0.5, 0.5], [0, 0]])
    np.testing.assert_array_equal(word_maps(found, ["dog"], ((2, 2),), 0)[0][1], [[0, 0], [0, 1]])


def test_stages_are_added_up_on_the_finest_grid():
    scores = np.zeros((1, 16 + 4 + 1))  # one word, grids of 4x4, 2x2 and 1x1
    scores[0, 5], scores[0, 16 + 3], scores[0, 20] = 0.2, 0.4, 0.4
    ((_, heat),) = word_maps(explanation(scores), ["dog"], ((4, 4), (2, 2), (1, 1)))
    expected = np.full((4, 4), 0.4 / 16)
    expected[1, 1] += 0.2
    expected[2:, 2:] += 0.4 / 4
    np.testing.assert_allclose(heat, expected, rtol=1e-6)


def test_no_attention_is_lost_between_grids_that_do_not_fit():
    scores = np.zeros((1, 25 + 9))
    scores[0, 25:] = np.arange(9) / 36
    ((_, heat),) = word_maps(explanation(scores), ["dog"], ((5, 5), (3, 3)))
    assert heat.sum() == pytest.approx(1.0)
    # The last cell of five lies in the last of three, and is three fifths of its side.
    assert heat[4, 4] == pytest.approx(8 / 36 * 0.6**2)
    assert heat[0, 0] == 0


def test_the_heat_is_drawn_where_the_attention_is(tmp_path):
    image = np.full((64, 64, 3), 128, np.uint8)
    heat = np.zeros((4, 4))
    heat[0, 0] = 1
    plot_attention(image, [("dog", heat)], tmp_path / "a.png", columns=2)
    figure = cv2.imread(str(tmp_path / "a.png")).astype(int)
    right = figure[:, figure.shape[1] // 2 :]  # the picture of the word
    warm = right[..., 2] - right[..., 0]  # red minus blue
    rows, columns = np.nonzero(warm > 60)
    assert len(rows) > 50
    assert rows.mean() < right.shape[0] / 2
    assert columns.mean() < right.shape[1] / 2


@pytest.mark.parametrize(
    ("modalities", "fusion", "drawn"),
    [
        (("images", "text"), "cross_attention", 2),
        (("images", "text"), "concat", 0),
        (("text",), "cross_attention", 0),
    ],
)
def test_only_models_with_attention_are_drawn(modalities, fusion, drawn, shapes, tmp_path):
    task = toys.classifier(modalities, fusion)
    paths = draw_attention(task, shapes, str(tmp_path), count=2)
    assert len(paths) == drawn
    assert sorted(str(path) for path in tmp_path.iterdir()) == sorted(paths)


def test_rows_without_an_image_or_a_caption_are_not_drawn(tmp_path):
    index = examples(range(3), np.zeros((3, 3), np.uint8), captions=[["a dog"], ["a cat"], []])
    for name in ("1", "2"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((40, 40, 3), np.uint8))
    index = dataclasses.replace(
        index, images=["", str(tmp_path / "1.png"), str(tmp_path / "2.png")]
    )
    names = toys.classifier().label_names
    source = ExamplesSource({"val": index}, names)
    paths = draw_attention(toys.classifier(), source, str(tmp_path), count=3)
    assert paths == [str(tmp_path / "attention_001.png")]
    texts = ExamplesSource({"val": dataclasses.replace(index, images=None)}, names)
    assert draw_attention(toys.classifier(), texts, str(tmp_path)) == []
