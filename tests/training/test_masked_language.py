"""Guessing hidden tokens with other tokenizers than BERT's, and over chunks."""

import keras
import numpy as np
import pytest

from mmlearn.models.pretraining import MaskedLanguageTask
from mmlearn.training import objectives
from mmlearn.training.data import SourceData
from mmlearn.training.phase import TrainingPhase
from tests.encoders.test_text_converter import TEXTS, classifier
from tests.training.test_objectives import Texts


@pytest.mark.large
@pytest.mark.parametrize(
    ("kind", "options"),
    [("byte pairs", {"max_chunks": 2, "chunk_pooling": "none"}), ("SentencePiece", {})],
)
def test_real_tokens_are_hidden_and_guessed_by_their_embeddings(kind, options):
    task = classifier(kind, **options)
    learner = MaskedLanguageTask(task, seed=0)
    embeddings = task.backbone.encoders["text"].model.get_layer("embeddings")
    assert learner.heads["masked_language"].token_embedding is embeddings.token_embedding
    inputs = task.preprocessor({"text": TEXTS})
    length = inputs["token_ids"].shape[1]
    draws = np.random.default_rng(0).uniform(size=(len(TEXTS), length, 3)).astype("float32")
    inputs = {**inputs, "text_draws": keras.ops.convert_to_tensor(draws)}
    losses = np.asarray(learner({name: inputs[name] for name in learner.input})["objective"])
    assert np.isfinite(losses).all()
    # Start, end and padding are never hidden, so an empty text has nothing to guess.
    assert losses[2] == 0
    assert (losses[[0, 1, 4]] > 0).all()


def test_pooled_chunks_have_no_tokens_to_guess():
    task = classifier("WordPiece", max_chunks=2)
    phase = TrainingPhase("alone", 1, objective="masked_language")
    data = SourceData(Texts(None), task.preprocessor, 8)
    match = r"'masked_language' .* needs a feature per token\..*Fix: .*chunk_pooling=none"
    with pytest.raises(ValueError, match=match):
        objectives.check([phase], task, data)
