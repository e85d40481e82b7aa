"""How tf.data uses the cores."""

import os

import tensorflow as tf

# Elements that are prepared at a time, four per core: those that are done wait in order.
# (TensorFlow's own choice starts at one, and was seen to stay there for seconds.)
PARALLEL_CALLS = 4 * os.cpu_count()


def with_threads(dataset):
    """Gives a dataset threads of its own, one per core, and no tuner.

    The end of each pass would wait for the tuner, which sleeps for up to as long as the pass has
    taken. As several elements are prepared at a time, each of their ops has one thread; with more,
    half of the speed was lost on two cores.

    Args:
        dataset: a dataset whose maps have a number of parallel calls.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    options.threading.private_threadpool_size = os.cpu_count()
    options.threading.max_intra_op_parallelism = 1
    return dataset.with_options(options)
