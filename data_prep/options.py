"""Options of a named component, written as `name=value` words on a command line."""

import json
from typing import Annotated, Any

import tyro


def read_options(words):
    """Reads `name=value` words into a dict; values may be numbers, `true`, `false` or strings.

    Example:
    >>> read_options(["num_layers=2", "combine=concat"])
    {'num_layers': 2, 'combine': 'concat'}
    """
    options = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise ValueError(
                f"An option must read name=value. Received: {word!r}. Fix: such as num_heads=4, in quotes "
                "where the value has spaces."
            )
        try:
            options[name] = json.loads(value)  # numbers, true, false
        except json.JSONDecodeError:
            options[name] = value
    return options


# For a field of a dataclass: `--model.fusion.options num_layers=2 combine=concat`.
Options = Annotated[
    dict[str, Any],
    tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="[NAME=VALUE [NAME=VALUE ...]]",
        instance_from_str=read_options,
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda value: [f"{k}={json.dumps(v)}" for k, v in value.items()],
    ),
]
