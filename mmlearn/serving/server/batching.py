"""Requests of several clients in one call of the model."""

import asyncio
import contextlib
import dataclasses
import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from mmlearn.serving.server.errors import RequestError

_log = logging.getLogger(__name__)


@dataclasses.dataclass(eq=False)
class _Request:
    signature: str
    inputs: dict
    rows: int
    arrived: float
    answer: asyncio.Future


class Batcher:
    """Makes batches of requests, and calls a function with them in threads.

    A batch waits until it is full, or its first request has waited long enough, or while all threads
    are busy. Requests share a batch when signature and shapes agree but for the rows. When the call of
    a batch fails, its requests are called one by one: a bad one fails alone.

    It belongs to the event loop in which it is made.

    Args:
        call: function of a signature's name and a dict of arrays to a dict of arrays, called in threads.
        options: `ServerOptions`.
        metrics: `Metrics`.
    """

    def __init__(self, call, options, metrics):
        self._call, self._options, self._metrics = call, options, metrics
        self._loop = asyncio.get_running_loop()
        self._queues = {}  # by what requests of a batch have in common
        self._num_waiting = self._num_open = 0  # rows, requests
        self._changed, self._collecting = asyncio.Event(), asyncio.Lock()
        self._threads = ThreadPoolExecutor(options.batch_threads, "batch")
        self._workers = [self._loop.create_task(self._work()) for _ in range(options.batch_threads)]

    async def submit(self, signature, inputs, rows):
        """Waits for the outputs of a request.

        Args:
            signature: str.
            inputs: dict of name to array `(rows, ...)`.
            rows: int, at most `max_batch_size`.

        Returns:
            A dict of name to array `(rows, ...)`.

        Raises:
            RequestError: `RESOURCE_EXHAUSTED` when the queue is full, or what the call raised.
        """
        if self._num_waiting + rows > self._options.max_queued_rows:
            raise RequestError(
                "RESOURCE_EXHAUSTED",
                f"the queue is full, {self._num_waiting} rows wait. Fix: try later.",
            )
        shapes = tuple(sorted((name, values.shape[1:]) for name, values in inputs.items()))
        request = _Request(signature, inputs, rows, self._loop.time(), self._loop.create_future())
        self._queues.setdefault((signature, shapes), deque()).append(request)
        self._count(rows)
        self._num_open += 1
        self._changed.set()
        try:
            return await request.answer
        finally:
            self._num_open -= 1

    async def drain(self):
        """Waits for all requests, and ends the threads. No request may come after."""
        while self._num_open or self._queues:
            await asyncio.sleep(0.01)
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._threads.shutdown()

    async def _work(self):
        while True:
            async with self._collecting:
                batch = await self._collect()
            if batch:
                await self._answer(batch)

    async def _answer(self, batch):
        results = await self._loop.run_in_executor(self._threads, self._run, batch)
        for request, result in zip(batch, results, strict=True):
            if request.answer.done():  # the client is gone
                continue
            if isinstance(result, Exception):
                request.answer.set_exception(result)
            else:
                request.answer.set_result(result)

    async def _collect(self):
        while not self._queues:
            self._changed.clear()
            await self._changed.wait()
        key = min(self._queues, key=lambda key: self._queues[key][0].arrived)
        queue, size = self._queues[key], self._options.max_batch_size
        deadline = queue[0].arrived + self._options.batch_timeout_ms / 1000
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                while sum(request.rows for request in queue) < size:
                    self._changed.clear()
                    await self._changed.wait()
        batch, rows = [], 0
        while queue and rows + queue[0].rows <= size:
            request = queue.popleft()
            self._count(-request.rows)
            if not request.answer.done():
                batch.append(request)
                rows += request.rows
        if not queue:
            del self._queues[key]
        return batch

    def _count(self, rows):
        self._num_waiting += rows
        self._metrics.queued_rows.inc(rows)

    def _run(self, batch):
        signature = batch[0].signature
        stops = np.cumsum([request.rows for request in batch])
        self._metrics.batch_rows.observe(stops[-1])
        try:
            with self._metrics.batch_seconds.time():
                inputs = {
                    name: np.concatenate([request.inputs[name] for request in batch])
                    for name in batch[0].inputs
                }
                outputs = self._call(signature, inputs)
            return [
                {name: values[stop - request.rows : stop] for name, values in outputs.items()}
                for request, stop in zip(batch, stops, strict=True)
            ]
        except Exception as error:
            if len(batch) > 1:
                return [self._run([request])[0] for request in batch]
            if not isinstance(error, RequestError):
                _log.exception("A batch of %r failed.", signature)
                error = RequestError("INTERNAL", f"{type(error).__name__}, see the server's log.")
            return [error]
