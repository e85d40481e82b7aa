"""What tasks share that predict labels or numbers: heads, agreement, losses and their weights."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from data_prep.names import find
from mmlearn.fusions.fusion import average_predictions, what_is_averaged
from mmlearn.layers.divide_logits import divide_logits
from mmlearn.layers.masked_mean import masked_mean
from mmlearn.losses import regression
from mmlearn.losses.consistency import CONSISTENCIES, ConsistencyLoss
from mmlearn.losses.uncertainty import UncertaintyLoss
from mmlearn.metrics.mean_average_precision import MeanAveragePrecision
from mmlearn.metrics.standardized_r2_score import StandardizedR2Score
from mmlearn.models import steps
from mmlearn.models.consistency import Agreement, Contrast
from mmlearn.models.extension import split_fusion
from mmlearn.models.grounding import Grounding
from mmlearn.models.loss_weights import LossWeights
from mmlearn.models.task import MultimodalTask

LOSS_WEIGHTS = {"main": 1.0, "auxiliary": 0.5, "consistency": 0.1, "grounding": 3.0}


class PredictionTask(MultimodalTask):
    """Base class of tasks whose heads read the fused features, with auxiliary ones per modality.

    Outputs, for each head: `name (batch_size, num_columns)` from the fused features, or from what the
    modalities predict each for itself, as the fusion asks for (see `join`); with two or more modalities `"{modality}_{name}"` from each encoder's pooled output, and how far those are
    apart: `consistency (batch_size,)`, or `"{name}_consistency"` where there are several heads. With
    `consistency="contrastive"` there is one `consistency`, of the pooled features as they are
    projected for the fusion. A fusion with `grounded_heads` adds `grounding (batch_size,)`, how hard it is
    to tell by the words' attention which image is theirs.

    Args:
        backbone: `MultimodalBackbone`.
        described: list of `Head`, the main one first.
        preprocessor: `MultimodalPreprocessor`, or `None` for model inputs only.
        dropout: float in [0, 1). Rate in the heads.
        consistency: one of `mmlearn.losses.consistency.CONSISTENCIES`.
        learned_weights: bool. Whether the task has the variances by which losses can be weighted; see
            `learn_loss_weights`.
        _share: a task whose heads are used.
        **kwargs: of `keras.Model`.
    """

    default_loss_weights = LOSS_WEIGHTS

    def __init__(
        self,
        backbone,
        described,
        preprocessor=None,
        dropout=0.1,
        consistency="squared_difference",
        learned_weights=False,
        _share=None,
        **kwargs,
    ):
        # === Config === (before the model, whose constructor compiles)
        self.backbone, self.preprocessor = backbone, preprocessor
        self.described = {head.name: head for head in described}
        self.main_output = described[0].name
        self.dropout = dropout
        self.consistency = find(consistency, CONSISTENCIES, "consistency")
        for head in described:
            if head.is_regression and consistency in ("kl", "cosine"):
                raise ValueError(
                    f"`consistency` {consistency!r} compares probabilities, and the head "
                    f"{head.name!r} predicts numbers. Fix: 'squared_difference' or 'contrastive'."
                )

        # === Layers ===
        auxiliary = backbone.modalities if len(backbone.modalities) > 1 else ()
        self.heads = self._make_heads(auxiliary) if _share is None else _share.heads
        if learned_weights and "loss_weights" not in self.heads:
            self.heads["loss_weights"] = LossWeights(self._weighable(auxiliary))

        # === Functional model ===
        inputs = backbone.input
        encoded = backbone(inputs)
        outputs = self._predict_all(inputs, encoded, auxiliary)
        explained = ("attention_scores", "modality_weights")
        self._explained = {name: encoded[name] for name in explained if name in encoded}
        if backbone.combines == "both":
            for head in described:
                share = self.heads[self.own_name("share", head)](encoded["fused_features"])
                self._explained[self.own_name("fused_share", head)] = share[:, 0]
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)

    # --- Heads -------------------------------------------------------------------------------

    def _make_heads(self, auxiliary):
        # Heads compute in float32: probabilities in bfloat16 have two or three digits.
        heads, combines = {}, self.backbone.combines
        fuses_features = combines != "predictions"  # else nothing would train their heads
        for head in self.described.values():
            if head.hidden_dim is not None and fuses_features:
                heads[self.own_name("hidden", head)] = layers.Dense(
                    head.hidden_dim,
                    "relu",
                    dtype="float32",
                    name=f"{self.own_name('head', head)}_hidden",
                )
        heads["dropout"] = layers.Dropout(self.dropout, dtype="float32", name="head_dropout")
        for head in self.described.values():
            names = [f"{modality}_{head.name}" for modality in auxiliary]
            for name in (head.name, *names) if fuses_features else names:
                heads[name] = layers.Dense(
                    head.num_columns, head.activation, dtype="float32", name=f"{name}_output"
                )
            if combines == "both":
                name = self.own_name("share", head)
                heads[name] = layers.Dense(1, "sigmoid", dtype="float32", name=f"{name}_output")
            if head.is_regression:
                # Heads predict standardised numbers, and this puts them into the targets' units.
                heads[self.own_name("units", head)] = layers.Normalization(
                    mean=list(head.means),
                    variance=[deviation**2 for deviation in head.deviations],
                    invert=True,
                    dtype="float32",
                    name=f"{self.own_name('head', head)}_units",
                )
        return heads

    def own_name(self, what, head):
        """The name of something that each head has one of; a single head needs no prefix."""
        return what if len(self.described) == 1 else f"{head.name}_{what}"

    def _predict_all(self, inputs, encoded, auxiliary):
        """The named outputs, from those of the backbone."""
        features, masks, outputs = encoded["features"], encoded["masks"], {}
        for name, head in self.described.items():
            alone = self.predict_alone(features, masks, name)
            outputs[name] = self.predict_fused(encoded, alone, name)
            outputs.update({f"{modality}_{name}": values for modality, values in alone.items()})
            if auxiliary and self.consistency != "contrastive":
                agreement = self.own_name("consistency", head)
                outputs[agreement] = self._agreement(list(alone.values()), head, agreement)
        if auxiliary and self.consistency == "contrastive":
            pooled = {m: masked_mean(features[m], masks[m]) for m in auxiliary}
            outputs["consistency"] = Contrast(name="consistency")(
                [self.backbone.projections[m](pooled[m]) for m in auxiliary],
                [inputs[f"{m}_present"] for m in auxiliary],
            )
        if self.grounded_attention is not None:
            outputs["grounding"] = self._ground(inputs, features, masks)
        return outputs

    def _ground(self, inputs, features, masks):
        attention, backbone = self.grounded_attention, self.backbone
        read, special = None, ()
        encoder = backbone.encoders["text"]
        text = {name: inputs[name] for name in encoder.model_inputs("text")}
        count = attention.grounded_heads

        def query(features):
            return attention.query(backbone.projections["text"](features))[:, :count]

        if "token_ids" in text and features["text"].shape[1] == text["token_ids"].shape[1]:

            def read(text):
                features, mask = encoder(text, training=True)
                return query(features), mask

            if self.preprocessor is not None:
                tokenizer = self.preprocessor.converters["text"].tokenizer
                special = (tokenizer.start_token_id, tokenizer.end_token_id)
        return Grounding(read, special, name="grounding")(
            query(features["text"]),
            attention.key(backbone.projections["images"](features["images"]))[:, :count],
            masks["text"],
            masks["images"],
            inputs["text_present"] * inputs["images_present"],
            text,
        )

    def _agreement(self, predictions, head, name):
        if head.is_regression:  # in standardised units, in which all targets count alike
            deviations = np.array(head.deviations, "float32")
            predictions = [prediction / deviations for prediction in predictions]
        return Agreement(self.consistency, head.activation, name=name)(predictions)

    def _finish(self, name, hidden, head):
        predicted = self.heads[name](hidden)
        if head.is_regression:
            predicted = self.heads[self.own_name("units", head)](predicted)
        return predicted

    def predict_alone(self, features, masks, name=None, training=None):
        """Runs the modalities' own heads on what the encoders return.

        Args:
            features: dict of modality to `(batch_size, length, dim)`, any subset of them.
            masks: dict of modality to bool `(batch_size, length)`.
            name: str. Of the head, by default the main one.
            training: bool or `None`.

        Returns:
            A dict of modality to `(batch_size, num_columns)`: probabilities, or numbers in the
            targets' units; empty with one modality, whose head is the main one.
        """
        head, alone = self.described[name or self.main_output], {}
        for modality in self.backbone.modalities:
            own = f"{modality}_{head.name}"
            if own in self.heads and modality in features:
                pooled = masked_mean(features[modality], masks[modality])
                pooled = self.heads["dropout"](pooled, training=training)
                alone[modality] = self._finish(own, pooled, head)
        return alone

    def predict_fused(self, outputs, alone, name=None, training=None):
        """Predicts from what the fusion returns: the main output, or that of another head.

        Args:
            outputs: dict of the fusion, as `backbone.fuse` returns.
            alone: dict of modality to predictions, as `predict_alone` returns.
            name: str. Of the head, by default the main one.
            training: bool or `None`.

        Returns:
            float tensor `(batch_size, num_columns)`: probabilities, or numbers in the targets' units.
        """
        head, fused = self.described[name or self.main_output], None
        if head.name in self.heads:
            hidden = outputs["fused_features"]
            if head.hidden_dim is not None:
                hidden = self.heads[self.own_name("hidden", head)](hidden)
            hidden = self.heads["dropout"](hidden, training=training)
            fused = self._finish(head.name, hidden, head)
        predicted = self.join(outputs, alone, fused, name)
        if head.temperatures is not None:
            predicted = divide_logits(predicted, head.temperatures, head.activation)
        return predicted

    def join(self, outputs, alone, fused, name=None):
        """Joins the predictions of fused features and of single modalities, as the fusion asks for.

        With p from the fused features, p_m from each modality m and its weight w_m: p where the
        fusion combines features; the sum of w_m p_m where it combines predictions; where it does both,
        s p + (1 - s) times that sum, with s = sigmoid(a F + b) of the fused features F, learned. Where
        it averages logits, p and p_m stand for these, of which probabilities are made again.

        Args:
            outputs: dict with `fused_features (batch_size, dim)` and `modality_weights (batch_size,
                num_modalities)`, as far as they are needed.
            alone: dict of modality to p_m `(batch_size, num_columns)`.
            fused: p, or `None` where it is not needed.
            name: str. Of the head, by default the main one.

        Returns:
            float tensor `(batch_size, num_columns)`.
        """
        if self.backbone.combines == "features":
            return fused
        head, fusion = self.described[name or self.main_output], self.backbone.fusion
        kind = {"activation": head.activation, "average": what_is_averaged(fusion)}
        predictions = ops.stack([alone[modality] for modality in self.backbone.modalities], axis=1)
        average = average_predictions(predictions, outputs["modality_weights"], **kind)
        if self.backbone.combines == "predictions":
            return average
        share = self.heads[self.own_name("share", head)](outputs["fused_features"])
        shares = ops.concatenate([share, 1.0 - share], axis=1)
        return average_predictions(ops.stack([fused, average], axis=1), shares, **kind)

    @property
    def label_names(self):
        """The names of the columns of the targets, head after head."""
        return [name for head in self.described.values() for name in head.label_names]

    @property
    def columns(self):
        """The columns of the labels that are each head's: dict of its name to slice."""
        columns, start = {}, 0
        for name, head in self.described.items():
            columns[name] = slice(start, start + head.num_columns)
            start += head.num_columns
        return columns

    def head_of(self, output):
        """The `Head` of an output, or `None` for the agreement of the modalities."""
        if output in self.described:
            return self.described[output]
        for head in self.described.values():
            if output.removesuffix(f"_{head.name}") in self.backbone.modalities:
                return head
        return None

    def modality_of(self, output):
        """The one modality that an output (or head) sees, such as `images_classes`, or `None`."""
        head = self.head_of(output)
        if head is None or output == head.name:
            return None
        return output.removesuffix(f"_{head.name}")

    def needed(self, output):
        """The modalities without which an example says nothing about an output: a tuple of names."""
        if output == "grounding":
            return ("images", "text")
        if self.head_of(output) is None:  # agreement
            return self.backbone.modalities
        return super().needed(output)

    def set_trainable(self, names, blocks=0):
        """Makes exactly these parts trainable, see `MultimodalTask.set_trainable`.

        Learned weights of losses are not for phases to freeze: `compile` says whether they learn.
        """
        super().set_trainable(names, blocks)
        if "loss_weights" in self.heads:
            layer = self.heads["loss_weights"]
            layer.trainable = bool(layer.learned)

    @property
    def grounded_attention(self):
        """The attention whose words are trained to find what they name, or `None`."""
        return getattr(split_fusion(self.backbone.fusion)[0], "grounded_attention", None)

    @property
    def parts(self):
        """What a training phase can freeze, see `MultimodalTask.parts`."""
        parts = super().parts
        if "loss_weights" in self.heads:
            layer = self.heads["loss_weights"]
            parts["head"] = [each for each in parts["head"] if each is not layer]
            parts["loss_weights"] = [layer]
        return parts

    def targets(self, y):
        """Returns the target of each output: its columns of the labels; agreement needs none.

        Raises:
            ValueError: when there are not as many columns as `label_names`.
        """
        count = len(self.label_names)
        if len(y.shape) != 2 or y.shape[1] not in (None, count):
            raise ValueError(
                f"Labels must have the shape (batch_size, {count}), a column for each of `label_names`. "
                f"Received: {tuple(y.shape)}. Fix: other labels; `y.reshape(-1, 1)` for one target."
            )
        columns = {name: y[:, own] for name, own in self.columns.items()}
        nothing = tf.zeros_like(y[:, 0])  # in the data pipeline, whatever the Keras backend
        heads = {name: self.head_of(name) for name in self.output}
        return {n: nothing if head is None else columns[head.name] for n, head in heads.items()}

    def with_backbone(self, backbone):
        """Returns a task on another backbone that shares the heads with this one.

        Args:
            backbone: `MultimodalBackbone` with the same modalities and feature sizes, usually
                `self.backbone.with_encoders(...)`. It takes model inputs only.
        """
        return type(self)(backbone, preprocessor=None, _share=self, **self._own_config())

    def with_calibration(self, temperatures=None, thresholds=None):
        """Returns a task of the same weights, with these temperatures and thresholds and no others.

        Temperatures are part of what the task computes from fused features, and so of its presets and
        exports; the modalities' own heads have none. Thresholds say from which probability on
        `mmlearn predict` and the metrics count a class as predicted. Both are fitted by
        `mmlearn.evaluation.calibrate`. Train first: what they fit is the model as it is.

        Args:
            temperatures: floats `(num_classes,)`, or of several heads a dict of head name to these; or
                `None` for none. See `Head`.
            thresholds: likewise.

        Returns:
            A task of the same class, compiled anew.

        Raises:
            ValueError: when they do not fit a head.

        Example:

        >>> from mmlearn import MultimodalBackbone, MultimodalClassifier, encoders, fusions
        >>> encoder = encoders.Features(length=4, dim=8)
        >>> backbone = MultimodalBackbone({"text": encoder}, fusions.get("concat"), hidden_dim=16)
        >>> task = MultimodalClassifier(backbone, num_classes=2)
        >>> task.with_calibration([1.5, 0.9], [0.4, 0.5]).get_config()["thresholds"]
        [0.4, 0.5]
        """
        given = {"temperatures": temperatures, "thresholds": thresholds}
        for what, values in given.items():
            if values is not None and not isinstance(values, dict):
                if len(self.described) > 1:
                    raise ValueError(
                        f"`{what}` must be a dict of head name to numbers. Received: {values!r} for the "
                        f"heads {', '.join(self.described)}."
                    )
                given[what] = {self.main_output: values}
            for name in given[what] or ():
                find(name, self.described, f"head with {what}")
        heads = [
            dataclasses.replace(
                head, **{what: (values or {}).get(name) for what, values in given.items()}
            )
            for name, head in self.described.items()
        ]
        config = {**self._own_config(), **self._config_of(heads)}
        return type(self)(self.backbone, preprocessor=self.preprocessor, _share=self, **config)

    def _config_of(self, heads):
        """What the constructor takes of these heads that differs from those of this task: nothing."""
        return {}

    def _own_config(self):
        """What the constructor takes besides the backbone and the preprocessor."""
        return {
            "dropout": self.dropout,
            "consistency": self.consistency,
            "learned_weights": "loss_weights" in self.heads,
        }

    def get_config(self):
        return {**super().get_config(), **self._own_config()}

    # --- Losses ------------------------------------------------------------------------------

    def compile(
        self,
        optimizer="auto",
        loss="auto",
        *,
        loss_weights="auto",
        metrics="auto",
        jit_compile="auto",
        micro_batches=1,
        learn_loss_weights=False,
        **kwargs,
    ):
        """Compiles with defaults: AdamW at 1e-4, a loss and metrics by the kind of head, lambdas.

        Args:
            optimizer: as in Keras, or `"auto"`.
            loss: dict of output name to loss; or one `keras.losses.Loss` of all predictions; or
                `"auto"`, cross-entropy and the mean squared error; or another name, see
                `losses_named`.
            loss_weights: dict of output name to float, where `"main"` stands for the outputs from fused
                features, `"auxiliary"` for the heads of all modalities and `"consistency"` for all
                agreement (and `"grounding"` stands for itself, where the fusion has it); or `"auto"`; or
                `"uncertainty"`, which is `"auto"` with `learn_loss_weights`. An output without a
                weight has no loss and is not computed.
            metrics: dict of output name to metrics, or `"auto"`, of the outputs with a loss: mAP, or
                MAE, RMSE and R² in the targets' units; weighted as the loss is, so that an absent
                modality does not count.
            jit_compile: bool, or `"auto"`: with JAX, which would compute op by op without. With
                TensorFlow, XLA was measured slower than the graph, and it fails under
                `MirroredStrategy`.
            micro_batches: int. Into how many parts a training batch is divided, one after the
                other, to save memory; the update is that of the whole batch, except that batch
                normalisation and contrast see the parts. TensorFlow only.
            learn_loss_weights: bool. Whether each prediction's loss is also weighted by its own learned
                uncertainty (see `mmlearn.losses.uncertainty`). Agreement keeps its weight: it is no
                likelihood, and modalities that agree would give it an endless one.
            **kwargs: of `keras.Model.compile`.
        """
        steps.check_micro_batches(micro_batches)
        self.micro_batches = micro_batches
        if jit_compile == "auto":
            jit_compile = keras.config.backend() == "jax"
        if optimizer == "auto":
            optimizer = keras.optimizers.AdamW(1e-4, weight_decay=1e-2)
        if loss_weights == "uncertainty":
            loss_weights, learn_loss_weights = "auto", True
        loss_weights = self._expand(
            self.default_loss_weights if loss_weights == "auto" else loss_weights
        )
        if isinstance(loss, str):
            loss = self.losses_named(loss)
        if isinstance(loss, keras.losses.Loss):
            loss = {name: loss for name in self.output if self.head_of(name) is not None}
            loss.update({n: ConsistencyLoss() for n in self.output if self.head_of(n) is None})
        if loss_weights is not None:
            loss = {name: own for name, own in loss.items() if name in loss_weights}
            loss_weights = {name: loss_weights[name] for name in loss}
        loss = self._weigh(loss, learn_loss_weights)
        if metrics == "auto":
            metrics = None
            named = {name: self.head_of(name) for name in loss}
            weighted = {
                name: self._metrics_of(head) for name, head in named.items() if head is not None
            }
            kwargs = {"weighted_metrics": weighted, **kwargs}
        super().compile(
            optimizer=optimizer,
            loss=loss,
            loss_weights=loss_weights,
            metrics=metrics,
            jit_compile=jit_compile,
            **kwargs,
        )

    def losses_named(self, name="auto", label_smoothing=0.0):
        """Makes the loss of each output.

        Args:
            name: str. Of the losses of classes or of numbers (`python -m mmlearn list losses`); where
                there are heads of both kinds, those that have no such loss keep theirs of `"auto"`.
            label_smoothing: float in [0, 1). How far targets of classes are moved to the middle.

        Returns:
            A dict of output name to `keras.losses.Loss`.
        """
        kinds = {head.is_regression for head in self.described.values()}
        losses = {}
        for output in self.output:
            head = self.head_of(output)
            if head is None:
                losses[output] = ConsistencyLoss()
            else:
                is_other = len(kinds) > 1 and head.is_regression != (name in regression.LOSSES)
                losses[output] = head.loss("auto" if is_other else name, label_smoothing)
        return losses

    def _expand(self, loss_weights):
        """Gives each output its weight, and leaves out those whose weight is 0."""
        if loss_weights is None:
            return None
        for name in loss_weights:
            find(name, (*LOSS_WEIGHTS, *self.output), "output with a loss weight")
        # With one modality, its own head is the main one.
        alone = len(self.backbone.modalities) == 1
        weights = {}
        for name in self.output:
            if self.head_of(name) is None:
                groups = ("grounding",) if name == "grounding" else ("consistency",)
            elif self.is_auxiliary(name):
                groups = ("auxiliary",)
            else:
                groups = ("main", "auxiliary") if alone else ("main",)
            found = [loss_weights[each] for each in (name, *groups) if each in loss_weights]
            weights[name] = found[0] if found else 0.0
        return {name: weight for name, weight in weights.items() if weight}

    # --- Learned weights ---------------------------------------------------------------------

    def _weighable(self, auxiliary):
        return [
            name
            for head in self.described
            for name in (head, *(f"{modality}_{head}" for modality in auxiliary))
        ]

    def learn_loss_weights(self, learn):
        """Says whether the variances by which losses are weighted learn, and adds them if they do.

        They are weights of the task and in its presets. `compile` calls this; call it before where an
        optimizer is built, or weights are counted or shared.

        Args:
            learn: bool.
        """
        if learn and "loss_weights" not in self.heads:
            modalities = self.backbone.modalities
            auxiliary = modalities if len(modalities) > 1 else ()
            self.heads["loss_weights"] = LossWeights(self._weighable(auxiliary))
        if "loss_weights" in self.heads:
            self.heads["loss_weights"].trainable = learn

    def _weigh(self, loss, learn):
        """Weighs the losses of predictions by learned variances, or takes care that these rest."""
        learn = learn or any(isinstance(each, UncertaintyLoss) for each in loss.values())
        self.learn_loss_weights(learn)
        if "loss_weights" not in self.heads:
            return loss
        layer = self.heads["loss_weights"]
        layer.learned = ()
        if not learn:
            return loss
        layer.learned = tuple(name for name in loss if self.head_of(name) is not None)
        weighed = dict(loss)
        for name in layer.learned:
            own = loss[name].loss if isinstance(loss[name], UncertaintyLoss) else loss[name]
            weighed[name] = UncertaintyLoss(own, layer.reader(name))
        return weighed

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The total loss of a batch, as Keras has it; learned weights are noted as metrics."""
        if "loss_weights" in self.heads:
            self.heads["loss_weights"].note()
        return super().compute_loss(x, y, y_pred, sample_weight, training=training)

    def _metrics_of(self, head):
        """The metrics of a head that `compile` takes by default."""
        if head.is_regression:
            return [
                keras.metrics.MeanAbsoluteError(name="mae"),
                keras.metrics.RootMeanSquaredError(name="rmse"),
                StandardizedR2Score(head.means, head.deviations, name="r2"),
            ]
        return [MeanAveragePrecision(head.num_columns, name="map")]
