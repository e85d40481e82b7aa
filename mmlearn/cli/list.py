"""`python -m mmlearn list fusions | encoders | losses | objectives | sources | experiments | ...`."""

import importlib
from dataclasses import dataclass

import tyro

from data_prep.names import find
from data_prep.quiet import quiet_start
from data_prep.sources import SOURCES
from mmlearn.experiments import EXPERIMENTS

KINDS = (
    *("augmentations", "consistencies", "encoders", "experiments", "fusions", "loggers", "losses"),
    *("objectives", "sources", "tasks"),
)


@dataclass(frozen=True)
class List:
    """Lists what can be named in a config: augmentations, encoders, losses and so on."""

    kind: tyro.conf.Positional[str]


def run(args):
    """Prints the names, one a line; encoders a line per modality."""
    kind = find(tyro.cli(List, prog="python -m mmlearn list", args=args).kind, KINDS, "kind")
    found = registry(kind)
    if kind == "encoders":
        names = [f"{modality}: {', '.join(sorted(each))}" for modality, each in found.items()]
    elif kind == "experiments":
        names = [f"{name:<18} {_summary(name)}" for name in sorted(found)]
    else:
        names = sorted(found)
    print("\n".join(names))


def _summary(experiment):
    """The first line of what the module of an experiment says of it."""
    module = importlib.import_module(f"mmlearn.experiments.{experiment}")
    return module.__doc__.partition("\n")[0]


def registry(kind):
    """Returns what there is of a kind.

    Args:
        kind: str, one of `KINDS`.

    Returns:
        A dict of name to component; of encoders a dict of such dicts by modality.
    """
    if kind == "experiments":
        return EXPERIMENTS
    if kind == "sources":
        return SOURCES
    with quiet_start():
        from data_prep.augment import AUGMENTATIONS
        from data_prep.mix import MIXES
        from mmlearn.encoders import ENCODERS
        from mmlearn.encoders.image_presets import PRESETS
        from mmlearn.experiments.tasks import TASKS
        from mmlearn.fusions import FUSIONS
        from mmlearn.losses import classification, regression
        from mmlearn.losses.consistency import CONSISTENCIES
        from mmlearn.training.loggers import LOGGERS
        from mmlearn.training.objectives import OBJECTIVES
    return {
        "augmentations": {**AUGMENTATIONS, **MIXES},
        "consistencies": CONSISTENCIES,
        "encoders": {**ENCODERS, "images, presets of KerasHub": PRESETS},
        "fusions": FUSIONS,
        "loggers": LOGGERS,
        "losses": {**classification.LOSSES, **regression.LOSSES},
        "objectives": OBJECTIVES,
        "tasks": TASKS,
    }[kind]
