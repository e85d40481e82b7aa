import itertools
import json
import os
import re
from collections import Counter, defaultdict

import cv2
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from data_prep.errors import DataError
from data_prep.sources import shapes as generator
from data_prep.sources.coco import CocoSource
from data_prep.sources.shapes import ShapesSource

MANY = 400


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return ShapesSource(tmp_path_factory.mktemp("many") / "shapes", num_train=MANY, num_val=1)


@pytest.fixture(scope="module")
def drawn():
    """Scenes that were drawn but not painted, each with one caption and what it mentions."""
    random = np.random.default_rng(0)
    scenes = []
    for _ in range(3000):
        scene = generator._draw_scene(random)
        caption, mentioned = generator._write_caption(scene, random)
        scenes.append((scene, caption, [any(item is m for m in mentioned) for item in scene]))
    return scenes


def read_json(root, name):
    with open(os.path.join(root, "annotations", name), encoding="utf-8") as file:
        return json.load(file)


def all_files(root):
    """The content of every file below a folder."""
    content = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                content[os.path.relpath(path, root)] = file.read()
    return content


# Files


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    first, second, other = (
        all_files(ShapesSource(tmp_path / name, num_train=3, num_val=2, seed=seed).root)
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    assert len(first) == 3 + 2 + 8 + 1
    assert first == second
    assert first.keys() == other.keys()
    assert {name for name in first if first[name] == other[name]} == set()


def test_a_larger_set_begins_with_the_scenes_of_a_smaller_one(tmp_path):
    small = all_files(ShapesSource(tmp_path / "a", num_train=2, num_val=1).root)
    large = all_files(ShapesSource(tmp_path / "b", num_train=4, num_val=1).root)
    for name in ("train/000000000001.jpg", "train/000000000002.jpg"):
        assert small[name] == large[name]
    assert small["val/000000000003.jpg"] == large["val/000000000005.jpg"]


def test_the_files_are_read_by_the_coco_source(shapes, shapes_root):
    coco = CocoSource(shapes_root)
    assert coco.splits == shapes.splits == ("train", "val")
    assert coco.label_names == shapes.label_names == list(generator.SHAPES)
    for split, count in (("train", 24), ("val", 12)):
        index = coco.examples(split)
        assert len(index) == coco.report(split)["images"] == count
        assert all(len(texts) == 5 for texts in index.captions)
        assert all(os.path.getsize(path) for path in index.images)
        assert (index.labels.sum(axis=1) >= 1).all()
        assert shapes.report(split) == coco.report(split)
    assert not set(coco.examples("train").groups) & set(coco.examples("val").groups)


def test_labels_are_the_shapes_of_the_objects(many):
    table = read_json(many.root, "instances_train.json")
    names = {entry["id"]: entry["name"] for entry in table["categories"]}
    assert tuple(sorted(names)) == generator.CATEGORY_IDS
    shapes_of = defaultdict(set)
    for item in table["annotations"]:
        shapes_of[item["image_id"]].add(names[item["category_id"]])
    index = many.examples("train")
    for group, labels in zip(index.groups, index.labels, strict=True):
        present = {name for name, there in zip(many.label_names, labels, strict=True) if there}
        assert present == shapes_of[group]


# Pixels


def test_boxes_hold_the_visible_objects_tightly_and_nothing_shows_outside(many):
    images = dict(zip(many.examples("train").groups, many.examples("train").images, strict=True))
    boxes = defaultdict(list)
    for item in read_json(many.root, "instances_train.json")["annotations"]:
        boxes[item["image_id"]].append(item)
    visible_count, colors_right, faint_ranges = 0, 0, []
    for image_id in list(boxes)[:60]:
        image = cv2.imread(images[image_id])[..., ::-1].astype(int)
        colorful = np.ptp(image, axis=-1) > 60  # the ground is grey
        outside = np.ones_like(colorful)
        visible = [item for item in boxes[image_id] if not item["faint"]]
        for item in visible:
            left, top, width, height = item["bbox"]
            outside[max(top - 2, 0) : top + height + 2, max(left - 2, 0) : left + width + 2] = False
            inside = colorful[top : top + height, left : left + width]
            for edge in (inside[:3], inside[-3:], inside[:, :3], inside[:, -3:]):
                assert edge.any(), (image_id, item)
            color = np.median(image[top : top + height, left : left + width][inside], axis=0)
            distances = {name: np.abs(color - rgb).sum() for name, rgb in generator.COLORS.items()}
            colors_right += min(distances, key=distances.get) == item["color"]
            visible_count += 1
        assert not (colorful & outside).any(), image_id
        for item in boxes[image_id]:
            left, top, width, height = item["bbox"]
            window = (slice(top, top + height), slice(left, left + width))
            if item["faint"] and outside[window].all():
                faint_ranges.append(np.ptp(image, axis=-1)[window].mean())
    assert colors_right == visible_count > 100
    assert len(faint_ranges) > 10
    assert np.max(faint_ranges) < 30


def test_masks_lie_around_the_center_and_within_reach_of_the_radius():
    random = np.random.default_rng(0)
    for _ in range(20):
        for item in generator._draw_scene(random):
            mask = generator._mask(item)
            rows, columns = np.nonzero(mask > 0.5)
            radius = item["radius"]
            assert mask.shape == (96, 96)
            assert 0.15 * np.pi * radius**2 < len(rows) < np.pi * (radius + 1) ** 2
            x, y = item["center"]
            assert np.hypot(columns - x, rows - y).max() < 1.21 * radius + 1  # corners stick out


def test_objects_never_overlap_or_leave_the_image(drawn):
    for scene, _, _ in drawn[:500]:
        assert 2 <= len(scene) <= 4
        for item in scene:
            assert (item["center"] - item["radius"] >= 2).all()
            assert (item["center"] + item["radius"] <= 94).all()
        for item, other in itertools.combinations(scene, 2):
            distance = np.hypot(*(item["center"] - other["center"]))
            assert distance > item["radius"] + other["radius"] + 2


# What is drawn and said, and how often


def assert_rate(hits, probability):
    hits = np.asarray(hits, float)
    sigma = np.sqrt(probability * (1 - probability) / len(hits))
    assert abs(hits.mean() - probability) < 3 * sigma, hits.mean()


def test_faint_and_mentioned_have_their_rates_independently(drawn):
    faint = np.array([item["faint"] for scene, _, _ in drawn for item in scene])
    mentioned = np.array([m for _, _, flags in drawn for m in flags])
    first = np.array([i == 0 for scene, _, _ in drawn for i in range(len(scene))])
    assert_rate(faint, 0.2)
    assert_rate(mentioned, 0.7)
    assert_rate(mentioned[faint], 0.7)
    assert_rate(faint[~mentioned], 0.2)
    assert_rate(mentioned[first], 0.7)  # wherever the object comes in the scene
    assert_rate([flags[0] and flags[1] for _, _, flags in drawn], 0.49)
    assert_rate([scene[0]["faint"] and scene[1]["faint"] for scene, _, _ in drawn], 0.04)


def test_numbers_shapes_and_colors_are_uniform(drawn):
    for number in (2, 3, 4):
        assert_rate([len(scene) == number for scene, _, _ in drawn], 1 / 3)
    shapes = np.array([item["shape"] for scene, _, _ in drawn for item in scene])
    colors = np.array([item["color"] for scene, _, _ in drawn for item in scene])
    for shape in generator.SHAPES:
        assert_rate(shapes == shape, 1 / 8)
    for color in generator.COLORS:
        assert_rate(colors == color, 1 / 6)


OBJECT = rf"(?:an?|one) ({'|'.join(generator.COLORS)}) ({'|'.join(generator.SHAPES)})"


def objects_named(words, scene):
    color, shape = words
    return [item for item in scene if (item["color"], item["shape"]) == (color, shape)]


def test_captions_name_exactly_what_they_mention(drawn):
    for scene, caption, flags in drawn:
        mentioned = Counter(
            (i["color"], i["shape"]) for i, m in zip(scene, flags, strict=True) if m
        )
        assert Counter(re.findall(OBJECT, caption)) == mentioned, caption
        assert re.search(r"\ba orange|\ban (?!orange)", caption) is None, caption


def test_relations_in_captions_are_true(drawn):
    holds = {
        "left of": lambda a, b: a[0] < b[0],
        "right of": lambda a, b: a[0] > b[0],
        "above": lambda a, b: a[1] < b[1],
        "below": lambda a, b: a[1] > b[1],
    }
    pattern = rf"{OBJECT} ({'|'.join(holds)}) {OBJECT}"
    seen = Counter()
    for scene, caption, _ in drawn:
        for *one, relation, color, shape in re.findall(pattern, caption):
            pairs = itertools.product(
                objects_named(one, scene), objects_named((color, shape), scene)
            )
            assert any(holds[relation](a["center"], b["center"]) for a, b in pairs), caption
            seen[relation] += 1
    assert min(seen[relation] for relation in holds) > 50


def test_places_in_captions_are_true(drawn):
    place = r"(?:in|on|at) the ((?:top|bottom|left|right|middle)(?: left| right)?)"
    seen = Counter()
    for scene, caption, _ in drawn:
        for color, shape, words in re.findall(rf"{OBJECT} {place}", caption):
            words_of = []
            for item in objects_named((color, shape), scene):
                column, row = np.clip(item["center"] // 32, 0, 2).astype(int)
                words_of.append(
                    " ".join(
                        word
                        for word in (("top", "", "bottom")[row], ("left", "", "right")[column])
                        if word
                    )
                    or "middle"
                )
            assert words in words_of, caption
            seen[words] += 1
    assert len(seen) == 9


# Questions


def test_questions_are_answered_truly(many):
    table = read_json(many.root, "instances_train.json")
    names = {entry["id"]: entry["name"] for entry in table["categories"]}
    objects = defaultdict(list)
    for item in table["annotations"]:
        objects[item["image_id"]].append((item["color"], names[item["category_id"]]))
    questions = read_json(many.root, "v2_OpenEnded_shapes_train_questions.json")["questions"]
    answers = read_json(many.root, "v2_shapes_train_annotations.json")["annotations"]
    assert [q["question_id"] for q in questions] == [a["question_id"] for a in answers]
    assert len({q["question_id"] for q in questions}) == len(questions)
    seen = Counter()
    for question, answer in zip(questions, answers, strict=True):
        there, text = objects[question["image_id"]], question["question"]
        if match := re.fullmatch(rf"is there {OBJECT}\?", text):
            expected = "yes" if match.groups() in there else "no"
        elif match := re.fullmatch(r"how many (\w+?)(?:(?<=s)es|s) are there\?", text):
            expected = str(sum(shape == match[1] for _, shape in there))
        else:
            shape = re.fullmatch(r"what color is the (\w+)\?", text)[1]
            (expected,) = [color for color, other in there if other == shape]
        assert answer["image_id"] == question["image_id"]
        assert answer["multiple_choice_answer"] == expected, (text, there)
        assert [entry["answer"] for entry in answer["answers"]] == [expected] * 10
        assert text.startswith(answer["question_type"])
        seen[answer["answer_type"], expected if expected in ("yes", "no") else ""] += 1
    assert {kind for kind, _ in seen} == {"yes/no", "number", "other"}
    assert seen["yes/no", "yes"] + seen["yes/no", "no"] == seen["number", ""] == MANY
    assert abs(seen["yes/no", "yes"] - MANY / 2) < MANY / 10


# Oracles


def more_by_enumeration(known, hidden_probability):
    """P(circle among the hidden | `known` are not hidden), by listing every possible scene."""
    joint = total = 0.0
    for number in (2, 3, 4):
        for hidden in itertools.product([True, False], repeat=number):
            if number - sum(hidden) != known:
                continue
            weight = np.prod([hidden_probability if h else 1 - hidden_probability for h in hidden])
            scenes = list(itertools.product(range(8), repeat=sum(hidden)))
            total += weight
            joint += weight * np.mean([0 in scene for scene in scenes])
    return joint / total


@pytest.mark.parametrize("hidden_probability", [0.2, 0.3, 0.06])
def test_probability_of_more_by_enumeration(hidden_probability):
    for known in range(5):
        got = generator._probability_of_more(known, hidden_probability)
        assert got == pytest.approx(more_by_enumeration(known, hidden_probability), abs=1e-12)


def test_probability_of_more_matches_what_the_generator_draws(drawn):
    compared = 0
    for hides, probability in (
        (lambda item, mentioned: item["faint"], 0.2),
        (lambda item, mentioned: not mentioned, 0.3),
    ):
        rates = defaultdict(list)
        for scene, _, flags in drawn:
            hidden = [item for item, m in zip(scene, flags, strict=True) if hides(item, m)]
            # Averaged over the eight shapes, which are alike.
            rate = len({item["shape"] for item in hidden}) / 8
            rates[len(scene) - len(hidden)].append(rate)
        for known, values in rates.items():
            expected = generator._probability_of_more(known, probability)
            error = 4 * np.std(values) / np.sqrt(len(values))
            assert abs(np.mean(values) - expected) <= max(error, 1e-12), known
            compared += len(values) > 100
    assert compared >= 8


def test_oracles_are_certain_of_what_they_know_and_share_one_probability_for_the_rest(many):
    oracles, labels = many.oracles("train"), many.examples("train").labels
    assert list(oracles) == ["images", "text", "union"]
    assert many.oracles("train") is oracles
    items = defaultdict(list)
    for item in read_json(many.root, "instances_train.json")["annotations"]:
        items[item["image_id"]].append(item)
    mentions = {}
    for caption in read_json(many.root, "captions_train.json")["annotations"]:
        mentions.setdefault(caption["image_id"], caption["mentions"])
    knows = {
        "images": (lambda item: not item["faint"], 0.2),
        "text": (lambda item: item["id"] in mentions[item["image_id"]], 0.3),
        "union": (
            lambda item: not item["faint"] or item["id"] in mentions[item["image_id"]],
            0.06,
        ),
    }
    for name, prediction in oracles.items():
        assert (prediction.dtype, prediction.shape) == (np.float32, (MANY, 8))
        sees, hidden_probability = knows[name]
        for row, group in enumerate(many.examples("train").groups):
            seen = [item for item in items[group] if sees(item)]
            columns = {generator.CATEGORY_IDS.index(item["category_id"]) for item in seen}
            rest = generator._probability_of_more(len(seen), hidden_probability)
            for column in range(8):
                if column in columns:
                    assert prediction[row, column] == labels[row, column] == 1
                else:
                    assert rest * 0.9989 <= prediction[row, column] <= rest * 1.0001


def test_oracles_are_calibrated(many):
    labels = many.examples("train").labels
    for prediction in many.oracles("train").values():
        guessed = prediction < 1
        assert guessed.sum() > 1000
        expected, got = prediction[guessed].mean(), labels[guessed].mean()
        assert abs(got - expected) < 4 * np.sqrt(expected / guessed.sum())


def test_two_modalities_are_better_than_one_and_images_better_than_text(many):
    labels = many.examples("train").labels
    scores = {
        name: average_precision_score(labels, prediction, average="macro")
        for name, prediction in many.oracles("train").items()
    }
    assert labels.mean() + 0.2 < scores["text"] < scores["images"] - 0.03
    assert scores["images"] + 0.03 < scores["union"] < 1


# The folder


def test_a_set_that_is_there_is_kept_and_other_settings_make_it_anew(tmp_path):
    root = tmp_path / "shapes"
    ShapesSource(root, num_train=2, num_val=1)
    marker = root / "train" / "marker"
    marker.write_text("kept")
    assert len(ShapesSource(root, num_train=2, num_val=1).examples("train")) == 2
    assert marker.exists()
    assert len(ShapesSource(root, num_train=3, num_val=1).examples("train")) == 3
    assert not marker.exists()
    before = all_files(root)
    ShapesSource(root, num_train=3, num_val=1, seed=1)
    assert all_files(root)["train/000000000001.jpg"] != before["train/000000000001.jpg"]
    assert os.listdir(tmp_path) == ["shapes"]


def test_sizes_that_are_not_asked_for_stay_as_they_are(tmp_path):
    ShapesSource(tmp_path / "shapes", num_train=3, num_val=2, seed=5)
    before = all_files(tmp_path)
    source = ShapesSource(tmp_path / "shapes")
    assert (len(source.examples("train")), len(source.examples("val"))) == (3, 2)
    assert all_files(tmp_path) == before


@pytest.mark.parametrize("content", ["", "[]", '{"shapes": 3}'])
def test_a_foreign_folder_with_a_file_of_that_name_is_refused(content, tmp_path):
    (tmp_path / "shapes.json").write_text(content)
    with pytest.raises(DataError, match="is not a shapes data set"):
        ShapesSource(tmp_path, num_train=1, num_val=1)
    assert all_files(tmp_path) == {"shapes.json": content.encode()}


def test_a_changed_generator_makes_the_set_anew(tmp_path, monkeypatch):
    root = tmp_path / "shapes"
    ShapesSource(root, num_train=1, num_val=1)
    (root / "marker").write_text("")
    monkeypatch.setattr(generator, "_fingerprint", lambda: "another")
    ShapesSource(root, num_train=1, num_val=1)
    assert not (root / "marker").exists()


def test_an_empty_folder_is_filled(tmp_path):
    root = tmp_path / "shapes"
    root.mkdir()
    assert len(ShapesSource(f"{root}/", num_train=1, num_val=1).examples("val")) == 1


def test_a_folder_with_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    message = f"{re.escape(repr(str(tmp_path)))} exists and is not a shapes data set. Fix: pass"
    with pytest.raises(DataError, match=message):
        ShapesSource(tmp_path)
    with pytest.raises(DataError, match=r"thesis\.txt' exists and is not a shapes data set"):
        ShapesSource(tmp_path / "thesis.txt")
    assert all_files(tmp_path) == {"thesis.txt": b"years of work"}


@pytest.mark.parametrize("name", ["num_train", "num_val"])
def test_at_least_one_scene_per_split(tmp_path, name):
    counts = {"num_train": 1, "num_val": 1, name: 0}
    message = rf"`{name}` must be a whole number from 1\. Received: {name}=0\. Fix:"
    with pytest.raises(DataError, match=message):
        ShapesSource(tmp_path / "shapes", **counts)
    assert os.listdir(tmp_path) == []


def test_nothing_half_written_is_left_and_the_old_set_survives(tmp_path, monkeypatch):
    ShapesSource(tmp_path / "old", num_train=1, num_val=1)
    before = all_files(tmp_path)
    write, calls = cv2.imwrite, []

    def fail_on_the_third(*args):
        calls.append(args)
        return len(calls) % 3 != 0 and write(*args)

    monkeypatch.setattr(cv2, "imwrite", fail_on_the_third)
    for name in ("new", "old"):
        with pytest.raises(OSError, match=r"Cannot write '.*/000000000003\.jpg'\. Fix: free disk"):
            ShapesSource(tmp_path / name, num_train=5, num_val=1)
    assert all_files(tmp_path) == before
    assert os.listdir(tmp_path) == ["old"]
