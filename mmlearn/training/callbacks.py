"""Callbacks: stop on NaN, the best epoch, averages, progress with rich."""

import math

import keras
import numpy as np
from rich import progress

from mmlearn.training.optimizers import unwrap

LOWER_IS_BETTER = ("loss", "mae", "rmse")  # endings of what an epoch is judged by


class StopOnNaN(keras.callbacks.Callback):
    """Ends training with an error at the first loss that is no number.

    Args:
        phase: the `TrainingPhase`, for the message.
        data: `TrainingData`, which names the examples of a batch that hold a NaN or an infinity.
        first_epoch: int. That of the phase, counted over all phases.
    """

    def __init__(self, phase, data, first_epoch):
        super().__init__()
        self.phase = phase
        self.data = data
        self.first_epoch = first_epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss", 0.0)
        if math.isfinite(loss):
            return
        # After a restart, the first epoch may have fewer steps.
        step = self.data.steps_per_epoch - self.params["steps"] + batch
        bad = self.data.find_bad(self.first_epoch + self.epoch, step)
        where = f"in phase {self.phase.name!r}, epoch {self.epoch + 1}, step {step + 1}"
        if bad:
            raise FloatingPointError(
                f"The loss became {float(loss)} {where}: a NaN or an infinity is in the image, the "
                f"labels or the weight of {', '.join(map(repr, bad[:5]))}. Fix: repair or remove "
                f"{'it' if len(bad) == 1 else 'them'}."
            )
        raise FloatingPointError(
            f"The loss became {float(loss)} {where}. Fix: a lower learning rate "
            f"(now {self.phase.learning_rate}), or look for broken labels."
        )

    def on_epoch_end(self, epoch, logs=None):
        loss = (logs or {}).get("val_loss", 0.0)
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"The validation loss became {float(loss)} in phase {self.phase.name!r}, epoch "
                f"{epoch + 1}. Fix: a lower learning rate (now {self.phase.learning_rate}), or look "
                "for broken images or labels in the validation split."
            )


class BestEpoch(keras.callbacks.Callback):
    """Remembers the best epoch of a phase, and ends the phase when no better one comes.

    Unlike `keras.callbacks.EarlyStopping` its memory can be saved and given back.

    Args:
        phase: the `TrainingPhase`.
    """

    def __init__(self, phase):
        super().__init__()
        self.phase = phase
        self.epoch = None
        self.value = None
        self.weights = None  # of the best epoch, if they are to be restored
        self._averages = None

    def on_test_end(self, logs=None):
        # Moving averages are in the place of the weights during validation alone.
        if self.phase.restore_best and self.phase.ema_momentum is not None:
            self._averages = self.model.get_weights()

    def on_epoch_end(self, epoch, logs=None):
        if not (self.phase.restore_best or self.phase.patience):
            return
        name = self.phase.monitor
        if name not in logs:
            raise ValueError(
                f"Unknown `monitor` {name!r} of phase {self.phase.name!r}. "
                f"Known: {', '.join(sorted(logs))}."
            )
        value = float(logs[name])
        sign = 1 if name.endswith(LOWER_IS_BETTER) else -1
        if self.value is None or math.isnan(self.value) or sign * value < sign * self.value:
            self.epoch, self.value = epoch, value
            if self.phase.restore_best:
                self.weights = self._averages or self.model.get_weights()
        elif self.phase.patience and epoch - self.epoch >= self.phase.patience:
            self.model.stop_training = True

    def restore(self):
        """Puts the weights of the best epoch back, if the phase wants them."""
        if self.weights is not None:
            self.model.set_weights(self.weights)

    def state(self):
        """Returns `{"epoch", "value"}` and the weights, a list of arrays, maybe empty."""
        return {"epoch": self.epoch, "value": self.value}, self.weights or []

    def load_state(self, state, weights):
        """Takes what `state` returned."""
        self.epoch, self.value = state["epoch"], state["value"]
        self.weights = list(weights) or None


