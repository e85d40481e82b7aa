import keras
import numpy as np
import pytest
import tensorflow as tf

from mmlearn.demo.captioning import open_captioner, write_caption
from mmlearn.demo.photos import Photo
from tests import toys
from tests.models.test_image_captioner import captioner


@pytest.fixture(scope="module")
def photo():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    return Photo(tf.io.encode_png(pixels).numpy(), pixels)


@pytest.mark.large
def test_each_word_of_a_caption_has_the_map_with_which_it_was_written(photo, tmp_path):
    keras.utils.set_random_seed(0)
    made = captioner()
    made.save_to_preset(str(tmp_path / "preset"))
    task = open_captioner(str(tmp_path))
    caption = write_caption(task, photo, "a red")
    assert caption.text == made.generate({"images": [photo.data]}, prompt="a red")[0]
    assert [word for word, _ in caption.word_maps] == caption.text.split()
    scores = task.explain({"images": [photo.data]}, prompt="a red")["attention_scores"]
    scores = scores["text_to_images"][0, -1].mean(axis=0)
    for place, (_, heat) in enumerate(caption.word_maps, 1):
        np.testing.assert_allclose(heat.ravel(), scores[place], atol=1e-6)


def test_without_an_image_there_is_no_caption():
    with pytest.raises(ValueError, match=r"no image to describe\. Fix: give one"):
        write_caption(captioner(), None)


def test_another_model_is_refused(tmp_path):
    toys.classifier().save_to_preset(str(tmp_path / "preset"))
    with pytest.raises(
        ValueError, match=r"is a model of MultimodalClassifier, and this needs one of"
    ):
        open_captioner(str(tmp_path))
