"""Lets models do everything once, so that the first visitor need not wait for what is made only once."""

import numpy as np
import tensorflow as tf

from mmlearn.demo.captioning import write_caption
from mmlearn.demo.photos import Photo
from mmlearn.demo.predicting import answer_question, predict_example


def warm_up(models):
    """Runs each model once, and the predictor with each modality left out.

    Args:
        models: `mmlearn.demo.page.Models`.
    """
    pixels = np.full((64, 64, 3), 128, np.uint8)
    photo = Photo(tf.io.encode_jpeg(pixels).numpy(), pixels)
    if models.predictor is not None:
        for left_out in ((), ("images",), ("text",)):
            if set(models.predictor.backbone.modalities) & {"images", "text"} - set(left_out):
                predict_example(models.predictor, photo, "a", left_out)
    if models.searcher is not None:
        models.searcher.find(text="a")
        models.searcher.find(photo=photo)
    if models.answerer is not None:
        answer_question(models.answerer, photo, "a")
    if models.captioner is not None:
        write_caption(models.captioner, photo)
