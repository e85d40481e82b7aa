"""What predictions of a source are compared with."""

import numpy as np
import pytest

from data_prep.sources.shapes import ShapesSource
from mmlearn.evaluation.keywords import keyword_match
from mmlearn.experiments.baselines import baselines_of
from mmlearn.models.head import Head
from tests.evaluation.test_describe import Described


@pytest.fixture(scope="module")
def source(shapes_root):
    return ShapesSource(shapes_root, num_train=24, num_val=12)


def test_keywords_are_of_the_first_caption_and_by_head(source):
    prior = np.linspace(0.1, 0.8, 8)
    whole = Described(Head("classes", "multi_label", source.label_names))
    oracles, found = baselines_of(source, "val", whole, prior)
    assert set(oracles) == {"images", "text", "union"}
    texts = [captions[0] for captions in source.examples("val").captions]
    np.testing.assert_array_equal(
        found["keywords"], keyword_match(texts, source.label_names, prior)
    )
    names = source.label_names
    several = Described(
        Head("a", "multi_class", names[:3]),
        Head("b", "multi_label", names[3:6]),
        Head("c", "regression", names[6:]),
    )
    found = baselines_of(source, "val", several, prior)[1]["keywords"]
    one = keyword_match(texts, names[:3], prior[:3], "multi_class")
    np.testing.assert_array_equal(found[:, :3], one)
    np.testing.assert_array_equal(found[:, 3:6], keyword_match(texts, names[3:6], prior[3:6]))
    np.testing.assert_array_equal(found[:, 6:], np.tile(prior[6:], (12, 1)))


def test_names_that_no_text_has_are_no_baseline(source):
    task = Described(Head("classes", "multi_label", tuple("01234567")))
    assert baselines_of(source, "val", task, np.full(8, 0.5))[1] == {}
