"""Shapley values of a few players, exactly."""

import itertools
import math


def shapley_values(values):
    """Divides what all players reach together among them.

    With v(S) what the players of S reach, the value of a player i of n is the mean, over all orders
    in which they could join, of what i adds to those who came before: the sum over all S without i of
    |S|! (n - |S| - 1)! / n! (v(S + i) - v(S)). The values of all players sum to v(all) - v(nobody).
    It takes each of the 2^n values once or more, so n should be small, as modalities are.

    Args:
        values: dict of tuple of players, in alphabetical order, to v: a float, or an array, of which
            each element is a game of its own. All subsets, `()` among them.

    Returns:
        A dict of player to its value, float or array.

    Raises:
        ValueError: when the value of a subset is missing.

    Reference:
        Shapley, "A value for n-person games", 1953, equation 13; of the inputs of a model Lundberg and
        Lee, "A unified approach to interpreting model predictions", 2017, equation 8.

    Example:

    >>> shapley_values({(): 0.0, ("a",): 1.0, ("b",): 2.0, ("a", "b"): 5.0})
    {'a': 2.0, 'b': 3.0}
    """
    players = sorted({player for subset in values for player in subset})
    count = len(players)
    for size in range(count + 1):
        for subset in itertools.combinations(players, size):
            if subset not in values:
                raise ValueError(
                    f"`values` must hold every subset of the players. Received: none for {subset}."
                )
    found = {}
    for player in players:
        others = [each for each in players if each != player]
        found[player] = sum(
            (values[tuple(sorted((*subset, player)))] - values[subset])
            * (math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count))
            for size in range(count)
            for subset in itertools.combinations(others, size)
        )
    return found
