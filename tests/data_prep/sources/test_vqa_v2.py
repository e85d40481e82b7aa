import copy
import json
import os
import re
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from data_prep.errors import DataError
from data_prep.sources.vqa_v2 import VqaV2Source


def given_by(*answers):
    return [{"answer_id": n, "answer": answer} for n, answer in enumerate(answers, 1)]


def annotate(question_id, answer_type, question_type, *answers):
    types = {"answer_type": answer_type, "question_type": question_type}
    return {"question_id": question_id, **types, "answers": given_by(*answers)}


# Ids out of order; two questions about image 7.
QUESTIONS = {
    "questions": [
        {"question_id": 701, "image_id": 7, "question": "What  color\n is it? "},
        {"question_id": 702, "image_id": 7, "question": "Is it a dog?"},
        {"question_id": 300, "image_id": 3, "question": "How many?"},
    ],
}
NUMBERS = ["2", "two", "2", "Two.", "3", "3", "three", "lots", "a", "none"]
COLORS = ["Red", "Red", "Red", "Red", "Red", "red.", "dark-red", "dark red", "a red", "2"]
JUDGEMENTS = ["yes", "yes", "yes", "yes", "yes", "yes", "yes", "Yes", "no", "no"]
ANNOTATIONS = {
    "annotations": [
        annotate(300, "number", "how many", *NUMBERS),
        annotate(701, "other", "what color", *COLORS),
        annotate(702, "yes/no", "is it a", *JUDGEMENTS),
    ],
}
# yes 8, red 7, 2 5, 3 3, then "dark red" and "no" twice, then "0" and "lots" once; "a" is nothing.
VOCABULARY = ["yes", "red", "2", "3", "dark red", "no", "0", "lots"]


def write_json(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file)


def write_vqa(
    root,
    name="train2014",
    questions=QUESTIONS,
    annotations=ANNOTATIONS,
    data="mscoco",
    folder="",
    images=None,
    file="COCO_{name}_{id:012d}.jpg",
):
    """Writes one split, with empty files as images, and returns the root."""
    write_json(os.path.join(root, folder, f"v2_OpenEnded_{data}_{name}_questions.json"), questions)
    if annotations is not None:
        write_json(os.path.join(root, folder, f"v2_{data}_{name}_annotations.json"), annotations)
    os.makedirs(os.path.join(root, images or name), exist_ok=True)
    for number in (3, 7):
        path = os.path.join(root, images or name, file.format(name=name, id=number))
        open(path, "wb").close()
    return str(root)


def changed(content, section, position, **values):
    """A copy with other values in one entry; `None` removes the key."""
    content = copy.deepcopy(content)
    entry = content[section][position] | values
    content[section][position] = {k: v for k, v in entry.items() if v is not None}
    return content


def test_questions_are_joined_with_their_answers(tmp_path):
    write_vqa(tmp_path)
    source = VqaV2Source(tmp_path)
    assert (source.splits, source.label_kind) == (("train",), "soft")
    assert source.settings == {"num_answers": 3000, "min_count": 1}
    assert source.label_names == VOCABULARY
    examples = source.examples("train")
    assert examples.ids == ["train/701", "train/702", "train/300"]
    assert (examples.groups.tolist(), examples.groups.dtype) == ([7, 7, 3], np.int64)
    assert examples.captions == [["What color is it?"], ["Is it a dog?"], ["How many?"]]
    names = ["COCO_train2014_000000000007.jpg"] * 2 + ["COCO_train2014_000000000003.jpg"]
    assert examples.images == [str(tmp_path / "train2014" / name) for name in names]
    assert all(map(os.path.exists, examples.images))
    assert examples.details["answer_type"] == ["other", "yes/no", "number"]
    assert examples.details["question_type"] == ["what color", "is it a", "how many"]
    assert examples.details["answers"] == [COLORS, JUDGEMENTS, NUMBERS]


def test_the_labels_are_soft_targets(tmp_path):
    labels = VqaV2Source(write_vqa(tmp_path)).examples("train").labels
    assert isinstance(labels, sparse.csr_array)
    assert labels.dtype == np.float32
    third = 1 / 3
    expected = [  # yes, red, 2, 3, dark red, no, 0, lots
        [0, 1, third, 0, 2 * third, 0, 0, 0],
        [1, 0, 0, 0, 0, 2 * third, 0, 0],
        [0, 0, 1, 1, 0, 0, third, third],
    ]
    np.testing.assert_array_equal(labels.toarray(), np.float32(expected))


