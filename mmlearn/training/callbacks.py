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
    """

    def __init__(self, bar, phase):
        super().__init__()
        self.bar = bar
        self.phase = phase

    def on_train_begin(self, logs=None):
        total = self.params["epochs"] * self.params["steps"]
        self.task = self.bar.add_task(self.phase.name, total=total, status="compiling")

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = f"epoch {epoch + 1}/{self.params['epochs']}"

    def on_train_batch_end(self, batch, logs=None):
        if batch == 0:
            self.bar.update(self.task, status=self.epoch)
        self.bar.advance(self.task)

    def on_epoch_end(self, epoch, logs=None):
        # "val_images_classes_map" reads "images 0.931"; the main output's name is left out.
        scores = [
            f"{name.removeprefix('val_').removesuffix('map').replace('classes', '').strip('_')} "
            f"{value:.3f}".strip()
            for name, value in logs.items()
            if name.startswith("val_") and name.endswith("map")
        ]
        status = f"{self.epoch}  val mAP {', '.join(scores)}" if scores else self.epoch
        self.bar.update(self.task, status=status)
        console = self.bar.console
        if not (console.is_terminal or console.is_jupyter):  # a log file gets a line per epoch
            console.print(f"{self.phase.name}: {status}", highlight=False)
