"""Questions about the scenes, and observers whose answers are counted among scenes drawn at random."""

import collections
import shutil

import numpy as np
import pytest

from data_prep.sources.shapes import COLORS, SHAPES, _ask, _draw_scene
from data_prep.sources.shapes_questions import ShapesQuestionsSource, answer_probabilities
from data_prep.sources.vqa_v2 import VqaV2Source


@pytest.fixture(scope="module")
def source(shapes_root, tmp_path_factory):
    root = shutil.copytree(shapes_root, tmp_path_factory.mktemp("scenes") / "shapes")
    return ShapesQuestionsSource(str(root))


def test_questions_are_those_on_disk(source):
    plain = VqaV2Source(source.root)
    for split, scenes in (("train", 24), ("val", 12)):
        examples = source.examples(split)
        assert examples.ids == plain.examples(split).ids
        assert 2 * scenes <= len(examples) <= 3 * scenes
        assert len(set(examples.groups.tolist())) == scenes
        assert set(examples.details["answer_type"]) == {"yes/no", "number", "other"}
        assert source.report(split)["images"] == scenes
    assert source.label_kind == "soft"
    assert source.label_names == plain.label_names
    assert set(source.label_names) <= {"yes", "no", *"1234", *COLORS}
    assert source.settings["num_train"] == 24


def test_observers_give_each_answer_its_probability(source):
    labels = source.examples("val").labels.toarray()
    oracles = source.oracles("val")
    assert set(oracles) == {"visible", "question"}
    for values in oracles.values():
        assert values.shape == labels.shape
        assert values.dtype == np.float32
        assert (values >= 0).all() and (values.sum(axis=1) <= 1 + 1e-6).all()
    right = {name: (labels * values).sum(axis=1).mean() for name, values in oracles.items()}
    assert right["visible"] > 0.75
    assert right["question"] < 0.6


@pytest.fixture(scope="module")
def asked():
    """Questions with their answers and the objects that are seen, of many scenes."""
    found = []
    for seed in range(6_000):
        random = np.random.default_rng(seed)
        scene = _draw_scene(random)
        seen = [(item["shape"], item["color"]) for item in scene if not item["faint"]]
        found += [(question, answer, kind, seen) for question, answer, kind in _ask(scene, random)]
    return found


@pytest.mark.parametrize(("observer", "hidden"), [("visible", 0.2), ("question", 1.0)])
def test_probabilities_are_the_shares_among_many_scenes(asked, observer, hidden):
    # Questions that look alike to the observer: the probability must be the share of each answer.
    expected, counts = collections.defaultdict(float), collections.defaultdict(int)
    totals = collections.Counter()
    for question, answer, kind, seen in asked:
        seen = seen if observer == "visible" else []
        found = answer_probabilities(question, seen, hidden)
        assert sum(found.values()) == pytest.approx(1.0)
        best = max(found, key=found.get)
        case = (kind, len(seen), round(found[best], 6))
        expected[case] += found[best]
        counts[case] += best == answer
        totals[case] += 1
    assert len(totals) > (15 if observer == "visible" else 2)
    for case, total in totals.items():
        share = expected[case] / total
        deviation = np.sqrt(max(share * (1 - share), 1e-9) * total)
        assert abs(counts[case] - expected[case]) < 4.5 * deviation + 1e-6, case


@pytest.mark.parametrize(
    ("question", "seen", "expected"),
    [
        ("is there a red star?", [("star", "red")], {"yes": 1.0}),
        ("is there one red star?", [("ring", "red")] * 4, {"no": 1.0}),  # nothing can be hidden
        ("how many stars are there?", [("star", "red")] * 4, {"4": 1.0}),
        ("how many crosses are there?", [("cross", "red")] + [("ring", "red")] * 3, {"1": 1.0}),
        ("what color is the star?", [("star", "red")], {"red": 1.0}),
        ("what color is the star?", [("ring", "red")], dict.fromkeys(COLORS, pytest.approx(1 / 6))),
    ],
)
def test_what_is_certain_is_certain(question, seen, expected):
    assert answer_probabilities(question, seen, 0.2) == expected


def test_what_is_asked_tells_that_something_is_hidden():
    seen = [("ring", "red"), ("ring", "blue")]
    found = answer_probabilities("how many arrows are there?", seen, 0.2)
    assert max(found, key=found.get) == "1"  # one is, or it would not be asked
    found = answer_probabilities("how many rings are there?", seen, 0.2)
    assert found["2"] > 0.9 and found["3"] > 0 and "1" not in found
    assert answer_probabilities("is there a red arrow?", seen, 0.2)["no"] > 0.8


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_read_in_the_plural(shape):
    plural = f"{shape}{'es' if shape[-1] == 's' else 's'}"
    found = answer_probabilities(f"how many {plural} are there?", [(shape, "red")] * 4, 0.2)
    assert found == {"4": 1.0}
