import cv2

from mmlearn.analysis.curves import plot_curves


def test_curves_of_all_phases_are_drawn(tmp_path):
    first = {"loss": [2.0, 1.0], "val_loss": [2.1, 1.2], "images_classes_map": [0.1, 0.5]}
    second = {"loss": [0.5], "val_loss": [0.6], "classes_map": [0.9], "val_classes_map": [0.8]}
    records = [{"name": "encoders", "history": first}, {"name": "fusion", "history": second}]
    plot_curves(records, tmp_path / "both.png")
    plot_curves(records[:1], tmp_path / "one.png")
    both, one = (cv2.imread(str(tmp_path / f"{name}.png")) for name in ("both", "one"))
    assert both.shape == one.shape
    blue = (both[..., 0] > 150) & (both[..., 2] < 60)  # the fused curve, of the second phase only
    assert blue.sum() > 20
    assert ((one[..., 0] > 150) & (one[..., 2] < 60)).sum() == 0


def test_drawing_leaves_the_notebook_backend_alone():
    import subprocess
    import sys

    code = "import mmlearn.analysis.curves, sys; print('matplotlib.pyplot' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
