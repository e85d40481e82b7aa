"""Looking a name up in a registry, with "Did you mean" for the one that is not there."""

import difflib
import inspect
import os
import re


def find(name, registry, kind):
    """Returns `registry[name]`, or the name itself where the registry is no dict.

    Args:
        name: str. What the user wrote.
        registry: dict or other collection of names.
        kind: str. What the registry holds, for the message ("fusion").

    Raises:
        ValueError: when the name is unknown.
    """
    if name in registry:
        return registry[name] if isinstance(registry, dict) else name
    close = difflib.get_close_matches(str(name), registry, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(sorted(registry))}.")


def similar_path(path):
    """A "Did you mean" for a path that is not there.

    Args:
        path: str.

    Returns:
        str: a space and the path in the same folder that is most like it; empty where none is.
    """
    folder, name = os.path.split(path.rstrip(os.sep))
    where = folder or os.curdir
    names = os.listdir(where) if os.path.isdir(where) else []
    close = difflib.get_close_matches(name, names, n=1)
    return f" Did you mean {os.path.join(folder, close[0])!r}?" if close else ""


def input_names(modality, columns):
    """Names the inputs of an exported model that hold the columns of a table.

    Args:
        modality: str.
        columns: iterable of str.

    Returns:
        A dict of column to `"{modality}_{column}"`, other signs than letters and digits as `_`.

    Example:

    >>> input_names("table", ["age", "a b", "a_b"])
    {'age': 'table_age', 'a b': 'table_a_b', 'a_b': 'table_a_b_'}
    """
    found = {}
    for column in columns:
        plain = re.sub(r"\W", "_", f"{modality}_{column}", flags=re.ASCII)
        while plain in found.values():
            plain += "_"
        found[column] = plain
    return found


def call(function, options, what):
    """Calls a function with options that a user wrote.

    Args:
        function: callable with named parameters.
        options: dict of parameter name to value.
        what: str. What the options are of, for the message ("fusion 'concat'").

    Raises:
        ValueError: when an option is unknown or a required one is missing.
    """
    known = parameters(function)
    for name in options:
        find(name, known, f"option of {what}")
    required = [n for n, p in known.items() if p.default is p.empty and n not in options]
    if required:
        raise ValueError(
            f"The {what} needs the option {required[0]!r}. Received: {options}. Fix: add "
            f"{required[0]}=VALUE to its options."
        )
    return function(**options)


def parameters(function):
    """The parameters of a function or class that a call can name.

    Args:
        function: callable.

    Returns:
        A dict of name to `inspect.Parameter`. Of a class, those of its constructor, also where it is
        inherited: up to Python 3.11.3, `inspect.signature` would show a `__new__` of another base.

    Example:

    >>> list(parameters(sorted))
    ['key', 'reverse']
    """
    if inspect.isclass(function):
        found = list(inspect.signature(function.__init__).parameters.values())[1:]  # without self
    else:
        found = inspect.signature(function).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    public = [each for each in found if not each.name.startswith("_")]
    return {parameter.name: parameter for parameter in public if parameter.kind in named}
