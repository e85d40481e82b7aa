"""An experiment with other values, each named by its path. Imports nothing heavy."""

import dataclasses

from data_prep.names import find


def with_values(experiment, values):
    """Returns an experiment with other values.

    Args:
        experiment: `Experiment`.
        values: dict of path to value. A path is what a flag is called, with `_` for `-` and with the
            number of a phase: `"training.phases.1.learning_rate"`, `"model.fusion.options.num_layers"`.

    Raises:
        ValueError: when a path leads nowhere.

    Example:

    >>> from mmlearn import experiments
    >>> longer = with_values(experiments.get("shapes"), {"training.phases.0.epochs": 9})
    >>> longer.training.phases[0].epochs
    9
    """
    for path, value in values.items():
        experiment = _replace(experiment, path.split("."), 0, value)
    return experiment


def _replace(here, parts, depth, value):
    """`here`, which the first `depth` of the parts lead to, with the value that the others lead to."""
    if depth == len(parts):
        return value
    part, where = parts[depth], ".".join(parts[:depth]) or "the experiment"
    if dataclasses.is_dataclass(here):
        find(part, [field.name for field in dataclasses.fields(here)], f"setting of {where}")
        return dataclasses.replace(
            here, **{part: _replace(getattr(here, part), parts, depth + 1, value)}
        )
    if isinstance(here, tuple):
        find(part, [str(number) for number in range(len(here))], f"number in {where}")
        place = int(part)
        return (
            *here[:place],
            _replace(here[place], parts, depth + 1, value),
            *here[place + 1 :],
        )
    if isinstance(here, dict):
        return {**here, part: _replace(here.get(part), parts, depth + 1, value)}
    raise ValueError(f"{where!r} has no parts. Received: {'.'.join(parts)!r}. Fix: {where}.")
