"""VQA v2: questions about images, each with the answers of ten people.

Reads `v2_OpenEnded_mscoco_train2014_questions.json` and `v2_mscoco_train2014_annotations.json` in
the root or in `annotations/`, the same of val, test and test-dev (which have no annotations), and
of other data and without a year (`v2_OpenEnded_shapes_train_questions.json`). Images are
`train2014/COCO_train2014_000000000009.jpg`, or `train2014/000000000009.jpg` as COCO names them
since 2017.

Reference: Goyal et al. (2017), "Making the V in VQA Matter".
"""

import functools
import os
import re
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Literal

import msgspec
import numpy as np
from scipy import sparse

from data_prep.errors import DataError
from data_prep.sources.files import ImageFolder, check_folder, find_split_folder, read_json
from data_prep.sources.source import Examples, Source
from data_prep.sources.vqa_answers import NUM_ANSWERS, normalize_answer, soft_targets

ANSWER_TYPES = ("yes/no", "number", "other")
_SPLITS = ("train", "val", "test", "test-dev")
_QUESTIONS = re.compile(
    r"v2_OpenEnded_([A-Za-z0-9_-]+)_(train|val|test-dev|test)(\d{4})?_questions\.json", re.ASCII
)
_Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Question(msgspec.Struct):
    question_id: _Id
    image_id: _Id
    question: str


class _Answer(msgspec.Struct, gc=False):
    answer: str


class _Annotation(msgspec.Struct):
    question_id: _Id
    answers: list[_Answer]
    answer_type: Literal["yes/no", "number", "other", ""] = ""
    question_type: str = ""


class _Questions(msgspec.Struct):
    questions: list[_Question]


class _Annotations(msgspec.Struct):
    annotations: list[_Annotation]


@dataclass(frozen=True)
class _Split:
    """The questions of a split that are kept, column by column, with their answers."""

    question_ids: list
    image_ids: list
    texts: list
    answers: list
    answer_types: list
    question_types: list
    is_annotated: bool
    report: Counter


