import shutil

import numpy as np
import pytest

from data_prep.sources.relabelled import RelabelledSource
from data_prep.sources.shapes_questions import ShapesQuestionsSource


@pytest.fixture(scope="module")
def source(shapes_root, tmp_path_factory):
    root = shutil.copytree(shapes_root, tmp_path_factory.mktemp("scenes") / "shapes")
    return ShapesQuestionsSource(str(root))


def test_columns_are_those_wanted(source):
    names = ["no", "never heard", *reversed(source.label_names[3:]), "yes"]
    other = RelabelledSource(source, names)
    examples, expected = other.examples("val"), source.examples("val")
    assert (examples.ids, examples.details) == (expected.ids, expected.details)
    assert other.label_kind == "soft"
    assert other.report("val") == source.report("val")
    assert other.records("val") is None
    labels, truth = examples.labels.toarray(), expected.labels.toarray()
    assert labels.dtype == np.float32
    oracles = other.oracles("val")
    for column, name in enumerate(names):
        if name in source.label_names:
            own = source.label_names.index(name)
            np.testing.assert_array_equal(labels[:, column], truth[:, own])
            for observer, values in source.oracles("val").items():
                np.testing.assert_array_equal(oracles[observer][:, column], values[:, own])
        else:
            assert not labels[:, column].any()
            assert not oracles["visible"][:, column].any()


def test_dense_labels_are_read_as_well(shapes):
    other = RelabelledSource(shapes, ["star", "circle"])
    expected = shapes.examples("train").labels
    columns = [shapes.label_names.index(name) for name in other.label_names]
    np.testing.assert_array_equal(other.examples("train").labels.toarray(), expected[:, columns])
