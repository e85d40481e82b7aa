"""Runs a list of phases through `fit`, from the last checkpoint on."""

import keras
import numpy as np

from data_prep.features import MODALITIES
from mmlearn.models.steps import check_micro_batches
from mmlearn.training import objectives
from mmlearn.training.callbacks import AverageWeights, BestEpoch, EpochLog, StopOnNaN
from mmlearn.training.hosts import make_trainer, share_checkpoints
from mmlearn.training.low_rank import add_updates, merge_updates
from mmlearn.training.optimizers import build_optimizer, unwrap

CHECKPOINT_SECONDS = 300


def run_phases(
    task,
    phases,
    data,
    validation_dataset=None,
    checkpoints=None,
    checkpoint_seconds=CHECKPOINT_SECONDS,
    feature_cache=None,
    callbacks=(),
    loggers=(),
    unlabeled=None,
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
        validation_dataset: dataset of `(x, y, sample_weight)`, or `None` for the one of `data`, if
            it has one.
        checkpoints: `Checkpoints`, or `None`. The newest one there is where training goes on. On
            several hosts the chief's count, and the others may pass `None`.
        checkpoint_seconds: float. Time between two checkpoints within an epoch.
        feature_cache: `FeatureCache`, where phases store the features of encoders that they freeze;
            or `None`. Not used with a `validation_dataset` of your own.
        callbacks: iterable of functions from a phase to a `keras.callbacks.Callback`.
        loggers: iterable of `mmlearn.training.loggers.Logger`. They get what the callbacks add to
            the logs as well.
        unlabeled: `SourceData` that phases with another objective than labels read, or `None` for
            `data`. They are validated on its own validation split.

    Returns:
        A list of dicts, one per phase: `name`, `history` (dict of metric name to a list with one
        float per epoch) and `stored_features`, the modalities whose features were stored.

    Raises:
        ValueError: when the Keras backend cannot do what a phase asks for, a phase's objective is
            unknown, or model or data lack what it needs.
        FloatingPointError: when the loss becomes NaN or infinite; names the examples that hold one.

    Reference:
        The phases are section 3.2 of the methodology document.
    """
    phases = [phase for phase in phases if phase.epochs > 0]
    check_phases(phases)
    objectives.check(phases, task, data, unlabeled)
    if any(phase.learn_loss_weights for phase in phases):
        task.learn_loss_weights(True)  # now: they are among the variables of every checkpoint
    checkpoints = share_checkpoints(task, checkpoints)
    checkpoint = checkpoints.latest() if checkpoints else None
    records = checkpoint.state["records"] if checkpoint else []
    variables = list(task.variables)  # a phase may have more of its own, and leaves these
    if checkpoint:
        _assign(variables, checkpoint.arrays[: len(variables)])
    feature_cache = None if validation_dataset is not None else feature_cache
    # Checkpoints are numbered as if all epochs were as long as the longest.
    longest = max(data.steps_per_epoch, unlabeled.steps_per_epoch if unlabeled else 0)
    for number, phase in enumerate(phases[len(records) :], start=len(records)):
        first_epoch = sum(earlier.epochs for earlier in phases[:number])
        # What was stored before an interruption must be again, or training would not go on exactly.
        only = checkpoint.state.get("stored_features") if checkpoint else None
        has_labels = phase.objective == objectives.LABELS
        try:
            if has_labels:
                learner, phase_data = _prepare(task, phase, data, feature_cache, only)
            else:
                learner, phase_data = _prepare_unlabeled(task, phase, data, unlabeled)
            run = _PhaseRun(
                learner,
                variables,
                phase,
                phase_data,
                first_epoch,
                records,
                checkpoints,
                checkpoint_seconds,
                longest,
            )
            if checkpoint and "epoch" in checkpoint.state:
                run.load(checkpoint)
            checkpoint = None
            own = validation_dataset is None or not has_labels
            validation = phase_data.validation() if own else validation_dataset
            history = run.fit(validation, callbacks, loggers)
        finally:  # also of an interrupted phase, which may be begun again
            if phase.lora_rank is not None:
                _merge_updates(task)
        stored = list(phase_data.places)
        records.append({"name": phase.name, "history": history, "stored_features": stored})
        if checkpoints:
            end = (first_epoch + phase.epochs) * longest
            checkpoints.save(end, {"records": records}, _arrays(variables))
    task.set_trainable(["all"])
    return records


def check_phases(phases):
    """Checks that all phases can be run, before the first one has taken its hours.

    Args:
        phases: iterable of `TrainingPhase`.

    Raises:
        ValueError: when it cannot.
    """
    for phase in phases:
        check_micro_batches(phase.micro_batches)
        trains_encoder = any(
            name in ("all", "encoders", *MODALITIES) or name.endswith("_encoder")
            for name in phase.trainable
        )
        if phase.lora_rank is not None and (phase.trainable_blocks or not trains_encoder):
            raise ValueError(
                f"`lora_rank` of phase {phase.name!r} needs encoders that are trained as a whole. "
                f"Received: trainable={phase.trainable}, trainable_blocks={phase.trainable_blocks}. "
                "Fix: add 'encoders' to `trainable`, or leave `lora_rank` out."
            )
        if phase.trainable_blocks and {"all", "encoders"} & set(phase.trainable):
            raise ValueError(
                f"`trainable_blocks` of phase {phase.name!r} is of encoders that are not in `trainable`, "
                f"which has all of them. Received: trainable={phase.trainable}, "
                f"trainable_blocks={phase.trainable_blocks}. Fix: leave one of the two out."
            )


def _prepare(task, phase, data, feature_cache, only):
    """Returns what is to be fitted, compiled, and its data: the task, or one on stored features."""
    task.set_trainable(phase.trainable, phase.trainable_blocks)
    task.learn_loss_weights(phase.learn_loss_weights)
    if phase.lora_rank is not None:
        _add_updates(task, phase)
    data = data.for_phase(phase)
    learners = [task]
    prepared = feature_cache.prepare(task, phase, data, only) if feature_cache else None
    if prepared:
        learner, data = prepared
        learners.append(learner)
    for learner in learners:  # the task as well, so that it can be evaluated afterwards
        learner.compile(
            optimizer=build_optimizer(learner, phase, data.steps_per_epoch),
            loss=learner.losses_named(phase.loss, phase.label_smoothing),
            loss_weights=phase.loss_weights,
            learn_loss_weights=phase.learn_loss_weights,
            micro_batches=phase.micro_batches,
        )
    learner.optimizer.build(learner.trainable_variables)
    return learner, data


def _prepare_unlabeled(task, phase, data, unlabeled):
    """Returns what trains the encoders of the task, compiled, and its data."""
    learner, data = objectives.prepare(task, phase, data, unlabeled)
    if phase.lora_rank is not None:
        _add_updates(task, phase)
    optimizer = build_optimizer(learner, phase, data.steps_per_epoch)
    learner.compile(optimizer, micro_batches=phase.micro_batches)
    learner.optimizer.build(learner.trainable_variables)
    return learner, data


def _add_updates(task, phase):
    for encoder in task.backbone.encoders.values():
        if encoder.trainable:
            add_updates(encoder, phase.lora_rank)


def _merge_updates(task):
    """Leaves the task with the variables it had."""
    for encoder in task.backbone.encoders.values():
        merge_updates(encoder)
    # What was traced with the updates.
    task.train_function = task.test_function = task.predict_function = None


class _PhaseRun(keras.callbacks.Callback):
    """One phase; as a callback, it saves where the phase is.

    Args:
        learner: what is fitted: the task, or a model that shares what is trained.
        variables: list of the variables of the task, which are saved first.
        phase: `TrainingPhase`.
        data: the `TrainingData` of the learner.
        first_epoch: int. That of the phase, counted over all phases.
        records: list of the records of the earlier phases.
        checkpoints: `Checkpoints` or `None`.
        checkpoint_seconds: float.
        longest: int. The steps of the longest epoch of all phases.
    """

    def __init__(
        self,
        learner,
        variables,
        phase,
        data,
        first_epoch,
        records,
        checkpoints,
        checkpoint_seconds,
        longest,
    ):
        super().__init__()
        self.learner = learner
        known = {id(variable) for variable in variables}
        own = [variable for variable in learner.variables if id(variable) not in known]
        self.variables = [*variables, *own, *learner.optimizer.variables]
        self.phase = phase
        self.data = data
        self.first_epoch = first_epoch
        self.records = records
        self.checkpoints = checkpoints
        self.checkpoint_seconds = checkpoint_seconds
        self.longest = longest
        self.best = BestEpoch(phase)
        self.log = EpochLog()
        self.start = (0, 0)
        self.metrics_then = []
        self.trainer = make_trainer(learner)

    def fit(self, validation_dataset, callbacks=(), loggers=()):
        """Trains to the end of the phase and returns its history."""
        used = [StopOnNaN(self.phase, self.data, self.first_epoch)]
        used += [*(make(self.phase) for make in callbacks), self.best]
        if self.phase.ema_momentum is not None:
            used.append(AverageWeights())
        so_far = [*self.records, {"name": self.phase.name, "history": self.log.history}]
        for logger in loggers:
            logger.records = so_far
        used += [self.log, *loggers, self]
        epoch, step = self.start
        # The rest of an epoch that was begun, then whole ones.
        segments = [(epoch, epoch + 1, step), (epoch + 1, self.phase.epochs, 0)]
        segments = segments if step else [(epoch, self.phase.epochs, 0)]
        self.learner.stop_training = False
        for first, end, step in segments:
            if first < end and not self.learner.stop_training:
                try:
                    self.trainer.fit(
                        self.data.build(start=(self.first_epoch + first, step)),
                        validation_data=validation_dataset,
                        initial_epoch=first,
                        epochs=end,
                        steps_per_epoch=self.data.steps_per_epoch - step,
                        verbose=0,
                        callbacks=used,
                    )
                finally:
                    self._fill_variables()
        if self.phase.ema_momentum is not None:
            unwrap(self.learner.optimizer).take_average(self.learner.trainable_variables)
        self.best.restore()
        return self.log.history

    def load(self, checkpoint):
        """Takes the state of the phase from a checkpoint."""
        state, arrays = checkpoint.state, checkpoint.arrays[len(self.variables) :]
        _assign(self.variables, checkpoint.arrays[: len(self.variables)])
        self.start = (state["epoch"], state["step"])
        self.log.history = state["history"]
        self.metrics_then = arrays[: state["num_metrics"]]
        self.best.load_state(state["best"], arrays[state["num_metrics"] :])
        if self.metrics_then:  # metrics have variables once they were used
            self.trainer.evaluate(self.data.build(start=(0, 0)), steps=1, verbose=0)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        if self.metrics_then:
            _assign(self.learner.metrics_variables, self.metrics_then)
            self.metrics_then = []

    def on_train_batch_end(self, batch, logs=None):
        step = self.data.steps_per_epoch - self.params["steps"] + batch + 1
        if not self.checkpoints or step == self.data.steps_per_epoch:
            return
        if self.checkpoints.is_due(self.checkpoint_seconds):
            self._fill_variables()
            self._save(self.epoch, step, self.learner.metrics_variables)

    def on_epoch_end(self, epoch, logs=None):
        ends = epoch + 1 == self.phase.epochs or self.learner.stop_training
        if self.checkpoints and not ends:
            self._save(epoch + 1, 0, [])

    def _fill_variables(self):
        if keras.config.backend() == "jax":  # they are empty within an epoch
            self.learner.jax_state_sync()

    def _save(self, epoch, step, metrics_variables):
        best, weights = self.best.state()
        state = {
            "records": self.records,
            "epoch": epoch,
            "step": step,
            "history": self.log.history,
            "stored_features": list(self.data.places),
            "best": best,
            "num_metrics": len(metrics_variables),
        }
        arrays = _arrays([*self.variables, *metrics_variables])
        number = (self.first_epoch + epoch) * self.longest + step
        self.checkpoints.save(number, state, [*arrays, *weights])


def _arrays(variables):
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def _assign(variables, arrays):
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
