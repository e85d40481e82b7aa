"""METEOR, by its authors' program; needs Java and `pip install mmlearn-keras[captioning]`."""

import importlib.util
import shutil


def check_has_meteor():
    """Checks that METEOR can be computed here.

    Raises:
        ValueError: when Java or the package with the program is missing.
    """
    if shutil.which("java") is None:
        raise ValueError("METEOR needs Java. Fix: install a Java runtime, or leave METEOR out.")
    if importlib.util.find_spec("pycocoevalcap") is None:
        raise ValueError(
            "METEOR needs the package pycocoevalcap. Fix: pip install 'mmlearn-keras[captioning]', or "
            "leave METEOR out."
        )


def meteor(candidates, references):
    """METEOR of all captions together: words match by stem, synonym and paraphrase as well.

    The program takes up to 2 GB of memory and a second or two to start.

    Args:
        candidates: list of lists of words, one per image.
        references: list of lists of lists of words, one or more per image.

    Returns:
        float in [0, 1].

    Raises:
        ValueError: when it cannot be computed here.

    Reference:
        Denkowski and Lavie, "Meteor universal: language specific translation evaluation for any target
        language", 2014, section 2.
    """
    check_has_meteor()
    from pycocoevalcap.meteor.meteor import Meteor

    found = {row: [" ".join(words)] for row, words in enumerate(candidates)}
    wanted = {row: [" ".join(words) for words in own] for row, own in enumerate(references)}
    scorer = Meteor()
    with scorer.meteor_p:  # or its pipes stay open
        score, _ = scorer.compute_score(wanted, found)
    return float(score)
