"""The official accuracy beside an oracle that is written from its description alone."""

import re

import numpy as np
import pytest

from mmlearn.evaluation.vqa import (
    answer_accuracies,
    answer_accuracy,
    best_accuracies,
    describe_answers,
    score_answers,
    score_by,
)

# --- The oracle --------------------------------------------------------------------------------------

NUMBER_WORDS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
)
CONTRACTIONS = {"dont": "don't", "isnt": "isn't", "cant": "can't", "youre": "you're"}


def spell(answer):
    """Of the description: punctuation, lower case, number words, articles, contractions."""
    signs = ';/[]"{}()=+\\_-><@`,?!'
    spaced = answer
    for sign in signs:
        touches = f" {sign}" in answer or f"{sign} " in answer
        has_comma = re.search("[0-9],[0-9]", answer) is not None
        spaced = spaced.replace(sign, "" if touches or has_comma else " ")
    spaced = re.sub(r"\.(?!\d)", "", spaced)
    words = []
    for word in spaced.lower().split():
        word = "zero" if word == "none" else word
        if word in NUMBER_WORDS:
            word = str(NUMBER_WORDS.index(word))
        if word not in ("a", "an", "the"):
            words.append(CONTRACTIONS.get(word, word))
    return " ".join(words)


def oracle(predicted, answers):
    """Of the description: the mean over the ten sets of nine people of min(matches / 3, 1)."""
    if any(answer != answers[0] for answer in answers):
        predicted, answers = spell(predicted), [spell(answer) for answer in answers]
    found = []
    for left_out in range(len(answers)):
        nine = answers[:left_out] + answers[left_out + 1 :]
        found.append(min(sum(answer == predicted for answer in nine) / 3, 1))
    return sum(found) / len(found)


POOLS = (
    ["yes", "Yes", "yes.", "no", "No!", "a yes", "yes?"],
    ["2", "two", "Two", "3", "three", "none", "0", "the two", "2.5", "1,000", "1000"],
    ["red-white", "red white", "red, white", "the red", "red", "(red)", "red/white", "a red."],
    ["dont know", "don't know", "isnt it", "isn't it", "youre right", "cant say", "can't say"],
    ["10:30", "mom's", "mom's hat", "t-shirt", "t shirt", "tshirt", "u.s.a.", "usa", "up - down"],
)


def test_two_hundred_cases_agree_with_the_oracle():
    random = np.random.default_rng(0)
    values = set()
    for case in range(200):
        pool = POOLS[case % len(POOLS)]
        few = random.choice(pool, random.integers(1, 5))  # one of them: ten equal answers
        answers = [str(each) for each in random.choice(few, 10)]
        predicted = str(random.choice(pool))
        expected = oracle(predicted, answers)
        assert answer_accuracy(predicted, answers) == pytest.approx(expected, abs=1e-6)
        values.add(round(expected, 6))
    assert values == {0.0, 0.3, 0.6, 0.9, 1.0}  # all that there are


# --- Cases -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("matches", "expected"), [*enumerate([0.0, 0.3, 0.6, 0.9, 1.0, 1.0])])
def test_people_who_agree(matches, expected):
    answers = ["red"] * matches + ["blue", "green"] * 5
    assert answer_accuracy("red", answers[:10]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("predicted", "answers", "expected"),
    [
        ("2", ["two"] * 10, 0.0),  # ten equal answers are left alone
        ("two", ["two"] * 10, 1.0),
        ("2", ["two"] * 9 + ["Two"], 1.0),
        (" two\n", ["two\t"] * 10, 1.0),
        ("", ["yes"] * 10, 0.0),
        ("yes", ["yes"] * 5, 1.0),  # the same rule for another number of people
        ("yes", ["yes"] * 2 + ["no"], pytest.approx((2 * 1 / 3 + 2 / 3) / 3)),
        ("yes", ["yes"], 0.0),  # one person is never one of the others
    ],
)
def test_rules_at_the_edge(predicted, answers, expected):
    assert answer_accuracy(predicted, answers) == expected


def test_many_answers():
    found = answer_accuracies(["yes", "2"], [["yes"] * 10, ["3"] * 7 + ["two"] * 3])
    np.testing.assert_allclose(found, [1.0, 0.9])
    with pytest.raises(ValueError, match=r"per question\. Received: 1 answers, 2 questions"):
        answer_accuracies(["yes"], [["yes"] * 10] * 2)
    with pytest.raises(ValueError, match=r"without answers has no accuracy\. Fix: leave it out"):
        answer_accuracies(["yes"], [[]])


def test_the_vocabulary_limits_what_can_be_said():
    answers = [["Red."] * 4 + ["crimson"] * 6, ["crimson"] * 9 + ["Red"], ["crimson"] * 10]
    np.testing.assert_allclose(best_accuracies(["red", "blue"], answers), [1.0, 0.3, 0.0])


def test_scores_by_kind():
    accuracies, types = [1.0, 0.5, 0.0, 0.0], ["number", "other", "number", ""]
    assert score_answers(accuracies, types) == {"accuracy": 0.375, "number": 0.5, "other": 0.5}
    assert score_by(accuracies, ["what", "how", "what", "what"]) == {
        "what": {"accuracy": pytest.approx(1 / 3), "questions": 3},
        "how": {"accuracy": 0.5, "questions": 1},
    }


# --- Intervals ---------------------------------------------------------------------------------------


def test_intervals_are_those_of_images():
    random = np.random.default_rng(0)
    image = (random.random(200) < 0.5).astype(float)
    accuracies, groups = np.repeat(image, 3), np.repeat(np.arange(200), 3)
    types = ["yes/no", "number", "other"] * 200

    def width(groups):
        _, details = describe_answers({"model": accuracies}, types, groups)
        found = details["intervals"]["model"]["accuracy"]
        return found["high"] - found["low"]

    expected = 2 * 1.96 * image.std() / np.sqrt(200)  # of a mean over independent images
    assert width(groups) == pytest.approx(expected, rel=0.1)
    assert width(None) == pytest.approx(expected / np.sqrt(3), rel=0.1)


def test_rows_are_compared_on_the_same_resamples():
    random = np.random.default_rng(0)
    easy = random.random(300)
    rows = {"model": easy + 0.1, "question_only": easy}
    types = ["yes/no"] * 150 + ["other"] * 150
    metrics, details = describe_answers(rows, types, num_resamples=50)
    assert metrics["model"] == pytest.approx(score_answers(rows["model"], types))
    assert set(metrics["model"]) == {"accuracy", "yes/no", "other"}
    found = details["comparisons"]["over_question_only"]
    assert (found["first"], found["second"]) == ("model", "question_only")
    assert [found[k] for k in ("difference", "low", "high")] == pytest.approx([0.1] * 3)
    assert found["num_examples"] == 300
    low, high = (details["intervals"]["model"]["accuracy"][k] for k in ("low", "high"))
    assert low < metrics["model"]["accuracy"] < high