def test_the_report_counts_what_was_found(tmp_path):
    assert list(VqaV2Source(write_vqa(tmp_path)).report("train").items()) == [
        ("questions", 3),
        ("images", 2),
        ("answers", 30),
        ("answers in the vocabulary", 29),
        ("questions whose answers are all outside the vocabulary", 0),
        ("yes/no questions", 1),
        ("number questions", 1),
        ("other questions", 1),
    ]


@pytest.mark.parametrize(
    ("options", "expected", "inside", "all_outside"),
    [
        ({"num_answers": 2}, ["yes", "red"], 15, 1),
        ({"num_answers": 5}, ["yes", "red", "2", "3", "dark red"], 25, 0),
        ({"min_count": 3}, ["yes", "red", "2", "3"], 23, 0),
        ({"min_count": 8}, ["yes"], 8, 2),
        ({"min_count": 2, "num_answers": 1}, ["yes"], 8, 2),
    ],
)
def test_the_vocabulary_is_limited(tmp_path, options, expected, inside, all_outside):
    source = VqaV2Source(write_vqa(tmp_path), **options)
    assert source.label_names == expected
    assert source.examples("train").labels.shape == (3, len(expected))
    report = source.report("train")
    assert report["answers in the vocabulary"] == inside
    assert report["questions whose answers are all outside the vocabulary"] == all_outside


def test_the_vocabulary_is_that_of_train_also_when_val_is_read_first(tmp_path):
    root = write_vqa(tmp_path)
    answers = given_by(*["yes"] * 2, *["giraffe"] * 8)
    write_vqa(root, "val2014", annotations=changed(ANNOTATIONS, "annotations", 0, answers=answers))
    source = VqaV2Source(root)
    assert source.splits == ("train", "val")
    labels = source.examples("val").labels.toarray()
    np.testing.assert_array_equal(labels[2], np.float32([2 / 3, 0, 0, 0, 0, 0, 0, 0]))
    assert source.report("val")["answers in the vocabulary"] == 22
    assert source.label_names == VOCABULARY
    assert source.examples("val").ids[0] == "val/701"
    assert os.path.dirname(source.examples("val").images[0]).endswith("val2014")


def test_the_vocabulary_without_annotations_of_train_is_that_of_val(tmp_path):
    root = write_vqa(tmp_path, annotations=None)
    write_vqa(root, "val2014")
    source = VqaV2Source(root)
    assert source.label_names == VOCABULARY
    assert source.examples("train").labels.nnz == 0


def test_a_split_without_annotations_keeps_its_questions(tmp_path):
    root = write_vqa(tmp_path)
    write_vqa(root, "test2015", annotations=None)
    only_two = {"questions": QUESTIONS["questions"][:2]}
    write_vqa(root, "test-dev2015", questions=only_two, annotations=None, images="test2015")
    for path in (tmp_path / "test2015").glob("COCO_test-dev*"):
        path.unlink()
    source = VqaV2Source(root)
    assert source.splits == ("train", "test", "test-dev")
    for split, count, images in (("test", 3, 2), ("test-dev", 2, 1)):
        examples = source.examples(split)
        assert list(source.report(split).items()) == [
            ("questions", count),
            ("images", images),
            ("questions without an annotation", count),
        ]
        assert examples.details["answers"] == [[]] * count
        assert examples.details["answer_type"] == examples.details["question_type"] == [""] * count
        assert (examples.labels.shape, examples.labels.nnz) == ((count, 8), 0)
        assert examples.ids[0] == f"{split}/701"
        path = tmp_path / "test2015" / "COCO_test2015_000000000007.jpg"
        assert examples.images[0] == str(path)
        assert path.exists()


def test_what_has_no_partner_is_left_out_and_counted(tmp_path):
    lost = [{"question_id": n, "image_id": 9, "question": "Why?"} for n in (900, 901)]
    blank = {"question_id": 902, "image_id": 9, "question": " \n\t"}
    orphans = [annotate(n, "other", "", "orphan") for n in (11, 12, 13, 902)]
    questions = {"questions": [*QUESTIONS["questions"], *lost, blank]}
    annotations = {"annotations": [*ANNOTATIONS["annotations"], *orphans]}
    source = VqaV2Source(write_vqa(tmp_path, questions=questions, annotations=annotations))
    report = source.report("train")
    assert (report["questions"], report["images"], report["answers"]) == (3, 2, 30)
    assert report["questions without an annotation, left out"] == 2
    assert report["empty questions, left out"] == 1
    assert report["annotations without a question, left out"] == 3
    assert source.label_names == VOCABULARY


