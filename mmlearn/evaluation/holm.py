"""P-values of several tests at once."""


def adjust_by_holm(p_values):
    """Adjusts p-values of several tests, so that any false alarm among them is as rare as of one.

    Args:
        p_values: list of floats, or `None` for a test that there was not.

    Returns:
        A list of floats and `None`, in the same order.

    Reference:
        Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.

    Example:

    >>> adjust_by_holm([0.04, None, 0.01, 0.03])
    [0.06, None, 0.03, 0.06]
    """
    places = [place for place, p in enumerate(p_values) if p is not None]
    adjusted, largest = [None] * len(p_values), 0.0
    for rank, place in enumerate(sorted(places, key=lambda place: p_values[place])):
        largest = max(largest, min((len(places) - rank) * p_values[place], 1.0))
        adjusted[place] = largest
    return adjusted
