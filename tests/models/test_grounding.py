import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmlearn import fusions
from mmlearn.losses.grounding import grounding, pool_keys
from tests import toys


def fusion(**options):
    return fusions.get("cross_attention", num_heads=2, **options)


@pytest.fixture(scope="module")
def task():
    keras.utils.set_random_seed(0)
    task = toys.classifier(fusion=fusion(grounded_heads=1))
    task.compile()
    return task


def test_the_output_is_the_loss_of_the_fusions_own_attention(task):
    x, _ = toys.examples(6)
    x["text"][1] = ""  # absent: no loss of its own, and nothing to be told apart from
    inputs = task.read_inputs(x)
    features, masks = task.backbone.encode(inputs)
    attention = task.backbone.fusion.grounded_attention
    tokens = {m: task.backbone.projections[m](features[m]) for m in features}
    queries, keys, _ = attention.project(tokens["text"], tokens["images"])
    queries, keys = queries[:, :1], keys[:, :1]  # those of the grounded heads
    present = inputs["text_present"].astype(bool)
    is_other = ~np.eye(6, dtype=bool) & present[None]
    pooled = pool_keys(keys, masks["images"])
    expected = grounding(queries, pooled, pooled, masks["text"], is_other)
    found = task.predict_outputs(x, verbose=0)["grounding"]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    _, _, weights = task.preprocess_samples(inputs, np.zeros((6, 3)))
    assert weights["grounding"].numpy().tolist() == [1, 0, 1, 1, 1, 1]


def test_it_trains_both_encoders_and_what_makes_the_scores(task):
    x, _ = toys.examples(6)
    inputs = {name: tf.constant(value) for name, value in task.read_inputs(x).items()}
    attention = task.backbone.fusion.grounded_attention
    encoders = task.backbone.encoders
    weights = [
        attention.query_dense.kernel,
        attention.key_dense.kernel,
        task.backbone.projections["text"].kernel,
        encoders["images"].trainable_variables[0],
        encoders["text"].trainable_variables[0],
    ]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(task(inputs, training=True)["grounding"])
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    for weight, gradient in zip(weights, gradients, strict=True):
        values = tf.convert_to_tensor(gradient).numpy()
        assert np.isfinite(values).all() and values.any(), weight.path


def test_in_training_words_of_other_texts_are_put_in(task):
    inputs = task.read_inputs(toys.examples(6)[0])
    seen = []
    layer = task.get_layer("grounding")
    text = {name: inputs[name] for name in task.backbone.encoders["text"].model_inputs("text")}
    read, layer.read = layer.read, lambda text: seen.append(text["token_ids"]) or read(text)
    try:
        task(inputs, training=True)
        task(inputs, training=False)
    finally:
        layer.read = read
    (swapped,) = (np.asarray(token_ids) for token_ids in seen)  # at inference, none are
    token_ids = text["token_ids"]
    tokenizer = task.preprocessor.converters["text"].tokenizer
    special = np.isin(token_ids, [tokenizer.start_token_id, tokenizer.end_token_id])
    fixed = special | (text["padding_mask"] == 0)
    np.testing.assert_array_equal(swapped[fixed], token_ids[fixed])
    assert (swapped != token_ids).any() and set(np.unique(swapped)) <= set(np.unique(token_ids))


def test_without_grounding_without_text_or_without_layers_there_is_no_such_output():
    assert "grounding" not in toys.classifier().output
    assert "grounding" not in toys.classifier(fusion=fusion(grounded_heads=1, num_layers=0)).output
    alone = toys.classifier(("images",), fusion=fusion(grounded_heads=1))
    assert "grounding" not in alone.output


def test_the_option_is_kept_and_refused_where_there_are_no_scores():
    layer = fusion(grounded_heads=1)
    assert json.loads(json.dumps(layer.get_config()))["grounded_heads"] == 1
    # It never makes the scores that would be trained.
    with pytest.raises(ValueError, match="Unknown option of fusion 'linear_attention' 'grounded"):
        fusions.get("linear_attention", grounded_heads=1)
    with pytest.raises(ValueError, match=r"`grounded_heads` must be in \[0, num_heads\]. Rec.*=3"):
        fusion(grounded_heads=3)
