"""What stands beside the metrics, of predictions that are made up; no model runs."""

import numpy as np
import pytest

from mmlearn.evaluation.describe import describe
from mmlearn.evaluation.evaluate import predicted_rows
from mmlearn.evaluation.keywords import keyword_match
from mmlearn.evaluation.scores import kind_of_metrics, score
from mmlearn.models.head import Head

NAMES = ("dog", "cat", "cow")


class Described:
    """What `describe` reads of a task."""

    class backbone:
        modalities = ("images", "text")

    def __init__(self, *heads):
        self.described = {head.name: head for head in heads}
        starts = np.cumsum([0, *(head.num_columns for head in heads)])
        ends = zip(self.described, starts, starts[1:], strict=False)
        self.columns = {name: slice(start, end) for name, start, end in ends}

    def own_name(self, what, head):
        return what if len(self.described) == 1 else f"{head.name}_{what}"


def predictions(kind="multi_label", count=90):
    random = np.random.default_rng(0)
    labels = (random.random((count, 3)) < 0.4).astype(int)
    if kind == "multi_class":
        labels = np.eye(3, dtype=int)[labels.argmax(1)]
    noise = random.random((3, count, 3))
    values = {
        "labels": labels,
        "fused": 0.4 * labels + 0.7 * noise[0],
        "images": 0.1 * labels + 0.9 * noise[1],
        "text": 0.3 * labels + 0.7 * noise[2],
        "images_present": np.ones(count, bool),
        "text_present": np.arange(count) >= 20,
    }
    return {n: v / 1.1 if v.dtype == float else v for n, v in values.items()}


@pytest.mark.parametrize(
    ("kind", "rows", "main"),
    [
        ("multi_label", {"nothing", "prior"}, "mAP"),
        ("multi_class", {"most_frequent", "prior"}, "top_1_accuracy"),
        ("regression", {"mean"}, "R2"),
    ],
)
def test_every_row_has_an_interval_around_its_metric(kind, rows, main):
    head = Head("classes", kind, NAMES)
    task, own = Described(head), predictions(kind)
    found = describe(task, own, [0.3, 0.5, 0.2], num_resamples=200)
    assert set(found["intervals"]) == {"fused", "images", "text", *rows}
    ((_, labels, compared),) = predicted_rows(task, own, [0.3, 0.5, 0.2])
    scores = {row: score(kind, labels[known], v[known]) for row, (v, known) in compared.items()}
    assert kind_of_metrics(scores) == kind
    for row in ("fused", "images", "text"):
        for metric, ends in found["intervals"][row].items():
            assert ends["low"] < scores[row][metric] < ends["high"], (row, metric)
    assert main in found["intervals"]["fused"]
    assert set(found["per_class"]) == {"fused", "images", "text"}
    assert set(found["per_class"]["fused"]) == set(NAMES)


def test_what_is_left_without_a_modality_has_intervals_over_the_examples_that_count():
    head = Head("classes", "multi_label", NAMES, thresholds=(0.3, 0.3, 0.3))
    own = predictions()
    some = np.arange(90) % 3 > 0
    without = {"without_images": (own["text"], some)}
    found = describe(Described(head), own, [0.3] * 3, without=without, num_resamples=200)
    assert "without_text" not in found["intervals"]
    expected = score("multi_label", own["labels"][some], own["text"][some], head.thresholds)
    for metric, ends in found["intervals"]["without_images"].items():
        assert ends["low"] < expected[metric] < ends["high"], metric


def test_fusion_is_compared_with_the_best_modality_on_the_same_examples():
    task, own = Described(Head("classes", "multi_label", NAMES)), predictions()
    found = describe(task, own, np.full(3, 0.4))["comparisons"]
    gain = found["fusion_effectiveness"]
    assert (gain["first"], gain["second"], gain["metric"]) == ("fused", "text", "mAP")
    assert gain["num_examples"] == 70
    apart = [
        score("multi_label", own["labels"][20:], own[n][20:])["mAP"] for n in ("fused", "text")
    ]
    assert gain["difference"] == pytest.approx(apart[0] - apart[1], abs=1e-9)
    assert gain["low"] < gain["difference"] < gain["high"]
    assert gain["p"] < 0.1
    assert found["over_baseline"]["second"] in ("nothing", "prior")


def test_keywords_are_a_baseline_like_the_others():
    task, own = Described(Head("classes", "multi_label", NAMES)), predictions()
    texts = [" ".join(np.array(NAMES)[row > 0]) for row in own["labels"]]
    words = {"keywords": keyword_match(texts, NAMES, np.full(3, 0.4))}
    found = describe(task, own, np.full(3, 0.4), baselines=words, num_resamples=50)
    assert found["comparisons"]["over_baseline"]["second"] == "keywords"
    assert found["comparisons"]["over_baseline"]["difference"] < 0  # nothing beats the truth
    assert found["per_class"]["keywords"]["dog"]["F1"] == 1.0
    assert found["intervals"]["keywords"]["mAP"] == {"low": 1.0, "high": 1.0}


def test_the_head_of_thresholds_is_measured_with_them():
    own = predictions()
    plain, tuned = (
        Described(Head("classes", "multi_label", NAMES, thresholds=thresholds))
        for thresholds in (None, (0.1, 0.5, 0.5))
    )
    prior = np.full(3, 0.4)
    before, after = (describe(task, own, prior, num_resamples=50) for task in (plain, tuned))
    assert (
        after["per_class"]["fused"]["dog"]["recall"]
        == 1.0
        > before["per_class"]["fused"]["dog"]["recall"]
    )
    assert after["per_class"]["text"] == before["per_class"]["text"]
    assert after["intervals"]["fused"]["mAP"] == before["intervals"]["fused"]["mAP"]
    assert after["intervals"]["fused"]["macro_F1"] != before["intervals"]["fused"]["macro_F1"]


def test_several_heads_have_their_names_before_them():
    task = Described(Head("a", "multi_label", NAMES), Head("b", "regression", ("x",)))
    own = predictions()
    labels, fused = own.pop("labels"), own.pop("fused")
    own = {name: values for name, values in own.items() if name.endswith("_present")}
    own |= {
        "a_labels": labels,
        "a_fused": fused,
        "b_labels": labels[:, :1] * 1.0,
        "b_fused": fused[:, :1],
    }
    found = describe(task, own, [0.4, 0.4, 0.4, 0.5], num_resamples=20)
    assert set(found["intervals"]) == {"a_fused", "a_nothing", "a_prior", "b_fused", "b_mean"}
    assert set(found["comparisons"]) == {"a_over_baseline", "b_over_baseline"}
    assert found["comparisons"]["b_over_baseline"]["second"] == "b_mean"
