"""How far a pass over a data set is, on the screen."""

import contextlib

import tensorflow as tf
from rich.console import Console

from mmlearn.training.callbacks import progress_bar


@contextlib.contextmanager
def watched(dataset, console, description):
    """Shows a progress bar for as long as a data set is iterated over; a new pass starts it anew.

    It is not asked who iterates: a loop, `predict`, or what makes several passes.

    Args:
        dataset: a `tf.data.Dataset`.
        console: `rich.console.Console`, or `None` for silence.
        description: str. What the pass is for.

    Yields:
        The same data set, which moves the bar.

    Example:

    >>> import tensorflow as tf
    >>> with watched(tf.data.Dataset.range(3), None, "counting") as dataset:
    ...     [int(number) for number in dataset]
    [0, 1, 2]
    """
    total = int(dataset.cardinality())
    with progress_bar(console or Console(quiet=True)) as bar:
        line = bar.add_task(description, total=total if total >= 0 else None, status="")

        def move(number):
            bar.update(line, completed=int(number) + 1)

        def pass_on(number, element):
            with tf.control_dependencies([tf.py_function(move, [number], [])]):
                return tf.nest.map_structure(tf.identity, element)

        pass_on = tf.autograph.experimental.do_not_convert(pass_on)
        yield dataset.enumerate().map(pass_on)
