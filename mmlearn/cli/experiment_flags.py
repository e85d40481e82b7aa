"""The flags of an experiment on the command line, and their help, a group at a time."""

import dataclasses
import inspect
import typing
from typing import Annotated

import tyro

from data_prep.names import find
from mmlearn.experiments.config import Experiment

HELP = ("-h", "--help")
ALL = "all"


def parse_flags(kind, verb, default, args, shown=()):
    """Reads the options of a command that takes the flags of an experiment.

    There are some 150 flags. `--help` shows the command's own and the groups of the others, `--help GROUP`
    one group, `--help all` all.

    Args:
        kind: dataclass of the options, with an `experiment`.
        verb: str. The command, for its help.
        default: an instance of `kind`, or `None` where only the help can follow.
        args: list of str.
        shown: tuple of str. Groups that `--help` shows of itself.

    Returns:
        An instance of `kind`.

    Raises:
        ValueError: when the help of a group that does not exist is asked for.
    """
    description = None
    if asked := [place for place, word in enumerate(args) if word in HELP]:
        args, after = args[asked[0] : asked[0] + 1], args[asked[0] + 1 :]
        if after and not after[0].startswith("-"):
            shown = (find(after[0], (*_groups(), ALL), "group of flags"),)
        if ALL not in shown:
            description = _describe(kind, verb)
            kind, default = _with_groups(kind, default, shown)
    return tyro.cli(
        kind,
        prog=f"python -m mmlearn {verb}",
        description=description,
        default=default,
        args=args,
        config=(tyro.conf.AvoidSubcommands,),
    )


def _groups():
    """The configs that an experiment is made of: dict of name to dataclass."""
    hints = typing.get_type_hints(Experiment)
    return {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}


def _describe(kind, verb):
    lines = [
        inspect.getdoc(kind),
        "",
        f"Groups of flags, of which `{verb} --help GROUP` shows one:",
    ]
    for name, group in _groups().items():
        lines.append(f"  {name:<14}{inspect.getdoc(group).splitlines()[0]}")
    return "\n".join([*lines, f"  {ALL:<14}Every group."])


def _with_groups(kind, default, shown):
    """The same options, of whose groups only those of these names are in the help."""
    experiment = _annotated(
        Experiment,
        {
            name: hint if name in shown else tyro.conf.Suppress[hint]
            for name, hint in _groups().items()
        },
    )
    metadata = typing.get_type_hints(kind, include_extras=True)["experiment"].__metadata__
    if default is not None:
        values = {
            field.name: getattr(default.experiment, field.name)
            for field in dataclasses.fields(Experiment)
        }
        default = dataclasses.replace(default, experiment=experiment(**values))
    return _annotated(kind, {"experiment": Annotated[(experiment, *metadata)]}), default


def _annotated(cls, hints):
    """A dataclass like this one, whose fields of these names have other types."""
    names = {"__annotations__": hints, "__module__": cls.__module__, "__doc__": cls.__doc__}
    return dataclasses.dataclass(frozen=True)(type(cls.__name__, (cls,), names))