def test_unusual_numbers_of_answers_and_missing_types_are_counted(tmp_path):
    annotations = changed(ANNOTATIONS, "annotations", 0, answers=given_by("2"), answer_type=None)
    annotations = changed(annotations, "annotations", 2, answers=[], question_type=None)
    source = VqaV2Source(write_vqa(tmp_path, annotations=annotations))
    report = source.report("train")
    assert report["questions with other than ten answers"] == 2
    assert report["questions without an answer type"] == 1
    assert report["questions whose answers are all outside the vocabulary"] == 1
    assert (report["answers"], report["number questions"], report["yes/no questions"]) == (11, 0, 1)
    examples = source.examples("train")
    assert examples.details["answer_type"] == ["other", "yes/no", ""]
    assert examples.details["question_type"] == ["what color", "", "how many"]
    assert examples.details["answers"][1:] == [[], ["2"]]
    np.testing.assert_array_equal(
        examples.labels.toarray(), np.float32([[1, 1 / 3, 2 / 3], [0, 0, 0], [0, 1 / 3, 0]])
    )
    assert source.label_names == ["red", "2", "dark red"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "train2014/COCO_train2014_000000000007.jpg"),
        ({"folder": "annotations"}, "train2014/COCO_train2014_000000000007.jpg"),
        ({"images": "images/train2014"}, "images/train2014/COCO_train2014_000000000007.jpg"),
        ({"images": "train2014/train2014"}, "train2014/train2014/COCO_train2014_000000000007.jpg"),
        ({"file": "{id:012d}.jpg"}, "train2014/000000000007.jpg"),
        ({"name": "train2017", "file": "{id:012d}.jpg"}, "train2017/000000000007.jpg"),
        (
            {"name": "train", "file": "{id:012d}.jpg", "data": "own-data_2"},
            "train/000000000007.jpg",
        ),
    ],
)
def test_layouts(tmp_path, options, expected):
    source = VqaV2Source(write_vqa(tmp_path, **options))
    assert source.splits == ("train",)
    assert source.examples("train").images[0] == str(tmp_path / expected)
    assert (tmp_path / expected).exists()


def test_files_may_lie_in_different_folders(tmp_path):
    root = write_vqa(tmp_path, annotations=None)
    write_json(tmp_path / "annotations" / "v2_mscoco_train2014_annotations.json", ANNOTATIONS)
    assert VqaV2Source(root).label_names == VOCABULARY


def test_the_largest_ids_are_read(tmp_path):
    largest = 2**63 - 1
    root = write_vqa(
        tmp_path,
        questions=changed(QUESTIONS, "questions", 2, question_id=largest, image_id=largest),
        annotations=changed(ANNOTATIONS, "annotations", 0, question_id=largest),
    )
    examples = VqaV2Source(root).examples("train")
    assert examples.ids[2] == "train/9223372036854775807"
    assert examples.groups[2] == largest


def remove(*parts):
    def change(root):
        path = os.path.join(root, *parts)
        (shutil.rmtree if os.path.isdir(path) else os.remove)(path)

    return change


FILES = {
    "questions": "v2_OpenEnded_mscoco_train2014_questions.json",
    "annotations": "v2_mscoco_train2014_annotations.json",
}


def put(kind, content):
    """Replaces a JSON file: by JSON, or by bytes as they are."""

    def change(root):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        with open(os.path.join(root, FILES[kind]), "wb") as file:
            file.write(data)

    return change


def link_out(root):
    path = os.path.join(root, "train2014", "COCO_train2014_000000000003.jpg")
    os.remove(path)
    os.symlink(os.path.join(root, FILES["questions"]), path)


def put_folder(root):
    remove(FILES["questions"])(root)
    os.mkdir(os.path.join(root, FILES["questions"]))


def add_own_questions(root):
    write_json(os.path.join(root, "annotations", "v2_OpenEnded_own_train_questions.json"), {})


def question(position, **values):
    return put("questions", changed(QUESTIONS, "questions", position, **values))


