"""The questions about the synthetic scenes: yes/no, number, other, and what an ideal observer answers.

Each scene of `data_prep.sources.shapes` has up to three questions: whether an object of some shape and
colour is there, how many objects of a shape there are, and which colour the only object of a shape has.
They are read as any data in the format of VQA v2. Objects too faint to see are asked about, too, so that
the best possible accuracy is below 1; `oracles` says how much.
"""

import functools
import math
import os

import numpy as np

from data_prep.sources.files import read_json
from data_prep.sources.shapes import (
    CATEGORY_IDS,
    COLORS,
    FAINT_PROBABILITY,
    MAX_OBJECTS,
    MIN_OBJECTS,
    SHAPES,
    ShapesSource,
)
from data_prep.sources.source import Source
from data_prep.sources.vqa_v2 import VqaV2Source

ASKED_PROBABILITY = 0.5  # with which a yes/no question is about an object that is there


class ShapesQuestionsSource(Source):
    """The scenes of `ShapesSource` with a question each; the labels are targets over the answers.

    Args:
        root: path of the folder. Made if absent.
        num_train: int. Training scenes; by default those that are there, else 6,000.
        num_val: int. Validation scenes; by default those that are there, else 1,000.
        seed: int. Of the scenes; by default that of those there, else 0.
    """

    label_kind = "soft"
    default_root = ShapesSource.default_root  # the same files

    def __init__(self, root, num_train=None, num_val=None, seed=None):
        scenes = ShapesSource(root, num_train, num_val, seed)
        super().__init__(root, **scenes.settings)
        self._questions = VqaV2Source(self.root)
        self.splits, self.label_names = self._questions.splits, self._questions.label_names
        self._oracles = functools.cache(self._observe)

    def _read_split(self, split):
        return self._questions.examples(split), self._questions.report(split)

    def oracles(self, split):
        """The answers of two observers, who read the question and know how scenes and questions are made.

        `visible` sees every object that is drawn in full, and no faint one; `question` sees nothing. Both
        give each answer its exact probability given that: what is asked tells something as well.
        """
        return self._oracles(split)

    def _observe(self, split):
        examples = self.examples(split)
        path = os.path.join(self.root, "annotations", f"instances_{split}.json")
        seen = {}
        for item in read_json(path, dict)["annotations"]:
            if not item["faint"]:
                shape = SHAPES[CATEGORY_IDS.index(item["category_id"])]
                seen.setdefault(item["image_id"], []).append((shape, item["color"]))
        observers = {
            "visible": lambda group: (seen.get(group, []), FAINT_PROBABILITY),
            "question": lambda group: ([], 1.0),
        }
        columns = {answer: column for column, answer in enumerate(self.label_names)}
        oracles = {}
        for name, look in observers.items():
            values = np.zeros((len(examples), len(columns)), np.float32)
            for row, (group, (question,)) in enumerate(
                zip(examples.groups.tolist(), examples.captions, strict=True)
            ):
                for answer, probability in answer_probabilities(question, *look(group)).items():
                    if answer in columns:
                        values[row, columns[answer]] = probability
            oracles[name] = values
        return oracles


def answer_probabilities(question, seen, hidden_probability):
    """What an observer knows of the answer: Bayes' rule over the objects that may be hidden.

    Args:
        question: str, as `data_prep.sources.shapes` writes them.
        seen: list of `(shape, color)`, the objects that are seen.
        hidden_probability: float in (0, 1]. With which an object is not.

    Returns:
        A dict of answer to probability; they sum to 1.

    Example:

    >>> answer_probabilities("what color is the star?", [("star", "red"), ("ring", "blue")], 0.2)
    {'red': 1.0}
    """
    words = question.rstrip("?").split()
    totals = _number_of_objects(len(seen), hidden_probability)
    if words[0] == "is":
        found = _is_there((words[-1], words[-2]), seen, totals)
    elif words[0] == "how":
        # "circles", "crosses": which shape, its beginning tells.
        found = _how_many(next(s for s in SHAPES if words[2].startswith(s)), seen, totals)
    else:
        colors = [color for shape, color in seen if shape == words[-1]] or list(COLORS)
        found = dict.fromkeys(colors, 1.0)  # of a shape that is not seen, each is as likely
    total = sum(found.values())
    return {answer: value / total for answer, value in found.items() if value}


def _number_of_objects(num_seen, hidden_probability):
    """How many objects a scene may have, each with its probability, up to a factor: dict."""
    totals = range(max(MIN_OBJECTS, num_seen), MAX_OBJECTS + 1)
    return {n: math.comb(n, num_seen) * hidden_probability ** (n - num_seen) for n in totals}


def _is_there(asked, seen, totals):
    """The joint probabilities of an answer and of the question."""
    known, num_kinds = seen.count(asked), len(SHAPES) * len(COLORS)
    found = {"yes": 0.0, "no": 0.0}
    for total, share in totals.items():
        for more, chance in _binomial(total - len(seen), 1 / num_kinds):
            of_any = (1 - ASKED_PROBABILITY) / num_kinds
            of_these = ASKED_PROBABILITY * (known + more) / total
            found["yes" if known + more else "no"] += share * chance * (of_any + of_these)
    return found


def _how_many(asked, seen, totals):
    known = sum(shape == asked for shape, _ in seen)
    found = {str(count): 0.0 for count in range(1, MAX_OBJECTS + 1)}
    for total, share in totals.items():
        for more, chance in _binomial(total - len(seen), 1 / len(SHAPES)):
            if known + more:  # the shape of an object that is there, each as likely, is asked about
                found[str(known + more)] += share * chance * (known + more) / total
    return found


def _binomial(count, probability):
    for k in range(count + 1):
        yield k, math.comb(count, k) * probability**k * (1 - probability) ** (count - k)
