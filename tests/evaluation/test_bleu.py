"""BLEU."""

import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from mmlearn.evaluation.bleu import bleu, bleu_counts
from tests.evaluation.captions import as_official, caption_cases


def test_counts_of_a_known_case():
    # "the" is clipped to the two of one reference, not the three of both.
    references = [["the", "cat", "the"], ["the", "mat", "is", "red", "now"]]
    counts = bleu_counts([["the", "the", "the", "cat"]], [references])
    assert counts.tolist() == [[3, 1, 0, 0, 4, 3, 2, 1, 4, 3]]


def test_the_closest_reference_counts_for_length_and_of_two_the_shorter():
    one_too_short, exact = bleu_counts(
        [["a"] * 4] * 2, [[["a"] * 3, ["a"] * 5], [["a"] * 9, ["a"] * 4]]
    )[:, -1]
    assert (one_too_short, exact) == (3, 4)


def test_short_captions_are_penalised():
    counts = bleu_counts([["a", "dog"]], [[["a", "dog", "runs", "home"]]])
    np.testing.assert_allclose(bleu(counts)[0], np.exp(1 - 4 / 2), rtol=1e-6)


def test_an_empty_caption_scores_nothing():
    assert bleu(bleu_counts([[]], [[["a", "dog"]]])).max() < 1e-3


@pytest.mark.parametrize("order", [1, 2, 4])
def test_agrees_with_keras_hub_on_single_references(order):
    candidates, references = caption_cases(40)
    references = [own[:1] for own in references]
    metric = keras_hub.metrics.Bleu(tokenizer=tf.strings.split, max_order=order)
    metric.update_state(
        [[" ".join(own[0])] for own in references], [" ".join(words) for words in candidates]
    )
    expected = float(metric.result())
    np.testing.assert_allclose(
        bleu(bleu_counts(candidates, references))[order - 1], expected, rtol=1e-5
    )


def test_weights_count_images_several_times():
    candidates, references = caption_cases(5)
    rows = [0, 0, 3, 4]
    repeated = bleu_counts([candidates[r] for r in rows], [references[r] for r in rows])
    weights = np.array([2.0, 0.0, 0.0, 1.0, 1.0])[:, None]
    weighted = bleu(bleu_counts(candidates, references), np.hstack([weights, np.ones((5, 1))]))
    np.testing.assert_allclose(weighted[:, 0], bleu(repeated))
    assert weighted.shape == (4, 2)


@pytest.mark.large
def test_agrees_with_the_official_evaluation():
    official = pytest.importorskip("pycocoevalcap.bleu.bleu")
    candidates, references = caption_cases(200)
    expected, _ = official.Bleu(4).compute_score(*as_official(candidates, references), verbose=0)
    found = bleu(bleu_counts(candidates, references))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
