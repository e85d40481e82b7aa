"""What can go wrong between a client and a server of models."""


class ServingError(OSError):
    """Base of the errors of a client; the message is one line that says what to do."""


class ServerUnavailable(ServingError):
    """Nobody answers, or the server is too busy (429, 503): try later, or elsewhere."""


class ServerTimeout(ServerUnavailable):
    """The server took the request and did not answer in time."""


class BadRequest(ServingError):
    """The server refuses the request, and would again: the inputs or a name are wrong."""


class ServerError(ServingError):
    """The server failed, or answered with something that is no answer."""


def refusal_fix(reason, model):
    """What to do about a refused request, unless the server has said it.

    Args:
        reason: str. Its code and message.
        model: str. The name of the model that was asked.

    Returns:
        str, empty or with a space before it.
    """
    if "Fix:" in reason:
        return ""
    if reason.startswith(("404", "NOT_FOUND")):
        return f" Fix: pass the name by which it serves the model, instead of {model!r}."
    return f" Fix: check the inputs, and that it serves {model!r}."
