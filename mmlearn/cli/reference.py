"""Writes the reference of commands, flags and components: `python -m mmlearn.cli.reference`.

The page is made of what the command line itself is made of: the dataclasses with the strings under their
fields, the registries, and the first lines of the docstrings of what is in them.
"""

import ast
import dataclasses
import importlib
import inspect
import itertools
import json
import os
import textwrap
import types
import typing

import data_prep.__main__ as data_prep
from data_prep.features import MODALITIES
from data_prep.names import parameters
from data_prep.options import Options
from mmlearn.cli.list import KINDS, registry
from mmlearn.cli.main import VERBS
from mmlearn.experiments import EXPERIMENTS
from mmlearn.experiments.config import Experiment
from mmlearn.training.phase import TrainingPhase

PAGE = os.path.join(os.path.dirname(__file__), "README.md")
_FLAG_COLUMNS = ("flag", "type", "default", "meaning")
_WITH_OPTIONS = ("encoders", "fusions", "sources")
# What flags of their own say, or the data.
_OF_FLAGS = ("weights", "image_size", "max_chunks", "vocabulary", "num_samples")
_HEAD = """# Commands and flags

Written from the code by `python -m mmlearn.cli.reference`. `python -m mmlearn COMMAND --help` shows the same of one command; where an experiment has flags, `--help GROUP` those of a group (data, model, training ...).

- [Commands](#commands)
- [Flags of an experiment](#flags-of-an-experiment): of `train`, `tune`, `ablate`, `prune`, `distill` and `config show`
- [Experiments](#experiments)
- [Components](#components): what a flag can name, with the options of each"""


def make_page():
    """Returns the page, a Markdown string."""
    parts = [_HEAD, *_commands(), *_experiment_flags(), *_experiments(), *_components()]
    return "\n\n".join(parts) + "\n"


def describe_fields(cls):
    """Reads the strings under the fields of a dataclass, also of those that it inherits.

    Args:
        cls: a dataclass that is defined in a file.

    Returns:
        A dict of field name to a string without line breaks, "" where there is none.

    Example:

    >>> from mmlearn.experiments.config import FusionConfig
    >>> describe_fields(FusionConfig)["name"]
    '`python -m mmlearn list fusions`.'
    """
    found = {field.name: "" for field in dataclasses.fields(cls)}
    for each in filter(dataclasses.is_dataclass, reversed(cls.__mro__)):
        body = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0].body
        for statement, following in itertools.pairwise(body):
            if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
                found[statement.target.id] = " ".join(following.value.value.split())
    return found


def find_options(verb):
    """Returns the dataclass of the options of a command.

    Args:
        verb: str, one of `VERBS`.

    Returns:
        The class of that name in the command's file; `None` for `config`, which has those of `train`.
    """
    return getattr(importlib.import_module(f"mmlearn.cli.{verb}"), verb.capitalize(), None)


def _commands():
    yield "## Commands"
    for verb, what in VERBS.items():
        usage = importlib.import_module(f"mmlearn.cli.{verb}").__doc__.strip().splitlines()[0]
        options = find_options(verb)
        about = inspect.getdoc(options) if options else f"To {what}."
        yield f"### mmlearn {verb}\n\n{usage}\n\n{about}"
        if options:
            yield _table(_FLAG_COLUMNS, _flags(options))
        if options is None or typing.get_type_hints(options).get("experiment") is Experiment:
            yield "And the [flags of an experiment](#flags-of-an-experiment)."
    for command, what in data_prep.COMMANDS.items():
        options = getattr(data_prep, command.capitalize())
        yield f"### data_prep {command}\n\n`python -m data_prep {command}`: {what}."
        yield _table(_FLAG_COLUMNS, _flags(options))


def _experiment_flags():
    yield (
        "## Flags of an experiment\n\nDefaults are those of the dataclasses in "
        "[`mmlearn/experiments/config.py`](../experiments/config.py); an experiment has its own, which "
        "`python -m mmlearn config show EXPERIMENT` prints."
    )
    hints = typing.get_type_hints(Experiment)
    plain = [field for field in dataclasses.fields(Experiment) if not _is_config(hints[field.name])]
    yield _table(_FLAG_COLUMNS, _flags(Experiment, only=plain))
    for field in dataclasses.fields(Experiment):
        if _is_config(hints[field.name]):
            cls = hints[field.name]
            yield f"### {field.name.capitalize()}\n\n{inspect.getdoc(cls)}"
            rows = list(_flags(cls, f"{field.name}."))
            yield _table(_FLAG_COLUMNS, rows)
    yield f"### Phases\n\n{inspect.getdoc(TrainingPhase)} `N` counts from 0."
    rows = _flags(TrainingPhase, "training.phases.N.")
    yield _table(_FLAG_COLUMNS, rows)


