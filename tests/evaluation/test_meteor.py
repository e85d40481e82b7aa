"""METEOR, where Java is there."""

import shutil

import pytest

from mmlearn.evaluation import meteor
from tests.evaluation.captions import as_official, caption_cases


def test_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(meteor.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match=r"needs Java\. Fix: install a Java runtime"):
        meteor.meteor([["a"]], [[["a"]]])
    monkeypatch.setattr(meteor.shutil, "which", lambda name: "/usr/bin/java")
    monkeypatch.setattr(meteor.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'mmlearn-keras\[captioning\]'"):
        meteor.check_has_meteor()


@pytest.mark.large
@pytest.mark.skipif(shutil.which("java") is None, reason="needs Java")
def test_is_what_the_official_evaluation_has():
    official = pytest.importorskip("pycocoevalcap.meteor.meteor")
    candidates, references = caption_cases(20)
    scorer = official.Meteor()
    with scorer.meteor_p:
        expected, _ = scorer.compute_score(*as_official(candidates, references))
    assert 0 < expected < 1
    assert meteor.meteor(candidates, references) == pytest.approx(expected)
