import cv2
import numpy as np
import pytest

from mmlearn.analysis.attention import draw_attention, plot_attention, word_maps
from tests import toys


def explanation(scores):
    return {"attention_scores": {"text_to_images": np.asarray(scores)[None, None, None]}}


def test_word_maps_keep_words_average_pieces_and_drop_special_tokens():
    tokens = ["[CLS]", "a", "dia", "##mond", "[SEP]"]
    scores = np.zeros((6, 4))  # six positions, the last one padding, by a grid of 2x2
    scores[1] = [1, 0, 0, 0]
    scores[2] = [0, 1, 0, 0]
    scores[3] = [0, 0, 0, 1]
    maps = word_maps(explanation(scores), tokens, (2, 2))
    assert [word for word, _ in maps] == ["a", "diamond"]
    np.testing.assert_array_equal(maps[0][1], [[1, 0], [0, 0]])
    np.testing.assert_array_equal(maps[1][1], [[0, 0.5], [0, 0.5]])


def test_word_maps_average_heads_of_the_chosen_layer():
    scores = np.zeros((1, 2, 2, 1, 4))  # two layers, two heads, one word
    scores[0, 0, :, 0] = [[0, 0, 0, 1], [0, 0, 0, 1]]
    scores[0, 1, :, 0] = [[1, 0, 0, 0], [0, 1, 0, 0]]
    found = {"attention_scores": {"text_to_images": scores}}
    np.testing.assert_array_equal(word_maps(found, ["dog"], (2, 2))[0][1], [[0.5, 0.5], [0, 0]])
    np.testing.assert_array_equal(word_maps(found, ["dog"], (2, 2), 0)[0][1], [[0, 0], [0, 1]])


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
