import numpy as np

from mmlearn.analysis.rollout import rollout


def softmax(x):
    x = np.exp(x)
    return x / x.sum(axis=-1, keepdims=True)


def test_one_layer_is_half_of_its_mean_attention():
    random = np.random.default_rng(0)
    scores = {
        "text_to_images": softmax(random.normal(size=(1, 2, 3, 4))),
        "images_to_text": softmax(random.normal(size=(1, 2, 4, 3))),
    }
    expected = scores["text_to_images"][0].mean(axis=0) / 2
    np.testing.assert_allclose(rollout(scores), expected)


def test_layers_multiply_and_what_came_from_the_other_modality_may_go_back():
    random = np.random.default_rng(1)
    scores = {
        "text_to_images": softmax(random.normal(size=(2, 2, 3, 4))),
        "images_to_text": softmax(random.normal(size=(2, 2, 4, 3))),
    }
    layers = []
    for layer in range(2):
        joint = np.zeros((7, 7))  # images first
        joint[4:, :4] = scores["text_to_images"][layer].mean(axis=0)
        joint[:4, 4:] = scores["images_to_text"][layer].mean(axis=0)
        layers.append((joint + np.eye(7)) / 2)
    expected = layers[1] @ layers[0]
    np.testing.assert_allclose(rollout(scores), expected[4:, :4])
    np.testing.assert_allclose(rollout(scores, "images", "text"), expected[:4, 4:])
    np.testing.assert_allclose(expected.sum(axis=1), 1)


def test_a_joint_transformer_has_blocks_for_each_modality_itself():
    random = np.random.default_rng(2)
    joint = softmax(random.normal(size=(1, 1, 7, 7)))
    parts = {"images": slice(0, 4), "text": slice(4, 7)}
    scores = {f"{a}_to_{b}": joint[..., parts[a], parts[b]] for a in parts for b in parts}
    np.testing.assert_allclose(rollout(scores), joint[0, 0, 4:, :4] / 2)
