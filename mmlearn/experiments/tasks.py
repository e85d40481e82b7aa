"""The kinds of tasks. `TASKS` maps each name to its `TaskKind`."""

from data_prep.names import find
from mmlearn.experiments.answering import ANSWERING
from mmlearn.experiments.captioning import CAPTIONING
from mmlearn.experiments.prediction import PREDICTION
from mmlearn.experiments.retrieval import RETRIEVAL

TASKS = {
    "answering": ANSWERING,
    "captioning": CAPTIONING,
    "prediction": PREDICTION,
    "retrieval": RETRIEVAL,
}


def get(name):
    """Returns the `TaskKind` of that name."""
    return find(name, TASKS, "task")


def kind_of(task):
    """Returns the `TaskKind` of a task, that of the nearest of its classes.

    Args:
        task: a task.
    """
    kinds = {kind.task: kind for kind in TASKS.values()}
    return next(kinds[cls] for cls in type(task).__mro__ if cls in kinds)
