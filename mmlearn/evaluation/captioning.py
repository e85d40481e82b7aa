"""All metrics of captions, with intervals over images."""

import numpy as np

from mmlearn.evaluation.bleu import MAX_ORDER, bleu, bleu_counts
from mmlearn.evaluation.caption_words import caption_words
from mmlearn.evaluation.cider import cider_d
from mmlearn.evaluation.intervals import NUM_RESAMPLES, difference, draw_all, interval
from mmlearn.evaluation.meteor import meteor
from mmlearn.evaluation.rouge import rouge_l

MAIN = "CIDEr-D"
PERSON, SHARE = "person", "share_of_person"
LIMITS = {MAIN: (0.0, 10.0), SHARE: (0.0, np.inf)}  # of all others [0, 1]


def score_captions(
    rows,
    references,
    groups=None,
    measures=(),
    with_meteor=False,
    num_resamples=NUM_RESAMPLES,
    seed=0,
):
    """Scores captions of several writers by the same references.

    Args:
        rows: dict of name to list of str, one caption per image; the first one is compared with the
            others.
        references: list of lists of str, one or more per image.
        groups: int array `(num_images,)`, or `None`. Images of a group are resampled together.
        measures: functions of a row's captions that return a function of weights `(num_images,
            num_weightings)` to a dict of further metrics in [0, 1].
        with_meteor: bool. Whether to compute METEOR, which has no interval.
        num_resamples: int.
        seed: int.

    Returns:
        metrics: dict of row to dict of `CIDEr-D`, `ROUGE-L`, `BLEU-1` to `BLEU-4` and further ones; where a
            row is called `person`, also `share_of_person`, the CIDEr-D relative to that row's. What is no
            number is left out.
        details: dict of `intervals`, dict of row to dict of metric to `low` and `high`, 95 % by
            bootstrap over images; and `comparisons`, of `over_{row}` to a dict of `metric`, `first`,
            `second` and what `difference` returns. The weights of CIDEr-D's n-grams are those of all
            images in every resample.

    Raises:
        ValueError: when an image has no reference, or there are not as many captions as images.

    Example:

    >>> references = [["a red dog", "a dog"], ["a blue cat", "one cat"]]
    >>> rows = {"model": ["a red dog", "a blue cat"], "most_frequent": ["a dog", "a dog"]}
    >>> metrics, details = score_captions(rows, references, num_resamples=10)
    >>> round(metrics["model"]["BLEU-1"], 4)
    1.0
    >>> round(details["comparisons"]["over_most_frequent"]["difference"], 2)
    2.81
    """
    _check(rows, references)
    wanted = [[caption_words(text) for text in own] for own in references]
    measured = {}
    for name, captions in rows.items():
        words = [caption_words(text) for text in captions]
        measured[name] = [_standard(words, wanted), *(measure(captions) for measure in measures)]

    def draws(weights):
        return {
            (name, metric): values
            for name, own in measured.items()
            for measure in own
            for metric, values in measure(weights).items()
        }

    drawn = {name: {} for name in rows}
    everything = draw_all(draws, len(references), groups, num_resamples, seed)
    for (name, metric), values in everything.items():
        drawn[name][metric] = values
    if PERSON in drawn:
        theirs = np.maximum(drawn[PERSON][MAIN], 1e-12)
        for own in drawn.values():
            own[SHARE] = own[MAIN] / theirs
    for own in drawn.values():  # such as what is true of objects, where none is mentioned
        for metric in [metric for metric, values in own.items() if np.isnan(values[0])]:
            del own[metric]
    metrics = {n: {m: float(v[0]) for m, v in own.items()} for n, own in drawn.items()}
    intervals = {
        n: {m: interval(v, limits=LIMITS.get(m, (0.0, 1.0))) for m, v in own.items()}
        for n, own in drawn.items()
    }
    if with_meteor:
        for name, captions in rows.items():
            metrics[name]["METEOR"] = meteor([caption_words(text) for text in captions], wanted)
    first, *others = rows
    comparisons = {}
    for other in others:
        comparisons[f"over_{other}"] = {
            "metric": MAIN,
            "first": first,
            "second": other,
            **difference(drawn[first][MAIN], drawn[other][MAIN]),
        }
    return metrics, {"intervals": intervals, "comparisons": comparisons}


def _check(rows, references):
    for place, own in enumerate(references):
        if not own:
            raise ValueError(f"Image {place} has no reference. Fix: leave it out.")
    for name, captions in rows.items():
        if len(captions) != len(references):
            raise ValueError(
                f"Each image needs one caption. Received: {len(captions)} of {name!r} for "
                f"{len(references)} images."
            )


def _standard(words, references):
    """The function of weights to the metrics that all captions have."""
    counts = bleu_counts(words, references)
    means = {MAIN: cider_d(words, references), "ROUGE-L": rouge_l(words, references)}

    def measure(weights):
        found, total = bleu(counts, weights), weights.sum(axis=0)
        found = {f"BLEU-{order + 1}": found[order] for order in range(MAX_ORDER)}
        return {**{name: own @ weights / total for name, own in means.items()}, **found}

    return measure
