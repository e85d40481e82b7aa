"""Datasets of several hosts."""

import dataclasses

import numpy as np
import pytest

from mmlearn import experiments
from mmlearn.experiments.build import build_data
from mmlearn.training.distribution import Host
from tests import toys


def experiment(batch_size):
    shapes = experiments.get("shapes")
    training = dataclasses.replace(shapes.training, batch_size=batch_size)
    return dataclasses.replace(shapes, training=training)


def rows(batches):
    """The rows of batches, in an order of their own."""
    x = np.concatenate([x["images"].numpy().reshape(len(y), -1) for x, y, _ in batches])
    return x[np.lexsort(x.T[:50])]


@pytest.mark.large
def test_the_hosts_have_the_examples_of_one_host_together(shapes):
    preprocessor = toys.preprocessor(("images",))
    one = build_data(experiment(8), shapes, preprocessor)
    parts = [build_data(experiment(8), shapes, preprocessor, Host(i, 2)) for i in range(2)]
    assert one.steps_per_epoch == 3
    assert {part.steps_per_epoch for part in parts} == {3}
    for start in ((0, 1), (2, 0)):
        (whole,) = one.build(start=start).take(1)
        shares = [next(iter(part.build(start=start))) for part in parts]
        assert [len(y) for _, y, _ in shares] == [4, 4]
        np.testing.assert_array_equal(rows(shares), rows([whole]))
    # 12 examples in batches of 8: 4 and 2 on each host.
    np.testing.assert_array_equal(
        rows([batch for part in parts for batch in part.validation()]), rows(one.validation())
    )


def test_every_host_names_the_whole_batch(shapes):
    preprocessor = toys.preprocessor(("images",))
    data = build_data(experiment(8), shapes, preprocessor, Host(1, 2))
    one = build_data(experiment(8), shapes, preprocessor)
    ids = [next(iter(d.build(start=(1, 1), with_ids=True)))[0].numpy() for d in (data, one)]
    assert len(ids[0]) == 8
    np.testing.assert_array_equal(*ids)


def test_a_batch_that_the_hosts_cannot_divide_is_refused(shapes):
    with pytest.raises(ValueError, match=r"divisible by the 2 hosts\. Received: batch_size=7"):
        build_data(experiment(7), shapes, toys.preprocessor(("images",)), Host(0, 2))
