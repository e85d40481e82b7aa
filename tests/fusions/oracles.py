"""The oracles of the fusions' tests: numpy in float64, from the formulas of the papers."""

import numpy as np


def pooled(features, masks):
    """The mean of the real tokens of each modality, in alphabetical order."""
    return [
        (features[m] * masks[m][..., None]).sum(1, dtype="float64") / masks[m].sum(1)[:, None]
        for m in sorted(features)
    ]


def dense(layer, x):
    """What a dense layer computes before its activation."""
    kernel, *bias = layer.get_weights()
    return x @ kernel.astype("float64") + (bias[0] if bias else 0.0)


def sigmoid(x):
    """The logistic function."""
    return 1 / (1 + np.exp(-x))


def softmax(x):
    """Along the last axis."""
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def normalize(x, norm):
    """Layer normalisation."""
    gamma, beta = norm.get_weights()
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + norm.epsilon)
    return x * gamma + beta


def weights(fusion, means):
    """softmax(MLP([V; T]))."""
    hidden = np.maximum(dense(fusion.weight_hidden, np.concatenate(means, axis=1)), 0)
    return softmax(dense(fusion.weight_logits, hidden))


def randomize(layer, seed=7):
    """Gives a built layer weights of which none is special, biases included."""
    random = np.random.default_rng(seed)
    layer.set_weights([0.5 * random.normal(size=w.shape) for w in layer.get_weights()])
    return layer