def annotation(position, **values):
    return put("annotations", changed(ANNOTATIONS, "annotations", position, **values))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove(), r"There is no folder '{root}'\. Fix: pass the folder"),
        (remove(FILES["questions"]), r"'{root}' holds no v2_OpenEnded_mscoco_train2014.*Fix: put"),
        (remove(FILES["annotations"]), r"'{root}' holds no .*with v2_mscoco_train2014_.*Fix: put"),
        (remove("train2014"), r"There is no image folder '{root}/train2014'\. Fix: unpack"),
        (
            link_out,
            r"The image id 3 in {root}/v2_.*link that leads out of '{root}/train2014'.*Fix: ",
        ),
        (put_folder, r"'{root}/v2_OpenEnded_.*' cannot be read \(.*directory\)\. Fix: "),
        (
            add_own_questions,
            r"'{root}' holds two files with the questions of 'train', the second is "
            r"'v2_OpenEnded_own_train_questions\.json'\. Fix: keep one",
        ),
        (put("questions", b"{"), r"'{root}/v2_OpenEnded.*_questions\.json' is not JSON .*Fix: "),
        (put("annotations", b""), r"'{root}/v2_mscoco.*_annotations\.json' is not JSON .*Fix: "),
        (put("annotations", b'"\xff"'), r"_annotations\.json' is not .*Fix: "),
        (put("questions", []), r"_questions\.json' is not in its format: Expected `object`.*Fix: "),
        (put("questions", {}), r"_questions\.json' .*missing required field `questions`.*Fix: "),
        (put("questions", {"questions": []}), r"_questions\.json: 'questions' is empty\. Fix: "),
        (
            put("annotations", {"annotations": 5}),
            r"_annotations\.json' .*`\$\.annotations`\. Fix: ",
        ),
        (
            put("annotations", {"annotations": []}),
            r"_questions\.json: no question is left \(3 questions without an annotation, left out\)"
            r"\. Fix: use questions and annotations of the same split",
        ),
        (
            question(1, question_id=701),
            r"_questions\.json: question id 701 .*twice\. Fix: remove one",
        ),
        (annotation(1, question_id=300), r"question id 300 has two annotations\. Fix: remove one"),
        (question(2, question_id=None), r"`question_id` - at `\$\.questions\[2\]`\. Fix: "),
        (question(2, question_id="1"), r"got `str` - at `\$\.questions\[2\]\.question_id`\. Fix: "),
        (question(0, image_id="../../7"), r"got `str` - at `\$\.questions\[0\]\.image_id`\. Fix: "),
        (question(0, image_id=1.5), r"got `float` - at `\$\.questions\[0\]\.image_id`\. Fix: "),
        (question(0, image_id=2**63), r"`\$\.questions\[0\]\.image_id`\. Fix: "),
        (question(0, image_id=-(2**63) - 1), r"`\$\.questions\[0\]\.image_id`\. Fix: "),
        (question(0, question_id=10**30), r"`\$\.questions\[0\]\.question_id`\. Fix: "),
        (question(1, question=7), r"got `int` - at `\$\.questions\[1\]\.question`\. Fix: "),
        (annotation(1, question_id=2**64), r"`\$\.annotations\[1\]\.question_id`\. Fix: "),
        (annotation(1, answers=None), r"field `answers` - at `\$\.annotations\[1\]`\. Fix: "),
        (
            annotation(0, answers=["2"]),
            r"got `str` - at `\$\.annotations\[0\]\.answers\[0\]`\. Fix",
        ),
        (
            annotation(0, answers=[{"answer": 2}]),
            r"got `int` - at `\$\.annotations\[0\]\.answers\[0\]\.answer`\. Fix: ",
        ),
        (
            annotation(0, answer_type="colour"),
            r"Invalid enum value 'colour' - at `\$\.annotations\[0\]\.answer_type`\. Fix: ",
        ),
        (
            put("annotations", {"annotations": [annotate(300, "other", "", "a", "The", "?")]}),
            r"_annotations\.json: no answer was given `min_count` = 1 times\. Fix: lower it",
        ),
    ],
)
def test_damage_is_named_with_its_fix_in_one_line(tmp_path, damage, message):
    root = write_vqa(tmp_path / "vqa")
    damage(root)
    with pytest.raises(DataError, match=message.replace("{root}", re.escape(root))) as error:
        VqaV2Source(root).examples("train")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["num_answers", "min_count"])