class AverageWeights(keras.callbacks.Callback):
    """Validates with the moving averages that the optimizer keeps.

    `keras.callbacks.SwapEMAWeights` swaps by sums and differences, which changes the last digits.
    """

    def on_test_begin(self, logs=None):
        self._own = [
            np.array(keras.ops.convert_to_numpy(v)) for v in self.model.trainable_variables
        ]
        unwrap(self.model.optimizer).take_average(self.model.trainable_variables)

    def on_test_end(self, logs=None):
        for variable, value in zip(self.model.trainable_variables, self._own, strict=True):
            variable.assign(value)


class EpochLog(keras.callbacks.Callback):
    """The metrics of every epoch of a phase: `history`, dict of name to list of floats."""

    def __init__(self):
        super().__init__()
        self.history = {}

    def on_epoch_end(self, epoch, logs=None):
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))


def progress_bar(console):
    """Makes a progress bar with a line per phase; a context manager, so that errors end it too.

    Args:
        console: `rich.console.Console`; a quiet one shows nothing.
    """
    return progress.Progress(
        progress.TextColumn("{task.description:<10}"),
        progress.BarColumn(bar_width=12),
        progress.TaskProgressColumn(),
        progress.TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        progress.TextColumn("{task.fields[status]}"),
        console=console,
    )


class RichProgress(keras.callbacks.Callback):
    """A line of a progress bar for one phase, with the remaining time and the latest metrics.

    Args:
        bar: what `progress_bar` returns, started.
        phase: the `TrainingPhase`.
        steps_per_epoch: int.
    """

    def __init__(self, bar, phase, steps_per_epoch):
        super().__init__()
        self.bar = bar
        self.phase = phase
        self.steps_per_epoch = steps_per_epoch
        self.task = None

    def on_train_begin(self, logs=None):
        if self.task is None:
            total = self.phase.epochs * self.steps_per_epoch
            self.task = self.bar.add_task(self.phase.name, total=total, status="compiling")

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = f"epoch {epoch + 1}/{self.phase.epochs}"
        # After a restart, the first epoch may have fewer steps.
        completed = (epoch + 1) * self.steps_per_epoch - self.params["steps"]
        self.bar.update(self.task, completed=completed)

    def on_train_batch_end(self, batch, logs=None):
        if batch == 0:
            self.bar.update(self.task, status=self.epoch)
        self.bar.advance(self.task)

    def on_epoch_end(self, epoch, logs=None):
        scores = read_scores(logs, self.model.main_output)
        status = f"{self.epoch}  {scores}" if scores else self.epoch
        self.bar.update(self.task, status=status)
        console = self.bar.console
        if not (console.is_terminal or console.is_jupyter):  # a log file gets a line per epoch
            console.print(f"{self.phase.name}: {status}", highlight=False)


def read_scores(logs, main_output):
    """What of the metrics of an epoch is shown in one line.

    Args:
        logs: dict of the name of a metric, as Keras makes it, to float.
        main_output: str. The output whose name is left out.

    Returns:
        str, empty where nothing was validated.

    Example:

    >>> read_scores({"val_classes_map": 0.9812, "val_images_classes_map": 0.9237}, "classes")
    'val mAP 0.981, images 0.924'
    """
    shown = []
    for ending, metric in (("map", "mAP"), ("r2", "R²")):
        scores = []
        for name, value in logs.items():
            if name.startswith("val_") and name.endswith(ending):
                of = name.removeprefix("val_").removesuffix(ending).replace(main_output, "")
                scores.append(f"{of.strip('_')} {value:.3f}".strip())
        if scores:
            shown.append(f"val {metric} {', '.join(scores)}")
    if not shown and "val_loss" in logs:  # an objective without labels
        return f"val loss {logs['val_loss']:.3f}"
    return "  ".join(shown)
