"""Runs a list of phases through `fit`."""

import keras

from mmlearn.training.callbacks import StopOnNaN


def run_phases(task, phases, train_dataset, validation_dataset, steps_per_epoch=None, callbacks=()):
    """Trains a task phase by phase. Call it under the scope of the task's strategy, if any.

    Each phase makes its parts trainable, compiles anew with AdamW under a cosine schedule with
    warm-up, and fits. Afterwards every part is trainable again, as presets and further training
    expect.

    Args:
        task: a task.
        phases: iterable of `TrainingPhase`.
        train_dataset: dataset of `(x, y, sample_weight)` of known length, or endless.
        validation_dataset: likewise.
        steps_per_epoch: int. Needed when the training dataset is endless.
        callbacks: iterable of functions from a phase to a `keras.callbacks.Callback`.

    Returns:
        A list of dicts, one per phase: `name` and `history` (dict of metric name to a list with one
        float per epoch).

    Raises:
        FloatingPointError: when the loss becomes NaN or infinite.

    Reference:
        Loshchilov and Hutter, "SGDR", 2017, equation 5 (cosine) and "Decoupled Weight Decay
        Regularization", 2019 (AdamW); the phases are section 3.2 of the methodology document.
    """
    records = []
    for phase in phases:
        if phase.epochs == 0:
            continue
        steps = max(phase.epochs * (steps_per_epoch or len(train_dataset)), 1)
        warmup_steps = min(round(steps * phase.warmup_fraction), steps - 1)
        schedule = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup_steps else phase.learning_rate,
            decay_steps=steps - warmup_steps,
            warmup_target=phase.learning_rate if warmup_steps else None,
            warmup_steps=warmup_steps,
        )
        task.set_trainable(phase.trainable)
        task.compile(
            optimizer=keras.optimizers.AdamW(schedule, weight_decay=phase.weight_decay),
            loss_weights=phase.loss_weights,
        )
        history = task.fit(
            train_dataset,
            validation_data=validation_dataset,
            epochs=phase.epochs,
            steps_per_epoch=steps_per_epoch,
            verbose=0,
            callbacks=[StopOnNaN(phase), *(make(phase) for make in callbacks)],
        ).history
        records.append({"name": phase.name, "history": history})
    task.set_trainable(["all"])
    return records