@pytest.mark.parametrize("value", [0, -1, 2.5, "3", True, None])
def test_numbers_are_checked(tmp_path, name, value):
    message = rf"`{name}` must be a whole number from 1\. Received: {name}={value!r}\. Fix: "
    with pytest.raises(DataError, match=message):
        VqaV2Source(write_vqa(tmp_path), **{name: value})


def test_an_unknown_split_lists_the_known_ones(tmp_path):
    source = VqaV2Source(write_vqa(tmp_path))
    with pytest.raises(DataError, match=r"has no split 'trian'\. .*Did you mean 'train'\?"):
        source.examples("trian")


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 300, 701, 2**63, -(2**70), 1.5, 1e400, "", "..", "a\0", "\u2028"]),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def places(content):
    """Yields `(container, key)` of every value in a JSON document."""
    keys = content if isinstance(content, dict) else range(len(content))
    for key in keys:
        yield content, key
        if isinstance(content[key], (dict, list)):
            yield from places(content[key])


@st.composite
def damaged_files(draw):
    """The two files as bytes, with up to three values replaced, removed or repeated, or cut off."""
    contents = copy.deepcopy({"questions": QUESTIONS, "annotations": ANNOTATIONS})
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(list(places(contents))[1:]))
        if container is contents:
            continue
        action = draw(st.sampled_from(["replace", "remove", "repeat"]))
        if action == "replace":
            container[key] = draw(VALUES)
        elif action == "remove":
            del container[key]
        elif isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
    files = {kind: json.dumps(content).encode() for kind, content in contents.items()}
    if draw(st.integers(0, 3)) == 0:
        kind = draw(st.sampled_from(sorted(files)))
        position = draw(st.integers(0, len(files[kind]) - 1))
        files[kind] = files[kind][:position] + draw(st.binary(max_size=3))
    return files


@pytest.fixture(scope="module")
def fuzz_root(tmp_path_factory):
    return write_vqa(tmp_path_factory.mktemp("fuzz"))


@settings(derandomize=True, database=None, max_examples=60, deadline=None)
@given(files=damaged_files())
def test_damaged_files_are_read_or_refused(fuzz_root, files):
    for kind, data in files.items():
        put(kind, data)(fuzz_root)
    source = VqaV2Source(fuzz_root)
    try:
        examples, report = source.examples("train"), source.report("train")
    except DataError as error:
        assert "Fix: " in str(error)
        return
    assert len(examples) == report["questions"] == len(set(examples.ids)) <= 3
    assert examples.labels.shape == (len(examples), len(source.label_names))
    assert 0 < examples.labels.data.min() <= examples.labels.data.max() <= 1
    assert set(map(os.path.dirname, examples.images)) == {os.path.join(fuzz_root, "train2014")}
    assert all(len(column) == len(examples) for column in examples.details.values())


def test_the_synthetic_data(shapes_root):
    source = VqaV2Source(shapes_root)
    assert source.splits == ("train", "val")
    assert {"yes", "no", "1", "2"} <= set(source.label_names)
    for split, images in (("train", 24), ("val", 12)):
        report, examples = source.report(split), source.examples(split)
        assert (
            report["images"] == report["yes/no questions"] == report["number questions"] == images
        )
        assert report["questions"] == 2 * images + report["other questions"]
        assert report["answers"] == 10 * report["questions"]
        assert all(map(os.path.exists, examples.images))
    labels = source.examples("train").labels
    assert labels.nnz == labels.sum() == len(source.examples("train"))


def test_the_real_subset(shared_data):
    source = VqaV2Source(os.path.join(shared_data, "vqa_subset"))
    assert source.splits == ("train", "val")
    assert source.label_names[:3] == ["2", "table", "chair"]
    for split, questions, images, outside in (("train", 4302, 499, 0), ("val", 1027, 120, 28)):
        report, examples = source.report(split), source.examples(split)
        assert (report["questions"], report["images"]) == (questions, images)
        assert len(set(examples.ids)) == len(examples) == questions
        assert report["questions whose answers are all outside the vocabulary"] == outside
        assert report["answers in the vocabulary"] == 10 * (questions - outside)
        assert report["number questions"] + report["other questions"] == questions
        assert all(map(os.path.exists, set(examples.images)))
        # One answer, repeated ten times.
        np.testing.assert_array_equal(
            examples.labels.data, np.ones(questions - outside, np.float32)
        )
        assert set(np.diff(examples.labels.indptr)) <= {0, 1}
