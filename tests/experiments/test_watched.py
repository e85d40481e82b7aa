"""A bar that moves with the passes over a data set."""

import numpy as np
import rich.console
import tensorflow as tf

from mmlearn.experiments.watched import watched


def test_the_bar_follows_every_pass_and_elements_stay_as_they_are():
    console = rich.console.Console(record=True, force_terminal=True, width=80)
    x = {"images": np.zeros((5, 2)), "ids": np.arange(5)}
    dataset = tf.data.Dataset.from_tensor_slices((x, np.ones(5))).batch(2)
    with watched(dataset, console, "scoring") as passes:
        assert passes.element_spec == dataset.element_spec
        assert int(passes.cardinality()) == 3
        for _ in range(2):
            found = [batch["ids"].numpy().tolist() for batch, _ in passes]
            assert found == [[0, 1], [2, 3], [4]]
    shown = console.export_text()
    assert "scoring" in shown
    assert "100%" in shown


def test_a_pass_of_unknown_length_is_shown_too():
    console = rich.console.Console(record=True, force_terminal=True, width=80)
    dataset = tf.data.Dataset.range(4).filter(lambda number: number > 1)
    with watched(dataset, console, "reading") as passes:
        assert [int(number) for number in passes] == [2, 3]
    assert "reading" in console.export_text()
