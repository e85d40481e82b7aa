import cv2

from mmlearn.analysis.shots import plot_shots


def point(shots, mean, half=None):
    ends = (
        {"low": None, "high": None} if half is None else {"low": mean - half, "high": mean + half}
    )
    return {"shots": shots, "mean": mean, **ends}


def orange(path):
    """How many pixels are of the colour of the image features, or a paler one."""
    blue, green, red = cv2.imread(str(path)).astype(int).transpose(2, 0, 1)
    return ((red - blue > 50) & (green > blue) & (green < red)).sum()


def test_curves_intervals_and_baselines_are_drawn(tmp_path):
    images = [point(1, 0.4, 0.1), point(5, 0.6, 0.05), point("all", 0.7)]
    fused = [point(1, 0.5), point(5, 0.7), point("all", 0.9)]
    prior = {"prior": {"fused": 0.3}}
    cases = {
        "fused": ({"fused": fused}, prior),
        "both": ({"fused": fused, "images": images}, prior),
        "zero": ({"fused": fused, "images": images}, {**prior, "zero_shot": {"images": 0.8}}),
    }
    counts = {}
    for name, case in cases.items():
        plot_shots(*case, tmp_path / f"{name}.png")
        counts[name] = orange(tmp_path / f"{name}.png")
    assert counts["fused"] == 0
    assert counts["both"] > 300
    assert counts["zero"] > counts["both"] + 100  # the dashed line
    plot_shots(
        {"fused": fused, "images": [point(p["shots"], p["mean"]) for p in images]},
        prior,
        tmp_path / "bare.png",
    )
    assert orange(tmp_path / "bare.png") < counts["both"] - 50  # without bars
