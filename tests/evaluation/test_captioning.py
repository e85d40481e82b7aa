"""All metrics of captions together."""

import numpy as np
import pytest

from mmlearn.evaluation import captioning
from mmlearn.evaluation.captioning import score_captions
from mmlearn.evaluation.cider import cider_d
from tests.evaluation.captions import caption_cases


def cases(count=30):
    candidates, references = caption_cases(count)
    texts = [" ".join(words).capitalize() + "." for words in candidates]
    return candidates, references, texts, [[" ".join(r) for r in own] for own in references]


def test_scores_each_row_by_the_same_references():
    candidates, references, texts, wanted = cases()
    rows = {"model": texts, "person": [own[-1] for own in wanted], "nothing": ["x"] * 30}
    metrics, details = score_captions(rows, wanted, num_resamples=50)
    assert list(metrics) == list(details["intervals"]) == list(rows)
    names = ["CIDEr-D", "ROUGE-L", "BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4"]
    names.append("share_of_person")
    assert all(list(own) == names for own in metrics.values())
    assert metrics["model"]["CIDEr-D"] == pytest.approx(cider_d(candidates, references).mean())
    assert metrics["person"]["ROUGE-L"] == pytest.approx(1.0)
    assert metrics["nothing"]["CIDEr-D"] == 0.0
    for name, intervals in details["intervals"].items():
        for metric, ends in intervals.items():
            high = {"CIDEr-D": 10, "share_of_person": np.inf}.get(metric, 1)
            assert 0 <= ends["low"] <= metrics[name][metric] + 1e-9, (name, metric)
            assert ends["low"] <= ends["high"] <= high, (name, metric)
    comparisons = details["comparisons"]
    assert set(comparisons) == {"over_person", "over_nothing"}
    expected = metrics["model"]["CIDEr-D"] / metrics["person"]["CIDEr-D"]
    assert metrics["model"]["share_of_person"] == pytest.approx(expected)
    assert metrics["person"]["share_of_person"] == 1.0
    assert comparisons["over_person"]["high"] < 0 < comparisons["over_nothing"]["low"]


def test_further_measures_have_intervals_too():
    _, _, texts, wanted = cases(6)

    def of_length(captions):
        lengths = np.array([len(text) for text in captions])
        return lambda weights: {"short": (lengths < 20) @ weights / weights.sum(axis=0)}

    metrics, details = score_captions({"model": texts}, wanted, None, [of_length], num_resamples=20)
    assert metrics["model"]["short"] == np.mean([len(text) < 20 for text in texts])
    assert set(details["intervals"]["model"]["short"]) == {"low", "high"}


def test_what_is_no_number_is_left_out():
    _, _, texts, wanted = cases(3)

    def unknown(captions):
        return lambda weights: {"unknown": weights.sum(axis=0) * np.nan}

    metrics, details = score_captions({"model": texts}, wanted, None, [unknown], num_resamples=5)
    assert "unknown" not in {*metrics["model"], *details["intervals"]["model"]}


def test_meteor_only_where_it_is_asked_for(monkeypatch):
    _, _, texts, wanted = cases(4)
    monkeypatch.setattr(captioning, "meteor", lambda candidates, references: 0.25)
    metrics, details = score_captions({"model": texts}, wanted, with_meteor=True, num_resamples=5)
    assert metrics["model"]["METEOR"] == 0.25
    assert "METEOR" not in details["intervals"]["model"]


def test_errors_name_the_image_and_the_row():
    with pytest.raises(ValueError, match=r"Image 1 has no reference\. Fix: leave it out"):
        score_captions({"model": ["a", "b"]}, [["a"], []])
    with pytest.raises(ValueError, match="1 of 'model' for 2 images"):
        score_captions({"model": ["a"]}, [["a"], ["b"]])
