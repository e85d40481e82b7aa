import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.sources.vqa_answers import majority, normalize_answer, soft_targets


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # case, ends and spaces
        ("Yes", "yes"),
        ("  red  ", "red"),
        ("light   blue", "light blue"),
        ("light\nblue", "light blue"),
        ("light\tblue", "light blue"),
        ("light\r\nblue\n", "light blue"),
        ("ÉCLAIR", "éclair"),
        ("", ""),
        (" \n\t ", ""),
        # a sign becomes a space,
        ("red/white", "red white"),
        ("red,white", "red white"),
        ("black-and-white", "black and white"),
        ("t_shirt", "t shirt"),
        ("what?", "what"),
        ("[yes]", "yes"),
        ('"stop"', "stop"),
        ("1+1=2", "1 1 2"),
        # unless it is next to a space at one place: then it is gone at all places,
        ("red, white", "red white"),
        ("red ,white", "red white"),
        ("red - white", "red white"),
        ("up-to-date - yes", "uptodate yes"),
        ("t-shirt, hat", "t shirt hat"),
        ("(hot dog) (bun)", "hot dog bun"),
        ("a\n-b-c", "bc"),
        # which spaces at the ends, stripped before, do not do,
        (" t-shirt- ", "t shirt"),
        # or unless a comma is in a number: then all signs are gone.
        ("1,000", "1000"),
        ("1,000,000", "1000000"),
        ("1,000-mile", "1000mile"),
        ("$1,000 (usd)", "$1000 usd"),
        ("1, 2", "1 2"),
        # other signs stay
        ("10:30", "10:30"),
        ("mom's", "mom's"),
        ("50%", "50%"),
        ("b&w", "b&w"),
        # periods
        ("yes.", "yes"),
        ("u.s.a.", "usa"),
        ("3.5", "3.5"),
        ("3.5.", "3.5"),
        ("5. 3", "5 3"),
        (".5", ".5"),
        ("no.7", "no.7"),
        ("...", ""),
        # number words, when they are a word of their own
        ("none", "0"),
        ("Zero", "0"),
        ("one", "1"),
        ("TEN", "10"),
        ("eleven", "eleven"),
        ("two three four five", "2 3 4 5"),
        ("six seven eight nine", "6 7 8 9"),
        ("twenty-one", "twenty 1"),
        ("someone", "someone"),
        # articles
        ("The dog", "dog"),
        ("a dog and an apple", "dog and apple"),
        ("theater", "theater"),
        ("a", ""),
        ("a/c", "c"),
        ("a.", ""),
        # contractions
        ("dont", "don't"),
        ("DONT KNOW", "don't know"),
        ("don't", "don't"),
        ("cant", "can't"),
        ("im", "i'm"),
        ("isnt it", "isn't it"),
        ("5 oclock", "5 o'clock"),
        ("twas", "'twas"),
        ("couldntve", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("couldnt've", "couldn't've"),
        ("yalldve", "y'all'd've"),
        ("y'alld've", "y'all'd've"),
        ("thats a dont-walk sign", "that's don't walk sign"),
    ],
)
def test_an_answer_has_one_spelling(text, expected):
    assert normalize_answer(text) == expected


@pytest.mark.parametrize(
    "word", ["its", "lets", "id", "ill", "hell", "shell", "well", "shed", "wed", "were", "pants"]
)
def test_words_of_their_own_get_no_apostrophe(word):
    assert normalize_answer(word) == word


@settings(derandomize=True, database=None, max_examples=100, deadline=None)
@given(st.text(alphabet="aA1te ,.-'?\n\té\u00a0", max_size=12) | st.text(max_size=12))
def test_a_normalised_answer_stays_as_it_is(text):
    answer = normalize_answer(text)
    assert normalize_answer(answer) == answer
    assert answer == " ".join(answer.split())


def test_three_people_make_a_full_target():
    targets = soft_targets(np.array([0, 1, 2, 3, 4, 10], np.int32))
    assert targets.dtype == np.float32
    np.testing.assert_array_equal(targets, np.float32([0, 1 / 3, 2 / 3, 1, 1, 1]))
    assert soft_targets(2) == np.float32(2 / 3)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["no", "yes", "Yes.", "a yes", "no"], "yes"),
        (["blue", "red", "Red", "blue"], "blue"),
        (["two"] * 10, "2"),
        (["no"], "no"),
        ([], ""),
    ],
)
def test_the_majority_is_taken_after_normalisation(answers, expected):
    assert majority(answers) == expected
