"""Callbacks: stop on NaN, progress with rich."""

import math

import keras
from rich import progress


class StopOnNaN(keras.callbacks.Callback):
    """Ends training with an error at the first loss that is no number.

    Args:
        phase: the `TrainingPhase`, for the message.
    """

    def __init__(self, phase):
        super().__init__()
        self.phase = phase

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"The loss became {float(loss)} in phase {self.phase.name!r}, epoch "
                f"{self.epoch + 1}, step {batch + 1}. Fix: a lower learning rate "
                f"(now {self.phase.learning_rate}), or look for broken labels."
            )


class RichProgress(keras.callbacks.Callback):
    """One progress bar per phase, with the remaining time and the latest metrics.

    Args:
        console: `rich.console.Console`.
        phase: the `TrainingPhase`.
    """

    def __init__(self, console, phase):
        super().__init__()
        self.phase = phase
        self.bar = progress.Progress(
            progress.TextColumn("{task.description:<12}"),
            progress.BarColumn(bar_width=24),
            progress.TaskProgressColumn(),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[metrics]}"),
            console=console,
        )

    def on_train_begin(self, logs=None):
        total = self.params["epochs"] * self.params["steps"]
        self.task = self.bar.add_task(self.phase.name, total=total, metrics="compiling")
        self.bar.start()

    def on_train_batch_end(self, batch, logs=None):
        self.bar.advance(self.task)
        if batch == 0 and self.bar.tasks[0].fields["metrics"] == "compiling":
            self.bar.update(self.task, metrics="")

    def on_epoch_end(self, epoch, logs=None):
        shown = {"loss": "loss", "val_loss": "val loss", "val_classes_map": "val mAP"}
        shown |= {f"val_{m}_classes_map": f"val mAP {m}" for m in ("images", "text")}
        shown["val_map"] = "val mAP"  # of a model with one output
        values = [f"{label} {logs[name]:.3f}" for name, label in shown.items() if name in logs]
        text = f"epoch {epoch + 1}/{self.params['epochs']}  " + "  ".join(values)
        self.bar.update(self.task, metrics=text)

    def on_train_end(self, logs=None):
        self.bar.stop()