def _experiments():
    yield "## Experiments"
    rows = []
    for name, experiment in EXPERIMENTS.items():
        module = importlib.import_module(f"mmlearn.experiments.{name}")
        model = experiment.model
        used = [getattr(model, modality).name for modality in model.modalities]
        epochs = " + ".join(str(phase.epochs) for phase in experiment.training.phases)
        about = module.__doc__.strip().split("\n\n")[0]
        rows.append((f"`{name}`", about, experiment.data.source, ", ".join(used), epochs))
    yield _table(("name", "what it is", "source", "encoders", "epochs"), rows)


def _components():
    yield "## Components\n\nOptions are written `NAME=VALUE`: `--model.fusion.options num_heads=4`."
    for kind in KINDS:
        if kind == "experiments":
            continue
        yield f"### {kind.capitalize()}"
        found = registry(kind)
        if kind != "encoders":
            yield _component_table(kind, found)
            continue
        for modality in MODALITIES:
            yield f"{modality.capitalize()}:\n\n{_component_table(kind, found[modality])}"
        yield "Images also by any image preset of KerasHub: `python -m mmlearn list encoders`."


def _component_table(kind, components):
    if not isinstance(components, dict):
        return ", ".join(f"`{name}`" for name in components)
    rows = []
    for name, component in sorted(components.items()):
        component = _documented(component)
        options = _options(component) if kind in _WITH_OPTIONS else ""
        rows.append((f"`{name}`", _about(component), options))
    if kind in _WITH_OPTIONS:
        return _table(("name", "what it is", "options"), rows)
    return _table(("name", "what it is"), [row[:2] for row in rows])


def _documented(component):
    """What says in its docstring what a component is."""
    if isinstance(component, tuple):  # a source: its module and class, loaded on use
        return getattr(importlib.import_module(component[0]), component[1])
    if isinstance(component, dict):  # a loss, by the activation of the head
        return next(iter(component.values()))
    return getattr(component, "task", component)  # of an objective, or a kind of task


def _flags(cls, prefix="", only=None):
    """Yields a row per flag; fields that are dataclasses are followed, those of phases are not."""
    hints, meanings = typing.get_type_hints(cls, include_extras=True), describe_fields(cls)
    for field in only or dataclasses.fields(cls):
        plain = typing.get_type_hints(cls)[field.name]
        if plain is Experiment or field.name == "phases":
            continue
        hint = hints[field.name]
        extras = str(getattr(hint, "__metadata__", ()))
        if _is_config(plain):
            yield from _flags(
                plain, prefix if "OmitArgPrefixes" in extras else f"{prefix}{field.name}."
            )
            continue
        flag = f"`--{prefix}{field.name}`".replace("_", "-")
        if plain is bool:
            flag += f", `--{prefix}no-{field.name}`".replace("_", "-")
        if "Positional" in extras:
            flag = f"`{field.name.upper()}`"
        yield flag, _type(hint, plain), _default(field), meanings[field.name]


def _is_config(kind):
    return dataclasses.is_dataclass(kind)


def _type(hint, plain):
    if hint == Options or typing.get_origin(plain) is dict:
        return "NAME=VALUE ..." if hint == Options else "NAME VALUE ..."
    if isinstance(plain, types.UnionType):
        plain = next(each for each in typing.get_args(plain) if each is not types.NoneType)
    if typing.get_origin(plain) is typing.Literal:
        return " or ".join(f"`{each}`" for each in typing.get_args(plain))
    if typing.get_origin(plain) is tuple:
        return f"{typing.get_args(plain)[0].__name__} ..."
    return plain.__name__


def _default(field):
    value = field.default
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    if value is dataclasses.MISSING:
        return "needed"
    if value is None or value in ((), {}):
        return ""
    if isinstance(value, dict):
        return " ".join(f"`{name}={json.dumps(each)}`" for name, each in value.items())
    if isinstance(value, tuple):
        return " ".join(f"`{each}`" for each in value)
    return f"`{json.dumps(value) if isinstance(value, bool) else value}`"


def _about(component):
    if component is None:
        return "What the task itself learns."
    if component.__module__.startswith("keras."):  # whose words change with its versions
        return f"Keras' `{component.__name__}`."
    return inspect.getdoc(component).split("\n\n")[0]


def _options(component):
    # What has no default is said by the data.
    found = {n: p.default for n, p in parameters(component).items() if p.default is not p.empty}
    return " ".join(f"`{n}={_shown(d)}`" for n, d in found.items() if n not in _OF_FLAGS)


def _shown(value):
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    cells = ([" ".join(str(cell).split()).replace("|", r"\|") for cell in row] for row in lines)
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


if __name__ == "__main__":
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(make_page())
    print(PAGE)
