"""Training on several hosts: the loop, the checkpoints, what hosts tell each other.

TensorFlow only. Every host runs the same program; a step on one of them waits for the same step of
all others, so all must take the same steps in the same order.
"""

import contextlib
import hashlib
import json

import keras
import numpy as np
import tensorflow as tf

from mmlearn.training.checkpoints import Checkpoint
from mmlearn.training.distribution import Host, find_host

_NUMBERS_AT_A_TIME = 4 * 2**20  # 32 MiB
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)


class Hosts:
    """What the hosts of a strategy tell each other; with any other strategy there is one host.

    All hosts must call the same methods in the same order: each waits until all have.

    Args:
        strategy: `tf.distribute.Strategy`.
    """

    def __init__(self, strategy):
        self.strategy = strategy
        several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        self.host = find_host("multi_worker") if several else Host()
        num_local = strategy.num_replicas_in_sync // self.host.count

        def sum_replicas(values):
            replica = tf.distribute.get_replica_context()
            speaks = tf.equal(replica.replica_id_in_sync_group % num_local, 0)  # one on each host
            return replica.all_reduce("SUM", values * tf.cast(speaks, values.dtype))

        # Numbers that every kind of device can sum, and that hold 32 bits exactly.
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float64)])
        def sum_hosts(values):
            total = strategy.run(sum_replicas, args=(values,))
            return strategy.experimental_local_results(total)[0]

        self._sum = sum_hosts

    def wait(self):
        """Returns when all hosts are here."""
        if self.host.count > 1:
            self._sum([0.0])

    @contextlib.contextmanager
    def chief_first(self):
        """Lets the chief do something before the others, who may find its files on a shared disk."""
        if not self.host.is_chief:
            self.wait()
        yield
        if self.host.is_chief:
            self.wait()

    def ask_chief(self, flag):
        """Returns the chief's bool on all hosts."""
        if self.host.count == 1:
            return bool(flag)
        return bool(self._sum([float(bool(flag) and self.host.is_chief)])[0] > 0)

    def broadcast(self, content):
        """Returns the chief's bytes on all hosts, which need no shared disk.

        Args:
            content: bytes; of the chief alone they matter.
        """
        if self.host.count == 1:
            return content
        is_chief = self.host.is_chief
        length = int(self._sum([float(len(content)) if is_chief else 0.0])[0])
        padded = -(-length // 4)
        words = np.zeros(padded, np.uint32)
        if is_chief:
            words = np.frombuffer(content + bytes(4 * padded - length), np.uint32)
        parts = [
            self._sum(words[start : start + _NUMBERS_AT_A_TIME].astype(np.float64)).numpy()
            for start in range(0, padded, _NUMBERS_AT_A_TIME)
        ]
        return b"".join(part.astype(np.uint32).tobytes() for part in parts)[:length]

    def check_same(self, content):
        """Checks that all hosts were started with the same.

        Args:
            content: plain JSON types, such as the config and the fingerprint of the data.

        Raises:
            ValueError: on all hosts, when one has something else.
        """
        if self.host.count == 1:
            return
        text = json.dumps(content, sort_keys=True).encode()
        table = np.zeros((self.host.count, 8))
        table[self.host.index] = np.frombuffer(hashlib.sha256(text).digest(), np.uint32)
        table = self._sum(table.ravel()).numpy().reshape(table.shape)
        other = [index for index, row in enumerate(table) if (row != table[0]).any()]
        if other:
            raise ValueError(
                f"The hosts {', '.join(map(str, other))} have another config, other data or other "
                "versions than host 0. Fix: start the same command on all hosts, on the same data."
            )


@contextlib.contextmanager
def lost_hosts_named(host):
    """Turns what TensorFlow raises when another host is gone into a line with the fix.

    It notices a process that ended at once, or by its missing heartbeats after about 10 s. A host
    that has not come yet is waited for.

    Args:
        host: `Host`. With one host there is nothing to turn.

    Raises:
        ConnectionError: when another host has ended or cannot be reached.
    """
    try:
        yield
    except _LOST as error:
        if host.count == 1:
            raise
        raise ConnectionError(
            "Another host has ended or cannot be reached, so this one stops. Fix: see what that one "
            "says, then start the same command on all hosts again; training goes on from the last "
            "checkpoint."
        ) from error


class HostCheckpoints:
    """Checkpoints that the chief alone keeps, on a disk of its own.

    Args:
        hosts: `Hosts`.
        checkpoints: `Checkpoints` of the chief; what others pass does not matter.
    """

    def __init__(self, hosts, checkpoints):
        self.hosts = hosts
        self.checkpoints = checkpoints

    def save(self, number, state, arrays):
        """Writes a checkpoint, if this host is the chief; see `Checkpoints.save`."""
        if self.hosts.host.is_chief:
            self.checkpoints.save(number, state, arrays)

    def latest(self):
        """Returns the chief's newest `Checkpoint` on all hosts, or `None`."""
        content = b""
        if self.hosts.host.is_chief:
            content = _pack(self.checkpoints.latest())
        return _unpack(self.hosts.broadcast(content))

    def is_due(self, seconds):
        """Whether the next one is due, by the chief's clock: all hosts must agree."""
        is_chief = self.hosts.host.is_chief
        return self.hosts.ask_chief(is_chief and self.checkpoints.is_due(seconds))


def share_checkpoints(task, checkpoints):
    """Makes checkpoints fit for the hosts of a task's strategy, if there are several.

    Args:
        task: a task.
        checkpoints: `Checkpoints` or `None`; on several hosts the chief's counts.

    Returns:
        What was passed for one host, else `HostCheckpoints`, or `None` when the chief has none.
    """
    hosts = Hosts(_strategy(task))
    if hosts.host.count == 1:
        return checkpoints
    there = hosts.ask_chief(checkpoints is not None)
    return HostCheckpoints(hosts, checkpoints) if there else None


def _strategy(task):
    """The strategy under which a task was made; only with TensorFlow it knows of one."""
    return getattr(task, "distribute_strategy", tf.distribute.get_strategy())


def _pack(checkpoint):
    if checkpoint is None:
        return b""
    kinds = [(array.dtype.str, array.shape) for array in checkpoint.arrays]
    head = json.dumps({"state": checkpoint.state, "kinds": kinds}).encode()
    return b"\n".join([head, b"".join(array.tobytes() for array in checkpoint.arrays)])


def _unpack(content):
    if not content:
        return None
    head, _, data = content.partition(b"\n")  # JSON on one line
    head = json.loads(head)
    arrays, start = [], 0
    for kind, shape in head["kinds"]:
        count = int(np.prod(shape))
        arrays.append(np.frombuffer(data, kind, count, start).reshape(shape))
        start += arrays[-1].nbytes
    return Checkpoint(head["state"], arrays)


def make_trainer(task):
    """Returns what has `fit` and `evaluate` for a task: the task, or on several hosts a `HostTrainer`."""
    several = isinstance(_strategy(task), tf.distribute.MultiWorkerMirroredStrategy)
    return HostTrainer(task) if several else task


class HostTrainer:
    """Does for a task on several hosts what its own `fit` and `evaluate` do on one.

    Keras 3's fail there (https://github.com/keras-team/keras/issues/20585). The callbacks run on all
    hosts and must decide the same on all; the metrics they get are those of all hosts together.

    Args:
        task: a compiled task, made under `tf.distribute.MultiWorkerMirroredStrategy`.
    """

    def __init__(self, task):
        self.task = task
        self.strategy = task.distribute_strategy
        self._results = tf.function(task.get_metrics_result)
        self._functions = {}

    def fit(
        self,
        dataset,
        validation_data=None,
        *,
        initial_epoch=0,
        epochs=1,
        steps_per_epoch,
        callbacks=(),
        verbose=0,
    ):
        """Trains as `keras.Model.fit` does.

        Args:
            dataset: dataset of `(x, y, sample_weight)`, this host's part of each batch. It goes on
                from epoch to epoch, and must have batches for all of them on one host at least.
            validation_data: dataset of the same kind, which ends; or `None`.
            initial_epoch: int.
            epochs: int. The number of the last epoch.
            steps_per_epoch: int.
            callbacks: iterable of `keras.callbacks.Callback`. After a step, the logs hold the loss
                alone: all metrics would have to be summed over the hosts.
            verbose: int. Only 0, there is no progress bar.
        """
        task = self.task
        dataset = self._distribute(dataset)
        if validation_data is not None:
            validation_data = self._distribute(validation_data)
        callbacks = keras.callbacks.CallbackList(
            list(callbacks), model=task, epochs=epochs, steps=steps_per_epoch, verbose=verbose
        )
        task.stop_training = False
        logs = {}
        train = self._on_replicas(task.train_step, dataset.element_spec)
        batches = iter(dataset)
        callbacks.on_train_begin()
        for epoch in range(initial_epoch, epochs):
            task.reset_metrics()
            callbacks.on_epoch_begin(epoch)
            for step in range(steps_per_epoch):
                callbacks.on_train_batch_begin(step)
                loss = train(next(batches))
                callbacks.on_train_batch_end(step, {"loss": float(loss)})
                if task.stop_training:
                    break
            logs = self._metrics()
            if validation_data is not None:
                scores = self._evaluate(validation_data, callbacks)
                logs.update({f"val_{name}": value for name, value in scores.items()})
            callbacks.on_epoch_end(epoch, logs)
            if task.stop_training:
                break
        task.optimizer.finalize_variable_values(task.trainable_variables)
        callbacks.on_train_end(logs)

    def evaluate(self, dataset, steps=None, verbose=0):
        """Returns loss and metrics as `keras.Model.evaluate` does, a dict.

        Args:
            dataset: dataset of `(x, y, sample_weight)`, this host's part of each batch.
            steps: int, or `None` for all of a dataset that ends.
            verbose: int. Only 0.
        """
        callbacks = keras.callbacks.CallbackList(model=self.task, steps=steps, verbose=verbose)
        return self._evaluate(self._distribute(dataset), callbacks, steps)

    def _evaluate(self, distributed, callbacks, steps=None):
        test = self._on_replicas(self.task.test_step, distributed.element_spec)
        callbacks.on_test_begin()
        self.task.reset_metrics()
        # The hosts end together: one whose part is used up goes on with batches of no rows.
        for step, batch in enumerate(distributed):
            callbacks.on_test_batch_begin(step)
            loss = test(batch)
            callbacks.on_test_batch_end(step, {"loss": float(loss)})
            if step + 1 == steps:
                break
        logs = self._metrics()
        callbacks.on_test_end(logs)
        return logs

    def _metrics(self):
        return {name: float(value) for name, value in self._results().items()}

    def _on_replicas(self, step, element_spec):
        # Of given shapes: the hosts count the sums of a trace, so that one that traced anew for its
        # smaller share of a batch would take part in the wrong sums of the others.
        key = (step.__name__, str(element_spec))
        if key not in self._functions:
            tracker = next(metric for metric in self.task.metrics if metric.name == "loss")

            @tf.autograph.experimental.do_not_convert
            def run(batch):
                self.strategy.run(step, args=(batch,))
                return tracker.result()  # over all replicas: all stop where it is no number

            self._functions[key] = tf.function(run, input_signature=[element_spec])
        return self._functions[key]

    def _distribute(self, dataset):
        dataset = dataset.map(self.task.preprocess_samples, num_parallel_calls=tf.data.AUTOTUNE)
        num_local = self.strategy.num_replicas_in_sync // find_host("multi_worker").count
        if num_local > 1:
            dataset = share_among_replicas(dataset, num_local)
        with self.strategy.scope():
            # Keras cannot make the variables of metrics within a step of several replicas.
            self.task._symbolic_build(
                data_batch=keras.tree.map_structure(
                    lambda spec: keras.KerasTensor(spec.shape, spec.dtype.name),
                    dataset.element_spec,
                )
            )
        return self.strategy.distribute_datasets_from_function(lambda context: dataset)


def share_among_replicas(dataset, count):
    """Turns each batch into one part per replica of this host, whatever its number of rows.

    Args:
        dataset: `tf.data.Dataset` of tuples of nested tensors.
        count: int. The replicas of this host.

    Returns:
        A dataset of `count` times as many batches, some maybe of no rows.
    """
    is_endless = dataset.cardinality() == tf.data.INFINITE_CARDINALITY

    def divide(*batch):
        rows = tf.shape(tf.nest.flatten(batch)[0], tf.int64)[0]

        def part(place):
            start, end = rows * place // count, rows * (place + 1) // count
            return tf.nest.map_structure(lambda values: values[start:end], batch)

        return tf.data.Dataset.range(count).map(part)

    parts = dataset.flat_map(divide)
    if is_endless:
        # Else the replicas would ask each other before every batch whether there is one.
        endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        parts = parts.apply(endless)
    return parts.prefetch(count)
