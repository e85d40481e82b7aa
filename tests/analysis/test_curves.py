import cv2
import pytest

from data_prep.features import MODALITIES
from mmlearn.analysis.curves import COLORS, plot_curves, remarks


def test_curves_of_all_phases_are_drawn(tmp_path):
    first = {"loss": [2.0, 1.0], "val_loss": [2.1, 1.2], "images_classes_map": [0.1, 0.5]}
    second = {"loss": [0.5], "val_loss": [0.6], "classes_map": [0.9], "val_classes_map": [0.8]}
    records = [{"name": "encoders", "history": first}, {"name": "fusion", "history": second}]
    plot_curves(records, tmp_path / "both.png")
    plot_curves(records[:1], tmp_path / "one.png")
    both, one = (cv2.imread(str(tmp_path / f"{name}.png")) for name in ("both", "one"))
    assert both.shape[1] == one.shape[1]
    assert both.shape[0] > one.shape[0]  # a line of remarks per phase
    assert (both[one.shape[0] :, : both.shape[1] // 2] < 100).sum() > 100  # and there it is
    blue = (both[..., 0] > 150) & (both[..., 2] < 60)  # the fused curve, of the second phase only
    assert blue.sum() > 20
    assert ((one[..., 0] > 150) & (one[..., 2] < 60)).sum() == 0


def test_losses_alone_are_one_panel(tmp_path):
    import warnings

    records = [{"name": "embeddings", "history": {"loss": [2.0, 1.0], "val_loss": [2.1, 1.2]}}]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as of a layout that found no room
        plot_curves(records, tmp_path / "losses.png")
    drawn = (cv2.imread(str(tmp_path / "losses.png")) < 150).any(axis=2)
    middle = drawn[:, int(0.45 * drawn.shape[1]) : int(0.55 * drawn.shape[1])]
    assert middle[: drawn.shape[0] // 2].any()  # the curves, where there would be a gap


def test_drawing_leaves_the_notebook_backend_alone():
    import subprocess
    import sys

    code = "import mmlearn.analysis.curves, sys; print('matplotlib.pyplot' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


FALLING = [2.0, 1.5, 1.2, 1.1, 1.05, 1.03]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        # Under a cosine schedule both flatten.
        (
            {"loss": FALLING, "val_loss": [1.8, 1.4, 1.2, 1.12, 1.1, 1.1]},
            "settled, the validation loss changed by +0.0% an epoch at the end.",
        ),
        # Dropout makes the training loss the higher one throughout, which says nothing.
        (
            {"loss": [3.0, 2.6, 2.4, 2.35], "val_loss": [0.62, 0.6, 0.595, 0.595]},
            "settled, the validation loss changed by +0.0% an epoch at the end.",
        ),
        (
            {"loss": FALLING, "val_loss": [1.8, 1.4, 1.5, 1.7, 1.9, 2.0]},
            "over-fitted, the validation loss rose from 1.4 in epoch 2 to 2 while the training "
            "loss fell: --training.phases.N.restore-best, fewer epochs, or more dropout.",
        ),
        # It fell steeply, and the last epoch did not.
        (
            {"loss": [0.49, 0.34, 0.32, 0.3], "val_loss": [0.31, 0.29, 0.277, 0.274]},
            "settled, the validation loss changed by -1.1% an epoch at the end.",
        ),
        # One odd epoch is no trend, neither at the end nor before it.
        (
            {"loss": FALLING, "val_loss": [1.8, 1.4, 1.3, 1.28, 1.28, 1.38]},
            "settled, the validation loss changed by +1.6% an epoch at the end.",
        ),
        # The loss rises and the ranking is as good as before.
        (
            {
                "loss": FALLING,
                "val_loss": [1.8, 1.4, 1.5, 1.7, 1.9, 2.0],
                "val_classes_map": [0.5, 0.8, 0.81, 0.82, 0.82, 0.82],
                "val_images_classes_map": [0.5, 0.8, 0.7, 0.6, 0.5, 0.4],
            },
            "over-confident, the validation loss rose from 1.4 in epoch 2 to 2 while the training "
            "loss fell, but the validation mAP did not get worse: more dropout or "
            "`label_smoothing` if the probabilities matter.",
        ),
        # Without the fused prediction, the mean of the heads counts.
        (
            {
                "loss": FALLING,
                "val_loss": [1.8, 1.4, 1.5, 1.7, 1.9, 2.0],
                "val_text_classes_map": [0.8] * 6,
                "val_images_classes_map": [0.5, 0.8, 0.7, 0.6, 0.5, 0.4],
            },
            "over-fitted, the validation loss rose from 1.4 in epoch 2 to 2 while the training "
            "loss fell: --training.phases.N.restore-best, fewer epochs, or more dropout.",
        ),
        (
            {"loss": [2.0, 1.6, 1.28, 1.02], "val_loss": [2.2, 1.8, 1.45, 1.2]},
            "under-fitted, training and validation loss still fell by 18% and 17% an epoch at the "
            "end: more epochs, or a higher learning rate.",
        ),
        (
            {"loss": [1.0, 0.99, 1.0, 0.99], "val_loss": [2.2, 1.8, 1.45, 1.2]},
            "not settled, the validation loss changed by -16.9% an epoch at the end.",
        ),
        (
            {"loss": [1.0, 0.8, 1.4, 2.5], "val_loss": [1.0, 0.9, 1.5, 2.6]},
            "diverged, the training loss rose from 0.8 in epoch 2 to 2.5: a lower learning rate, or "
            "`clip_norm`.",
        ),
        (
            {"loss": [1.0, float("nan")], "val_loss": [1.0, 1.0]},
            "diverged, a loss is no number: a lower learning rate, or `clip_norm`.",
        ),
        (
            {"loss": [2.0, 1.0, 0.5], "val_loss": [1.0, 2.0, 3.0]},
            "too few epochs (3) to tell a trend.",
        ),
        ({"loss": FALLING}, "without validation, over-fitting cannot be seen."),
        (
            {"loss": [0.5, 0.0, 0.0, 0.0, 0.0], "val_loss": [0.5, 0.0, 0.0, 0.0, 0.0]},
            "settled, the validation loss changed by +0.0% an epoch at the end.",
        ),
    ],
)
def test_remarks_say_what_the_curves_show(history, expected):
    assert remarks([{"name": "fusion", "history": history}]) == [f"fusion: {expected}"]


def test_remarks_count_epochs_over_all_phases():
    records = [
        {"name": "encoders", "history": {"loss": [1.0], "val_loss": [1.0]}},
        {"name": "all", "history": {"loss": [1.0, 0.8, 1.4, 2.5], "val_loss": [1.0] * 4}},
    ]
    first, second = remarks(records)
    assert first == "encoders: too few epochs (1) to tell a trend."
    assert "rose from 0.8 in epoch 3 to 2.5" in second


def test_the_heads_of_all_modalities_are_drawn(tmp_path):
    assert set(COLORS) == {"fused", *MODALITIES}
    history = {"loss": [1.0, 0.9], "series_classes_map": [0.2, 0.6]}
    plot_curves([{"name": "encoders", "history": history}], tmp_path / "series.png")
    purple = (148, 103, 189)  # tab:purple
    picture = cv2.imread(str(tmp_path / "series.png")).astype(int)
    assert (abs(picture[..., ::-1] - purple).max(axis=-1) < 10).sum() > 20
