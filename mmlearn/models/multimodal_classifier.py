"""Multi-label (or multi-class) classification of any subset of modalities."""

import keras

from mmlearn.models.head import Head
from mmlearn.models.prediction_task import PredictionTask

_KINDS = {"sigmoid": "multi_label", "softmax": "multi_class"}


@keras.saving.register_keras_serializable(package="mmlearn")
class MultimodalClassifier(PredictionTask):
    """Classifies examples from fused features, with an auxiliary head per modality.

    Outputs: `classes (batch_size, num_classes)` from the fused features, or from what the modalities
    predict each for itself, as the fusion asks for (see `join`); with two or more modalities
    `"{modality}_classes"` from each encoder's pooled output and `consistency (batch_size,)`, how far
    those are apart. The total loss is
    L_classes + 0.5 L_images + 0.5 L_text + 0.1 L_consistency (the documents' lambdas, which are
    the `loss_weights` of `compile`).

    Args:
        backbone: `MultimodalBackbone`.
        num_classes: int.
        preprocessor: `MultimodalPreprocessor`, or `None` for model inputs only.
        label_names: list of str, or `None` for `"0"`, `"1"`, ...
        activation: `"sigmoid"` (several labels may be true) or `"softmax"` (one is).
        hidden_dim: int. Size of the head's hidden layer, or `None` for none: a linear head.
        dropout: float in [0, 1). Rate in the heads.
        consistency: `"squared_difference"`, `"kl"` (Bernoulli's or of the classes, by the activation),
            `"cosine"` or `"contrastive"`, see `mmlearn.losses.consistency`.
        learned_weights: bool. Whether it has the variances by which losses can be weighted, which
            `compile(loss_weights="uncertainty")` also adds.
        temperatures: floats `(num_classes,)`, or `None`; see `with_calibration`.
        thresholds: likewise.
        **kwargs: of `keras.Model`.

    Example:

    >>> import numpy as np
    >>> from mmlearn import MultimodalBackbone, MultimodalPreprocessor, encoders, fusions
    >>> texts = ["a red dog", "a cat", "a red cat", "a dog"]
    >>> tokenizer = encoders.text_tokenizers.train_tokenizer(texts)
    >>> classifier = MultimodalClassifier(
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
    ...     num_classes=2,
    ...     preprocessor=MultimodalPreprocessor(
    ...         {
    ...             "images": encoders.ImageConverter(image_size=32),
    ...             "text": encoders.TextConverter(tokenizer, sequence_length=8),
    ...         }
    ...     ),
    ...     label_names=["dog", "cat"],
    ... )
    >>> images = np.zeros((4, 40, 50, 3), "uint8")
    >>> labels = np.array([[1, 0], [0, 1], [0, 1], [1, 0]])
    >>> history = classifier.fit({"images": images, "text": texts}, labels, verbose=0)
    >>> classifier.predict({"text": ["a dog"]}, verbose=0).shape
    (1, 2)
    """

    def __init__(
        self,
        backbone,
        num_classes,
        preprocessor=None,
        label_names=None,
        activation="sigmoid",
        hidden_dim=256,
        dropout=0.1,
        consistency="squared_difference",
        learned_weights=False,
        temperatures=None,
        thresholds=None,
        _share=None,
        **kwargs,
    ):
        label_names = [str(i) for i in range(num_classes)] if label_names is None else label_names
        if len(label_names) != num_classes:
            raise ValueError(
                "`label_names` must have one name per class. "
                f"Received: {len(label_names)} names, num_classes={num_classes}."
            )
        if activation not in _KINDS:
            raise ValueError(
                f"`activation` must be 'sigmoid' or 'softmax'. Received: activation={activation!r}."
            )
        self.num_classes = num_classes
        self.activation = activation
        self.hidden_dim = hidden_dim
        head = Head(
            "classes",
            _KINDS[activation],
            label_names,
            hidden_dim,
            temperatures=temperatures,
            thresholds=thresholds,
        )
        super().__init__(
            backbone,
            [head],
            preprocessor,
            dropout,
            consistency,
            learned_weights,
            _share,
            **kwargs,
        )

    def _own_config(self):
        names = ("num_classes", "label_names", "activation", "hidden_dim")
        config = {**{name: getattr(self, name) for name in names}, **super()._own_config()}
        calibration = self._config_of(self.described.values())
        # Not of every model, so that configs without them are as they were before there were any.
        return {**config, **{name: each for name, each in calibration.items() if each is not None}}

    def _config_of(self, heads):
        (head,) = heads
        calibration = {"temperatures": head.temperatures, "thresholds": head.thresholds}
        return {name: each and list(each) for name, each in calibration.items()}
