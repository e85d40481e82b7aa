"""Answering questions about images."""

import keras
import numpy as np
import tensorflow as tf

from mmlearn.metrics.answer_accuracy import AnswerAccuracy
from mmlearn.models.multimodal_classifier import MultimodalClassifier
from mmlearn.models.prediction_task import LOSS_WEIGHTS

SMALLEST_PRIOR = 1e-5  # of an answer that training has hardly seen


@keras.saving.register_keras_serializable(package="mmlearn")
class VisualQuestionAnswerer(MultimodalClassifier):
    """Answers a question, the text, about an image with one of the answers that it knows.

    It is a classifier of answers, with sigmoids: people disagree, and the target of each answer is how
    many of them gave it. (Where each question has one answer, `activation="softmax"` fits as well.) So it
    has all that classifiers have; its head `text_classes` answers from the question alone, which is what
    the image has to beat. The modalities' own heads are not made to agree by default. The arguments are
    those of `MultimodalClassifier`, `label_names` the answers.

    An exported one also returns `answer (batch_size,)`, strings, and `answer_probability (batch_size,)`.

    Example:

    >>> import numpy as np
    >>> from mmlearn import MultimodalBackbone, MultimodalPreprocessor, encoders, fusions
    >>> questions = ["is there a dog?", "what color is it?"]
    >>> tokenizer = encoders.text_tokenizers.train_tokenizer(questions)
    >>> answerer = VisualQuestionAnswerer(
    ...     MultimodalBackbone(
    ...         {
    ...             "images": encoders.get("images", "resnet_tiny", image_size=32),
    ...             "text": encoders.get(
    ...                 "text",
    ...                 "bert_tiny",
    ...                 sequence_length=8,
    ...                 vocabulary_size=tokenizer.vocabulary_size(),
    ...             ),
    ...         },
    ...         fusions.get("cross_attention", num_heads=4),
    ...         hidden_dim=32,
    ...     ),
    ...     num_classes=3,
    ...     preprocessor=MultimodalPreprocessor(
    ...         {
    ...             "images": encoders.ImageConverter(image_size=32),
    ...             "text": encoders.TextConverter(tokenizer, sequence_length=8),
    ...         }
    ...     ),
    ...     label_names=["yes", "no", "red"],
    ... )
    >>> answerer.start_from([0.3, 0.2, 0.5])
    >>> x = {"images": np.zeros((2, 40, 50, 3), "uint8"), "text": questions}
    >>> history = answerer.fit(x, np.array([[1, 0.3, 0], [0, 0, 1]]), verbose=0)
    >>> set(answerer.answer(x, verbose=0)) <= {"yes", "no", "red"}
    True

    Reference:
        Antol et al., "VQA: Visual Question Answering", 2015; the sigmoids with soft targets are
        Teney et al., "Tips and tricks for visual question answering", 2018, section 3.7.
    """

    # What the image says alone is no answer, and need not agree with what the question does.
    default_loss_weights = {**LOSS_WEIGHTS, "consistency": 0.0}
    also_served = ("answer", "answer_probability")

    def start_from(self, prior):
        """Lets all heads begin with the odds of each answer, so that training need not find these first.

        Args:
            prior: float array `(num_classes,)`, the mean target of each answer in training.

        Raises:
            ValueError: when there is not one number in [0, 1] per answer.
        """
        prior = np.asarray(prior, np.float64)
        if prior.shape != (self.num_classes,) or not ((prior >= 0) & (prior <= 1)).all():
            raise ValueError(
                f"`prior` must be one share in [0, 1] for each of {self.num_classes} answers. "
                f"Received: {prior.tolist()}."
            )
        prior = np.clip(prior, SMALLEST_PRIOR, 1 - SMALLEST_PRIOR)
        for name, layer in self.heads.items():
            if name in self.output:
                layer.bias.assign(np.log(prior / (1 - prior)))

    def answer(self, x, batch_size=None, **kwargs):
        """Answers questions with the likeliest answers.

        Args:
            x: as `predict` takes it, the questions as `text`.
            batch_size: int, 32 by default. Only with arrays.
            **kwargs: of `keras.Model.predict`.

        Returns:
            A list of str.
        """
        predicted = self.predict(x, batch_size, **kwargs)
        return [self.label_names[column] for column in predicted.argmax(axis=1)]

    def serve_also(self, outputs):
        """The likeliest answer and its probability, see `MultimodalTask.serve_also`."""
        predicted = outputs[self.main_output]
        answers = tf.gather(tf.constant(self.label_names), tf.argmax(predicted, axis=1))
        return {"answer": answers, "answer_probability": tf.reduce_max(predicted, axis=1)}

    def _metrics_of(self, head):
        return [AnswerAccuracy()]
