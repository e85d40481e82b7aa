"""Trying again after a pause."""

import random
import time

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds


def call_with_retries(call, retries, is_passing):
    """Calls a function until it returns, pausing twice as long each time, by chance up to half less.

    Args:
        call: function without arguments.
        retries: int. How often it is called again.
        is_passing: function of an exception: whether it may pass.

    Returns:
        What the function returns.

    Raises:
        What the last call raised.

    Example:

    >>> answers = iter([OSError("busy"), "done"])
    >>> def call():
    ...     answer = next(answers)
    ...     if isinstance(answer, OSError):
    ...         raise answer
    ...     return answer
    >>> call_with_retries(call, 1, lambda error: isinstance(error, OSError))
    'done'
    """
    for attempt in range(retries + 1):
        try:
            return call()
        except Exception as error:
            if attempt == retries or not is_passing(error):
                raise
        pause = min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE)
        time.sleep(pause * random.uniform(0.5, 1))  # so that clients do not all come back at once
    return None
