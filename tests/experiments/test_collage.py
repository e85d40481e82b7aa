import cv2
import numpy as np
import pytest

pytest.importorskip("faiss", reason="needs the extra `search`")

from mmlearn.experiments.indexing import draw_collage

pytestmark = pytest.mark.large  # the tier whose environment has the extras


@pytest.fixture
def found(tmp_path):
    """Two images as a search finds them, one all red, one all blue."""
    results = []
    for name, color in (("red", (0, 0, 255)), ("blue", (255, 0, 0))):
        path = tmp_path / f"{name}.png"
        cv2.imwrite(str(path), np.full((40, 60, 3), color, np.uint8))
        results.append({"id": name, "label": str(path), "cosine": 0.5, "match": 0.9})
    return results


def test_images_stand_side_by_side_the_best_first(found, tmp_path):
    draw_collage(found, tmp_path / "collage.png")
    drawn = cv2.imread(str(tmp_path / "collage.png"))
    columns = [
        np.flatnonzero((drawn == color).all(-1).any(0)) for color in [(0, 0, 255), (255, 0, 0)]
    ]
    assert len(columns[0]) > 100
    assert columns[0].max() < columns[1].min()


def test_captions_and_lost_images_are_refused(found, tmp_path):
    captions = [{"id": "1#0", "label": "a red ring", "cosine": 0.5}]
    with pytest.raises(ValueError, match="an index of captions"):
        draw_collage(captions, tmp_path / "collage.png")
    (tmp_path / "blue.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"blue.png' is no readable image"):
        draw_collage(found, tmp_path / "collage.png")
    (tmp_path / "blue.png").unlink()
    with pytest.raises(ValueError, match=r"blue.png' of 'blue' is gone"):
        draw_collage(found, tmp_path / "collage.png")
    assert not (tmp_path / "collage.png").exists()
