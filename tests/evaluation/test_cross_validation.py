import numpy as np
import pytest

from mmlearn.evaluation.classification import multilabel_metrics
from mmlearn.evaluation.cross_validation import fold_interval, pooled_metrics, summarize_folds


def test_interval_is_students_t():
    # Five values with mean 0.5 and s = 0.1; t with 4 degrees of freedom is 2.7764.
    values = [0.5 + 0.1 * x for x in (-1, -1, 0, 1, 1)]
    found = fold_interval(values, test_ratio=0.25)
    assert found["mean"] == pytest.approx(0.5)
    assert found["standard_deviation"] == pytest.approx(0.1)
    assert found["high"] - 0.5 == pytest.approx(2.776445 * 0.1 / np.sqrt(5), rel=1e-6)
    assert 0.5 - found["low"] == pytest.approx(found["high"] - 0.5)
    assert found["corrected_high"] - 0.5 == pytest.approx(
        2.776445 * 0.1 * np.sqrt(1 / 5 + 1 / 4), rel=1e-6
    )
    assert 0.5 - found["corrected_low"] == pytest.approx(found["corrected_high"] - 0.5)


def test_interval_of_one_fold_is_refused():
    with pytest.raises(ValueError, match=r"at least two folds\. Received: 1"):
        fold_interval([0.5], 0.25)


def test_summary_has_every_row_and_metric_and_no_counts():
    folds = [
        {
            "fused": {"mAP": 0.7 + 0.1 * fold, "AUC": 0.5, "num_examples": count},
            "prior": {"mAP": 0.3, "AUC": 0.5, "num_examples": count},
        }
        for fold, count in enumerate((10, 10, 20))
    ]
    summary = summarize_folds(folds)
    assert set(summary) == {"fused", "prior"}
    assert set(summary["fused"]) == {"mAP", "AUC"}
    ratio = (10 / 30 + 10 / 30 + 20 / 20) / 3
    values = [0.7, 0.7 + 0.1, 0.7 + 0.1 * 2]
    assert summary["fused"]["mAP"] == {"folds": values, **fold_interval(values, ratio)}
    assert summary["prior"]["mAP"]["low"] == summary["prior"]["mAP"]["high"] == 0.3


def test_pooled_metrics_count_a_modality_where_it_is():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, (12, 3))
    values = {name: random.random((12, 3)) for name in ("fused", "images", "text")}
    present = {"images_present": np.ones(12, bool), "text_present": np.arange(12) >= 5}
    prior = np.repeat([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]], 6, axis=0)
    pooled = pooled_metrics({"labels": labels, **values, **present}, prior)
    assert set(pooled) == {"fused", "images", "text", "prior"}
    assert pooled["fused"] == multilabel_metrics(labels, values["fused"])
    assert pooled["text"] == multilabel_metrics(labels[5:], values["text"][5:])
    assert pooled["prior"] == multilabel_metrics(labels, prior)
