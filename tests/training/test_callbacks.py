"""What is shown of an epoch."""

import pytest

from mmlearn.training.callbacks import read_scores


@pytest.mark.parametrize(
    ("logs", "main_output", "shown"),
    [
        ({"loss": 1.0}, "classes", ""),
        ({"loss": 1.0, "val_loss": 0.25}, "objective", "val loss 0.250"),
        ({"val_loss": 1.0, "val_map": 0.5, "map": 0.4}, "classes", "val mAP 0.500"),
        (
            {"val_values_r2": 0.75, "val_text_values_r2": -0.5, "val_loss": 1.0},
            "values",
            "val R² 0.750, text -0.500",
        ),
        (
            {"val_objects_map": 0.5, "val_images_objects_map": 0.25, "val_price_r2": 0.125},
            "objects",
            "val mAP 0.500, images 0.250  val R² price 0.125",
        ),
    ],
)
def test_each_kind_of_score_is_named_and_the_main_output_is_not(logs, main_output, shown):
    assert read_scores(logs, main_output) == shown
