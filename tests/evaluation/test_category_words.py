"""Categories named in captions."""

import pytest

from mmlearn.evaluation.category_words import SYNONYMS, find_categories, names_of

COCO = [
    "person",
    "dog",
    "hot dog",
    "bus",
    "knife",
    "teddy bear",
    "bear",
    "dining table",
    "couch",
    "skis",
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a dog on a couch", [(1, 2, "dog"), (4, 5, "couch")]),
        ("Two Dogs", [(1, 2, "dog")]),
        ("a hot dog", [(1, 3, "hot dog")]),
        ("hot dogs", [(0, 2, "hot dog")]),
        ("a teddy bear", [(1, 3, "teddy bear")]),
        ("a bear", [(1, 2, "bear")]),
        ("men , women and a child", [(0, 1, "person"), (2, 3, "person"), (5, 6, "person")]),
        ("buses", [(0, 1, "bus")]),
        ("knives on a table", [(0, 1, "knife"), (3, 4, "dining table")]),
        ("a sofa", [(1, 2, "couch")]),
        ("a skier", [(1, 2, "person")]),
        ("a doghouse", []),
        ("", []),
    ],
)
def test_names_plurals_and_synonyms_are_found(text, expected):
    assert find_categories(text.split(), COCO) == expected


def test_a_category_is_called_by_its_own_name_first():
    # "glove" is a synonym of COCO's baseball glove, and a category here.
    assert find_categories(["glove"], ["glove", "baseball glove"]) == [(0, 1, "glove")]
    assert find_categories(["glove"], ["baseball glove"]) == [(0, 1, "baseball glove")]


def test_no_word_of_the_list_names_two_categories():
    owners = {}
    for category in SYNONYMS:
        for name in names_of(category):
            assert owners.setdefault(name, category) == category, name
