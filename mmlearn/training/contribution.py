"""How much each modality contributes to the fused prediction, measured while it is trained."""

import math
import time
import warnings

import keras
import numpy as np
from keras import ops
from scipy import stats

from mmlearn.losses import classification
from mmlearn.models.compiled import compile_function

CONFIDENCE = 0.95  # of the intervals
# With hundreds of examples an interval can lie above 0 and the contribution still be of no use.
SMALLEST_SHARE = 0.01  # of the loss without the modality


class ContributionMonitor(keras.callbacks.Callback):
    """Measures after each epoch how much worse the fused prediction gets without a modality.

    For each modality: the mean over the examples of the loss when it is declared absent, so that
    its learned missing token stands in, minus the loss with it. The loss is the cross-entropy of
    the main output, whatever the phase trains with, over the classes whose labels are known; of
    numbers, the mean squared error in standard deviations.
    Examples that lack the modality, or have no other, do not count. Added to the logs of the epoch,
    and so to the history and every logger: `contribution_{modality}`, `contribution_{modality}_low`
    (the lower end of its 95 % interval) and `contribution_{modality}_share` (of the loss without it).

    When a phase ends and a modality is of no clear use, it says so, see `find_ignored`. Phases that leave
    the fusion as it is are not measured. Training goes on exactly as without the monitor. A model
    trained without modality dropout does not know its missing tokens: the contributions are then
    too large.

    Args:
        validation_dataset: batches of `(x, y)` or `(x, y, sample_weight)`; the weights are not
            used. A few hundred examples are enough. They stay in memory, and each is encoded once an
            epoch.
        task: `MultimodalClassifier`, or another `PredictionTask`.
        tell: function that takes a line of text; by default `warnings.warn`.

    Attributes:
        seconds: float. What measuring has taken so far.

    Reference:
        Covert et al. 2021, "Explaining by removing", section 4 (a feature is removed, and the loss
        over a data set is compared). The interval is Student's, of the paired differences.
    """

    def __init__(self, validation_dataset, task, tell=warnings.warn):
        super().__init__()
        self.validation_dataset = validation_dataset
        self.task = task
        self.tell = tell
        self.seconds = 0.0
        self._batches = None
        head = task.described[task.main_output]
        self._loss = classification.known_only(head.loss(), head.activation)
        self.for_phase(None)

    def for_phase(self, phase):
        """Returns this callback for the next phase, as `run_phases` asks for it.

        Args:
            phase: `TrainingPhase`, or `None` outside of phases.
        """
        self.phase = phase
        # Anew for each: low-rank updates change what layers compute.
        self._run = compile_function(self._losses, self.task)
        return self

    def on_train_begin(self, logs=None):
        fusions = [layers for name, layers in self.task.parts.items() if name.endswith("fusion")]
        trains_fusion = any(layer.trainable_variables for layers in fusions for layer in layers)
        losses = self.task.loss  # none of the fused prediction: its attention alone may learn
        is_learned = not isinstance(losses, dict) or self.task.main_output in losses
        several = len(self.task.backbone.modalities) > 1
        self._is_active = trains_fusion and is_learned and several
        self._last_epoch = (self.phase.epochs if self.phase else self.params["epochs"]) - 1

    def on_epoch_begin(self, epoch, logs=None):
        self._found = None

    def on_test_end(self, logs=None):
        # Moving averages are in the place of the weights during validation alone.
        self._measure()

    def on_epoch_end(self, epoch, logs=None):
        if not self._is_active:
            return
        if self._found is None:  # no validation
            self._measure()
        logs.update(self._found)
        self._ends = epoch == self._last_epoch

    def on_train_end(self, logs=None):
        if self._is_active and (self._ends or self.model.stop_training):
            name = self.phase.name if self.phase else "fit"
            history = {name: [value] for name, value in self._found.items()}
            for line in find_ignored({"name": name, "history": history}):
                self.tell(line)

    def _measure(self):
        if self._is_active:
            start = time.monotonic()
            self._found = self._contributions()
            self.seconds += time.monotonic() - start

    def _contributions(self):
        if self._batches is None:
            self._batches = [self._prepare(*batch[:2]) for batch in self.validation_dataset]
        batches = [self._run(*batch) for batch in self._batches]
        columns = [
            np.concatenate([np.asarray(v) for v in part], -1) for part in zip(*batches, strict=True)
        ]
        whole, without, counts = columns
        found = {}
        for row, modality in enumerate(self.task.backbone.modalities):
            rows = counts[row]
            interval = _mean_and_low(without[row][rows] - whole[rows])
            if interval is not None:
                mean, low = interval
                name = f"contribution_{modality}"
                share = mean / max(float(without[row][rows].mean(dtype="float64")), 1e-12)
                found.update({name: mean, f"{name}_low": low, f"{name}_share": share})
        return found

    def _prepare(self, x, y):
        x, targets, _ = self.task.preprocess_samples(x, y)
        return x, targets[self.task.main_output]

    def _losses(self, x, y):
        """Losses with all `(rows,)`, without each modality `(modalities, rows)`, and what counts."""
        task, backbone = self.task, self.task.backbone
        features, masks = backbone.encode(x, training=False)
        alone = task.predict_alone(features, masks, training=False)
        presence = {m: x[f"{m}_present"] for m in backbone.modalities}

        def loss(presence):
            fused = backbone.fuse(features, masks, presence, training=False)
            return self._loss.call(y, task.predict_fused(fused, alone, training=False))

        without = [loss({**presence, m: ops.zeros_like(presence[m])}) for m in presence]
        there = ops.cast(ops.stack(list(presence.values())), "bool")
        has_other = ops.sum(ops.cast(there, "int32"), axis=0) > 1
        return loss(presence), ops.stack(without), there & has_other


def _mean_and_low(differences):
    """Mean and lower end of its interval, or `None` for fewer than two numbers."""
    count = len(differences)
    if count < 2:
        return None
    mean = float(differences.mean(dtype="float64"))
    error = float(differences.std(ddof=1, dtype="float64")) / math.sqrt(count)
    return mean, mean - float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * error


def find_ignored(record):
    """Names the modalities that were of no clear use to the fused prediction when a phase ended.

    No clear use: the interval of the contribution does not lie above 0, or the contribution is less
    than 1 % of the loss without the modality.

    Args:
        record: dict of `name` and `history`, as `run_phases` returns, measured or not.

    Returns:
        A list of lines of text.

    Example:

    >>> history = {
    ...     "contribution_text": [0.0004],
    ...     "contribution_text_low": [-0.001],
    ...     "contribution_text_share": [0.002],
    ... }
    >>> for line in find_ignored({"name": "fusion", "history": history}):
    ...     print(line[:67])
    In phase 'fusion' the fused prediction makes no clear use of 'text'
    """
    lines, history = [], record["history"]
    for name in history:
        if not (name.startswith("contribution_") and f"{name}_low" in history):
            continue
        modality = name.removeprefix("contribution_")
        value, low, share = (history[f"{name}{end}"][-1] for end in ("", "_low", "_share"))
        if low > 0 and share >= SMALLEST_SHARE:
            continue
        lines.append(
            f"In phase {record['name']!r} the fused prediction makes no clear use of {modality!r}: "
            f"without it, the loss changes by {value:+.2g}, {share:.1%} (95 % interval from "
            f"{low:+.2g}). Fix: if the scores are no worse without it either, check the data of that "
            "modality, train its encoder longer, or leave it out; if they are, the probabilities are too "
            "sure of themselves (python -m mmlearn calibrate), or training was too long."
        )
    return lines
