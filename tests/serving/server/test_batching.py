"""Batches: shared, in order, bounded, and no request pays for another's fault."""

import asyncio
import threading

import numpy as np
import pytest

pytest.importorskip("prometheus_client", reason="needs the extra `server`")

from mmlearn.serving.server.batching import Batcher
from mmlearn.serving.server.errors import RequestError, invalid
from mmlearn.serving.server.metrics import Metrics
from mmlearn.serving.server.options import ServerOptions

pytestmark = pytest.mark.large  # the tier whose environment has the extras


class Doubling:
    """Doubles its input, in batches that it notes; waits while `gate` is closed."""

    def __init__(self):
        self.sizes, self.gate = [], threading.Event()
        self.gate.set()

    def __call__(self, signature, inputs):
        self.gate.wait()
        self.sizes.append(len(inputs["x"]))
        if (inputs["x"] < 0).any():
            raise invalid("negative")
        if np.isnan(inputs["x"]).any():
            raise KeyError("a bug")
        return {"y": inputs["x"] * 2}


def run(scenario, **options):
    """Runs `scenario(batcher, model)` in an event loop; returns the model and the metrics."""
    model, metrics = Doubling(), Metrics()
    defaults = {"batch_threads": 1, "batch_timeout_ms": 30.0, "max_batch_size": 4}

    async def main():
        batcher = Batcher(model, ServerOptions(**{**defaults, **options}), metrics)
        try:
            await scenario(batcher, model)
        finally:
            model.gate.set()
            await batcher.drain()

    asyncio.run(main())
    return model, metrics


def ask(batcher, *values):
    x = np.array(values, float)
    return batcher.submit("double", {"x": x}, len(x))


def test_requests_share_batches_and_each_gets_its_rows():
    async def scenario(batcher, model):
        answers = await asyncio.gather(ask(batcher, 1, 2), ask(batcher, 3), ask(batcher, 4, 5))
        assert [answer["y"].tolist() for answer in answers] == [[2, 4], [6], [8, 10]]

    model, metrics = run(scenario)
    assert model.sizes == [3, 2]  # 5 rows do not go into a batch of 4, and no request is split
    assert b"mmlearn_batch_rows_sum 5.0" in metrics.text()
    assert b"mmlearn_queued_rows 0.0" in metrics.text()


def test_a_full_batch_does_not_wait():
    async def scenario(batcher, model):
        async with asyncio.timeout(10):
            await asyncio.gather(ask(batcher, 1, 2), ask(batcher, 3, 4))

    assert run(scenario, batch_timeout_ms=60_000)[0].sizes == [4]


def test_other_shapes_and_signatures_go_apart():
    async def scenario(batcher, model):
        wide = batcher.submit("double", {"x": np.ones((1, 2))}, 1)
        other = batcher.submit("other", {"x": np.ones(1)}, 1)
        await asyncio.gather(ask(batcher, 1), wide, other, ask(batcher, 2))

    assert sorted(run(scenario)[0].sizes) == [1, 1, 2]


def test_a_bad_request_fails_alone():
    async def scenario(batcher, model):
        good, bad, bug, last = await asyncio.gather(
            *(ask(batcher, 1), ask(batcher, -1), ask(batcher, np.nan), ask(batcher, 2)),
            return_exceptions=True,
        )
        assert (good["y"].tolist(), last["y"].tolist()) == ([2], [4])
        assert (bad.code, bad.message) == ("INVALID_ARGUMENT", "negative")
        assert (bug.code, bug.message) == ("INTERNAL", "KeyError, see the server's log.")

    assert run(scenario)[0].sizes == [4, 1, 1, 1, 1]


def test_beyond_the_queue_requests_are_refused_and_later_ones_are_not():
    async def scenario(batcher, model):
        model.gate.clear()
        first = asyncio.create_task(ask(batcher, 1, 2, 3, 4))
        await asyncio.sleep(0.1)  # taken: it waits in the model, not in the queue
        second = asyncio.create_task(ask(batcher, 5, 6, 7, 8))
        await asyncio.sleep(0)
        with pytest.raises(RequestError, match="the queue is full, 4 rows wait") as refused:
            await ask(batcher, 9)
        assert refused.value.code == "RESOURCE_EXHAUSTED"
        model.gate.set()
        assert (await second)["y"].tolist() == [10, 12, 14, 16]
        await first
        assert (await ask(batcher, 9))["y"].tolist() == [18]

    run(scenario, max_queued_rows=4)


def test_what_nobody_waits_for_is_not_computed():
    async def scenario(batcher, model):
        model.gate.clear()
        first = asyncio.create_task(ask(batcher, 1))
        await asyncio.sleep(0.1)
        gone, last = asyncio.create_task(ask(batcher, 2, 3)), asyncio.create_task(ask(batcher, 4))
        await asyncio.sleep(0)
        gone.cancel()
        model.gate.set()
        assert (await last)["y"].tolist() == [8]
        await first

    model, metrics = run(scenario)
    assert model.sizes == [1, 1]
    assert b"mmlearn_queued_rows 0.0" in metrics.text()


def test_draining_answers_what_waits():
    async def scenario(batcher, model):
        model.gate.clear()
        waiting = [asyncio.create_task(ask(batcher, number)) for number in range(9)]
        await asyncio.sleep(0.05)
        draining = asyncio.create_task(batcher.drain())
        await asyncio.sleep(0.05)
        assert not draining.done()
        model.gate.set()
        await draining
        assert [task.result()["y"].item() for task in waiting] == [2 * n for n in range(9)]

    run(scenario)
