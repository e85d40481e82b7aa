"""The captioner: training on captions, writing them, saving and serving."""

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax

from mmlearn import ImageCaptioner, MultimodalBackbone, MultimodalPreprocessor, encoders
from tests import toys
from tests.models.test_signatures import ALLOWED, IMAGES, jpeg

# Of the loop that writes. All have been in TensorFlow since before TF Serving read SavedModels of it.
# Keras' argmax looks at the sign bit of zeros.
WRITING = {
    *("ArgMax", "Bitcast", "BitwiseAnd", "Erfc", "LogicalNot", "LogicalOr", "OneHot"),
    "ReduceJoin",
}
REGIONS = (4, 6)


def captioner(**options):
    """A captioner of raw images."""
    backbone = MultimodalBackbone({"images": toys.encoder("images")}, fusion=None)
    options = {"hidden_dim": 16, "num_heads": 2, "num_layers": 1, **options}
    return ImageCaptioner(backbone, toys.preprocessor(), **options)


@pytest.fixture(scope="module")
def trained():
    """A captioner that was trained a little on raw images, and these."""
    keras.utils.set_random_seed(0)
    task, (x, _) = captioner(), toys.examples(4)
    task.compile(keras.optimizers.Adam(1e-2))
    return task, x, task.fit(x, batch_size=2, epochs=2, verbose=0).history


@pytest.fixture(scope="module")
def of_features():
    """A captioner of given features, whose decoder has learned to tell four images apart."""
    keras.utils.set_random_seed(0)
    backbone = MultimodalBackbone({"images": encoders.Features(*REGIONS)}, fusion=None)
    converter = encoders.TextConverter(toys.tokenizer(), toys.SEQUENCE_LENGTH)
    task = ImageCaptioner(
        backbone,
        MultimodalPreprocessor({"text": converter}),
        hidden_dim=16,
        num_heads=2,
        dropout=0.0,
    )
    x = features(4)
    texts = ["a dog", "red cat on the sofa", "blue", "a cat left of a circle"]
    words = {n: v.numpy() for n, v in task.preprocessor({"text": texts}).items()}
    task.compile(keras.optimizers.Adam(1e-2))
    task.fit({**x, **words}, batch_size=4, epochs=150, verbose=0)
    return task, x, texts


def features(count):
    random = np.random.default_rng(0)
    return {
        "images_features": random.normal(size=(count, *REGIONS)).astype("float32"),
        "images_mask": np.ones((count, REGIONS[0]), "int32"),
        "images_present": np.ones(count, "int32"),
    }


def log_probabilities(task, x, token_ids):
    """Of each next token, with no cache: all positions are computed anew."""
    padded = np.zeros((len(token_ids), toys.SEQUENCE_LENGTH), "int32")
    padded[:, : token_ids.shape[1]] = token_ids
    logits = task.predict_outputs({**x, "token_ids": padded, "padding_mask": padded}, verbose=0)
    values = logits["words"][:, token_ids.shape[1] - 1].astype("float64")
    tokenizer = task.preprocessor.converters["text"].tokenizer
    values[:, [tokenizer.token_to_id(t) for t in ("[PAD]", "[UNK]", "[CLS]", "[MASK]")]] = -1e9
    return log_softmax(values, axis=-1)


def beams_without_cache(task, x, num_beams):
    """Beam search of one image as the textbook has it."""
    end = task.preprocessor.converters["text"].tokenizer.end_token_id
    beams = [((2,), 0.0)]
    for _ in range(toys.SEQUENCE_LENGTH - 1):
        longer = []
        for ids, score in beams:
            if ids[-1] == end:
                longer.append((ids, score))
                continue
            own = log_probabilities(task, x, np.array([ids]))[0]
            longer += [((*ids, token), score + value) for token, value in enumerate(own)]
        beams = sorted(longer, key=lambda beam: -beam[1])[:num_beams]
    return beams[0][0]


# --- Training ----------------------------------------------------------------------------------------


def test_inputs_outputs_and_parts(trained):
    task, _, history = trained
    assert set(task.input) == {"images", "images_present", "token_ids"}
    assert task.output["words"].shape == (None, 7, toys.tokenizer().vocabulary_size())
    assert set(task.parts) == {"images_encoder", "head"}
    assert set(history) == {"loss", "perplexity", "accuracy"}
    assert history["loss"][1] < history["loss"][0]
    with pytest.raises(ValueError, match=r"This backbone has no fusion\. Fix: pass `fusion`"):
        task.backbone.fuse({}, {}, {})


def test_targets_are_the_next_tokens_and_empty_texts_teach_nothing(trained):
    task, x, _ = trained
    images = [*x["images"][:2], None]
    given = task.preprocessor.read_raw({"images": images, "text": ["a dog", "", "a cat"]})
    inputs, targets, weights = task.preprocess_samples(given, None, np.array([1.0, 1.0, 0.5]))
    token_ids = inputs["token_ids"].numpy()
    assert targets["words"].numpy()[0].tolist() == [*token_ids[0, 1:4], -1, -1, -1, -1]
    assert (targets["words"].numpy()[1] == -1).all()
    assert weights["words"].numpy().tolist() == [1.0, 1.0, 0.0]  # the third has no image


