"""What a sceptic gets from photos and captions without deep learning on the pair.

    python -m tests.benchmarks.sceptic --data ../shared/data

SqueezeNet's grid features, mean and max pooled and standardised; TF-IDF of one and two words; a
logistic regression per class on each; and late fusion, the sum of the z-scored decision values, those of
the text counted twice. Trained on `coco_subset`, all captions of a photo each an example, and judged on
its validation photos with their first caption alone.
"""

import os
import warnings
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tyro
from scipy import special
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from data_prep import images
from data_prep.sources.coco import CocoSource
from mmlearn.encoders import normalization
from mmlearn.evaluation.classification import multilabel_metrics
from tests.benchmarks.squeezenet import NORMALIZATION, squeezenet

PHOTOS = "coco_subset"
WEIGHTS = "squeezenet_imagenet/squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5"
IMAGE_SIZE = 227
IMAGE_C, TEXT_C = 1e-3, 10
TEXT_WEIGHT = 2  # of the z-scored text, in late fusion


@dataclass(frozen=True)
class Options:
    """Trains and judges."""

    data: str
    """Folder with coco_subset and squeezenet_imagenet."""


def grid_features(paths, weights, image_size, batch_size=32):
    """SqueezeNet's feature maps of image files: `(num_images, grid, grid, 512)`."""
    network = squeezenet(weights, image_size)
    normalize = normalization.get(NORMALIZATION)

    def read(path):
        return images.resize(images.decode(tf.io.read_file(path), image_size), image_size)

    dataset = tf.data.Dataset.from_tensor_slices(list(paths)).map(read).batch(batch_size)
    return np.concatenate([np.asarray(network(normalize(batch))) for batch in dataset])


def pool(features):
    """Mean and maximum over the grid, side by side."""
    return np.concatenate([features.mean(axis=(1, 2)), features.max(axis=(1, 2))], axis=1)


def decide(features, labels, queries, c):
    """The decision values of a logistic regression per class; 0 for a class that is never or always true."""
    values = np.zeros((queries.shape[0], labels.shape[1]))
    for number, column in enumerate(labels.T):
        if 0 < column.sum() < len(column):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model = LogisticRegression(C=c, solver="liblinear").fit(features, column)
            values[:, number] = model.decision_function(queries)
    return values


def z_score(values):
    """Each class with mean 0 and deviation 1."""
    return (values - values.mean(axis=0)) / (values.std(axis=0) + 1e-9)


def image_values(train, val, labels):
    """The sceptic's decision values of the images, from feature maps."""
    scaler = StandardScaler()
    return decide(scaler.fit_transform(pool(train)), labels, scaler.transform(pool(val)), IMAGE_C)


def text_values(captions, texts, labels):
    """The sceptic's decision values of texts, from the lists of captions of the training photos."""
    vectorizer = TfidfVectorizer(ngram_range=(1, 2))
    rows = np.repeat(np.arange(len(captions)), [len(several) for several in captions])
    features = vectorizer.fit_transform([text for several in captions for text in several])
    return decide(features, labels[rows], vectorizer.transform(texts), TEXT_C)


def late(image, text):
    """The sceptic's late fusion of decision values."""
    return z_score(image) + TEXT_WEIGHT * z_score(text)


def main():
    """Prints the macro mAP of images, text and both."""
    options = tyro.cli(Options)
    source = CocoSource(os.path.join(options.data, PHOTOS))
    train, val = source.examples("train"), source.examples("val")
    weights = os.path.join(options.data, WEIGHTS)
    maps = [grid_features(each.images, weights, IMAGE_SIZE) for each in (train, val)]
    image = image_values(*maps, train.labels)
    text = text_values(train.captions, [several[0] for several in val.captions], train.labels)
    rows = {"images": image, "text": text, "late fusion": late(image, text)}
    for name, values in rows.items():
        # As probabilities, which keep the order.
        score = multilabel_metrics(val.labels.astype(int), special.expit(values))["mAP"]
        print(f"{name}: {score:.4f}")


if __name__ == "__main__":
    main()
