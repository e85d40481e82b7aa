"""What a search varies: words such as `model.dropout=0:0.5`. Imports nothing heavy."""

import dataclasses
import json
import math
import types
import typing
from dataclasses import dataclass

from data_prep.names import find
from mmlearn.experiments.config import NOT_IN_RESULTS
from mmlearn.experiments.values import with_values

_NUMBERS = (int, float)
# What must stay, or the trials could not be compared, and what decides nothing.
_FIXED = ("name", "output", "folds", "cache", "unlabeled")
_FIXED_DATA = (
    *("source", "root", "options", "val_fraction", "num_folds", "fold", "stratify", "split_seed"),
    "max_unreadable",
)
_FIXED_TRAINING = (*NOT_IN_RESULTS, "strategy", "num_replicas")


@dataclass(frozen=True)
class Parameter:
    """One value of an experiment that is searched: a range, or choices.

    Attributes:
        path: str, its place in the experiment, such as `training.phases.2.learning_rate`.
        low: int or float, or `None` where there are choices. The type is that of the values.
        high: likewise; included.
        log: bool. Whether the logarithm is drawn evenly, as suits rates.
        choices: tuple of `None`, bool, int, float or str.
    """

    path: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple = ()


def default_space(experiment):
    """The words of a space that suits any experiment: rates and dropout.

    Args:
        experiment: `Experiment`.
    """
    rates = [
        f"training.phases.{number}.learning_rate={phase.learning_rate / 10:g}:"
        f"{phase.learning_rate * 10:g}:log"
        for number, phase in enumerate(experiment.training.phases)
        if phase.epochs > 0 and phase.learning_rate > 0
    ]
    if experiment.continual.model or experiment.pruning.model:  # the model is then that one
        return tuple(rates)
    return (*rates, "model.dropout=0:0.5", "model.modality_dropout=0:0.3")


def read_space(words, experiment):
    """Reads the words of a space.

    Args:
        words: iterable of str: `PATH=LOW:HIGH`, `PATH=LOW:HIGH:log` or `PATH=VALUE,VALUE,...`.
        experiment: `Experiment`. What the paths lead through.

    Returns:
        A tuple of `Parameter`.

    Raises:
        ValueError: when a path leads nowhere, or a value does not fit there.
    """
    space = []
    for word in words:
        path, equals, text = word.partition("=")
        if not equals or not path or not text:
            raise ValueError(
                f"A word of the space must read PATH=LOW:HIGH, PATH=LOW:HIGH:log or "
                f"PATH=VALUE,VALUE. Received: {word!r}."
            )
        path = path.replace("-", "_")  # as the flags are written
        if path in [parameter.path for parameter in space]:
            raise ValueError(f"{path!r} is in the space twice. Fix: leave one of them out.")
        parameter = _read_parameter(path, text, _kinds(experiment, path))
        for value in parameter.choices or (parameter.low, parameter.high):
            with_values(experiment, {path: value})  # phases check their values
        space.append(parameter)
    if not space:
        raise ValueError("The space is empty. Fix: pass --space PATH=LOW:HIGH.")
    return tuple(space)


def _kinds(experiment, path):
    """Returns the types that the value at a path may have; `(Any,)` for an option."""
    here, kind, parts = experiment, type(experiment), path.split(".")
    for depth, part in enumerate(parts):
        where = ".".join(parts[:depth])
        if dataclasses.is_dataclass(here):
            kind = find(part, _settings(here, where), f"setting of {where or 'the experiment'}")
            here = getattr(here, part)
        elif isinstance(here, tuple):
            find(part, [str(number) for number in range(len(here))], f"number in {where}")
            here, kind = here[int(part)], type(here[int(part)])
        elif isinstance(here, dict):
            here, kind = here.get(part), typing.get_args(kind)[1]
        else:
            raise ValueError(
                f"{where!r} of the space has no parts. Received: {path!r}. Fix: {where}."
            )
    if dataclasses.is_dataclass(here) or isinstance(here, (tuple, dict)):
        parts = range(len(here)) if isinstance(here, tuple) else here
        parts = _settings(here, path) if dataclasses.is_dataclass(here) else parts
        raise ValueError(
            f"{path!r} is no single value. Fix: name a part of it: "
            f"{', '.join(f'{path}.{part}' for part in parts) or f'{path}.NAME'}."
        )
    return typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)


def _settings(here, where):
    """The fields of a config that may be searched: dict of name to type."""
    fixed = {"": _FIXED, "data": _FIXED_DATA, "training": _FIXED_TRAINING}.get(where, ())
    return {n: kind for n, kind in typing.get_type_hints(type(here)).items() if n not in fixed}


def _read_parameter(path, text, kinds):
    is_numeric = typing.Any in kinds or set(kinds) & set(_NUMBERS)
    ends = text.split(":")
    if len(ends) == 1 or not is_numeric:
        words = list(dict.fromkeys(text.split(",")))
        return Parameter(path, choices=tuple(_read_value(path, word, kinds) for word in words))
    is_log = len(ends) == 3 and ends[2] == "log"
    if len(ends) != 2 and not is_log:
        raise ValueError(f"A range must read LOW:HIGH or LOW:HIGH:log. Received: {path}={text}.")
    numeric = tuple(kind for kind in kinds if kind in (*_NUMBERS, typing.Any))
    low, high = (_read_value(path, end, numeric) for end in ends[:2])
    for end in (low, high):
        if isinstance(end, bool) or not isinstance(end, _NUMBERS):
            raise ValueError(f"The ends of a range must be numbers. Received: {path}={text}.")
    if not low < high or (is_log and low <= 0):
        raise ValueError(
            f"The range of {path!r} must be from a smaller to a larger number"
            f"{', above 0 with `log`' if is_log else ''}. Received: {text}."
        )
    if {type(low), type(high)} != {int}:
        low, high = float(low), float(high)
    return Parameter(path, low, high, is_log)


def _read_value(path, text, kinds):
    if types.NoneType in kinds and text == "none":
        return None
    if typing.Any in kinds:
        try:
            value = json.loads(text)  # numbers, true, false
        except json.JSONDecodeError:
            return text
        return text if isinstance(value, (list, dict)) else value
    if bool in kinds and text in ("true", "false"):
        return text == "true"
    for kind in _NUMBERS:
        if kind in kinds:
            try:
                value = kind(text)
            except ValueError:
                continue
            if math.isfinite(value):
                return value
    if str in kinds and text:
        return text
    wanted = " or ".join("none" if kind is types.NoneType else kind.__name__ for kind in kinds)
    raise ValueError(f"{path!r} of the space must be {wanted}. Received: {text!r}.")
