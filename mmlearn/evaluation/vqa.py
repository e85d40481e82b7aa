"""How good answers to visual questions are: the official accuracy, by kind of answer, with intervals.

A question has the answers of ten people. They and the predicted one are given one spelling, see
`data_prep.sources.vqa_answers`, unless all ten are equal: then all are compared as they are, but for
spaces. So does the official evaluation (its first releases handled the predicted answer always, and of
the ten the punctuation alone).

Reference: Antol et al. (2015), "VQA: Visual Question Answering", section 3, and the evaluation code
published with it.
"""

import numpy as np

from data_prep.sources.vqa_answers import AGREEMENT, normalize_answer
from data_prep.sources.vqa_v2 import ANSWER_TYPES
from mmlearn.evaluation.intervals import NUM_RESAMPLES, difference, draw_all, interval

OVERALL = "accuracy"


def answer_accuracy(predicted, answers):
    """The official accuracy of one answer: how many people gave it, one of them left out at a time.

    Each person is left out once, and min(n / 3, 1) taken, where n of the others gave the predicted
    answer; the accuracy is the mean of these. Of ten people 0, 1, 2, 3, 4 or more who gave it make
    0, 0.3, 0.6, 0.9, 1.

    Args:
        predicted: str.
        answers: list of str, as people typed them.

    Returns:
        float in [0, 1].

    Raises:
        ValueError: when nobody answered.

    Example:

    >>> answer_accuracy("two", ["2"] * 3 + ["Three."] * 7)
    0.9
    """
    if not answers:
        raise ValueError("A question without answers has no accuracy. Fix: leave it out.")
    predicted, *answers = (_without_breaks(text) for text in (predicted, *answers))
    if len(set(answers)) > 1:
        predicted, *answers = map(normalize_answer, (predicted, *answers))
    count, matches = len(answers), answers.count(predicted)
    own = matches * min((matches - 1) / AGREEMENT, 1)  # one of those who gave it is left out
    others = (count - matches) * min(matches / AGREEMENT, 1)
    return (own + others) / count


def _without_breaks(text):
    return text.replace("\n", " ").replace("\t", " ").strip()


def answer_accuracies(predicted, answers):
    """The official accuracy of many answers.

    Args:
        predicted: list of str, one per question.
        answers: list of lists of str, those of people, one list per question.

    Returns:
        float64 `(num_questions,)`.

    Raises:
        ValueError: when there are not as many of one as of the other, or nobody answered a question.
    """
    if len(predicted) != len(answers):
        raise ValueError(
            "There must be one predicted answer per question. "
            f"Received: {len(predicted)} answers, {len(answers)} questions."
        )
    return np.array(list(map(answer_accuracy, predicted, answers)), np.float64)


def best_accuracies(vocabulary, answers):
    """The accuracy of who knows what people said, but has only these words for it.

    Args:
        vocabulary: iterable of str, the answers that a model can give.
        answers: list of lists of str, one list per question.

    Returns:
        float64 `(num_questions,)`.

    Example:

    >>> best_accuracies(["yes", "no"], [["yes"] * 10, ["no"] + ["maybe"] * 9]).tolist()
    [1.0, 0.3]
    """
    vocabulary = set(vocabulary)
    return np.array(
        [
            max(
                (
                    answer_accuracy(each, own)
                    for each in vocabulary & set(map(normalize_answer, own))
                ),
                default=0.0,
            )
            for own in answers
        ],
        np.float64,
    )


def score_answers(accuracies, answer_types):
    """The mean accuracy over all questions and over those of each kind.

    Args:
        accuracies: float array `(num_questions,)`.
        answer_types: list of str, `"yes/no"`, `"number"`, `"other"` or `""` for unknown.

    Returns:
        A dict of float: `accuracy`, and of each kind that there is.

    Example:

    >>> score_answers([1.0, 0.0, 0.5], ["yes/no", "yes/no", "number"])
    {'accuracy': 0.5, 'yes/no': 0.5, 'number': 0.5}
    """
    scores = _weighted(accuracies, answer_types, np.ones((len(answer_types), 1)))
    return {kind: float(score[0]) for kind, score in scores.items()}


def score_by(accuracies, kinds):
    """The mean accuracy of each of many kinds of questions, such as those with the same first words.

    Args:
        accuracies: float array `(num_questions,)`.
        kinds: list of str.

    Returns:
        A dict of kind to a dict of `accuracy` and `questions`, how many there are; the most frequent
        kind first.
    """
    different, members, counts = np.unique(kinds, return_inverse=True, return_counts=True)
    sums = np.bincount(members, np.asarray(accuracies, np.float64))
    return {
        str(different[i]): {OVERALL: float(sums[i] / counts[i]), "questions": int(counts[i])}
        for i in np.argsort(-counts, kind="stable")
    }


def describe_answers(rows, answer_types, groups=None, num_resamples=NUM_RESAMPLES, seed=0):
    """Compares the answers of several to the same questions.

    Args:
        rows: dict of name to accuracies, float array `(num_questions,)`; the model first.
        answer_types: see `score_answers`.
        groups: int array `(num_questions,)`, the image of each question, or `None`. Questions about one
            image are resampled together.
        num_resamples: int.
        seed: int.

    Returns:
        `metrics`, a dict of name to what `score_answers` returns, and a dict of plain JSON types:

        - `intervals`, a dict of name to dict of metric to `low` and `high`, 95 % by bootstrap;
        - `comparisons`, of `over_{name}` (the model minus another one) to a dict of `metric`, `first`,
          `second`, `num_examples` and what `difference` returns.
    """

    def measure(weights):
        return {
            (name, metric): drawn
            for name, accuracies in rows.items()
            for metric, drawn in _weighted(accuracies, answer_types, weights).items()
        }

    metrics, intervals, comparisons = {}, {}, {}
    all_drawn = draw_all(measure, len(answer_types), groups, num_resamples, seed)
    for (name, metric), drawn in all_drawn.items():
        metrics.setdefault(name, {})[metric] = float(drawn[0])
        intervals.setdefault(name, {})[metric] = interval(drawn, limits=(0.0, 1.0))
    model, *others = rows
    for name in others:
        comparisons[f"over_{name}"] = {
            "metric": OVERALL,
            "first": model,
            "second": name,
            "num_examples": len(answer_types),
            **difference(all_drawn[model, OVERALL], all_drawn[name, OVERALL]),
        }
    return metrics, {"intervals": intervals, "comparisons": comparisons}


def _weighted(accuracies, answer_types, weights):
    """The means under weights `(num_questions, num_weightings)`, NaN where a kind weighs nothing."""
    accuracies, types = np.asarray(accuracies, np.float64), np.asarray(answer_types)
    parts = {OVERALL: np.ones(len(types), bool)}
    parts.update({kind: types == kind for kind in ANSWER_TYPES if (types == kind).any()})
    found = {}
    for kind, rows in parts.items():
        total = weights[rows].sum(axis=0)
        sums = accuracies[rows] @ weights[rows]
        found[kind] = np.divide(sums, total, out=np.full(len(total), np.nan), where=total > 0)
    return found
