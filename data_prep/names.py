"""Looking a name up in a registry, with "Did you mean" for the one that is not there."""

import difflib
import inspect


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


def call(function, options, what):
    """Calls a function with options that a user wrote.

    Args:
        function: callable with named parameters.
        options: dict of parameter name to value.
        what: str. What the options are of, for the message ("fusion 'concat'").

    Raises:
        ValueError: when an option is unknown or a required one is missing.
    """
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    for name in options:
        find(name, parameters, f"option of {what}")
    required = [n for n, p in parameters.items() if p.default is p.empty and n not in options]
    if required:
        raise ValueError(f"The {what} needs the option {required[0]!r}. Received: {options}.")
    return function(**options)
