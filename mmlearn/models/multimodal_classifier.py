"""Multi-label (or multi-class) classification of any subset of modalities."""

import keras
import tensorflow as tf
from keras import layers

from data_prep.names import find
from mmlearn.layers.masked_mean import masked_mean
from mmlearn.losses import classification
from mmlearn.losses.consistency import ConsistencyLoss, consistency
from mmlearn.metrics.mean_average_precision import MeanAveragePrecision
from mmlearn.models import steps
from mmlearn.models.task import MultimodalTask

LOSS_WEIGHTS = {"classes": 1.0, "auxiliary": 0.5, "consistency": 0.1}


@keras.saving.register_keras_serializable(package="mmlearn")
class MultimodalClassifier(MultimodalTask):
    """Classifies examples from fused features, with an auxiliary head per modality.

    Outputs: `classes (batch_size, num_classes)` from the fused features; with two or more
    modalities `"{modality}_classes"` from each encoder's pooled output and `consistency
    (batch_size,)`, how far those are apart. The total loss is
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
        **kwargs: of `keras.Model`.

    Example:

    >>> import numpy as np
    >>> from mmlearn import MultimodalBackbone, MultimodalPreprocessor, encoders, fusions
    >>> texts = ["a red dog", "a cat", "a red cat", "a dog"]
    >>> tokenizer = encoders.text.train_tokenizer(texts)
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
        _share=None,
        **kwargs,
    ):
        label_names = [str(i) for i in range(num_classes)] if label_names is None else label_names
        if len(label_names) != num_classes:
            raise ValueError(
                "`label_names` must have one name per class. "
                f"Received: {len(label_names)} names, num_classes={num_classes}."
            )
        if activation not in ("sigmoid", "softmax"):
            raise ValueError(
                f"`activation` must be 'sigmoid' or 'softmax'. Received: activation={activation!r}."
            )
        # === Layers ===
        self.backbone, self.preprocessor = backbone, preprocessor
        auxiliary = backbone.modalities if len(backbone.modalities) > 1 else ()
        if _share is not None:
            self.heads = _share.heads
        else:
            # Heads compute in float32: probabilities in bfloat16 have two or three digits.
            self.heads = {}
            if hidden_dim is not None:
                self.heads["hidden"] = layers.Dense(
                    hidden_dim, "relu", dtype="float32", name="head_hidden"
                )
            self.heads["dropout"] = layers.Dropout(dropout, dtype="float32", name="head_dropout")
            for name in ("classes", *(f"{modality}_classes" for modality in auxiliary)):
                self.heads[name] = layers.Dense(
                    num_classes, activation, dtype="float32", name=f"{name}_output"
                )

        # === Config === (before the model, whose constructor compiles)
        self.num_classes = num_classes
        self.label_names = list(label_names)
        self.activation = activation
        self.hidden_dim = hidden_dim
        self.dropout = dropout

        # === Functional model ===
        inputs = backbone.input
        encoded = backbone(inputs)
        outputs = {"classes": self.classify(encoded["fused_features"])}
        for modality in auxiliary:
            pooled = masked_mean(encoded["features"][modality], encoded["masks"][modality])
            name = f"{modality}_classes"
            outputs[name] = self.heads[name](self.heads["dropout"](pooled))
        if auxiliary:
            predictions = [outputs[f"{modality}_classes"] for modality in auxiliary]
            outputs["consistency"] = consistency(predictions)
        explained = ("attention_scores", "modality_weights")
        self._explained = {name: encoded[name] for name in explained if name in encoded}
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)

    def compile(
        self,
        optimizer="auto",
        loss="auto",
        *,
        loss_weights="auto",
        metrics="auto",
        jit_compile="auto",
        micro_batches=1,
        **kwargs,
    ):
        """Compiles with defaults: AdamW at 1e-4, cross-entropies, lambdas, and mAP as the metric.

        Args:
            optimizer: as in Keras, or `"auto"`.
            loss: dict of output name to loss; or one `keras.losses.Loss` of all class outputs (see
                `mmlearn.losses.classification`); or `"auto"`, cross-entropy.
            loss_weights: dict of output name to float, where `"auxiliary"` stands for the heads of
                all modalities; or `"auto"`. Without a dict of losses, an output without a weight
                has no loss and is not computed.
            metrics: dict of output name to metrics, or `"auto"`: mAP of the outputs with a loss,
                weighted as the loss is, so that an absent modality does not count.
            jit_compile: bool, or `"auto"`: with JAX, which would compute op by op without. With
                TensorFlow, XLA was measured slower than the graph, and it fails under
                `MirroredStrategy`.
            micro_batches: int. Into how many parts a training batch is divided, one after the
                other, to save memory; the update is that of the whole batch, except that batch
                normalisation sees the parts. TensorFlow only.
            **kwargs: of `keras.Model.compile`.
        """
        steps.check_micro_batches(micro_batches)
        self.micro_batches = micro_batches
        if jit_compile == "auto":
            jit_compile = keras.config.backend() == "jax"
        if optimizer == "auto":
            optimizer = keras.optimizers.AdamW(1e-4, weight_decay=1e-2)
        loss_weights = self._expand(LOSS_WEIGHTS if loss_weights == "auto" else loss_weights)
        if loss == "auto":
            loss = classification.get("cross_entropy", self.activation)
        if isinstance(loss, keras.losses.Loss):
            names = self.output if loss_weights is None else loss_weights
            of_classes, apart = loss, ConsistencyLoss()
            loss = {name: apart if name == "consistency" else of_classes for name in names}
        if metrics == "auto":
            names = [name for name in loss if name != "consistency"]
            metrics = None
            maps = {n: [MeanAveragePrecision(self.num_classes, name="map")] for n in names}
            kwargs = {"weighted_metrics": maps, **kwargs}
        super().compile(
            optimizer=optimizer,
            loss=loss,
            loss_weights=loss_weights,
            metrics=metrics,
            jit_compile=jit_compile,
            **kwargs,
        )

    def _expand(self, loss_weights):
        """Gives each output its weight, and leaves out those whose weight is 0."""
        if loss_weights is None:
            return None
        for name in loss_weights:
            find(name, (*LOSS_WEIGHTS, *self.output), "output with a loss weight")
        auxiliary = loss_weights.get("auxiliary", 0.0)
        if len(self.output) == 1:  # one modality: its own head is the main one
            return {"classes": loss_weights.get("classes", auxiliary)}
        weights = {
            name: loss_weights.get(name, auxiliary if self.is_auxiliary(name) else 0.0)
            for name in self.output
        }
        return {name: weight for name, weight in weights.items() if weight}

    def targets(self, y):
        """Returns the target of each output: the labels; consistency needs none."""
        nothing = tf.zeros_like(y[:, 0])  # in the data pipeline, whatever the Keras backend
        return {name: nothing if name == "consistency" else y for name in self.output}

    def classify(self, fused_features, training=None):
        """Runs the head on `fused_features (batch_size, dim)`: the probabilities of the classes."""
        hidden = fused_features
        if self.hidden_dim is not None:
            hidden = self.heads["hidden"](hidden)
        return self.heads["classes"](self.heads["dropout"](hidden, training=training))

    def with_backbone(self, backbone):
        """Returns a classifier on another backbone that shares the heads with this one.

        Args:
            backbone: `MultimodalBackbone` with the same modalities and feature sizes, usually
                `self.backbone.with_encoders(...)`. It takes model inputs only.
        """
        config = {key: value for key, value in self.get_config().items() if key in _OWN_CONFIG}
        return type(self)(backbone, preprocessor=None, _share=self, **config)

    def get_config(self):
        config = super().get_config()
        config.update({key: getattr(self, key) for key in _OWN_CONFIG})
        return config


_OWN_CONFIG = ("num_classes", "label_names", "activation", "hidden_dim", "dropout")