def test_captions_are_needed():
    with pytest.raises(
        ValueError, match=r"learns from captions\. Received: images\. Fix: pass `text`"
    ):
        captioner().fit({"images": np.zeros((2, 8, 8, 3))})


def test_what_it_cannot_be_made_of():
    with pytest.raises(ValueError, match=r"without a fusion\. Received: images, text with fusion="):
        ImageCaptioner(toys.backbone(), toys.preprocessor())
    backbone = MultimodalBackbone({"images": encoders.Features(*REGIONS)}, fusion=None)
    converter = encoders.TextConverter(toys.tokenizer(), max_chunks=2)
    with pytest.raises(ValueError, match=r"in one piece\. Received: max_chunks=2\. Fix: 1"):
        ImageCaptioner(backbone, MultimodalPreprocessor({"text": converter}))


def test_a_phase_cannot_learn_loss_weights(trained):
    with pytest.raises(ValueError, match="has no loss weights to learn"):
        trained[0].compile(learn_loss_weights=True)
    with pytest.raises(ValueError, match="Unknown loss of captions 'focal'"):
        trained[0].losses_named("focal")


@pytest.mark.large
def test_shares_its_decoder_on_another_backbone(trained):
    task, x, _ = trained
    encoded, _ = task.backbone.encode({"images": task.preprocessor(x)["images"]})
    shape = encoded["images"].shape
    backbone = task.backbone.with_encoders({"images": encoders.Features(shape[1], shape[2])})
    other = task.with_backbone(backbone)
    assert other.heads["decoder"] is task.heads["decoder"]
    inputs = {
        "images_features": np.asarray(encoded["images"]),
        "images_mask": np.ones(shape[:2], "int32"),
        **{n: v.numpy() for n, v in task.preprocessor(x).items() if n != "images"},
    }
    found = other.predict_outputs(inputs, verbose=0)["words"]
    expected = task.predict_outputs(x, verbose=0)["words"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


# --- Writing -----------------------------------------------------------------------------------------


def test_it_has_learned_to_write(of_features):
    task, x, texts = of_features
    assert task.generate(x) == texts
    assert task.predict(x).tolist() == texts


def test_greedy_with_a_cache_is_greedy_without(of_features):
    task, _, _ = of_features
    x = features(3)
    x["images_features"] = -x["images_features"]  # unknown ones: nothing is certain
    token_ids = np.full((3, 1), 2)
    for _ in range(toys.SEQUENCE_LENGTH - 1):
        token = log_probabilities(task, x, token_ids).argmax(axis=-1)
        token = np.where((token_ids == 3).any(axis=1), 0, token)  # nothing after the end
        token_ids = np.hstack([token_ids, token[:, None]])
    found = task.explain(x)
    np.testing.assert_array_equal(found["token_ids"], token_ids)


@pytest.mark.parametrize("num_beams", [2, pytest.param(5, marks=pytest.mark.large)])
def test_beams_with_a_cache_are_beams_without(of_features, num_beams):
    task, _, _ = of_features
    x = features(2)
    x["images_features"] = -x["images_features"]
    sampler = keras_hub.samplers.BeamSampler(num_beams=num_beams)
    found = task.explain(x, sampler)["token_ids"]
    for row in range(2):
        own = {name: values[row : row + 1] for name, values in x.items()}
        expected = beams_without_cache(task, own, num_beams)
        assert found[row, : len(expected)].tolist() == list(expected)
        assert not found[row, len(expected) :].any()


@pytest.mark.parametrize("sampler", ["greedy", "beam"])
def test_captions_begin_as_they_are_told(of_features, sampler):
    task, x, _ = of_features
    prompts = ["", "red cat", "a circle", "the"]
    found = task.generate(x, sampler, prompt=prompts)
    assert all(text.startswith(prompt) for text, prompt in zip(found, prompts, strict=True))
    # A row's caption does not depend on its neighbours' prompts.
    assert found[0] == task.generate(x, sampler)[0]
    assert found[1] == task.generate(x, sampler, prompt="red cat")[1]
    # The rest of a caption that it would have written anyway.
    assert task.generate(x, sampler, prompt="red cat")[1] == task.generate(x, sampler)[1]


@pytest.mark.large
def test_drawn_captions_vary_with_the_seed_and_follow_likely_words(of_features):
    task, x, texts = of_features
    narrow = keras_hub.samplers.TopKSampler(k=1, seed=0)
    assert task.generate(x, narrow) == texts
    unknown = {**x, "images_features": -x["images_features"]}
    drawn = {
        tuple(task.generate(unknown, keras_hub.samplers.TopPSampler(p=0.99, temperature=3, seed=s)))
        for s in range(3)
    }
    assert len(drawn) > 1


def test_length_and_batches(of_features):
    task, x, texts = of_features
    assert task.generate(x, max_length=3) == [" ".join(text.split()[:2]) for text in texts]
    assert task.generate(x, batch_size=3, prompt=[""] * 4) == texts
    for length in (1, 9):
        with pytest.raises(
            ValueError, match=rf"`max_length` must be in \[2, 8\]. Received: {length}"
        ):
            task.generate(x, max_length=length)
    for prompts in (["a"], ["a"] * 5):
        with pytest.raises(ValueError, match=r"one prompt\. Received: \d for 4 images"):
            task.generate(x, prompt=prompts)
    with pytest.raises(ValueError, match=r"'beams'.*Did you mean 'beam'"):
        task.generate(x, "beams")


def test_says_where_each_word_was_found(of_features):
    task, x, texts = of_features
    found = task.explain(x)
    assert found["captions"] == texts
    scores = found["attention_scores"]["text_to_images"]
    assert scores.shape == (4, 2, 2, toys.SEQUENCE_LENGTH, REGIONS[0])
    assert not scores[:, :, :, 0].any()
    np.testing.assert_allclose(scores[:, :, :, 1:].sum(axis=-1), 1.0, rtol=1e-5)


@pytest.mark.large
def test_without_a_preprocessor_there_are_no_words(of_features):
    task, x, _ = of_features
    other = task.with_backbone(task.backbone)
    with pytest.raises(
        ValueError, match=r"Captions need the preprocessor.*Fix: pass `preprocessor`"
    ):
        other.generate(x)


@pytest.mark.large
def test_an_absent_image_leaves_its_neighbours_alone(of_features):
    task, x, texts = of_features
    present = np.array([1, 0, 1, 1], "int32")
    dataset = tf.data.Dataset.from_tensor_slices({**x, "images_present": present}).batch(4)
    found = task.generate(dataset)
    assert [found[0], *found[2:]] == [texts[0], *texts[2:]]


# --- Saving ------------------------------------------------------------------------------------------


@pytest.mark.large
def test_presets_and_files_write_the_same(trained, tmp_path):
    task, x, _ = trained
    expected = task.predict_outputs(x, verbose=0)["words"]
    task.save_to_preset(str(tmp_path / "preset"))
    task.save(tmp_path / "task.keras")
    for again in (
        ImageCaptioner.from_preset(str(tmp_path / "preset")),
        keras.models.load_model(tmp_path / "task.keras"),
    ):
        np.testing.assert_array_equal(again.predict_outputs(x, verbose=0)["words"], expected)
        assert again.generate({"images": x["images"]}) == task.generate({"images": x["images"]})
        assert again.fit(x, verbose=0).history["loss"][0] > 0


@pytest.mark.large
def test_the_export_writes_what_the_task_writes(trained, tmp_path):
    task, _, _ = trained
    task.export(str(tmp_path / "1"))
    served = tf.saved_model.load(str(tmp_path / "1")).signatures
    files = [*IMAGES[:3], jpeg(3)]  # the second is empty, the third no image
    images, there = tf.constant(files), [0, 3]
    found = served["serving_default"](images=images)
    assert set(found) == {"captions", "status", "image_status"}
    assert found["status"].numpy().tolist() == [0, 1, 1, 0]
    expected = task.generate({"images": [files[row] for row in there]})
    assert [found["captions"].numpy()[row].decode() for row in there] == expected
    texts = tf.constant(["", "a", "a", "a red"])
    found = served["continue_text"](images=images, text=texts)["captions"].numpy()
    prompted = task.generate({"images": [files[3]]}, prompt="a red")
    assert [found[0].decode(), found[3].decode()] == [expected[0], *prompted]
    inputs = task.preprocessor({"images": images})
    tensors = {name: inputs[name] for name in task.backbone.input}
    found = served["serve_tensors"](**tensors)["captions"].numpy()
    assert [found[row].decode() for row in there] == expected
    for name, function in served.items():
        graph = function.graph.as_graph_def()
        nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
        ops = {node.op for node in nodes} - ALLOWED - WRITING
        assert not ops, name


@pytest.mark.large
def test_mixed_precision_trains_and_is_copied_to_float32():
    backbone = MultimodalBackbone(
        {"images": toys.encoder("images")}, fusion=None, dtype="mixed_bfloat16"
    )
    task = ImageCaptioner(backbone, toys.preprocessor(), hidden_dim=16, num_heads=2)
    x, _ = toys.examples(4)
    assert np.isfinite(task.fit(x, verbose=0).history["loss"]).all()
    assert len(task.generate({"images": x["images"]})) == 4
    copy = task.with_dtype("float32")
    assert copy.heads["decoder"].compute_dtype == "float32"
    expected = task.predict_outputs(x, verbose=0)["words"]
    np.testing.assert_allclose(copy.predict_outputs(x, verbose=0)["words"], expected, atol=0.2)
