"""Each kind of tokenizer gives the same model inputs in tf.data, in `predict` and when served."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmlearn import MultimodalBackbone, MultimodalClassifier, MultimodalPreprocessor, encoders
from mmlearn.encoders import text_tokenizers
from tests import checks, toys

LARGE = pytest.mark.large  # tracing byte pairs takes seconds
KINDS = {"byte pairs": "roberta_base_en", "SentencePiece": "xlm_roberta_base_multi"}
EACH_KIND = pytest.mark.parametrize(
    "kind", ["WordPiece", *(pytest.param(kind, marks=LARGE) for kind in KINDS)]
)
TEXTS = ["a red dog", "the dog on the sofa, left of a cat", "", "  ", "caf\u00e9 \u72ac <pad> dog"]
GIVEN = [*(text for text in TEXTS if text.strip()), "a blue circle", "the cat"]
SMALL = {"num_layers": 1, "num_heads": 2, "hidden_dim": 16}

CLIENT = """
import sys
import numpy as np
import tensorflow as tf, tensorflow_text
assert not any(name.split(".")[0] == "mmlearn" for name in sys.modules)
model = tf.saved_model.load(sys.argv[1])
texts = tf.constant(np.load(sys.argv[2], allow_pickle=True).tolist())
np.save(sys.argv[3], model.signatures["serving_default"](text=texts)["probabilities"])
graph = model.signatures["serving_default"].graph.as_graph_def()
nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
print(*sorted({node.op for node in nodes}))
"""


def tokenizer(kind):
    """A small tokenizer of the kind."""
    if kind == "WordPiece":
        return toys.tokenizer()
    return text_tokenizers.train_tokenizer_for(KINDS[kind], [" ".join(toys.WORDS), *TEXTS], 300)


def convert(converter, texts):
    """Model inputs as numpy arrays, by the graph."""
    preprocessor = MultimodalPreprocessor({"text": converter})
    return {name: value.numpy() for name, value in preprocessor({"text": texts}).items()}


def classifier(kind, **options):
    """A tiny classifier of texts with that tokenizer."""
    words = tokenizer(kind)
    size = {"vocabulary_size": words.vocabulary_size(), "sequence_length": 8}
    name = KINDS.get(kind, "bert_tiny")
    encoder = encoders.get("text", name, weights="none", **size, **SMALL, **options)
    converter = encoders.TextConverter(words, 8, max_chunks=options.get("max_chunks", 1))
    return MultimodalClassifier(
        MultimodalBackbone({"text": encoder}, toys.get_fusion("concat"), hidden_dim=16),
        toys.NUM_CLASSES,
        preprocessor=MultimodalPreprocessor({"text": converter}),
        hidden_dim=8,
    )


@EACH_KIND
def test_the_inputs_of_every_kind(kind):
    words = tokenizer(kind)
    converter = encoders.TextConverter(words, 8)
    checks.check_layer_config(converter)
    inputs = convert(converter, TEXTS)
    names = {"token_ids", "padding_mask", "text_present"}
    assert set(inputs) == names | ({"segment_ids"} if kind == "WordPiece" else set())
    assert {value.dtype for value in inputs.values()} == {np.dtype("int32")}
    assert inputs["text_present"].tolist() == [1, 1, 0, 0, 1]
    token_ids, mask = inputs["token_ids"], inputs["padding_mask"]
    assert (token_ids[:, 0] == words.start_token_id).all()
    ends = mask.sum(axis=1) - 1
    assert (token_ids[np.arange(5), ends] == words.end_token_id).all()
    assert ends[2] == 1  # nothing between the two
    assert ends[1] == 7  # cut
    np.testing.assert_array_equal(mask == 0, token_ids == words.pad_token_id)
    np.testing.assert_array_equal(mask, np.arange(8) <= ends[:, None])
    # The same from tf.data, in other batches.
    dataset = tf.data.Dataset.from_tensor_slices(TEXTS).batch(2)
    batches = list(dataset.map(lambda texts: converter.convert(texts, "text")))
    for name, value in inputs.items():
        np.testing.assert_array_equal(np.concatenate([x[name] for x in batches]), value)
    absent = tf.function(converter.convert)(None, "text", 2)
    np.testing.assert_array_equal(absent["token_ids"], token_ids[[2, 2]])
    assert not absent["text_present"].numpy().any()


@EACH_KIND
def test_chunks_hold_all_tokens_in_their_order(kind):
    words = tokenizer(kind)
    texts = [*TEXTS, " ".join(toys.WORDS * 3)]
    long = convert(encoders.TextConverter(words, 64), texts)
    chunks = convert(encoders.TextConverter(words, 6, max_chunks=4), texts)
    assert chunks["token_ids"].shape == chunks["padding_mask"].shape == (6, 24)
    for row in range(6):
        expected = long["token_ids"][row][long["padding_mask"][row] == 1][1:-1][: 4 * 4].tolist()
        found = []
        for start in range(0, 24, 6):
            mask = chunks["padding_mask"][row, start : start + 6]
            part = chunks["token_ids"][row, start : start + 6]
            assert (part[mask == 0] == words.pad_token_id).all()
            real = part[mask == 1].tolist()
            if start and not real:
                continue
            assert (real[0], real[-1]) == (words.start_token_id, words.end_token_id)
            assert start == 0 or len(real) > 2
            found += real[1:-1]
        assert found == expected
    short = convert(encoders.TextConverter(words, 6), texts)
    np.testing.assert_array_equal(chunks["token_ids"][:, :6], short["token_ids"])


def test_segment_ids_can_be_left_out():
    inputs = convert(encoders.TextConverter(toys.tokenizer(), 8, segment_ids=False), TEXTS)
    assert set(inputs) == {"token_ids", "padding_mask", "text_present"}


@LARGE
def test_a_preset_and_a_keras_file_carry_byte_pairs(tmp_path):
    task = classifier("byte pairs")
    expected = task.predict({"text": GIVEN}, verbose=0)
    assert np.abs(expected[0] - expected[1]).max() > 0
    task.save_to_preset(str(tmp_path / "preset"))
    files = {path.name for path in tmp_path.rglob("*")}
    assert {"vocabulary.json", "merges.txt"} <= files
    task.save(str(tmp_path / "task.keras"))
    for again in (
        MultimodalClassifier.from_preset(str(tmp_path / "preset")),
        keras.saving.load_model(str(tmp_path / "task.keras")),
    ):
        np.testing.assert_array_equal(again.predict({"text": GIVEN}, verbose=0), expected)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=LARGE if k == "byte pairs" else pytest.mark.full) for k in KINDS],
)
@pytest.mark.parametrize("options", [{}, pytest.param({"max_chunks": 3}, marks=pytest.mark.full)])
def test_every_kind_trains_and_serves(kind, options, tmp_path):
    labels = np.eye(3, dtype="int32")[[0, 1, 2, 0, 1]]
    task = classifier(kind, **options)
    checks.check_task(task, {"text": GIVEN}, labels, tmp_path)
    # Where neither Keras nor this package is.
    np.save(tmp_path / "texts.npy", np.array([text.encode() for text in GIVEN], object))
    paths = [str(tmp_path / name) for name in ("serving", "texts.npy", "answers.npy")]
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, *paths],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    expected = task.predict({"text": GIVEN}, verbose=0)
    np.testing.assert_allclose(np.load(paths[2]), expected, rtol=0, atol=1e-5)
    ops = done.stdout.split()
    assert not [op for op in ops if "Mutable" in op or "Insert" in op]  # a server would grow
    assert "TFText>RoundRobinTrim" not in ops  # TF Serving up to 2.19 cannot load it
