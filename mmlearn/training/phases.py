"""Runs a list of phases through `fit`, from the last checkpoint on."""

import keras
import numpy as np

from mmlearn.losses import classification
from mmlearn.training.callbacks import AverageWeights, BestEpoch, EpochLog, StopOnNaN
from mmlearn.training.hosts import make_trainer, share_checkpoints
from mmlearn.training.optimizers import build_optimizer, unwrap

CHECKPOINT_SECONDS = 300


def run_phases(
    task,
    phases,
    data,
    validation_dataset=None,
    checkpoints=None,
    checkpoint_seconds=CHECKPOINT_SECONDS,
    callbacks=(),
):
    """Trains a task phase by phase. Call it under the scope of the task's strategy, if any.

    Each phase makes its parts trainable, compiles anew, and fits. With `checkpoints`, all that
    decides how training goes on is saved at the end of each epoch and every few minutes: a call
    after an interruption ends with the same weights as one that was not interrupted. Afterwards
    every part is trainable again, as presets and further training expect.

    Args:
        task: a task.
        phases: iterable of `TrainingPhase`.
        data: `TrainingData`.
        validation_dataset: dataset of `(x, y, sample_weight)`, or `None`.
        checkpoints: `Checkpoints`, or `None`. The newest one there is where training goes on. On
            several hosts the chief's count, and the others may pass `None`.
        checkpoint_seconds: float. Time between two checkpoints within an epoch.
        callbacks: iterable of functions from a phase to a `keras.callbacks.Callback`.

    Returns:
        A list of dicts, one per phase: `name` and `history` (dict of metric name to a list with one
        float per epoch).

    Raises:
        FloatingPointError: when the loss becomes NaN or infinite; names the examples that hold one.

    Reference:
        The phases are section 3.2 of the methodology document.
    """
    phases = [phase for phase in phases if phase.epochs > 0]
    checkpoints = share_checkpoints(task, checkpoints)
    checkpoint = checkpoints.latest() if checkpoints else None
    records = checkpoint.state["records"] if checkpoint else []
    if checkpoint:
        _assign(task.variables, checkpoint.arrays[: len(task.variables)])
    for number, phase in enumerate(phases[len(records) :], start=len(records)):
        first_epoch = sum(earlier.epochs for earlier in phases[:number])
        run = _PhaseRun(task, phase, data, first_epoch, records, checkpoints, checkpoint_seconds)
        if checkpoint and "epoch" in checkpoint.state:
            run.load(checkpoint)
        checkpoint = None
        records.append({"name": phase.name, "history": run.fit(validation_dataset, callbacks)})
        if checkpoints:
            end = (first_epoch + phase.epochs) * data.steps_per_epoch
            checkpoints.save(end, {"records": records}, _arrays(task.variables))
    task.set_trainable(["all"])
    return records


class _PhaseRun(keras.callbacks.Callback):
    """One phase; as a callback, it saves where the phase is."""

    def __init__(
        self, task, phase, data, first_epoch, records, checkpoints=None, checkpoint_seconds=None
    ):
        super().__init__()
        self.task = task
        self.phase = phase
        self.data = data
        self.first_epoch = first_epoch
        self.records = records
        self.checkpoints = checkpoints
        self.checkpoint_seconds = checkpoint_seconds
        self.best = BestEpoch(phase)
        self.log = EpochLog()
        self.start = (0, 0)
        self.metrics_then = []
        task.set_trainable(phase.trainable, phase.trainable_blocks)
        task.compile(
            optimizer=build_optimizer(task, phase, data.steps_per_epoch),
            loss=classification.get(phase.loss, task.activation, phase.label_smoothing),
            loss_weights=phase.loss_weights,
            micro_batches=phase.micro_batches,
        )
        task.optimizer.build(task.trainable_variables)
        self.trainer = make_trainer(task)

    def fit(self, validation_dataset, callbacks=()):
        """Trains to the end of the phase and returns its history."""
        used = [StopOnNaN(self.phase, self.data, self.first_epoch)]
        used += [*(make(self.phase) for make in callbacks), self.best]
        if self.phase.ema_momentum is not None:
            used.append(AverageWeights())
        used += [self.log, self]
        epoch, step = self.start
        # The rest of an epoch that was begun, then whole ones.
        segments = [(epoch, epoch + 1, step), (epoch + 1, self.phase.epochs, 0)]
        segments = segments if step else [(epoch, self.phase.epochs, 0)]
        self.task.stop_training = False
        for first, end, step in segments:
            if first < end and not self.task.stop_training:
                self.trainer.fit(
                    self.data.build(start=(self.first_epoch + first, step)),
                    validation_data=validation_dataset,
                    initial_epoch=first,
                    epochs=end,
                    steps_per_epoch=self.data.steps_per_epoch - step,
                    verbose=0,
                    callbacks=used,
                )
        if self.phase.ema_momentum is not None:
            unwrap(self.task.optimizer).take_average(self.task.trainable_variables)
        self.best.restore()
        return self.log.history

    def load(self, checkpoint):
        """Takes the state of the phase from a checkpoint."""
        state, arrays = checkpoint.state, checkpoint.arrays[len(self.task.variables) :]
        optimizer_variables = self.task.optimizer.variables
        _assign(optimizer_variables, arrays[: len(optimizer_variables)])
        arrays = arrays[len(optimizer_variables) :]
        self.start = (state["epoch"], state["step"])
        self.log.history = state["history"]
        self.metrics_then = arrays[: state["num_metrics"]]
        self.best.load_state(state["best"], arrays[state["num_metrics"] :])
        if self.metrics_then:  # metrics have variables once they were used
            self.trainer.evaluate(self.data.build(start=(0, 0)), steps=1, verbose=0)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        if self.metrics_then:
            _assign(self.task.metrics_variables, self.metrics_then)
            self.metrics_then = []

    def on_train_batch_end(self, batch, logs=None):
        step = self.data.steps_per_epoch - self.params["steps"] + batch + 1
        if not self.checkpoints or step == self.data.steps_per_epoch:
            return
        if self.checkpoints.is_due(self.checkpoint_seconds):
            self._save(self.epoch, step, self.task.metrics_variables)

    def on_epoch_end(self, epoch, logs=None):
        ends = epoch + 1 == self.phase.epochs or self.task.stop_training
        if self.checkpoints and not ends:
            self._save(epoch + 1, 0, [])

    def _save(self, epoch, step, metrics_variables):
        best, weights = self.best.state()
        state = {
            "records": self.records,
            "epoch": epoch,
            "step": step,
            "history": self.log.history,
            "best": best,
            "num_metrics": len(metrics_variables),
        }
        variables = [*self.task.variables, *self.task.optimizer.variables, *metrics_variables]
        number = (self.first_epoch + epoch) * self.data.steps_per_epoch + step
        self.checkpoints.save(number, state, [*_arrays(variables), *weights])


def _arrays(variables):
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def _assign(variables, arrays):
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