class VqaV2Source(Source):
    """Images with a question each; the labels are soft targets over the frequent answers.

    The classes are the normalised answers of `train`, the most frequent first, equally frequent
    ones in alphabetical order. Without annotations of `train` they are those of the first split
    that has some. An answer of which the normalisation leaves nothing is no class.

    The target of a class is min(n / 3, 1), where n of the ten people gave that answer. `details`
    holds `answers` (list of str, as typed), `answer_type` ("yes/no", "number", "other" or "") and
    `question_type`.

    Args:
        root: path of the folder that holds the JSON files, or `annotations/` with them, and the
            image folders.
        num_answers: int. How many classes there are at most.
        min_count: int. How many times an answer must have been given to be a class.

    Raises:
        DataError: when a folder or file is missing or not in the format, naming it and the fix.
    """

    label_kind = "soft"

    def __init__(self, root, num_answers=3000, min_count=1):
        super().__init__(root, num_answers=num_answers, min_count=min_count)
        for name, value in self.settings.items():
            if type(value) is not int or value < 1:  # `True` is an int, but no number
                raise DataError(
                    f"`{name}` must be a whole number from 1. Received: {name}={value!r}. "
                    f"Fix: --data.options {name}=5, for example."
                )
        check_folder(root, "the questions, the annotations and the images")
        self._paths = {}
        for folder in (self.root, os.path.join(self.root, "annotations")):
            for name in _listing(folder):
                self._paths.setdefault(name, os.path.join(folder, name))
        self._names = self._find_splits()
        self.splits = tuple(split for split in _SPLITS if split in self._names)
        if not any(map(self._has_annotations, self.splits)):
            raise DataError(
                f"{self.root!r} holds no v2_OpenEnded_mscoco_train2014_questions.json with "
                "v2_mscoco_train2014_annotations.json (or val). Fix: put both there."
            )
        self._load_once = functools.cache(self._load)

    @functools.cached_property
    def label_names(self):
        """The answers that are classes, the most frequent first."""
        split = next(filter(self._has_annotations, self.splits))
        counts = Counter()
        for text, count in Counter(chain.from_iterable(self._load_once(split).answers)).items():
            counts[normalize_answer(text)] += count
        counts.pop("", None)
        frequent = [answer for answer in counts if counts[answer] >= self.settings["min_count"]]
        if not frequent:
            raise DataError(
                f"{self._annotations_path(split)}: no answer was given `min_count` = "
                f"{self.settings['min_count']} times. Fix: lower it, or repair the file."
            )
        frequent.sort(key=lambda answer: (-counts[answer], answer))
        return frequent[: self.settings["num_answers"]]

    def _read_split(self, split):
        data = self._load_once(split)
        counts = self._count_answers(data.answers)
        report = {"questions": len(data.texts), "images": len(set(data.image_ids))}
        if data.is_annotated:
            report["answers"] = sum(map(len, data.answers))
            report["answers in the vocabulary"] = int(counts.sum())
            outside = int((np.diff(counts.indptr) == 0).sum())
            report["questions whose answers are all outside the vocabulary"] = outside
            types = Counter(data.answer_types)
            report |= {f"{kind} questions": types[kind] for kind in ANSWER_TYPES}
            odd = {
                "questions without an answer type": types[""],
                "questions with other than ten answers": sum(
                    len(answers) != NUM_ANSWERS for answers in data.answers
                ),
            }
            report |= {what: count for what, count in odd.items() if count}
        else:
            report["questions without an annotation"] = len(data.texts)
        examples = Examples(
            ids=[f"{split}/{question_id}" for question_id in data.question_ids],
            groups=np.array(data.image_ids, np.int64),
            images=self._find_images(split, data.image_ids),
            captions=[[text] for text in data.texts],
            labels=sparse.csr_array(
                (soft_targets(counts.data), counts.indices, counts.indptr), shape=counts.shape
            ),
            details={
                "answers": data.answers,
                "answer_type": data.answer_types,
                "question_type": data.question_types,
            },
        )
        # What was found comes first, then what is odd.
        return examples, {**report, **data.report}

    def _load(self, split):
        """Joins the questions of a split with their annotations."""
        path, report = self._questions_path(split), Counter()
        questions = {}
        for question in read_json(path, _Questions).questions:
            if question.question_id in questions:
                raise DataError(
                    f"{path}: question id {question.question_id} appears twice. Fix: remove one."
                )
            questions[question.question_id] = question
        if not questions:
            raise DataError(f"{path}: 'questions' is empty. Fix: use a file that lists questions.")
        is_annotated = self._has_annotations(split)
        annotations = self._read_annotations(split, questions, report) if is_annotated else {}
        rows = []
        for question_id, question in questions.items():
            text = " ".join(question.question.split())
            if not text:
                report["empty questions, left out"] += 1
            elif is_annotated and question_id not in annotations:
                report["questions without an annotation, left out"] += 1
            else:
                annotation = annotations.get(question_id, ([], "", ""))
                rows.append((question_id, question.image_id, text, *annotation))
        if not rows:
            found = ", ".join(f"{count} {what}" for what, count in report.items())
            raise DataError(
                f"{path}: no question is left ({found}). Fix: use questions and annotations of the "
                "same split."
            )
        return _Split(*map(list, zip(*rows, strict=True)), is_annotated, report)

    def _read_annotations(self, split, questions, report):
        """Returns `{question id: (answers, answer type, question type)}`."""
        path, annotations = self._annotations_path(split), {}
        texts = {}  # each text is kept once: few of the 4.4 million answers of `train` differ
        for item in read_json(path, _Annotations).annotations:
            if item.question_id in annotations:
                raise DataError(
                    f"{path}: question id {item.question_id} has two annotations. Fix: remove one."
                )
            if item.question_id not in questions:
                report["annotations without a question, left out"] += 1
                continue
            answers = [texts.setdefault(entry.answer, entry.answer) for entry in item.answers]
            question_type = texts.setdefault(item.question_type, item.question_type)
            annotations[item.question_id] = (answers, item.answer_type, question_type)
        return annotations

    def _count_answers(self, answers):
        """How many people gave each answer: int32 `scipy.sparse.csr_array` (questions, classes)."""
        classes = {answer: column for column, answer in enumerate(self.label_names)}
        texts = set(chain.from_iterable(answers))
        columns = {text: classes.get(normalize_answer(text), -1) for text in texts}
        sizes = np.fromiter(map(len, answers), np.int64, len(answers))
        rows = np.repeat(np.arange(len(answers)), sizes)
        flat = np.fromiter(
            (columns[text] for text in chain.from_iterable(answers)), np.int64, sizes.sum()
        )
        rows, flat = rows[flat >= 0], flat[flat >= 0]
        shape = (len(answers), len(classes))
        return sparse.coo_array((np.ones(len(rows), np.int32), (rows, flat)), shape=shape).tocsr()

    def _find_images(self, split, image_ids):
        name = split.removesuffix("-dev") + self._names[split][1]  # test-dev is a part of test
        folder = find_split_folder(self.root, name, split)
        prefix = f"COCO_{name}_"
        if not any(file.startswith(prefix) for file in _listing(folder)):
            prefix = ""
        images, path = ImageFolder(folder), self._questions_path(split)
        paths = {
            image_id: images.find(f"{prefix}{image_id:012d}.jpg", f"image id {image_id} in {path}")
            for image_id in dict.fromkeys(image_ids)
        }
        return [paths[image_id] for image_id in image_ids]

    def _find_splits(self):
        """Returns `{split: (data, year)}`, as the names of the question files tell."""
        names = {}
        for match in filter(None, map(_QUESTIONS.fullmatch, self._paths)):
            data, split, year = match[1], match[2], match[3] or ""
            if split in names:
                raise DataError(
                    f"{self.root!r} holds two files with the questions of {split!r}, the second is "
                    f"{match[0]!r}. Fix: keep one of them."
                )
            names[split] = (data, year)
        return names

    def _questions_path(self, split):
        data, year = self._names[split]
        return self._paths[f"v2_OpenEnded_{data}_{split}{year}_questions.json"]

    def _annotations_path(self, split):
        data, year = self._names[split]
        return self._paths.get(f"v2_{data}_{split}{year}_annotations.json")

    def _has_annotations(self, split):
        return self._annotations_path(split) is not None


def _listing(folder):
    """The sorted names in a folder; none where it cannot be read."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
